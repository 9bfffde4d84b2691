//! Taking over what another cache has stored: what `transship import` does.
//!
//! ```text
//!             ╭─ same file system ──▶ hash ─▶ hard link
//! next file ──┼─ it can clone ──────▶ clone (FICLONE) ─▶ hash the clone ─▶ publish
//!             ╰─ else, or --copy ───▶ read, hash and write ─▶ publish
//! ```
//!
//! Invariants
//! - A file is hashed before it gets its name here; a damaged one is told of and passed over.
//! - The destination is the only state. What is here with the right length is not looked at again, so an
//!   import that was broken off anywhere goes on where it was.
//! - The checkpoint moves only over what was hashed. So what the destination holds that a power cut may have
//!   damaged is hashed first, and what was imported needs no further hash before it is served.
//!
//! Rights are not imported: which repository has a blob is the origin's to say.

mod media_type;
mod one;
pub(super) mod owner;
mod source;

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use source::{Form, Source, old_registry};

use super::about;
use super::check::{Finding, Judge};
use super::checkpoint::{Checkpoint, Failed};
use super::crew;
use super::layout::{Kind, Layout};
use super::publish::Publish;
use super::walk::{Stored, Walk};
use one::{Failure, Importer, Outcome};
use owner::Owner;

/// How often what was imported is forced to the medium: what a kill costs at most to hash again.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// A file in the root that says that files have come in behind the index's back.
const MARK: &str = "imported";

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// What to take over.
    pub source: &'a Source,
    /// Our root directory; made if it is missing.
    pub root: &'a Path,
    /// Files are copied even where they could be linked.
    pub copy: bool,
    /// How many threads read and hash.
    pub threads: usize,
}

/// What happens meanwhile, told from any of the threads.
#[derive(Debug)]
pub enum Event<'a> {
    /// This is what there is to import. Told once, first.
    Found {
        /// Blobs and manifests.
        files: u64,
        /// Their length.
        bytes: u64,
    },
    /// So many bytes of it are done with.
    Done(u64),
    /// A file was not imported, or not as it could have been.
    Trouble(&'a Path, Trouble<'a>),
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum Trouble<'a> {
    /// Its bytes are not what its name says; passed over.
    Damaged,
    /// It, or a folder, could not be read; passed over.
    Unreadable(&'a io::Error),
    /// It should be a manifest and is none that is known; passed over.
    NoManifest,
    /// Who serves the store could not read it through a link; copied. Told once.
    Private,
    /// It lies in the destination already, was damaged, and was taken away.
    DamagedHere,
}

/// How many files came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Hard links.
    pub linked: u64,
    /// Clones.
    pub cloned: u64,
    /// Copies; all manifests of a registry are.
    pub copied: u64,
    /// Files that were here.
    pub here: u64,
    /// Damaged files of the source.
    pub damaged: u64,
    /// Files and folders of the source that could not be read.
    pub unreadable: u64,
    /// What should be a manifest and is none that is known.
    pub no_manifest: u64,
    /// Files that were deleted meanwhile.
    pub vanished: u64,
    /// Bytes of what was linked, cloned or copied.
    pub bytes: u64,
}

impl Tally {
    /// Says whether all that there was is here.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        self.damaged == 0 && self.unreadable == 0
    }
}

/// Imports; blocks until all is done.
///
/// # Errors
/// The destination's, after which some files may have been imported: to be run again. Those of the source
/// are counted and told instead.
pub fn import(options: &Options<'_>, told: &(dyn Fn(Event<'_>) + Sync)) -> io::Result<Tally> {
    let contents = options.source.read()?;
    let target = Target::open(options.root)?;
    if is_same(options.source.base(), options.root)? {
        return Err(io::Error::other("the store cannot be imported into itself"));
    }
    let (mut files, mut bytes) = (0, 0);
    for stored in contents.files().flatten() {
        files += 1;
        bytes += stored.metadata.len();
    }
    told(Event::Found { files, bytes });
    target.settle(options.threads, told);
    // Before the first file: a process that is killed has imported what it has.
    fs::write(options.root.join(MARK), "")?;
    let importer = Importer::new(&target, options.source.form(), options.copy, told);
    let run = Run::new(&importer, &target, told);
    crew::for_each(options.threads, contents.files(), |item| run.one(item));
    target.checkpoint.note();
    let synced = target.sync();
    // Once more: a server on the same directory may have looked for what had come by then.
    fs::write(options.root.join(MARK), "")?;
    match run.fatal.into_inner() {
        Some(error) => Err(error),
        None => synced.map(|()| run.counts.tally()),
    }
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let real = |path: &Path| fs::canonicalize(path).map_err(|error| about(path, &error));
    Ok(real(one)? == real(other)?)
}

/// Says whether files were imported since the last call, which an index that trusts itself has not heard of.
/// The caller scans; it calls [`forget_mark`] after that.
#[must_use]
pub fn is_marked(root: &Path) -> bool {
    root.join(MARK).exists()
}

/// Forgets that files were imported.
///
/// # Errors
/// The disk's; the next start scans once more.
pub fn forget_mark(root: &Path) -> io::Result<()> {
    match fs::remove_file(root.join(MARK)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where files go.
struct Target {
    layout: Layout,
    publish: Publish,
    checkpoint: Checkpoint,
    owner: Owner,
}

impl Target {
    fn open(root: &Path) -> io::Result<Self> {
        let layout = Layout::new(root.to_owned());
        layout.make().map_err(|error| about(root, &error))?;
        let owner = Owner::of(root)?;
        owner.adopt_folders(root)?;
        Ok(Self {
            publish: Publish::probe(&layout)?,
            checkpoint: Checkpoint::read(root)?,
            owner,
            layout,
        })
    }

    /// Hashes what is here and may have been damaged by a power cut, before the checkpoint moves over it.
    fn settle(&self, threads: usize, told: &(dyn Fn(Event<'_>) + Sync)) {
        let judge = Judge::new(Layout::new(self.layout.root().to_owned()), false);
        let young = Walk::new(self.layout.root(), None)
            .flatten()
            .filter(|stored| !self.checkpoint.covers(&stored.metadata));
        crew::for_each(threads, young, |stored| {
            let path = stored.path.clone();
            let checked = judge.check(stored, |_| ());
            if matches!(checked.finding, Finding::Rotten { .. }) {
                told(Event::Trouble(&path, Trouble::DamagedHere));
            }
            ControlFlow::Continue(())
        });
    }

    /// Moves the checkpoint. What a failed sync may have lost is deleted.
    fn sync(&self) -> io::Result<()> {
        let root = self.layout.root();
        match self.checkpoint.advance(root, true) {
            Ok(()) => Ok(()),
            Err(Failed::Mark(error)) => Err(about(root, &error)),
            Err(Failed::Sync(error, suspects)) => {
                for digest in &suspects {
                    // Younger than the checkpoint: what cannot be deleted is hashed before it is served.
                    let _ = fs::remove_file(self.layout.path(Kind::Blob, digest));
                }
                let text = format!("sync failed, {} copies dropped: {error}", suspects.len());
                Err(io::Error::new(error.kind(), text))
            }
        }
    }
}

/// One import while it runs.
struct Run<'a> {
    importer: &'a Importer<'a>,
    target: &'a Target,
    told: &'a (dyn Fn(Event<'_>) + Sync),
    counts: Counts,
    /// What ended it.
    fatal: Mutex<Option<io::Error>>,
    synced: Mutex<Instant>,
}

impl<'a> Run<'a> {
    fn new(
        importer: &'a Importer<'a>,
        target: &'a Target,
        told: &'a (dyn Fn(Event<'_>) + Sync),
    ) -> Self {
        Self {
            importer,
            target,
            told,
            counts: Counts::default(),
            fatal: Mutex::new(None),
            synced: Mutex::new(Instant::now()),
        }
    }

    fn one(&self, item: io::Result<Stored>) -> ControlFlow<()> {
        let stored = match item {
            Ok(stored) => stored,
            Err(error) => {
                self.counts.add(Count::Unreadable, 1);
                (self.told)(Event::Trouble(Path::new(""), Trouble::Unreadable(&error)));
                return ControlFlow::Continue(());
            }
        };
        let trouble = |trouble| (self.told)(Event::Trouble(&stored.path, trouble));
        let count = match self.importer.import(&stored) {
            Ok(Outcome::Linked) => Count::Linked,
            Ok(Outcome::Cloned) => Count::Cloned,
            Ok(Outcome::Copied) => Count::Copied,
            Ok(Outcome::Here) => Count::Here,
            Ok(Outcome::Vanished) => Count::Vanished,
            Ok(Outcome::Damaged) => {
                trouble(Trouble::Damaged);
                Count::Damaged
            }
            Ok(Outcome::NoManifest) => {
                trouble(Trouble::NoManifest);
                Count::NoManifest
            }
            Err(Failure::Source(error)) => {
                trouble(Trouble::Unreadable(&error));
                Count::Unreadable
            }
            Err(Failure::Target(error)) => return self.end(error),
        };
        self.counts.add(count, 1);
        if matches!(count, Count::Linked | Count::Cloned | Count::Copied) {
            self.counts.add(Count::Bytes, stored.metadata.len());
            return self.sync_now_and_then();
        }
        ControlFlow::Continue(())
    }

    fn sync_now_and_then(&self) -> ControlFlow<()> {
        // One thread syncs, the others go on.
        let Some(mut synced) = self.synced.try_lock() else {
            return ControlFlow::Continue(());
        };
        if synced.elapsed() < CHECKPOINT_EVERY {
            return ControlFlow::Continue(());
        }
        self.target.checkpoint.note();
        let outcome = self.target.sync();
        *synced = Instant::now();
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => self.end(error),
        }
    }

    fn end(&self, error: io::Error) -> ControlFlow<()> {
        self.fatal.lock().get_or_insert(error);
        ControlFlow::Break(())
    }
}

#[derive(Clone, Copy)]
enum Count {
    Linked,
    Cloned,
    Copied,
    Here,
    Damaged,
    Unreadable,
    NoManifest,
    Vanished,
    Bytes,
}

#[derive(Default)]
struct Counts([AtomicU64; 9]);

impl Counts {
    fn add(&self, count: Count, more: u64) {
        self.0[count as usize].fetch_add(more, Ordering::Relaxed);
    }

    fn tally(&self) -> Tally {
        let of = |count: Count| self.0[count as usize].load(Ordering::Relaxed);
        Tally {
            linked: of(Count::Linked),
            cloned: of(Count::Cloned),
            copied: of(Count::Copied),
            here: of(Count::Here),
            damaged: of(Count::Damaged),
            unreadable: of(Count::Unreadable),
            no_manifest: of(Count::NoManifest),
            vanished: of(Count::Vanished),
            bytes: of(Count::Bytes),
        }
    }
}

#[cfg(test)]
mod tests;

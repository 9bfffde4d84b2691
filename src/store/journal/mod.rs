//! The index on disk: what the index in memory was, and each change since, in one file.
//!
//! ```text
//!          open ──▶ changes, in order ──▶ the index        memory-mapped, reads only
//!            │
//!          begin     "ended cleanly" is taken away: before anything below the root changes
//!            │
//!          append, append, …                               every second
//!            │  ╰─▶ rewrite      when most of it means nothing any more: temp file, fsync, rename
//!            │
//!          close     "ended cleanly" is written
//! ```
//!
//! It is a memory of the index, never the truth: that is the tree of files. Unless it was ended cleanly, its
//! reader compares it with the tree. The format is told in `record`.
//!
//! Invariants
//! - A change that was not written is never read: see the chain of checksums in `record`.
//! - "Ended cleanly" stands in no file that the tree has changed after, a power cut included: `begin` forces its
//!   removal to the medium, and it names the very slots that it stands for.
//! - No file becomes shorter, and no other process writes to it: who has it mapped can go on reading. A file that
//!   was replaced or removed by somebody else is not written to any more.
//! - A file that another version of transship or somebody else wrote is not lost: it gets another name before
//!   anything is put in its place.

mod read;
mod record;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

pub(super) use read::Verdict;
use record::{Chain, MARK_AT};
pub(super) use record::{Change, Record};

/// Slots that may be there besides twice the entries before the file is written anew.
const SLACK_SLOTS: u64 = 4096;
/// How much of a new file is gathered before it is written, in bytes.
const BUFFER_BYTES: usize = 1024 * 1024;
/// How many files that are not ours are kept under names of their own for each reason.
const KEPT_MAX: usize = 9;

/// The journal of one root directory.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// The file that the next change goes to.
    tail: Option<Tail>,
    /// Changes may be missing in it.
    is_doubtful: bool,
}

/// A file that changes are appended to.
#[derive(Debug)]
struct Tail {
    file: File,
    /// Up to where its slots are right.
    chain: Chain,
    /// "Ended cleanly" was taken away.
    is_begun: bool,
}

impl Journal {
    /// Reads what is at `path`, and hands each change to `each`: a snapshot and what followed. Changes nothing
    /// on disk. Warns of what is damaged or not ours.
    ///
    /// The verdict is known only behind the last change. Costs less than a second for a million entries, even unoptimised.
    ///
    /// # Errors
    /// The disk's, when the file is there and cannot be opened. Damage is no error.
    pub(super) fn open(path: PathBuf, each: impl FnMut(Change)) -> io::Result<(Self, Verdict)> {
        let (tail, verdict) = match read::open(&path)? {
            Ok((file, head)) => {
                let (verdict, chain) = read::read(&file, &head, each)?;
                let is_begun = false;
                let tail = Tail {
                    file,
                    chain,
                    is_begun,
                };
                (Some(tail), verdict)
            }
            Err(verdict) => (None, verdict),
        };
        warn(&path, &verdict);
        let is_doubtful = false;
        let journal = Self {
            path,
            tail,
            is_doubtful,
        };
        Ok((journal, verdict))
    }

    /// Returns one of which nothing is known: it is written anew at the first chance.
    pub(super) const fn lost(path: PathBuf) -> Self {
        Self {
            path,
            tail: None,
            is_doubtful: true,
        }
    }

    /// Gets ready to write: takes "ended cleanly" away and forces that to the medium; makes a file if there is
    /// none that can be written to. Has to be called before anything below the root changes.
    ///
    /// Where another process has written to the file since it was read, or has replaced it, the journal is in
    /// doubt.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        if self.tail.as_ref().is_some_and(|tail| tail.is_begun) {
            return Ok(());
        }
        if let Some(mut tail) = self.tail.take() {
            if tail.begin(&self.path)? {
                self.tail = Some(tail);
                return Ok(());
            }
            self.is_doubtful = true;
        }
        self.tail = Some(replace(&self.path, std::iter::empty())?);
        Ok(())
    }

    /// Appends changes. When it fails, nothing of it counts: it is for the caller to give the same changes
    /// again, or to say that they are lost ([`Journal::doubt`]).
    ///
    /// Not forced to the medium: what a power cut takes is missing from the tail, and the file was not ended
    /// cleanly.
    ///
    /// # Errors
    /// The disk's; `NotFound` when somebody replaced, removed or cut the file. Then it is in doubt.
    pub(super) fn append<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> io::Result<()> {
        let mut changes = changes.into_iter().peekable();
        if changes.peek().is_none() {
            return Ok(());
        }
        self.begin()?;
        self.tail()?.append(changes)
    }

    /// Has the journal written anew at the next chance: changes are missing in it.
    pub(super) const fn doubt(&mut self) {
        self.is_doubtful = true;
    }

    /// Says whether the file should be written anew for an index of `entries`: most of it means nothing any
    /// more, or some of it is missing.
    pub(super) fn is_due(&self, entries: u64) -> bool {
        let slots = self.tail.as_ref().map_or(0, |tail| tail.chain.slots);
        self.is_doubtful || slots > entries.saturating_mul(2).saturating_add(SLACK_SLOTS)
    }

    /// Puts a file with `records` in the journal's place, forced to the medium. If it fails, the old one is
    /// still there and goes on.
    ///
    /// A change that is made while `records` are taken has to be appended afterwards, if it was not before: then
    /// it does not matter whether they show it.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn rewrite(&mut self, records: impl IntoIterator<Item = Record>) -> io::Result<()> {
        self.tail = Some(replace(&self.path, records.into_iter())?);
        self.is_doubtful = false;
        Ok(())
    }

    /// Writes that the journal ended cleanly, and forces it to the medium. To be called only when the tree is as
    /// the journal says, nobody changes it any more, and what was published in it is on the medium.
    ///
    /// # Errors
    /// The disk's; `Other` when the journal is in doubt. It does not count as ended cleanly then.
    pub(super) fn close(mut self) -> io::Result<()> {
        if self.is_doubtful {
            return Err(io::Error::other("changes are missing in the index on disk"));
        }
        self.begin()?;
        self.tail()?.end()
    }

    /// Returns the file to write to, if it is still the one at its path.
    fn tail(&mut self) -> io::Result<&mut Tail> {
        let is_there = match &self.tail {
            Some(tail) => tail.is_at(&self.path)?,
            None => false,
        };
        if !is_there {
            self.tail = None;
            self.is_doubtful = true;
        }
        self.tail.as_mut().ok_or_else(|| {
            let text = "the index on disk was replaced, removed or cut by somebody else";
            io::Error::new(io::ErrorKind::NotFound, text)
        })
    }
}

impl Tail {
    /// Opens the file to write and takes "ended cleanly" away; says whether it is still the one that was read,
    /// and has not grown since.
    fn begin(&mut self, path: &Path) -> io::Result<bool> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(crate::store::about(path, &error)),
        };
        if !is_same(&file, &self.file)? || self.has_grown(&file)? {
            return Ok(false);
        }
        file.write_all_at(&record::no_mark(), MARK_AT)?;
        file.sync_data()?;
        self.file = file;
        self.is_begun = true;
        Ok(true)
    }

    /// Says whether there is a sound slot behind the last one that was read.
    fn has_grown(&self, file: &File) -> io::Result<bool> {
        let mut further = self.chain;
        let mut outcome = Ok(());
        let change = further.decode(|number| {
            let mut slot = [0; record::SLOT_BYTES];
            let at = record::SLOTS_AT as u64 + number * record::SLOT_BYTES as u64;
            match file.read_exact_at(&mut slot, at) {
                Ok(()) => return Some(slot),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => outcome = Err(error),
            }
            None
        });
        outcome.map(|()| change.is_some())
    }

    /// Says whether the file is the one at `path`, with all that was written to it.
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let there = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(crate::store::about(path, &error)),
        };
        let ours = self.file.metadata()?;
        let is_same = (there.dev(), there.ino()) == (ours.dev(), ours.ino());
        Ok(is_same && ours.len() >= self.chain.end())
    }

    fn append<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut chain = self.chain;
        changes.for_each(|change| chain.encode(change, &mut bytes));
        self.file.write_all_at(&bytes, self.chain.end())?;
        self.chain = chain;
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        // If a power cut brings this to the medium and not the slots before it, then it does not fit them.
        self.file.write_all_at(&self.chain.mark(), MARK_AT)?;
        self.is_begun = false;
        self.file.sync_all()
    }
}

/// Puts a file with `records` at `path`, where what is not ours is given another name first.
fn replace(path: &Path, records: impl Iterator<Item = Record>) -> io::Result<Tail> {
    let next = path.with_extension("next");
    let written = write(&next, records).and_then(|tail| {
        set_aside(path)?;
        fs::rename(&next, path)?;
        Ok(tail)
    });
    if written.is_err() {
        drop(fs::remove_file(&next));
    }
    written.map_err(|error| crate::store::about(path, &error))
}

/// Writes a file of its own at `next` and forces it to the medium. If another process is about to do the same,
/// one takes the other's file away, and finds out when it appends.
fn write(next: &Path, records: impl Iterator<Item = Record>) -> io::Result<Tail> {
    match fs::remove_file(next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(next)?;
    let header = record::header(RandomState::new().build_hasher().finish());
    let mut chain = Chain::begin(&header);
    let mut bytes = Vec::with_capacity(BUFFER_BYTES + 2 * record::SLOT_BYTES);
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&record::no_mark());
    let mut end = 0;
    for record in records {
        chain.encode(&Change::Put(record), &mut bytes);
        if bytes.len() >= BUFFER_BYTES {
            file.write_all_at(&bytes, end)?;
            end += bytes.len() as u64;
            bytes.clear();
        }
    }
    file.write_all_at(&bytes, end)?;
    file.sync_all()?;
    Ok(Tail {
        file,
        chain,
        is_begun: true,
    })
}

/// Gives what is at `path` another name if it is not a journal of this version.
fn set_aside(path: &Path) -> io::Result<()> {
    let Err(verdict) = read::open(path)? else {
        return Ok(());
    };
    let Some(ending) = verdict.kept_as() else {
        return Ok(());
    };
    let name = |number: usize| match number {
        1 => path.with_extension(&ending),
        _ => path.with_extension(format!("{ending}.{number}")),
    };
    let aside = (1..KEPT_MAX)
        .map(name)
        .find(|aside| fs::symlink_metadata(aside).is_err())
        .unwrap_or_else(|| name(KEPT_MAX));
    fs::rename(path, &aside)?;
    tracing::warn!(path = %path.display(), kept_as = %aside.display(), "the index on disk that could not be used was given another name");
    Ok(())
}

/// Says in the log what is wrong with a file.
fn warn(path: &Path, verdict: &Verdict) {
    let path = path.display();
    match verdict {
        Verdict::Absent | Verdict::Clean | Verdict::Unclean => {}
        Verdict::Cut {
            at_bytes,
            lost_bytes,
        } => {
            tracing::warn!(%path, at_bytes, lost_bytes, "the index on disk is torn or damaged: used up to there, and the files are looked through");
        }
        Verdict::OtherVersion(version) => {
            tracing::warn!(%path, version, "the index on disk was written by another version of transship: not used, and the files are looked through");
        }
        Verdict::Damaged => {
            tracing::warn!(%path, "the first line of the index on disk is damaged: not used, and the files are looked through");
        }
        Verdict::Foreign => {
            tracing::warn!(%path, "what is in the place of the index on disk was not written by transship: not used, and the files are looked through");
        }
    }
}

fn is_same(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

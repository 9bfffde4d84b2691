//! Everything that is stored, or what is named of it, read and hashed at once: what `transship verify` does.
//!
//! Needs no index and makes nothing, so it works on a store that is being served as well as on one that is
//! not: a server notices at its next open that a file has gone.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::check::{Checked, Finding, Judge};
use super::crew;
use super::layout::{Kind, Layout};
use super::walk::{Stored, Walk};
use crate::digest::Digest;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The root directory.
    pub root: &'a Path,
    /// What to check; everything if it is empty.
    pub digests: &'a [Digest],
    /// Damaged files are told of and left where they are.
    pub keep: bool,
    /// How many threads read and hash.
    pub threads: usize,
}

/// What happens meanwhile, told from any of the threads.
#[derive(Debug)]
pub enum Event<'a> {
    /// This is what there is to read. Told once, first.
    Found {
        /// Blobs and manifests.
        files: u64,
        /// Their length.
        bytes: u64,
    },
    /// So many bytes more were read.
    Read(u64),
    /// A file is done with, and it is not sound.
    Bad(&'a Checked),
    /// Nothing is stored under a digest that was named.
    Absent(&'a Digest),
    /// A folder or file could not be looked at.
    Unseen(&'a io::Error),
}

/// How many files came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files whose bytes are what their name says.
    pub sound: u64,
    /// Files that are not.
    pub rotten: u64,
    /// Files and folders that could not be read.
    pub unreadable: u64,
    /// Files that were deleted or replaced meanwhile.
    pub vanished: u64,
    /// Digests that were named and are not stored.
    pub absent: u64,
    /// Bytes read.
    pub bytes: u64,
}

impl Tally {
    /// Says whether all that was looked for is there and sound.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        self.rotten == 0 && self.unreadable == 0 && self.absent == 0
    }
}

#[derive(Default)]
struct Counts {
    sound: AtomicU64,
    rotten: AtomicU64,
    unreadable: AtomicU64,
    vanished: AtomicU64,
    absent: AtomicU64,
    bytes: AtomicU64,
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// Checks what `options` name; blocks until all is done.
pub fn verify(options: &Options<'_>, told: &(dyn Fn(Event<'_>) + Sync)) -> Tally {
    let counts = Counts::default();
    let named: Vec<io::Result<Stored>> = find(options, &counts, told);
    let measured = match options.digests {
        [] => measure(Walk::new(options.root, None).flatten()),
        _ => measure(named.iter().flatten()),
    };
    told(measured);
    let everything = options
        .digests
        .is_empty()
        .then(|| Walk::new(options.root, None))
        .into_iter()
        .flatten();
    let judge = Judge::new(Layout::new(options.root.to_owned()), options.keep);
    crew::for_each(
        options.threads,
        named.into_iter().chain(everything),
        |item| {
            match item {
                Ok(stored) => one(stored, &judge, &counts, told),
                Err(error) => {
                    add(&counts.unreadable, 1);
                    told(Event::Unseen(&error));
                }
            }
            ControlFlow::Continue(())
        },
    );
    Tally {
        sound: counts.sound.into_inner(),
        rotten: counts.rotten.into_inner(),
        unreadable: counts.unreadable.into_inner(),
        vanished: counts.vanished.into_inner(),
        absent: counts.absent.into_inner(),
        bytes: counts.bytes.into_inner(),
    }
}

/// Returns the files of the digests that were named; one may be a blob and a manifest.
fn find(
    options: &Options<'_>,
    counts: &Counts,
    told: &(dyn Fn(Event<'_>) + Sync),
) -> Vec<io::Result<Stored>> {
    let layout = Layout::new(options.root.to_owned());
    let mut found = Vec::new();
    for digest in options.digests {
        let before = found.len();
        for kind in Kind::ALL {
            found.extend(Stored::find(&layout, kind, *digest).transpose());
        }
        if found.len() == before {
            add(&counts.absent, 1);
            told(Event::Absent(digest));
        }
    }
    found
}

fn measure<S: std::borrow::Borrow<Stored>>(stored: impl Iterator<Item = S>) -> Event<'static> {
    let (files, bytes) = stored.fold((0, 0), |(files, bytes), stored| {
        (files + 1, bytes + stored.borrow().metadata.len())
    });
    Event::Found { files, bytes }
}

fn one(stored: Stored, judge: &Judge, counts: &Counts, told: &(dyn Fn(Event<'_>) + Sync)) {
    let checked = judge.check(stored, |read| {
        add(&counts.bytes, read);
        told(Event::Read(read));
    });
    let count = match &checked.finding {
        Finding::Sound => &counts.sound,
        Finding::Rotten { .. } => &counts.rotten,
        Finding::Unreadable(_) => &counts.unreadable,
        Finding::Vanished => &counts.vanished,
    };
    add(count, 1);
    if matches!(
        checked.finding,
        Finding::Rotten { .. } | Finding::Unreadable(_)
    ) {
        told(Event::Bad(&checked));
    }
}

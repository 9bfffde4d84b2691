//! The walk over all that is on disk, which sets right what memory knows of it.
//!
//! Wanted after a start without a journal or with one that was not ended, after the root directory had gone,
//! and now and then where others write to the directory too. Blobs are served all the while: one that is not
//! known yet is found by its path.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::Entry;
use super::layout::Kind;
use super::{Store, import};
use crate::digest::{Algorithm, Digest};
use crate::metrics::Removal;

/// What a scan has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Files that are there.
    pub files: usize,
    /// Those that memory did not know.
    pub found: usize,
    /// Entries whose file was gone.
    pub vanished: usize,
}

impl Store {
    /// Says whether [`Store::scan`] is to be called.
    #[must_use]
    pub fn wants_scan(&self) -> bool {
        self.wants_scan.load(Ordering::Acquire)
    }

    /// Says whether others write to the directory too.
    #[must_use]
    pub fn has_company(&self) -> bool {
        self.has_company.load(Ordering::Acquire)
    }

    /// Compares the disk with memory, a folder at a time.
    ///
    /// Costs a `readdir` and a `stat` for every file, and a lock of one shard at a time.
    ///
    /// # Errors
    /// The disk's; what was found before stays found.
    pub fn scan(&self) -> io::Result<Scanned> {
        // Before it looks: what is imported from now on marks the directory anew.
        self.wants_scan.store(false, Ordering::Release);
        import::forget_mark(self.layout.root())
            .and_then(|()| self.scan_all())
            .inspect_err(|_| self.wants_scan.store(true, Ordering::Release))
    }

    /// Goes on where a folder cannot be read, and tells of the first such error in the end.
    fn scan_all(&self) -> io::Result<Scanned> {
        let mut outcome = Ok(());
        let mut scanned = Scanned::default();
        for kind in Kind::ALL {
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                for folder in 0..=u8::MAX {
                    let looked = self.scan_folder(kind, algorithm, folder, &mut scanned);
                    outcome = outcome.and(looked);
                }
            }
        }
        if scanned.found > scanned.files / 4 {
            // They came in the order of their names.
            self.inventory.sort_by_use();
        }
        outcome.map(|()| scanned)
    }

    fn scan_folder(
        &self,
        kind: Kind,
        algorithm: Algorithm,
        folder: u8,
        scanned: &mut Scanned,
    ) -> io::Result<()> {
        let files = self.layout.list(kind, algorithm, folder)?;
        let is_here = |entry: &Entry| entry.kind() == kind && entry.algorithm() == algorithm;
        let before = self.inventory.select_in(folder, is_here);
        let mut names: HashSet<Digest> = HashSet::with_capacity(files.len());
        for (digest, metadata) in files {
            names.insert(digest);
            scanned.files += 1;
            let known = self.inventory.lookup(kind, &digest);
            if known.is_some_and(|entry| entry.size_bytes == metadata.len()) {
                continue;
            }
            scanned.found += usize::from(self.take_up(kind, &digest)?);
        }
        for entry in before {
            if !names.contains(&entry.digest()) && self.is_absent(&entry)? {
                self.forget(&entry, Removal::Vanished);
                scanned.vanished += 1;
            }
        }
        Ok(())
    }

    /// Looks once more at a file that memory does not know, or knows otherwise: it may have been committed or
    /// replaced since the folder was read. Says whether it is new.
    fn take_up(&self, kind: Kind, digest: &Digest) -> io::Result<bool> {
        let metadata = match std::fs::metadata(self.layout.path(kind, digest)) {
            Ok(metadata) => metadata,
            Err(error) if super::is_vanished(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let known = self.inventory.lookup(kind, digest);
        match known {
            Some(entry) if entry.size_bytes == metadata.len() => return Ok(false),
            // One digest has one length: one of the two is wrong. (A manifest's file has its type, too.)
            Some(entry) if kind == Kind::Blob => {
                self.condemn(&entry, "another length than when it was stored");
                return Ok(false);
            }
            _ => {}
        }
        let entry = Entry::found(kind, digest, &metadata);
        // Where the index was lost, how it was used is not known: not longer ago than that.
        entry.used_at(self.used_by.load(Ordering::Relaxed));
        self.add(entry, None);
        Ok(true)
    }

    pub(super) fn is_absent(&self, entry: &Arc<Entry>) -> io::Result<bool> {
        match std::fs::metadata(self.layout.path(entry.kind(), &entry.digest())) {
            Ok(_) => Ok(false),
            Err(error) if super::is_vanished(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

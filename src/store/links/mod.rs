//! Which repositories have which digests: a blob or manifest is served under a repository only once the
//! origin has confirmed that it has it, and what it confirmed is remembered here.
//!
//! ```text
//!  link, discard ──▶ table    in memory: who asks is answered from here
//!        │
//!        ╰─▶ pending ──▶ log  <root>/links, a text line each; written at the checkpoint
//! ```
//!
//! Whoever links never waits for the disk: a line goes to a buffer, and the thread that moves the checkpoint
//! writes the buffer a moment before it syncs. (An append at once would save the links of the last seconds
//! from a `SIGKILL`; but a write waits when the disk is behind with its pages, and links are made on cores.)
//! What is lost costs one question to the origin.
//!
//! Invariants
//! - Memory and log say the same in the same order: a line is buffered under the lock that changed memory.
//! - A link that nobody made is never found: every line of the log proves itself by a checksum.
//! - The links of a digest go with its blob or manifest. They go from the log too, so that the same blob,
//!   filled again for somebody else, does not come back to those who had it once.

mod line;
mod log;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use parking_lot::Mutex;

use crate::digest::Digest;
use line::Record;
use log::Log;
use table::Table;

/// Most bytes that wait to be written. More can only gather while the disk takes nothing.
const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The links of one store.
#[derive(Debug)]
pub(super) struct Links {
    table: Table,
    /// Locked after a shard of the table, and never during I/O.
    pending: Mutex<Pending>,
    /// Locked by the one thread that writes.
    log: Mutex<Log>,
}

/// Lines that are not in the log yet.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    lines: usize,
    /// Lines were left out for want of room: the log has to be written anew from what is in memory.
    overflowed: bool,
}

impl Pending {
    fn push(&mut self, record: &Record<'_>) {
        if self.bytes.len() < PENDING_BYTES_MAX {
            record.encode(&mut self.bytes);
            self.lines += 1;
        } else {
            self.overflowed = true;
        }
    }
}

impl Links {
    /// Reads the log at `path` back; links of digests that are not `stored` are dropped.
    ///
    /// # Errors
    /// The disk's, when the log is there and cannot be opened or set aside. Damage is no error.
    pub(super) fn open(path: PathBuf, stored: impl Fn(&Digest) -> bool) -> io::Result<Self> {
        let table = Table::default();
        let log = Log::open(path, &table, stored)?;
        Ok(Self {
            table,
            pending: Mutex::default(),
            log: Mutex::new(log),
        })
    }

    /// Remembers that `repository` has `digest`. A text that is no repository's name is not remembered.
    pub(super) fn link(&self, repository: &str, digest: &Digest) {
        if !line::is_repository(repository) || self.table.holds(repository, digest) {
            return;
        }
        let digest = *digest;
        self.table.insert(repository, &digest, || {
            let record = Record::Link { repository, digest };
            self.pending.lock().push(&record);
        });
    }

    /// Says whether `repository` is known to have `digest`.
    pub(super) fn is_linked(&self, repository: &str, digest: &Digest) -> bool {
        self.table.holds(repository, digest)
    }

    /// Returns the repositories that are known to have `digest`, at most `most`, by name.
    pub(super) fn repositories(&self, digest: &Digest, most: usize) -> Vec<String> {
        self.table.repositories(digest, most)
    }

    /// Returns the repositories that have most of `weights`, the heaviest first, at most `most`.
    pub(super) fn rank(&self, weights: &[(Digest, u64)], most: usize) -> Vec<(String, u64)> {
        self.table.rank(weights, most)
    }

    /// Forgets every link of `digest`.
    pub(super) fn unlink(&self, digest: &Digest) {
        self.table.remove(digest, || {
            let record = Record::Unlink { digest: *digest };
            self.pending.lock().push(&record);
        });
    }

    /// Writes what is pending, and the whole log anew where that is due; says whether anything was
    /// written. What cannot be written stays pending, with one line in the program's log.
    pub(super) fn flush(&self) -> bool {
        let mut log = self.log.lock();
        let pending = std::mem::take(&mut *self.pending.lock());
        if pending.overflowed {
            log.doubt();
        }
        let appended = log.append(&pending.bytes, pending.lines);
        if let Err(error) = appended {
            self.put_back(pending);
            log.failed(&error);
            return false;
        }
        match log.rewrite_if_due(&self.table) {
            Ok(rewritten) => {
                log.recovered();
                rewritten || pending.lines > 0
            }
            Err(error) => {
                log.failed(&error);
                pending.lines > 0
            }
        }
    }

    /// Forgets what is pending: another process writes the log. Each link that the next start does not know
    /// costs one question to the origin.
    pub(super) fn leave_to_others(&self) {
        *self.pending.lock() = Pending::default();
    }

    /// Has the log written anew at the next flush: pages of it may have been lost.
    pub(super) fn doubt(&self) {
        self.log.lock().doubt();
    }

    /// Puts what could not be written before what has come since.
    fn put_back(&self, mut earlier: Pending) {
        let mut pending = self.pending.lock();
        earlier.bytes.append(&mut pending.bytes);
        earlier.lines += pending.lines;
        earlier.overflowed |= pending.overflowed;
        *pending = earlier;
    }
}

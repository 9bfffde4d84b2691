//! What each tag meant when the origin last said so, and when that was: so that asking again costs no body,
//! and so that a tag is known while nobody can be asked, after a restart too.
//!
//! ```text
//!  confirm, forget ──▶ table          in memory: who asks is answered from here
//!                        │
//!                        ╰──▶ file    <root>/tags, a text line each; written anew at the checkpoint
//! ```
//!
//! The file is written as a whole, beside the old one and then in its place. What a killed process forgets is
//! what it learnt since the last checkpoint; how long ago that was grows with the size of the file, so that
//! many tags do not keep the disk busy. A tag that was deleted at the origin waits for nothing but the next
//! checkpoint.
//!
//! Invariants
//! - Nobody's clock makes a tag younger: see [`Moment`]. A time of the file that lies ahead is now.
//! - Every line of the file proves itself by a checksum; one that does not is as if it were not there.
//! - There is a bound on tags, and the oldest go.

mod line;
mod table;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::digest::Digest;
use crate::limits::{TAGS_BYTES_MAX, TAGS_WRITTEN_BYTES_PER_SECOND};
use table::{Table, Urgency};

/// A tag as one kind of client sees it: an origin may answer differently for each `Accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagKey<'a> {
    /// The repository's name.
    pub repository: &'a str,
    /// The tag.
    pub tag: &'a str,
    /// Of the sorted list of types: a client chooses its length, not what it costs here.
    pub accept: Digest,
}

/// What a tag meant, and how long ago the origin said so last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Since then.
    pub age: Duration,
}

/// A moment by two clocks: one that nobody sets, and one that counts over restarts.
///
/// What lies between two moments is the longer of both differences. A wall clock that is set back, or a
/// machine that slept, then makes nothing younger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) steady: Instant,
    /// Seconds since the epoch.
    pub(super) wall: u64,
}

impl Moment {
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            steady: Instant::now(),
            wall: since.map_or(0, |since| since.as_secs()),
        }
    }

    /// Returns the moment that lies `age` before this one; `None` if the clock does not reach so far.
    pub(super) fn before(self, age: Duration) -> Option<Self> {
        Some(Self {
            steady: self.steady.checked_sub(age)?,
            wall: self.wall.saturating_sub(age.as_secs()),
        })
    }

    /// Returns how long `earlier` was ago.
    pub(super) fn since(self, earlier: Self) -> Duration {
        let steady = self.steady.saturating_duration_since(earlier.steady);
        steady.max(Duration::from_secs(self.wall.saturating_sub(earlier.wall)))
    }
}

/// The tags of one store.
#[derive(Debug)]
pub(super) struct Tags {
    path: PathBuf,
    table: Mutex<Table>,
    /// Held by the one thread that writes.
    writing: Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    /// Not before then, unless it is urgent.
    next: Option<Instant>,
    /// The last try failed, and that was said.
    is_failing: bool,
}

impl Tags {
    /// Reads the file at `path` back. One that is of no use is no error: the origin is asked.
    pub(super) fn open(path: PathBuf, now: Moment) -> Self {
        let mut table = Table::default();
        match read(&path) {
            Ok(bytes) => {
                let found = line::read(&bytes, now, |key, digest, at| table.load(key, digest, at));
                if found.damaged > 0 {
                    let (path, damaged) = (path.display(), found.damaged);
                    tracing::warn!(%path, damaged, tags = table.len(), "lines of the tags were damaged and skipped; the origin is asked for them");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "the tags could not be read; the origin is asked for them");
            }
        }
        Self {
            path,
            table: Mutex::new(table),
            writing: Mutex::default(),
        }
    }

    pub(super) fn find(&self, key: TagKey<'_>, now: Moment) -> Option<Tagged> {
        let (digest, at) = self.table.lock().find(key)?;
        let age = now.since(at);
        Some(Tagged { digest, age })
    }

    /// Remembers what the origin said at the moment `at`. What it said later stays.
    pub(super) fn confirm(&self, key: TagKey<'_>, digest: Digest, at: Moment) {
        if line::is_key(key) {
            self.table.lock().confirm(key, digest, at);
        }
    }

    /// Forgets a tag, whatever was accepted.
    pub(super) fn forget(&self, repository: &str, tag: &str) {
        self.table.lock().forget(repository, tag);
    }

    /// Writes the file if it has to be; says whether it did. What cannot be written stays in memory, with one
    /// line in the program's log.
    pub(super) fn flush(&self, now: Instant, is_end: bool) -> bool {
        let mut writing = self.writing.lock();
        let rests = writing.next.is_some_and(|next| now < next);
        let mut bytes = line::HEADER.to_vec();
        let urgency = {
            let mut table = self.table.lock();
            let urgency = table.urgency();
            match urgency {
                Urgency::Nothing => return false,
                Urgency::Some if rests && !is_end => return false,
                Urgency::Some | Urgency::Deleted => {}
            }
            table.write(|key, digest, at| line::encode(&mut bytes, key, digest, at.wall));
            urgency
        };
        let written = replace(&self.path, &bytes);
        writing.next = Some(now + pause(bytes.len()));
        match written {
            Ok(()) => {
                if std::mem::take(&mut writing.is_failing) {
                    tracing::info!(path = %self.path.display(), "the tags are written again");
                }
            }
            Err(error) => {
                self.table.lock().doubt(urgency);
                if !std::mem::replace(&mut writing.is_failing, true) {
                    tracing::warn!(path = %self.path.display(), %error, "the tags could not be written and stay in memory; tried again at each checkpoint");
                }
                return false;
            }
        }
        true
    }

    /// Has the file written anew at the next flush: pages of it may have been lost.
    pub(super) fn doubt(&self) {
        self.table.lock().doubt(Urgency::Some);
    }
}

/// Returns how long a file of so many bytes is left alone once it was written.
fn pause(bytes: usize) -> Duration {
    Duration::from_secs(bytes as u64 / TAGS_WRITTEN_BYTES_PER_SECOND)
}

/// Returns the bytes of the file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = super::open_regular(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > TAGS_BYTES_MAX {
        return Err(io::Error::other("not a file of tags"));
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile, or be longer than it says.
    file.take(TAGS_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file beside the one at `path`, forces it to the medium and puts it in its place.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let next = path.with_extension("next");
    let written = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&next)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&next, path));
    if written.is_err() {
        drop(fs::remove_file(&next));
    }
    written
}

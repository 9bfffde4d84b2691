//! What is known to be on the medium.
//!
//! Blobs are published without waiting for the medium. A power cut can then leave a file under its
//! final name whose bytes never arrived. So every few seconds, if something was committed, the file
//! system is synced and a checkpoint is written whose mtime is a moment before that sync began. At
//! start, a file that changed before the checkpoint is sound; a younger one is hashed before it is
//! first served. A process that is killed costs the same check, and nothing else.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Clock granularity of file times, doubled: a file this close to the checkpoint counts as younger.
const MARGIN: Duration = Duration::from_millis(20);

/// The moment before which everything is on the medium.
#[derive(Debug)]
pub(super) struct Checkpoint {
    at_start: Option<SystemTime>,
    dirty: AtomicBool,
}

impl Checkpoint {
    /// Reads the checkpoint of the last process.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let at_start = match fs::metadata(root.join("checkpoint")) {
            Ok(metadata) => Some(metadata.modified()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            at_start,
            dirty: AtomicBool::new(false),
        })
    }

    /// Says whether a file found at start was on the medium when the checkpoint was written.
    ///
    /// The time of the last status change is asked, which nobody can set: the link that published the
    /// file set it.
    pub(super) fn covers(&self, metadata: &Metadata) -> bool {
        let Ok(seconds) = u64::try_from(metadata.ctime()) else {
            return false;
        };
        let nanoseconds = u64::try_from(metadata.ctime_nsec()).unwrap_or(0);
        let changed = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds);
        self.at_start.is_some_and(|at| changed + MARGIN < at)
    }

    /// Notes that something was published.
    pub(super) fn note_commit(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Syncs the file system and moves the checkpoint, if something was published since the last time.
    pub(super) fn advance(&self, root: &Path) -> io::Result<()> {
        if !self.dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let moved = self.sync_and_write(root);
        if moved.is_err() {
            self.note_commit();
        }
        moved
    }

    fn sync_and_write(&self, root: &Path) -> io::Result<()> {
        let begun = SystemTime::now();
        rustix::fs::syncfs(File::open(root)?)?;
        let next = root.join("checkpoint.next");
        let file = File::create(&next)?;
        file.set_modified(begun)?;
        file.sync_all()?;
        fs::rename(&next, root.join("checkpoint"))
    }
}

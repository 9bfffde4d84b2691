//! What is known to be on the medium.
//!
//! Blobs are published without waiting for the medium. A power cut can then leave a file under its
//! final name whose bytes never arrived. So every few seconds, if something was committed, the file
//! system is synced and a checkpoint is written whose mtime is a moment before that sync began. At
//! start, a file that changed before the checkpoint is sound; a younger one is hashed before it is
//! first served. A process that is killed costs the same check, and nothing else.
//!
//! A sync that fails says that pages were lost, once, and not which. Then everything committed since the
//! last sync that did not fail is deleted, and what was being written at that moment is not committed.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::digest::Digest;

/// Clock granularity of file times, doubled: a file this close to the checkpoint counts as younger.
const MARGIN: Duration = Duration::from_millis(20);

/// The moment before which everything is on the medium.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// The checkpoint of the last process, by the clock of the file system.
    at_start: Mutex<Option<SystemTime>>,
    /// The root directory, open since the start: the kernel tells each descriptor of a write-back error
    /// once, and a new one would not hear of an older error.
    root: Mutex<File>,
    recent: Mutex<Recent>,
    /// Held by the one thread that syncs.
    syncing: Mutex<()>,
    /// `syncfs`; tests have one that fails.
    pub(super) sync: Mutex<fn(&File) -> io::Result<()>>,
}

/// What happened since the last sync.
#[derive(Debug, Default)]
struct Recent {
    blobs: Vec<Digest>,
    is_dirty: bool,
    failures: Failures,
}

/// How many syncs have failed. A file begun at one count and finished at another may have lost pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures(u64);

impl Checkpoint {
    /// Reads the checkpoint of the last process.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let at_start = match fs::metadata(root.join("checkpoint")) {
            Ok(metadata) => Some(metadata.modified()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let root = File::open(root)?;
        Ok(Self {
            at_start: Mutex::new(at_start),
            root: Mutex::new(root),
            recent: Mutex::default(),
            syncing: Mutex::default(),
            sync: Mutex::new(|root| Ok(rustix::fs::syncfs(root)?)),
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
        self.at_start.lock().is_some_and(|at| changed + MARGIN < at)
    }

    /// Returns the count to begin a file at.
    pub(super) fn failures(&self) -> Failures {
        self.recent.lock().failures
    }

    /// Publishes a blob that was begun at `begun`, and remembers it until the next sync.
    ///
    /// # Errors
    /// The publisher's, or `Other` when a sync has failed since the file was begun.
    pub(super) fn commit(
        &self,
        digest: &Digest,
        begun: Failures,
        publish: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut recent = self.recent.lock();
        if recent.failures != begun {
            return Err(io::Error::other(
                "the file system lost writes while the blob was filled",
            ));
        }
        publish()?;
        recent.blobs.push(*digest);
        recent.is_dirty = true;
        Ok(())
    }

    /// Notes that something was published that proves itself whenever it is read.
    pub(super) fn note(&self) {
        self.recent.lock().is_dirty = true;
    }

    /// Syncs the file system and, if it `marks`, moves the checkpoint, if something was published since the last
    /// time.
    ///
    /// # Errors
    /// What failed, and what it cost.
    pub(super) fn advance(&self, root: &Path, marks: bool) -> Result<(), Failed> {
        let _alone = self.syncing.lock();
        let mut young = {
            let mut recent = self.recent.lock();
            if !std::mem::take(&mut recent.is_dirty) {
                return Ok(());
            }
            std::mem::take(&mut recent.blobs)
        };
        // Made before the sync, so that its time is a moment before it, by the file system's own clock.
        let mark = marks.then(|| begin_mark(root));
        let synced = (*self.sync.lock())(&self.root.lock());
        if let Err(error) = synced {
            let mut recent = self.recent.lock();
            recent.failures.0 += 1;
            recent.is_dirty = true;
            young.append(&mut recent.blobs);
            return Err(Failed::Sync(error, young));
        }
        let marked = mark.map_or(Ok(()), |mark| mark.and_then(|mark| end_mark(&mark, root)));
        marked.map_err(|error| {
            // All of it is on the medium; only the next start does not know, and hashes it.
            self.recent.lock().is_dirty = true;
            Failed::Mark(error)
        })
    }

    /// Takes nothing for granted any more: the root directory was away, and may be on another file system.
    pub(super) fn reopen(&self, root: &Path) -> io::Result<()> {
        *self.root.lock() = File::open(root)?;
        *self.at_start.lock() = None;
        Ok(())
    }
}

/// Why a checkpoint did not move.
#[derive(Debug)]
pub(super) enum Failed {
    /// The sync failed: these blobs may have been lost by it.
    Sync(io::Error, Vec<Digest>),
    /// The mark could not be written: nothing was lost.
    Mark(io::Error),
}

fn begin_mark(root: &Path) -> io::Result<File> {
    let next = root.join("checkpoint.next");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create(&next)
}

fn end_mark(mark: &File, root: &Path) -> io::Result<()> {
    mark.sync_all()?;
    fs::rename(root.join("checkpoint.next"), root.join("checkpoint"))
}

//! What lies under a name in `partial/`, whose it is, and whether it is of use.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::Progress;
use super::sidecar::Sidecar;
use crate::store::{Store, is_vanished};

/// A file in `partial/` that nobody has written to for so long belongs to nobody.
pub(super) const PARTIAL_AGE_MAX: Duration = Duration::from_secs(900);

/// What was found under a name in `partial/`.
pub(super) enum Found {
    /// A sound file that nobody else has.
    Free(Unfinished),
    /// A sound file that another host may still believe to be its own.
    Abandoned(Unfinished),
    /// Somebody writes to it, or may.
    Busy,
    Gone,
    /// Something that is of no use, and why.
    Bad(String),
}

/// An unfinished file, opened and locked.
pub(super) struct Unfinished {
    pub(super) file: File,
    pub(super) metadata: Metadata,
    pub(super) sidecar: Sidecar,
}

impl Store {
    /// Opens what has a name in `partial/`, and finds out whose it is.
    ///
    /// # Errors
    /// Our own shortages. What the disk says is of that file alone.
    pub(super) fn examine(&self, name: &str, wall: SystemTime) -> io::Result<Found> {
        let path = self.layout.partials().join(name);
        let opened = open_to_write(&path).and_then(|file| {
            let metadata = file.metadata()?;
            Ok((file, metadata))
        });
        let (file, metadata) = match opened {
            Ok(opened) => opened,
            Err(error) => return judge(error),
        };
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        if locked == Err(Errno::WOULDBLOCK) {
            return Ok(Found::Busy);
        }
        let sidecar = match Sidecar::read(&path) {
            Ok(sidecar) => sidecar,
            Err(error) => return judge(error),
        };
        let boot = sidecar.as_ref().map_or("-", |sidecar| &sidecar.boot);
        let is_near = self.shelf.is_local || (boot != "-" && boot == self.shelf.boot);
        let is_sole = locked.is_ok() && is_near;
        if !is_sole && age(&metadata, wall) < PARTIAL_AGE_MAX {
            return Ok(Found::Busy);
        }
        let Some(sidecar) = sidecar else {
            return Ok(Found::Bad("its sidecar is damaged".to_owned()));
        };
        if let Some(why) = self.objection(&metadata, &sidecar.progress) {
            return Ok(Found::Bad(why.to_owned()));
        }
        let unfinished = Unfinished {
            file,
            metadata,
            sidecar,
        };
        Ok(if is_sole {
            Found::Free(unfinished)
        } else {
            Found::Abandoned(unfinished)
        })
    }

    /// Says what is wrong with a file, short of its bytes.
    fn objection(&self, metadata: &Metadata, progress: &Progress) -> Option<&'static str> {
        let length = progress.prefix_bytes..=progress.size_bytes;
        if !metadata.is_file() {
            Some("it is no file")
        } else if metadata.nlink() != 1 {
            Some("it has another name elsewhere")
        } else if !self.is_ours(metadata) {
            Some("it is somebody else's")
        } else if !length.contains(&metadata.len()) {
            Some("its length is not what its sidecar says")
        } else if progress.size_bytes > self.inventory.room().bytes_max() {
            Some("its blob is larger than the store")
        } else {
            None
        }
    }

    /// Says whether a file is of the user that we are, or that we become on a file system of a network.
    fn is_ours(&self, metadata: &Metadata) -> bool {
        let folder = fs::symlink_metadata(self.layout.partials());
        metadata.uid() == rustix::process::geteuid().as_raw()
            || folder.is_ok_and(|folder| folder.uid() == metadata.uid())
    }
}

/// Says what an error in opening a file says of it.
fn judge(error: io::Error) -> io::Result<Found> {
    match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Err(error),
        _ if is_vanished(&error) => Ok(Found::Gone),
        _ => Ok(Found::Bad(error.to_string())),
    }
}

/// Opens a file to read and write, without waiting if it is a pipe, and without following a link.
pub(super) fn open_to_write(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let mut options = File::options();
    options.read(true).write(true);
    options.custom_flags(flags.bits().cast_signed()).open(path)
}

/// Returns for how long nobody has written to a file.
pub(super) fn age(metadata: &Metadata, wall: SystemTime) -> Duration {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    wall.duration_since(modified).unwrap_or(Duration::ZERO)
}

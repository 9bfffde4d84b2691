//! The file of an unfinished fill.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::checkpoint::Failures;
use super::kept::beside;
use super::layout::Layout;
use super::publish::{Publish, unused_path};
use super::room::Reservation;
use crate::rt::close_later;

/// A file being written. Dropping it unpublished leaves no name behind; whoever has
/// [`Partial::file`] can still read it.
#[derive(Debug)]
pub struct Partial {
    file: Arc<File>,
    way: Publish,
    begun: Failures,
    /// Its name under `partial/`, if it has one.
    path: Option<PathBuf>,
    /// There is a sidecar beside it: see `kept`. Invariant: it has a name then.
    is_marked: bool,
    reserved: Option<Reservation>,
    is_published: bool,
}

impl Partial {
    pub(super) fn new(file: File, way: Publish, begun: Failures, path: Option<PathBuf>) -> Self {
        Self {
            file: Arc::new(file),
            way,
            begun,
            path,
            is_marked: false,
            reserved: None,
            is_published: false,
        }
    }

    /// Returns the one whose marked and locked file lies at `path`.
    pub(super) fn resumed(file: File, way: Publish, begun: Failures, path: PathBuf) -> Self {
        let mut partial = Self::new(file, way, begun, Some(path));
        partial.is_marked = true;
        partial
    }

    /// Gives it room to grow in.
    pub(super) fn within(mut self, reserved: Reservation) -> Self {
        self.reserved = Some(reserved);
        self
    }

    pub(super) const fn reserved(&mut self) -> Option<&mut Reservation> {
        self.reserved.as_mut()
    }

    /// Takes the room away, for the account of what is stored.
    pub(super) const fn take_reserved(&mut self) -> Option<Reservation> {
        self.reserved.take()
    }

    /// Returns the open file, to send from while it grows.
    #[must_use]
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Returns how many syncs had failed when the file was begun.
    pub(super) fn begun(&self) -> Failures {
        self.begun
    }

    /// Forces the bytes to the medium.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Writes all of `bytes` at `offset`.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Makes sure that it has a name under `partial/`, which it returns, and is locked.
    pub(super) fn give_name(&mut self, layout: &Layout) -> io::Result<PathBuf> {
        if !self.is_marked {
            // Before there is a sidecar, so that nobody takes it for one that was left. Where there are no locks,
            // its age has to tell.
            let _ = flock(&self.file, FlockOperation::NonBlockingLockExclusive);
        }
        if let Some(path) = &self.path {
            return Ok(path.clone());
        }
        let path = unused_path(layout);
        self.way.name(&self.file, None, &path)?;
        self.path = Some(path.clone());
        Ok(path)
    }

    pub(super) const fn set_marked(&mut self) {
        self.is_marked = true;
    }

    /// Takes its sidecar away.
    pub(super) fn unmark(&mut self) {
        if let Some(path) = &self.path
            && std::mem::take(&mut self.is_marked)
        {
            drop(fs::remove_file(beside(path)));
        }
    }

    /// Returns its name in `partial/`, if there is a sidecar beside it.
    pub(super) fn marked_name(&self) -> Option<String> {
        let path = self.path.as_ref().filter(|_| self.is_marked)?;
        Some(path.file_name()?.to_str()?.to_owned())
    }

    /// Leaves file and sidecar to whoever comes, and returns the room.
    pub(super) fn leave(mut self) -> Option<Reservation> {
        self.path = None;
        self.is_marked = false;
        // Not left to the close: followers may have it open for long.
        let _ = flock(&self.file, FlockOperation::Unlock);
        self.reserved.take()
    }

    /// Gives the file its final name.
    pub(super) fn publish(mut self, to: &Path) -> io::Result<()> {
        self.unmark();
        let published = self.way.publish(&self.file, self.path.as_deref(), to);
        if published.is_ok() && self.way == Publish::Rename {
            self.path = None;
        }
        self.is_published = published.is_ok();
        published
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.unmark();
        if let Some(path) = &self.path {
            drop(fs::remove_file(path));
        }
        // It may be dropped by the task of its fill, on a core, and its pages go with it.
        if !self.is_published {
            close_later(&self.file);
        }
    }
}

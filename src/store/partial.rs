//! The file of an unfinished fill.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::Failures;
use super::publish::Publish;
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
            reserved: None,
            is_published: false,
        }
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

    /// Gives the file its final name.
    pub(super) fn publish(mut self, to: &Path) -> io::Result<()> {
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
        if let Some(path) = &self.path {
            drop(fs::remove_file(path));
        }
        // It may be dropped by the task of its fill, on a core, and its pages go with it.
        if !self.is_published {
            close_later(&self.file);
        }
    }
}

//! One file of the source: which way it comes in, and what is wrong with it.

use std::fs::{self, File, FileTimes};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::SystemTime;

use rustix::io::Errno;

use super::{Event, Form, Target, Trouble, media_type};
use crate::digest::{Digest, Hasher};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::store::gentle::{self, PIECE_BYTES};
use crate::store::is_vanished;
use crate::store::layout::Kind;
use crate::store::manifest::{self, Manifest};
use crate::store::partial::Partial;
use crate::store::publish::Publish;
use crate::store::walk::Stored;

/// Longest first line of a manifest of ours, in bytes: a media type and its end.
const MEDIA_TYPE_LINE_BYTES_MAX: u64 = 256;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Linked,
    Cloned,
    Copied,
    Here,
    Damaged,
    NoManifest,
    Vanished,
}

/// Why nothing became of it.
#[derive(Debug)]
pub(super) enum Failure {
    /// It could not be read.
    Source(io::Error),
    /// It could not be stored, and the next would not be either.
    Target(io::Error),
}

/// How a blob's bytes get here, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Way {
    Link,
    Clone,
    Copy,
}

/// Imports files of one source into one target.
pub(super) struct Importer<'a> {
    target: &'a Target,
    form: Form,
    told: &'a (dyn Fn(Event<'_>) + Sync),
    /// The best way that has not failed yet, as a [`Way`].
    way: AtomicU8,
    told_private: AtomicBool,
}

/// Tells of the bytes of one file, each once however often it is read.
struct Gauge<'a> {
    told: &'a (dyn Fn(Event<'_>) + Sync),
    left: u64,
}

impl Gauge<'_> {
    fn pass(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        (self.told)(Event::Done(bytes));
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.pass(self.left);
    }
}

impl<'a> Importer<'a> {
    pub(super) fn new(
        target: &'a Target,
        form: Form,
        copy: bool,
        told: &'a (dyn Fn(Event<'_>) + Sync),
    ) -> Self {
        let way = if copy { Way::Copy } else { Way::Link };
        Self {
            target,
            form,
            told,
            way: AtomicU8::new(way as u8),
            told_private: AtomicBool::new(false),
        }
    }

    pub(super) fn import(&self, stored: &Stored) -> Result<Outcome, Failure> {
        let mut gauge = Gauge {
            told: self.told,
            left: stored.metadata.len(),
        };
        if self.is_here(stored)? {
            return Ok(Outcome::Here);
        }
        match stored.kind {
            Kind::Blob => self.blob(stored, &mut gauge),
            Kind::Manifest => self.manifest(stored),
        }
    }

    /// Says whether a file of the right length has the name. A registry's manifest grows by its first line.
    fn is_here(&self, stored: &Stored) -> Result<bool, Failure> {
        let path = self.target.layout.path(stored.kind, &stored.digest);
        let theirs = stored.metadata.len();
        let line = match (stored.kind, self.form) {
            (Kind::Manifest, Form::Registry) => 1..=MEDIA_TYPE_LINE_BYTES_MAX,
            _ => 0..=0,
        };
        match fs::symlink_metadata(&path) {
            Ok(ours) => Ok(ours.is_file()
                && ours
                    .len()
                    .checked_sub(theirs)
                    .is_some_and(|more| line.contains(&more))),
            Err(error) if is_vanished(&error) => Ok(false),
            Err(error) => Err(target_error(&path, &error)),
        }
    }

    fn blob(&self, stored: &Stored, gauge: &mut Gauge<'_>) -> Result<Outcome, Failure> {
        let file = match gentle::open(&stored.path) {
            Ok(file) => file,
            Err(error) if is_vanished(&error) => return Ok(Outcome::Vanished),
            Err(error) => return Err(Failure::Source(error)),
        };
        if self.may(Way::Link) && self.is_public(stored) {
            if hash(&stored.digest, &file, gauge)? != stored.digest {
                return Ok(Outcome::Damaged);
            }
            if let Some(outcome) = self.link(stored, &file)? {
                return Ok(outcome);
            }
        }
        if self.may(Way::Clone)
            && let Some(outcome) = self.clone(stored, &file, gauge)?
        {
            return Ok(outcome);
        }
        self.copy(stored, &file, gauge)
    }

    fn may(&self, way: Way) -> bool {
        way as u8 >= self.way.load(Ordering::Relaxed)
    }

    /// Does not try `way` again.
    fn give_up(&self, way: Way) {
        self.way.fetch_max(way as u8 + 1, Ordering::Relaxed);
    }

    /// Says whether who serves could read the file through a link.
    fn is_public(&self, stored: &Stored) -> bool {
        let is_public = self.target.owner.may_read(&stored.metadata);
        if !is_public && !self.told_private.swap(true, Ordering::Relaxed) {
            (self.told)(Event::Trouble(&stored.path, Trouble::Private));
        }
        is_public
    }

    /// Gives the very file that was hashed its name here; `None` if that cannot be done.
    fn link(&self, stored: &Stored, file: &File) -> Result<Option<Outcome>, Failure> {
        touch(file);
        let to = self.target.layout.path(Kind::Blob, &stored.digest);
        let error = match Publish::LinkUnnamed.publish(file, None, &to) {
            Ok(()) => return Ok(Some(Outcome::Linked)),
            Err(error) => error,
        };
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            // It has as many names as it can have.
            Some(Errno::MLINK) => Ok(None),
            Some(Errno::XDEV | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.give_up(Way::Link);
                Ok(None)
            }
            Some(Errno::NOENT) => Ok(Some(Outcome::Vanished)),
            _ => Err(target_error(&to, &error)),
        }
    }

    /// Makes a file that shares the blocks, hashes that, and publishes it; `None` if that cannot be done.
    fn clone(
        &self,
        stored: &Stored,
        file: &File,
        gauge: &mut Gauge<'_>,
    ) -> Result<Option<Outcome>, Failure> {
        let partial = self.begin()?;
        let ours = partial.file();
        if rustix::fs::ioctl_ficlone(&ours, file).is_err() {
            self.give_up(Way::Clone);
            return Ok(None);
        }
        if hash(&stored.digest, &ours, gauge)? != stored.digest {
            return Ok(Some(Outcome::Damaged));
        }
        self.publish(stored, partial)?;
        Ok(Some(Outcome::Cloned))
    }

    fn copy(
        &self,
        stored: &Stored,
        file: &File,
        gauge: &mut Gauge<'_>,
    ) -> Result<Outcome, Failure> {
        let partial = self.begin()?;
        let mut hasher = Hasher::new(stored.digest.algorithm());
        each_piece(file, gauge, |piece, offset| {
            hasher.update(piece);
            partial
                .write(piece, offset)
                .map_err(|error| target_error(self.target.layout.root(), &error))
        })?;
        if hasher.finish() != stored.digest {
            return Ok(Outcome::Damaged);
        }
        self.publish(stored, partial)?;
        Ok(Outcome::Copied)
    }

    /// A manifest is small and comes with its media type in front: it is written anew.
    fn manifest(&self, stored: &Stored) -> Result<Outcome, Failure> {
        let bound = MANIFEST_BYTES_MAX as u64 + MEDIA_TYPE_LINE_BYTES_MAX;
        if stored.metadata.len() > bound {
            return Ok(Outcome::NoManifest);
        }
        let content = match fs::read(&stored.path) {
            Ok(content) => content,
            Err(error) if is_vanished(&error) => return Ok(Outcome::Vanished),
            Err(error) => return Err(Failure::Source(error)),
        };
        let manifest = match self.form {
            Form::Transship => match manifest::decode(&content) {
                Some(manifest) => manifest,
                None => return Ok(Outcome::Damaged),
            },
            Form::Registry => Manifest {
                media_type: media_type::of_manifest(&content).unwrap_or_default(),
                bytes: content,
            },
        };
        if Digest::of(stored.digest.algorithm(), &manifest.bytes) != stored.digest {
            return Ok(Outcome::Damaged);
        }
        if manifest.media_type.is_empty() {
            return Ok(Outcome::NoManifest);
        }
        let partial = self.begin()?;
        let to = self.target.layout.path(Kind::Manifest, &stored.digest);
        partial
            .write(&manifest.encode(), 0)
            .and_then(|()| partial.publish(&to))
            .map_err(|error| target_error(&to, &error))?;
        Ok(Outcome::Copied)
    }

    fn begin(&self) -> Result<Partial, Failure> {
        let target = self.target;
        target
            .publish
            .begin(&target.layout, target.checkpoint.failures())
            .and_then(|partial| target.owner.adopt(&partial.file()).map(|()| partial))
            .map_err(|error| target_error(target.layout.root(), &error))
    }

    fn publish(&self, stored: &Stored, partial: Partial) -> Result<(), Failure> {
        let target = self.target;
        let to = target.layout.path(stored.kind, &stored.digest);
        let begun = partial.begun();
        target
            .checkpoint
            .commit(&stored.digest, begun, || partial.publish(&to))
            .map_err(|error| target_error(&to, &error))
    }
}

fn target_error(path: &Path, error: &io::Error) -> Failure {
    Failure::Target(crate::store::about(path, error))
}

/// Marks the file as used at this moment, lest a blob of last year go at once for not having been pulled.
/// The owner of the file alone may; where another imports, the time of the file itself counts.
fn touch(file: &File) {
    let _ = file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
}

fn hash(digest: &Digest, file: &File, gauge: &mut Gauge<'_>) -> Result<Digest, Failure> {
    let mut hasher = Hasher::new(digest.algorithm());
    each_piece(file, gauge, |piece, _| {
        hasher.update(piece);
        Ok(())
    })?;
    Ok(hasher.finish())
}

/// Reads a file to its end, as long as that was when it was opened.
fn each_piece(
    file: &File,
    gauge: &mut Gauge<'_>,
    mut piece_read: impl FnMut(&[u8], u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let size_bytes = file.metadata().map_err(Failure::Source)?.len();
    let mut buffer = vec![0; PIECE_BYTES];
    let mut offset = 0;
    while offset < size_bytes {
        let count = gentle::read(file, &mut buffer, offset).map_err(Failure::Source)?;
        if count == 0 {
            break;
        }
        piece_read(&buffer[..count], offset)?;
        offset += count as u64;
        gauge.pass(count as u64);
    }
    Ok(())
}

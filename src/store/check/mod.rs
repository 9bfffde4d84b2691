//! One stored file on its way through the hash, and what is done with it when it is not what its name says.
//!
//! ```text
//!  open ─▶ piece ─▶ piece ─▶ … ─▶ end ─▶ digest equal ──────────────────────▶ Sound
//!            │                     ╰───▶ not equal ─▶ still that file? ─ yes ─▶ Rotten
//!            ╰─ the medium cannot read it ───────────────────┴─ no ──────────▶ Vanished
//! ```
//!
//! A file may be evicted, or replaced by a new fill, while it is read. Only what still has the name, and was
//! not written to since it was opened, is condemned.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;

use super::gentle::{self, PIECE_BYTES};
use super::is_vanished;
use super::layout::{Kind, Layout};
use super::manifest;
use super::quarantine::{self, Fate};
use super::walk::Stored;
use crate::digest::{Digest, Hasher};
use crate::limits::MANIFEST_BYTES_MAX;

/// Bytes of a manifest's file above the manifest's own: the line with its media type.
const MEDIA_TYPE_LINE_BYTES_MAX: usize = 64 * 1024;

/// Files in a row that the medium could not read. With more it is the disk that fails, not a file, and
/// emptying it file by file would make a cable that came loose cost the whole store.
const UNREADABLE_MAX: u32 = 8;

/// What is known of a file after it was read.
#[derive(Debug)]
pub enum Finding {
    /// Its bytes are what its name says.
    Sound,
    /// They are not, or the medium cannot give them back. `fate` is where the file went; `None` if it was
    /// to be left, an error if it could not be taken away.
    Rotten {
        /// What the medium said, if it did.
        error: Option<io::Error>,
        /// What was done with it.
        fate: Option<io::Result<Fate>>,
    },
    /// It could not be read, which says nothing about it.
    Unreadable(io::Error),
    /// It was deleted or replaced meanwhile.
    Vanished,
}

/// A file that was checked.
#[derive(Debug)]
pub struct Checked {
    /// Whether it is a blob or a manifest.
    pub kind: Kind,
    /// The digest that it is named for.
    pub digest: Digest,
    /// Its length on disk.
    pub size_bytes: u64,
    /// What came of it.
    pub finding: Finding,
}

/// A file being read.
pub(super) struct Check {
    stored: Stored,
    file: File,
    opened: Metadata,
    hasher: Hasher,
    offset: u64,
}

/// What reading said.
pub(super) enum Verdict {
    Sound,
    Rotten(Option<io::Error>),
    Unreadable(io::Error),
    Vanished,
}

impl Check {
    pub(super) fn open(stored: Stored) -> Result<Self, Box<(Stored, Verdict)>> {
        let opened = gentle::open(&stored.path).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((opened, file)) => Ok(Self {
                hasher: Hasher::new(stored.digest.algorithm()),
                stored,
                file,
                opened,
                offset: 0,
            }),
            Err(error) => Err(Box::new((stored, verdict_of(error)))),
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next piece: a `None` says that there is more to read.
    pub(super) fn step(&mut self, piece: &mut [u8]) -> Option<Verdict> {
        if self.file.metadata().is_ok_and(|now| now.nlink() == 0) {
            // Whoever deleted it wants its room.
            return Some(Verdict::Vanished);
        }
        let outcome = match self.stored.kind {
            Kind::Blob => self.piece(piece),
            Kind::Manifest => self.whole(piece).map(Some),
        };
        match outcome {
            Ok(None) => None,
            Ok(Some(true)) => Some(Verdict::Sound),
            Ok(Some(false)) => Some(self.condemn(None)),
            Err(error) => Some(match verdict_of(error) {
                Verdict::Rotten(error) => self.condemn(error),
                other => other,
            }),
        }
    }

    /// Reads the next piece of a blob; at its end says whether it is sound.
    fn piece(&mut self, piece: &mut [u8]) -> io::Result<Option<bool>> {
        let count = gentle::read(&self.file, piece, self.offset)?;
        self.hasher.update(&piece[..count]);
        self.offset += count as u64;
        // One that grows under the reader ends here as well.
        if count == piece.len() && self.offset < self.opened.len() {
            return Ok(None);
        }
        let is_sound =
            self.offset == self.opened.len() && self.hasher.clone().finish() == self.stored.digest;
        Ok(Some(is_sound))
    }

    /// Reads a manifest, which is small, and says whether it is sound.
    fn whole(&mut self, piece: &mut [u8]) -> io::Result<bool> {
        let size_bytes = usize::try_from(self.opened.len()).unwrap_or(usize::MAX);
        if size_bytes > MANIFEST_BYTES_MAX + MEDIA_TYPE_LINE_BYTES_MAX {
            return Ok(false);
        }
        let mut content = Vec::with_capacity(size_bytes);
        while content.len() < size_bytes {
            let count = gentle::read(&self.file, piece, content.len() as u64)?;
            if count == 0 {
                break;
            }
            content.extend_from_slice(&piece[..count]);
        }
        self.offset = content.len() as u64;
        let digest = self.stored.digest;
        Ok(manifest::decode(&content)
            .is_some_and(|manifest| Digest::of(digest.algorithm(), &manifest.bytes) == digest))
    }

    /// Condemns the file if it is still the one that was opened, under its name and unwritten.
    fn condemn(&self, error: Option<io::Error>) -> Verdict {
        let is_same = |now: &Metadata| {
            (now.dev(), now.ino(), now.len())
                == (self.opened.dev(), self.opened.ino(), self.opened.len())
                && (now.mtime(), now.mtime_nsec())
                    == (self.opened.mtime(), self.opened.mtime_nsec())
        };
        match fs::symlink_metadata(&self.stored.path) {
            Ok(now) if is_same(&now) => Verdict::Rotten(error),
            _ => Verdict::Vanished,
        }
    }

    pub(super) fn into_stored(self) -> Stored {
        self.stored
    }
}

/// Sorts an error by whose fault it is: the medium's at this place, or anybody's.
fn verdict_of(error: io::Error) -> Verdict {
    if is_vanished(&error) {
        Verdict::Vanished
    } else if is_of_medium(&error) {
        Verdict::Rotten(Some(error))
    } else {
        Verdict::Unreadable(error)
    }
}

/// Says whether the medium could not give back what was written to it, or less than that, rather than somebody
/// not letting us read.
pub(super) fn is_of_medium(error: &io::Error) -> bool {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return true;
    }
    let number = Errno::from_io_error(error);
    let medium = [Errno::IO, Errno::UCLEAN, Errno::BADMSG];
    number.is_some_and(|number| medium.contains(&number))
}

/// Acts on verdicts.
#[derive(Debug)]
pub(super) struct Judge {
    layout: Layout,
    /// Damaged files are told of and left.
    keep: bool,
    unreadable_in_a_row: AtomicU32,
}

impl Judge {
    pub(super) const fn new(layout: Layout, keep: bool) -> Self {
        Self {
            layout,
            keep,
            unreadable_in_a_row: AtomicU32::new(0),
        }
    }

    /// Reads a file from its start to its end, and acts.
    ///
    /// - `read`: told of bytes as they are read.
    pub(super) fn check(&self, stored: Stored, mut read: impl FnMut(u64)) -> Checked {
        let mut check = match Check::open(stored) {
            Ok(check) => check,
            Err(unopened) => {
                let (stored, verdict) = *unopened;
                return self.act(&stored, verdict);
            }
        };
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let before = check.offset();
            let verdict = check.step(&mut piece);
            read(check.offset() - before);
            if let Some(verdict) = verdict {
                return self.act(&check.stored, verdict);
            }
        }
    }

    /// Takes a rotten file out of the store, and says what came of the check.
    pub(super) fn act(&self, stored: &Stored, verdict: Verdict) -> Checked {
        Checked {
            kind: stored.kind,
            digest: stored.digest,
            size_bytes: stored.metadata.len(),
            finding: self.finding(stored, verdict),
        }
    }

    fn finding(&self, stored: &Stored, verdict: Verdict) -> Finding {
        match verdict {
            Verdict::Sound => {
                self.unreadable_in_a_row.store(0, Ordering::Relaxed);
                Finding::Sound
            }
            Verdict::Vanished => Finding::Vanished,
            Verdict::Unreadable(error) => Finding::Unreadable(error),
            Verdict::Rotten(Some(error))
                if self.unreadable_in_a_row.fetch_add(1, Ordering::Relaxed) >= UNREADABLE_MAX =>
            {
                Finding::Unreadable(error)
            }
            Verdict::Rotten(error) => Finding::Rotten {
                error,
                fate: (!self.keep)
                    .then(|| quarantine::put(&self.layout, stored.kind, &stored.digest)),
            },
        }
    }
}

#[cfg(test)]
mod tests;

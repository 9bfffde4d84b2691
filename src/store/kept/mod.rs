//! Unfinished files that outlive their fill, or its process, for the next fill of the blob to go on with.
//!
//! ```text
//!   begin ──▶ running ── mark ──▶ marked ── keep, or the process ends ──▶ lying ── take_kept ──▶ marked
//!                │                  │                                       │
//!                ╰── commit, drop ──┴──▶ no name left                       ╰── age, room, damage ──▶ no name left
//! ```
//!
//! A marked file has a name in `partial/` that no other ever has, and a [`sidecar`] beside it that says what its
//! first bytes hash to. Bytes behind that prefix are not counted on: the file is sparse, and they are written anew.
//!
//! Invariants
//! - A prefix is hashed again before anything is appended to it. What a power cut has left of it, or a disk, is
//!   found then, and what is wrong in any way is removed.
//! - Nobody writes to a file that somebody else may be writing to, since bytes that were hashed could change. Who
//!   writes holds a lock on the file (`flock`). On a file system of this host alone, or under the same boot, that
//!   tells all. Elsewhere the lock may be known to one host only, so a file has to be untouched for
//!   [`found::PARTIAL_AGE_MAX`] as well, and its prefix is then copied into a new file instead of being appended to.
//! - Who takes a file renames its sidecar first: of two, one finds it gone. It is still marked, so that a process
//!   that is killed while it hashes loses nothing.
//! - A sidecar goes before its file is published: no file that is both a blob and marked could be written to.

mod found;
mod look;
mod shelf;
mod sidecar;
#[cfg(test)]
mod tests;

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

pub(super) use shelf::Shelf;
pub(super) use sidecar::beside;

use super::publish::unused_name;
use super::room::Reservation;
use super::{Partial, Store};
use crate::digest::{Digest, Hasher};
use found::{Found, Unfinished};
use shelf::Lying;
use sidecar::Sidecar;

/// Bytes that are read at a time to hash a prefix.
const PIECE_BYTES: usize = 1024 * 1024;

/// How far a fill has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What the whole blob is to hash to.
    pub digest: Digest,
    /// Length of the whole blob, in bytes.
    pub size_bytes: u64,
    /// How many bytes from the first one on were written and hashed.
    pub prefix_bytes: u64,
    /// What those hash to, by the digest's own algorithm.
    pub prefix_digest: Digest,
}

/// An unfinished file that was kept, to be gone on with.
pub struct Kept {
    /// The file, in room that is reserved for the whole blob.
    pub partial: Partial,
    /// Bytes from the first one on that are there and were hashed just now.
    pub prefix_bytes: u64,
    /// Length of the whole blob, in bytes, as its next hop said when it was begun.
    pub size_bytes: u64,
    /// Has been fed those bytes.
    pub hasher: Hasher,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Kept({} of {} bytes)",
            self.prefix_bytes, self.size_bytes
        )
    }
}

/// What came of taking a file.
enum Taken {
    Kept(Box<Kept>),
    Busy,
    Gone,
    Bad(String),
}

impl Store {
    /// Makes sure that an unfinished file outlives the process, up to `progress`. May block, for about as long
    /// as two small files take; forces nothing to the medium.
    ///
    /// Does nothing for a prefix that is not worth it.
    ///
    /// # Errors
    /// The disk's. The fill can go on: at worst its file is what the last mark has made of it.
    pub fn mark(&self, partial: &mut Partial, progress: &Progress) -> io::Result<()> {
        if !progress.is_sane() {
            return Ok(());
        }
        if partial.begun() != self.checkpoint.failures() {
            partial.unmark();
            return Err(io::Error::other("the file system lost writes"));
        }
        let path = partial.give_name(&self.layout)?;
        Sidecar::new(*progress, &self.shelf.boot).write(&path)?;
        partial.set_marked();
        Ok(())
    }

    /// Leaves an unfinished file to the next fill of its blob, if it is worth it, and drops it otherwise. May
    /// block.
    ///
    /// Not to be called where the digest of the whole was found to differ.
    pub fn keep(&self, mut partial: Partial, progress: &Progress) {
        let digest = progress.digest;
        if let Err(error) = self.mark(&mut partial, progress) {
            tracing::debug!(%digest, %error, "an unfinished blob could not be marked");
        }
        // What an earlier mark says is as good, of less.
        let Some(name) = partial.marked_name() else {
            return;
        };
        let Ok(metadata) = partial.file().metadata() else {
            return;
        };
        let lying = Lying {
            name,
            prefix_bytes: progress.prefix_bytes,
            disk_bytes: disk_bytes(&metadata, progress),
            since: SystemTime::now(),
            begun: partial.begun(),
        };
        let reserved = partial.leave();
        self.put_on_shelf(&digest, lying);
        // Not before: in between nobody could count on it.
        drop(reserved);
        tracing::debug!(%digest, prefix_bytes = progress.prefix_bytes, "an unfinished blob is kept");
    }

    /// Returns the unfinished file of a blob to go on with, and its prefix hashed again. Nobody else gets the
    /// same one. Blocks for as long as it takes to read and hash the prefix.
    ///
    /// One that is damaged in any way is removed, and `None`. Dropping what is returned removes it, too: see
    /// [`Store::keep`].
    ///
    /// - `size_bytes`: how large the blob is, where that is known; what was begun of one of another size stays.
    ///
    /// # Errors
    /// As [`Store::begin`]; it is kept then.
    pub fn take_kept(&self, digest: &Digest, size_bytes: Option<u64>) -> io::Result<Option<Kept>> {
        let Some((mut lying, reserved)) = self.shelf.take(digest) else {
            return Ok(None);
        };
        match self.resume(digest, size_bytes, &mut lying, reserved) {
            Ok(Taken::Kept(kept)) => {
                let numbers = self.inventory.numbers();
                let resumed_bytes = kept.prefix_bytes;
                numbers
                    .resumed_bytes
                    .fetch_add(resumed_bytes, Ordering::Relaxed);
                tracing::info!(%digest, resumed_bytes, size_bytes = kept.size_bytes, "a fill goes on where another one ended");
                Ok(Some(*kept))
            }
            Ok(Taken::Gone) => Ok(None),
            Ok(Taken::Busy) => {
                self.put_on_shelf(digest, lying);
                Ok(None)
            }
            Ok(Taken::Bad(why)) => {
                self.reject(&lying.name, &why);
                Ok(None)
            }
            Err(error) => {
                self.put_on_shelf(digest, lying);
                Err(error)
            }
        }
    }

    /// Says whether there may be an unfinished file of a blob. Costs a read lock of a small table; never blocks
    /// on disk.
    #[must_use]
    pub fn has_kept(&self, digest: &Digest) -> bool {
        self.shelf.has(digest)
    }

    /// Returns how many bytes the unfinished file of a blob should have, if there is one. Costs as
    /// [`Store::has_kept`].
    #[must_use]
    pub fn kept_bytes(&self, digest: &Digest) -> Option<u64> {
        self.shelf.prefix_bytes(digest)
    }

    /// Opens a kept file, hashes its prefix and makes room for the rest.
    ///
    /// - `reserved`: what it takes of the disk.
    fn resume(
        &self,
        digest: &Digest,
        size_bytes: Option<u64>,
        lying: &mut Lying,
        mut reserved: Reservation,
    ) -> io::Result<Taken> {
        if lying.begun != self.checkpoint.failures() {
            return Ok(Taken::Bad("the file system lost writes".to_owned()));
        }
        let found = {
            let _asking = self.shelf.asking.lock();
            self.examine(&lying.name, SystemTime::now())?
        };
        let (unfinished, is_sole) = match found {
            Found::Free(unfinished) => (unfinished, true),
            Found::Abandoned(unfinished) => (unfinished, false),
            Found::Busy => return Ok(Taken::Busy),
            Found::Gone => return Ok(Taken::Gone),
            Found::Bad(why) => return Ok(Taken::Bad(why)),
        };
        let progress = unfinished.sidecar.progress;
        if progress.digest != *digest {
            return Ok(Taken::Bad("it is another blob's".to_owned()));
        }
        // One of the two who said how large the blob is was wrong, and it may be the one who says so now.
        if size_bytes.is_some_and(|size| size != progress.size_bytes) {
            return Ok(Taken::Busy);
        }
        if is_sole {
            let rest = progress.size_bytes.saturating_sub(reserved.bytes());
            self.take_room(rest)?;
            reserved.grow(rest);
            let to_write = progress.size_bytes - progress.prefix_bytes;
            reserved.write_anew(to_write.saturating_sub(rest));
        }
        if !self.claim(lying)? {
            return Ok(Taken::Gone);
        }
        if is_sole {
            self.go_on_in(unfinished, lying, reserved)
        } else {
            self.go_on_from(&unfinished, lying)
        }
    }

    /// Goes on in the very file.
    fn go_on_in(
        &self,
        unfinished: Unfinished,
        lying: &Lying,
        reserved: Reservation,
    ) -> io::Result<Taken> {
        let progress = unfinished.sidecar.progress;
        let hasher = match hash_prefix(&unfinished.file, &progress, |_, _| Ok(()))? {
            Ok(hasher) => hasher,
            Err(why) => return Ok(Taken::Bad(why)),
        };
        let path = self.layout.partials().join(&lying.name);
        let way = *self.publish.read();
        let partial = Partial::resumed(unfinished.file, way, lying.begun, path).within(reserved);
        Ok(Taken::Kept(Box::new(Kept::new(partial, &progress, hasher))))
    }

    /// Goes on in a copy, and removes the file that another host may still write to.
    fn go_on_from(&self, unfinished: &Unfinished, lying: &Lying) -> io::Result<Taken> {
        let progress = unfinished.sidecar.progress;
        let mut partial = self.begin(Some(progress.size_bytes))?;
        let copied = hash_prefix(&unfinished.file, &progress, |piece, offset| {
            self.write(&mut partial, piece, offset)
        });
        let hasher = match copied? {
            Ok(hasher) => hasher,
            Err(why) => return Ok(Taken::Bad(why)),
        };
        self.discard(&lying.name);
        Ok(Taken::Kept(Box::new(Kept::new(partial, &progress, hasher))))
    }

    /// Gives a file and its sidecar another name; says whether they were there. Of several who do, one does.
    fn claim(&self, lying: &mut Lying) -> io::Result<bool> {
        let name = unused_name();
        let partials = self.layout.partials();
        let (from, to) = (partials.join(&lying.name), partials.join(&name));
        let claimed = fs::rename(beside(&from), beside(&to)).and_then(|()| fs::rename(&from, &to));
        match claimed {
            Ok(()) => {
                lying.name = name;
                Ok(true)
            }
            Err(error) if super::is_vanished(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn put_on_shelf(&self, digest: &Digest, lying: Lying) {
        let has_room = || !self.shelf.is_full() || self.shelf.has(digest);
        while !has_room() && self.drop_oldest_kept().is_some() {}
        if let Some(superfluous) = self.shelf.put(digest, lying) {
            self.discard(&superfluous.name);
        }
    }

    /// Deletes kept files until `bytes` have gone, and as many as `files`, in the order of their age. Returns
    /// how many bytes have, and takes what has gone off `files`.
    pub(super) fn evict_kept(&self, bytes: u64, files: &mut u64) -> u64 {
        let mut gone = 0;
        while gone < bytes || *files > 0 {
            let Some(freed) = self.drop_oldest_kept() else {
                break;
            };
            gone += freed;
            *files = files.saturating_sub(1);
        }
        gone
    }

    /// Returns how many bytes it took.
    fn drop_oldest_kept(&self) -> Option<u64> {
        self.drop_kept(&self.shelf.oldest()?)
    }

    /// Deletes the kept file of a blob, if there is one.
    pub(super) fn drop_kept(&self, digest: &Digest) -> Option<u64> {
        if !self.shelf.has(digest) {
            return None;
        }
        let (lying, reserved) = self.shelf.take(digest)?;
        self.discard(&lying.name);
        drop(reserved);
        Some(lying.disk_bytes)
    }

    /// Removes what is of no use.
    fn reject(&self, name: &str, why: &str) {
        tracing::warn!(
            name,
            why,
            "an unfinished blob that was kept cannot be used: removed, and fetched from its first byte"
        );
        let numbers = self.inventory.numbers();
        numbers.rejected_partials.fetch_add(1, Ordering::Relaxed);
        self.discard(name);
    }

    /// Removes a file and its sidecar, the sidecar first.
    fn discard(&self, name: &str) {
        let path = self.layout.partials().join(name);
        for path in [beside(&path), path] {
            if let Err(error) = fs::remove_file(&path)
                && !super::is_vanished(&error)
            {
                tracing::debug!(path = %path.display(), %error, "not removed");
            }
        }
    }
}

impl Kept {
    fn new(partial: Partial, progress: &Progress, hasher: Hasher) -> Self {
        Self {
            partial,
            prefix_bytes: progress.prefix_bytes,
            size_bytes: progress.size_bytes,
            hasher,
        }
    }
}

/// Hashes a prefix, and gives each piece of it to `each`. A prefix that is not what `progress` says is `Ok(Err)`.
///
/// # Errors
/// What `each` says.
fn hash_prefix(
    file: &File,
    progress: &Progress,
    mut each: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<Result<Hasher, String>> {
    let mut hasher = Hasher::new(progress.digest.algorithm());
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = 0;
    while offset < progress.prefix_bytes {
        let rest = usize::try_from(progress.prefix_bytes - offset).unwrap_or(PIECE_BYTES);
        let piece = &mut piece[..rest.min(PIECE_BYTES)];
        if let Err(error) = file.read_exact_at(piece, offset) {
            return Ok(Err(error.to_string()));
        }
        hasher.update(piece);
        each(piece, offset)?;
        offset += piece.len() as u64;
    }
    if hasher.clone().finish() == progress.prefix_digest {
        Ok(Ok(hasher))
    } else {
        Ok(Err("its bytes are not those that were written".to_owned()))
    }
}

/// Returns what a file takes of the disk: its prefix at least, and never more than the blob.
fn disk_bytes(metadata: &Metadata, progress: &Progress) -> u64 {
    let allocated = metadata.blocks().saturating_mul(512);
    allocated
        .min(progress.size_bytes)
        .max(progress.prefix_bytes)
}

impl Shelf {
    /// Returns an empty one for the store at `root`.
    pub(super) fn new(
        root: &Path,
        room: Arc<super::room::Room>,
        numbers: Arc<crate::metrics::StoreNumbers>,
    ) -> Self {
        Self::on(room, numbers, sidecar::boot(), look::is_local(root))
    }
}

//! A core's open blobs, with what is sent for a plain hit already written.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;

use crate::digest::Digest;
use crate::limits::MEMORY_BLOB_BYTES_MAX;
use crate::rt;
use crate::store::{OpenBlob, Reading, Store};

/// A blob that this core has open.
pub(super) struct CoreBlob {
    pub(super) digest: Digest,
    pub(super) file: Arc<File>,
    pub(super) size_bytes: u64,
    pub(super) entry: Reading,
    /// The bytes themselves, of a small blob.
    pub(super) small: Option<Box<[u8]>>,
    /// Head, and body if small, of the response to a plain GET; see `blob::PLAIN_DATE`.
    pub(super) plain: OnceCell<Box<[u8]>>,
    /// Second in which it was last sent whole: what was just sent is in memory.
    pub(super) sent_whole: Cell<u64>,
    /// Second of the last use that was told, and uses since.
    used: Cell<(u64, u32)>,
}

/// Reads what a core wants in memory of a blob that was just opened: all of a small one. Of others a byte is
/// read all the same, so that a file that opens and cannot be read is found here. May block.
pub(super) fn read_small(blob: &OpenBlob) -> std::io::Result<Option<Box<[u8]>>> {
    if blob.size_bytes > MEMORY_BLOB_BYTES_MAX {
        blob.file.read_exact_at(&mut [0], 0)?;
        return Ok(None);
    }
    let size = usize::try_from(blob.size_bytes).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; size].into_boxed_slice();
    blob.file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}

impl CoreBlob {
    pub(super) fn new(digest: Digest, blob: OpenBlob, small: Option<Box<[u8]>>) -> Self {
        Self {
            digest,
            file: blob.file,
            size_bytes: blob.size_bytes,
            entry: blob.entry,
            small,
            plain: OnceCell::new(),
            sent_whole: Cell::new(0),
            used: Cell::default(),
        }
    }

    /// Notes a use at `now`, in seconds since the epoch. The store is told once a second, so that cores that
    /// serve the same blob do not fight for its cache line.
    pub(super) fn touch(&self, store: &Store, now: u64) {
        let (told, uses) = self.used.get();
        if told == now {
            self.used.set((told, uses + 1));
        } else {
            store.touch(&self.entry, now, uses + 1);
            self.used.set((now, 0));
        }
    }
}

impl Drop for CoreBlob {
    fn drop(&mut self) {
        self.entry.count_hits(self.used.get().1);
        if self.entry.is_gone() {
            rt::close_later(&self.file);
        }
    }
}

/// Blobs by digest, the least recently used half of which is let go when there are too many.
///
/// Two generations: what is found in the old one moves to the young one; when the young one is full it
/// becomes the old one, whose files are closed as their last responses end.
pub(super) struct OpenBlobs {
    young: HashMap<Digest, Rc<CoreBlob>>,
    old: HashMap<Digest, Rc<CoreBlob>>,
    generation_max: usize,
}

impl OpenBlobs {
    pub(super) fn new(open_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            generation_max: (open_max / 2).max(1),
        }
    }

    /// Returns a blob that is open and was not deleted meanwhile.
    pub(super) fn find(&mut self, digest: &Digest) -> Option<Rc<CoreBlob>> {
        if let Some(blob) = self.young.get(digest) {
            if !blob.entry.is_gone() {
                return Some(Rc::clone(blob));
            }
            self.young.remove(digest);
            return None;
        }
        let blob = self.old.remove(digest)?;
        if blob.entry.is_gone() {
            return None;
        }
        self.insert(Rc::clone(&blob));
        Some(blob)
    }

    pub(super) fn insert(&mut self, blob: Rc<CoreBlob>) {
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(blob.digest, blob);
    }

    /// Closes about half of them, as descriptors have run out elsewhere. Responses that are sending one keep
    /// it open to their end.
    pub(super) fn close_some(&mut self) {
        if std::mem::take(&mut self.old).is_empty() {
            self.young.clear();
        }
    }

    /// Closes what was deleted meanwhile, so that the disk gets its room back. Responses that are
    /// sending it keep it open to their end.
    pub(super) fn close_deleted(&mut self) {
        self.young.retain(|_, blob| !blob.entry.is_gone());
        self.old.retain(|_, blob| !blob.entry.is_gone());
    }
}

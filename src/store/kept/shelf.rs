//! Which unfinished files are kept, as memory knows it. Few: a map under one lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};

use crate::digest::Digest;
use crate::limits::KEPT_MAX;
use crate::metrics::StoreNumbers;
use crate::store::checkpoint::Failures;
use crate::store::room::{Reservation, Room};

/// The kept files of one store. Invariant: what they take is in the room's account of what is kept.
#[derive(Debug)]
pub(in crate::store) struct Shelf {
    lying: RwLock<HashMap<Digest, Lying>>,
    room: Arc<Room>,
    numbers: Arc<StoreNumbers>,
    /// Boot of this kernel, as sidecars name it.
    pub(super) boot: String,
    /// The directory is on a file system that no other host can write to.
    pub(super) is_local: bool,
    /// Held by whoever finds out whether a file is anybody's: to ask is to lock it for a moment.
    pub(super) asking: Mutex<()>,
}

/// A file that nobody writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lying {
    /// Its name in `partial/`.
    pub(super) name: String,
    pub(super) prefix_bytes: u64,
    /// What it takes of the disk.
    pub(super) disk_bytes: u64,
    /// When it was last written to.
    pub(super) since: SystemTime,
    /// How many syncs had failed when it was begun, or found.
    pub(super) begun: Failures,
}

impl Shelf {
    pub(super) fn on(
        room: Arc<Room>,
        numbers: Arc<StoreNumbers>,
        boot: String,
        is_local: bool,
    ) -> Self {
        Self {
            lying: RwLock::default(),
            room,
            numbers,
            boot,
            is_local,
            asking: Mutex::default(),
        }
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.lying.read().contains_key(digest)
    }

    pub(super) fn prefix_bytes(&self, digest: &Digest) -> Option<u64> {
        let lying = self.lying.read();
        lying.get(digest).map(|lying| lying.prefix_bytes)
    }

    pub(super) fn is_full(&self) -> bool {
        self.lying.read().len() >= KEPT_MAX
    }

    /// Returns all names.
    pub(super) fn names(&self) -> HashMap<String, Digest> {
        let lying = self.lying.read();
        let names = lying
            .iter()
            .map(|(digest, one)| (one.name.clone(), *digest));
        names.collect()
    }

    /// Adds a file. Of two for one blob the longer prefix stays; the other one's name is returned, to be deleted.
    pub(super) fn put(&self, digest: &Digest, new: Lying) -> Option<Lying> {
        let mut lying = self.lying.write();
        let old = lying.get(digest);
        if old.is_some_and(|old| old.prefix_bytes > new.prefix_bytes && old.name != new.name) {
            return Some(new);
        }
        self.room.keep(new.disk_bytes);
        let name = new.name.clone();
        let old = lying.insert(*digest, new);
        self.count(lying.len());
        if let Some(old) = &old {
            drop(self.room.take_kept(old.disk_bytes));
        }
        old.filter(|old| old.name != name)
    }

    /// Takes a file off the list, with the room that it takes. Nobody else gets it then.
    pub(super) fn take(&self, digest: &Digest) -> Option<(Lying, Reservation)> {
        let mut lying = self.lying.write();
        let taken = lying.remove(digest)?;
        self.count(lying.len());
        let reserved = self.room.take_kept(taken.disk_bytes);
        Some((taken, reserved))
    }

    /// Returns the blob of the file that was written to longest ago.
    pub(super) fn oldest(&self) -> Option<Digest> {
        let lying = self.lying.read();
        let oldest = lying.iter().min_by_key(|(_, one)| one.since);
        oldest.map(|(digest, _)| *digest)
    }

    /// Returns the blobs of files that `is_wanted`.
    pub(super) fn select(&self, is_wanted: impl Fn(&Lying) -> bool) -> Vec<Digest> {
        let lying = self.lying.read();
        let wanted = lying.iter().filter(|(_, one)| is_wanted(one));
        wanted.map(|(digest, _)| *digest).collect()
    }

    fn count(&self, files: usize) {
        let files = u64::try_from(files).unwrap_or(u64::MAX);
        self.numbers.kept_partials.store(files, Ordering::Relaxed);
    }
}

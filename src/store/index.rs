//! What is in the store, in memory: one entry per digest and kind, whatever the repository.
//!
//! About 130 bytes each at a million: 96 for the entry, the rest for the table and the policy's queue.

use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::RwLock;

use super::entry::Entry;
use super::layout::Kind;
use crate::digest::Digest;

/// Parts of the index, each with a lock of its own: one for each folder of the store.
pub(super) const SHARDS: usize = 256;

type Shard = RwLock<HashTable<Arc<Entry>>>;

/// Entries by digest.
#[derive(Debug)]
pub(super) struct Index {
    shards: Box<[Shard]>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
        }
    }
}

/// Digests are uniform: a few of their bytes are as good a hash as any.
fn hash(raw: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&raw[8..16]);
    u64::from_le_bytes(bytes)
}

impl Index {
    fn shard(&self, digest: &Digest) -> &Shard {
        &self.shards[usize::from(digest.raw()[0])]
    }

    /// Returns an entry. Costs one read lock of a shard.
    pub(super) fn lookup(&self, kind: Kind, digest: &Digest) -> Option<Arc<Entry>> {
        let shard = self.shard(digest).read();
        let found = shard.find(hash(digest.raw()), |entry| entry.is(kind, digest));
        found.map(Arc::clone)
    }

    /// Inserts an entry unless there is one; `Err` is the one that is there. `then` runs under the lock.
    pub(super) fn insert(&self, entry: &Arc<Entry>, then: impl FnOnce()) -> Result<(), Arc<Entry>> {
        let digest = entry.digest();
        let mut shard = self.shard(&digest).write();
        let place = shard.entry(
            hash(digest.raw()),
            |other| other.is(entry.kind(), &digest),
            |other| hash(other.raw()),
        );
        match place {
            hashbrown::hash_table::Entry::Occupied(there) => Err(Arc::clone(there.get())),
            hashbrown::hash_table::Entry::Vacant(place) => {
                place.insert(Arc::clone(entry));
                then();
                Ok(())
            }
        }
    }

    /// Removes this very entry; says whether it was there. `then` runs under the lock.
    pub(super) fn remove(&self, entry: &Arc<Entry>, then: impl FnOnce()) -> bool {
        let digest = entry.digest();
        let mut shard = self.shard(&digest).write();
        let found = shard.find_entry(hash(digest.raw()), |other| Arc::ptr_eq(other, entry));
        let Ok(found) = found else { return false };
        found.remove();
        then();
        true
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Returns those of one shard that `is_wanted`. Holds the shard's lock for 1 ms at 10 M entries.
    pub(super) fn select(
        &self,
        shard: usize,
        is_wanted: impl Fn(&Entry) -> bool,
    ) -> Vec<Arc<Entry>> {
        let shard = self.shards[shard].read();
        let wanted = shard.iter().filter(|entry| is_wanted(entry));
        wanted.map(Arc::clone).collect()
    }
}

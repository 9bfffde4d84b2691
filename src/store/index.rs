//! What is in the store, in memory: one entry per digest.

use std::collections::HashMap;
use std::fs::Metadata;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;

use crate::digest::Digest;

/// Parts of the index, each with a lock of its own.
const SHARDS: usize = 64;

/// What is known of one committed blob.
#[derive(Debug)]
pub struct Entry {
    /// Length of the blob, in bytes.
    pub size_bytes: u64,
    /// Seconds since the epoch.
    last_use: AtomicU64,
    /// No power cut since it was written can have damaged it.
    proved: AtomicBool,
    /// The blob was deleted: whoever has it open may send it to its end, and then forgets it.
    gone: AtomicBool,
}

impl Entry {
    pub(super) fn new(size_bytes: u64, last_use: SystemTime, proved: bool) -> Self {
        Self {
            size_bytes,
            last_use: AtomicU64::new(seconds(last_use)),
            proved: AtomicBool::new(proved),
            gone: AtomicBool::new(false),
        }
    }

    /// Returns the entry of a file found at start. Its last use is the file's time of change or, where
    /// it is newer, of access: a restart never makes a blob look older than it is.
    pub(super) fn found(metadata: &Metadata, proved: bool) -> Self {
        let changed = metadata.modified().unwrap_or(UNIX_EPOCH);
        let read = metadata.accessed().unwrap_or(UNIX_EPOCH);
        Self::new(metadata.len(), changed.max(read), proved)
    }

    /// Notes a use at `now`, in seconds since the epoch. Writes at most once a second, so that cores
    /// that serve the same blob do not fight for its cache line.
    pub fn touch(&self, now: u64) {
        if self.last_use.load(Ordering::Relaxed) < now {
            self.last_use.store(now, Ordering::Relaxed);
        }
    }

    /// Says whether the blob was deleted.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Says whether no power cut can have damaged the blob; if one can, opening it hashes it first.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.proved.load(Ordering::Acquire)
    }

    pub(super) fn set_proved(&self) {
        self.proved.store(true, Ordering::Release);
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

type Shard = RwLock<HashMap<Digest, Arc<Entry>>>;

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

impl Index {
    /// Digests are uniform: their second byte spreads them (the first names the folder).
    fn shard(&self, digest: &Digest) -> &Shard {
        &self.shards[usize::from(digest.raw()[1]) % SHARDS]
    }

    pub(super) fn lookup(&self, digest: &Digest) -> Option<Arc<Entry>> {
        self.shard(digest).read().get(digest).cloned()
    }

    /// Inserts an entry unless there is one, and returns the one that is there then.
    pub(super) fn insert(&self, digest: &Digest, entry: Entry) -> Arc<Entry> {
        let mut shard = self.shard(digest).write();
        Arc::clone(shard.entry(*digest).or_insert_with(|| Arc::new(entry)))
    }

    pub(super) fn remove(&self, digest: &Digest) {
        if let Some(entry) = self.shard(digest).write().remove(digest) {
            entry.gone.store(true, Ordering::Release);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Returns the blobs whose last use lies before `oldest`.
    pub(super) fn not_used_since(&self, oldest: SystemTime) -> Vec<Digest> {
        let oldest = seconds(oldest);
        let is_stale = |entry: &Entry| entry.last_use.load(Ordering::Relaxed) < oldest;
        self.shards
            .iter()
            .flat_map(|shard| {
                let shard = shard.read();
                shard
                    .iter()
                    .filter(|(_, e)| is_stale(e))
                    .map(|(d, _)| *d)
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

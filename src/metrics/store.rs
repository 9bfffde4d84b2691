//! What is counted of the store.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::table::{
    STORE_BLOBS, STORE_BYTES, STORE_EVICTED_AGE, STORE_EVICTIONS, STORE_JOURNAL_FAILURES,
    STORE_KEPT_BYTES, STORE_KEPT_PARTIALS, STORE_LINGERING_BYTES, STORE_MAX_BYTES, STORE_PINNED,
    STORE_QUARANTINED, STORE_REJECTED_PARTIALS, STORE_RESERVED_BYTES, STORE_RESUMED_BYTES,
    STORE_SCRUBBED_BYTES, STORE_TROUBLE,
};
use super::{Metric, Sample};

/// Why something left the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Something else needed its room.
    Room,
    /// It was not pulled for the TTL.
    Ttl,
    /// Its bytes were wrong, short, or could not be read.
    Damaged,
    /// Its file had gone without us.
    Vanished,
    /// An operator said so.
    Purged,
}

impl Removal {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 5] = [
        Self::Room,
        Self::Ttl,
        Self::Damaged,
        Self::Vanished,
        Self::Purged,
    ];

    /// Returns the value of the `reason` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Ttl => "ttl",
            Self::Damaged => "damaged",
            Self::Vanished => "vanished",
            Self::Purged => "purged",
        }
    }
}

/// What keeps blobs from being stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskTrouble {
    /// No space, no inodes, or over a quota.
    Full,
    /// Reads or writes fail.
    Failing,
    /// The file system takes no writes.
    ReadOnly,
    /// The root directory is not there.
    Missing,
}

impl DiskTrouble {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 4] = [Self::Full, Self::Failing, Self::ReadOnly, Self::Missing];

    /// Returns the value of the `kind` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Failing => "failing",
            Self::ReadOnly => "read_only",
            Self::Missing => "missing",
        }
    }
}

/// The store's numbers, shared by the threads that write to disk; no core's path of a hit touches them.
#[derive(Debug, Default)]
pub struct StoreNumbers {
    removals: [AtomicU64; Removal::ALL.len()],
    troubles: [AtomicBool; DiskTrouble::ALL.len()],
    /// Blobs and manifests that are stored.
    pub entries: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Digests that are pinned, stored or not.
    pub pinned: AtomicU64,
    /// Bytes promised to fills.
    pub reserved_bytes: AtomicU64,
    /// Unfinished files that are kept for another fill to go on with.
    pub kept_partials: AtomicU64,
    /// Their bytes.
    pub kept_bytes: AtomicU64,
    /// Bytes of such files that fills went on from.
    pub resumed_bytes: AtomicU64,
    /// Such files that were damaged, and removed.
    pub rejected_partials: AtomicU64,
    /// Bytes of files that are deleted and still open.
    pub lingering_bytes: AtomicU64,
    /// Most bytes that may be stored.
    pub bytes_max: AtomicU64,
    /// Seconds from the last use to its eviction, of what was evicted for room last.
    pub evicted_age_seconds: AtomicU64,
    /// Files put into quarantine.
    pub quarantined: AtomicU64,
    /// Bytes hashed again.
    pub scrubbed_bytes: AtomicU64,
    /// Times that the index could not be written to disk.
    pub journal_failures: AtomicU64,
}

impl StoreNumbers {
    /// Counts what left the store.
    pub fn count_removal(&self, reason: Removal) {
        self.removals[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many left for this reason.
    #[must_use]
    pub fn removed(&self, reason: Removal) -> u64 {
        self.removals[reason as usize].load(Ordering::Relaxed)
    }

    /// Says what trouble there is, if any.
    pub fn set_trouble(&self, trouble: Option<DiskTrouble>) {
        for kind in DiskTrouble::ALL {
            self.troubles[kind as usize].store(trouble == Some(kind), Ordering::Relaxed);
        }
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        let mut samples = self.plain();
        samples.extend(
            Removal::ALL
                .into_iter()
                .map(|reason| STORE_EVICTIONS.sample([reason.label()], self.removed(reason))),
        );
        samples.extend(DiskTrouble::ALL.into_iter().map(|kind| {
            let is_there = self.troubles[kind as usize].load(Ordering::Relaxed);
            STORE_TROUBLE.sample([kind.label()], is_there.into())
        }));
        samples
    }

    fn plain(&self) -> Vec<Sample> {
        let rows: [(&'static Metric, &AtomicU64); 14] = [
            (&STORE_PINNED, &self.pinned),
            (&STORE_BLOBS, &self.entries),
            (&STORE_BYTES, &self.bytes),
            (&STORE_MAX_BYTES, &self.bytes_max),
            (&STORE_RESERVED_BYTES, &self.reserved_bytes),
            (&STORE_KEPT_PARTIALS, &self.kept_partials),
            (&STORE_KEPT_BYTES, &self.kept_bytes),
            (&STORE_LINGERING_BYTES, &self.lingering_bytes),
            (&STORE_EVICTED_AGE, &self.evicted_age_seconds),
            (&STORE_QUARANTINED, &self.quarantined),
            (&STORE_SCRUBBED_BYTES, &self.scrubbed_bytes),
            (&STORE_RESUMED_BYTES, &self.resumed_bytes),
            (&STORE_REJECTED_PARTIALS, &self.rejected_partials),
            (&STORE_JOURNAL_FAILURES, &self.journal_failures),
        ];
        rows.into_iter()
            .map(|(metric, value)| metric.alone(value.load(Ordering::Relaxed)))
            .collect()
    }
}

//! What is counted of the store.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Kind, Sample};

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

/// Name, help and value of a metric without labels.
type Row<'a> = (&'static str, &'static str, &'a AtomicU64);

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
        samples.extend(Removal::ALL.into_iter().map(|reason| Sample {
            name: "transship_store_evictions_total",
            kind: Kind::Counter,
            help: "Blobs and manifests that left the store, by reason.",
            labels: vec![("reason", reason.label().to_owned())],
            value: self.removed(reason),
        }));
        samples.extend(DiskTrouble::ALL.into_iter().map(|kind| Sample {
            name: "transship_store_trouble",
            kind: Kind::Gauge,
            help: "1 while nothing can be stored, for this reason; pulls pass through.",
            labels: vec![("kind", kind.label().to_owned())],
            value: u64::from(self.troubles[kind as usize].load(Ordering::Relaxed)),
        }));
        samples
    }

    fn plain(&self) -> Vec<Sample> {
        let sample = |kind, (name, help, value): Row<'_>| Sample {
            name,
            kind,
            help,
            labels: Vec::new(),
            value: value.load(Ordering::Relaxed),
        };
        let gauges = self.gauges().map(|row| sample(Kind::Gauge, row));
        let counters = self.counters().map(|row| sample(Kind::Counter, row));
        gauges.into_iter().chain(counters).collect()
    }

    fn gauges(&self) -> [Row<'_>; 9] {
        [
            (
                "transship_store_pinned",
                "Digests that are pinned, with all that pinned images name.",
                &self.pinned,
            ),
            (
                "transship_store_blobs",
                "Blobs and manifests stored.",
                &self.entries,
            ),
            (
                "transship_store_bytes",
                "Bytes of all that is stored.",
                &self.bytes,
            ),
            (
                "transship_store_bytes_max",
                "Most bytes that may be stored.",
                &self.bytes_max,
            ),
            (
                "transship_store_reserved_bytes",
                "Bytes promised to fills that run.",
                &self.reserved_bytes,
            ),
            (
                "transship_store_kept_partials",
                "Unfinished files that are kept for another fill to go on with.",
                &self.kept_partials,
            ),
            (
                "transship_store_kept_bytes",
                "Bytes of unfinished files that are kept.",
                &self.kept_bytes,
            ),
            (
                "transship_store_lingering_bytes",
                "Bytes of deleted files that somebody is still being sent.",
                &self.lingering_bytes,
            ),
            (
                "transship_store_evicted_age_seconds",
                "How long what was evicted for room last had not been used: how far back the store reaches.",
                &self.evicted_age_seconds,
            ),
        ]
    }

    fn counters(&self) -> [Row<'_>; 5] {
        [
            (
                "transship_store_quarantined_total",
                "Damaged files put into quarantine.",
                &self.quarantined,
            ),
            (
                "transship_store_scrubbed_bytes_total",
                "Stored bytes that were hashed again.",
                &self.scrubbed_bytes,
            ),
            (
                "transship_store_resumed_bytes_total",
                "Bytes of kept unfinished files that fills went on from instead of fetching them again.",
                &self.resumed_bytes,
            ),
            (
                "transship_store_rejected_partials_total",
                "Kept unfinished files that were found damaged, and removed.",
                &self.rejected_partials,
            ),
            (
                "transship_store_journal_failures_total",
                "Times that the index could not be written to disk.",
                &self.journal_failures,
            ),
        ]
    }
}

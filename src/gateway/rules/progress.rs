//! How far a copy is.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one attempt.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) blobs_copied: AtomicU64,
    pub(super) blobs_mounted: AtomicU64,
    pub(super) blobs_there: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) manifests_copied: AtomicU64,
    pub(super) manifests_there: AtomicU64,
    /// Named by an index, and not at the source.
    pub(super) manifests_missing: AtomicU64,
}

impl Progress {
    /// Manifests that have been seen, the first not among them.
    pub(super) fn manifests(&self) -> u64 {
        let all = [
            &self.manifests_copied,
            &self.manifests_there,
            &self.manifests_missing,
        ];
        all.into_iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "blobs: {} copied ({} bytes), {} mounted, {} skipped; manifests: {} copied, {} skipped",
            of(&self.blobs_copied),
            of(&self.bytes),
            of(&self.blobs_mounted),
            of(&self.blobs_there),
            of(&self.manifests_copied),
            of(&self.manifests_there),
        )?;
        match of(&self.manifests_missing) {
            0 => Ok(()),
            missing => write!(f, ", {missing} not at the source"),
        }
    }
}

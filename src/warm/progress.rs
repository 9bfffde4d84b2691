//! How much of an image there is, and how much of that is here.

use std::collections::HashSet;

use super::contents::Blob;
use crate::digest::Digest;

/// What is known of one image. A try that follows another begins it anew, and knows what was fetched before.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) digest: Option<Digest>,
    pub(super) manifests: Count,
    pub(super) blobs: Count,
    pub(super) bytes: Count,
    /// Layers that no registry is asked for.
    pub(super) foreign: u64,
    /// Platforms that were asked for and that there are none of.
    pub(super) missing: Vec<String>,
    /// What this job has fetched.
    fetched: HashSet<Digest>,
}

/// How many there are, are here, and were here before the job came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) total: u64,
    pub(super) done: u64,
    pub(super) here: u64,
}

impl Count {
    fn pass(&mut self, count: u64, was_here: bool) {
        self.done = self.done.saturating_add(count);
        if was_here {
            self.here = self.here.saturating_add(count);
        }
    }
}

impl Progress {
    /// Begins another try.
    pub(super) fn begin(&mut self) {
        let fetched = std::mem::take(&mut self.fetched);
        *self = Self {
            fetched,
            ..Self::default()
        };
    }

    pub(super) const fn expect_manifests(&mut self, count: u64) {
        self.manifests.total += count;
    }

    pub(super) fn expect_blobs(&mut self, blobs: &[Blob]) {
        self.blobs.total += blobs.len() as u64;
        for blob in blobs {
            self.bytes.total = self.bytes.total.saturating_add(blob.size_bytes);
        }
    }

    /// A manifest is here.
    pub(super) fn pass_manifest(&mut self, digest: Digest, is_new: bool) {
        let was_here = self.was_here(digest, is_new);
        self.manifests.pass(1, was_here);
    }

    /// A blob is here.
    pub(super) fn pass_blob(&mut self, blob: Blob, is_new: bool) {
        let was_here = self.was_here(blob.digest, is_new);
        self.blobs.pass(1, was_here);
        self.bytes.pass(blob.size_bytes, was_here);
    }

    fn was_here(&mut self, digest: Digest, is_new: bool) -> bool {
        if is_new {
            self.fetched.insert(digest);
        }
        !self.fetched.contains(&digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    fn blob(seed: &str, size_bytes: u64) -> Blob {
        Blob {
            digest: Digest::of(Algorithm::Sha256, seed.as_bytes()),
            size_bytes,
        }
    }

    #[test]
    fn what_an_earlier_try_has_fetched_was_not_here_before() {
        let mut progress = Progress::default();
        let (old, new) = (blob("old", 5), blob("new", 7));
        for try_ in 0..2 {
            progress.begin();
            progress.expect_blobs(&[old, new]);
            progress.pass_blob(old, false);
            progress.pass_blob(new, try_ == 0);
            let count = |total, done, here| Count { total, done, here };
            assert_eq!(progress.blobs, count(2, 2, 1));
            assert_eq!(progress.bytes, count(12, 12, 5));
        }
    }

    #[test]
    fn sizes_that_are_lies_overflow_nothing() {
        let mut progress = Progress::default();
        let huge = blob("a", u64::MAX);
        progress.expect_blobs(&[huge, blob("b", u64::MAX)]);
        progress.pass_blob(huge, false);
        progress.pass_blob(blob("b", 9), true);
        assert_eq!(progress.bytes.done, u64::MAX);
    }
}

//! Which bytes of a blob have come.

use std::ops::Range;

use rangemap::RangeSet;

/// The bytes that have come: from the first one on, and what came ahead of its turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Landed {
    extents: RangeSet<u64>,
}

impl Landed {
    /// Returns what begins with so many bytes and has nothing else.
    pub(super) fn of_prefix(count: u64) -> Self {
        let mut landed = Self::default();
        landed.add(0..count);
        landed
    }

    /// Adds bytes; what has come before may come again.
    pub(super) fn add(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.extents.insert(range);
        }
    }

    /// Forgets what lies at `from` and behind.
    pub(super) fn cut(&mut self, from: u64) {
        if from < u64::MAX {
            self.extents.remove(from..u64::MAX);
        }
    }

    /// Returns how many bytes there are from the first one on without a gap.
    pub(super) fn prefix(&self) -> u64 {
        self.end_from(0)
    }

    /// Returns the first byte at or behind `at` that has not come.
    pub(super) fn end_from(&self, at: u64) -> u64 {
        self.extents.get(&at).map_or(at, |extent| extent.end)
    }

    /// Returns where the next bytes behind `at` begin that have come, if there are any. `at` has not.
    pub(super) fn next_after(&self, at: u64) -> Option<u64> {
        let behind = at..u64::MAX;
        self.extents
            .overlapping(&behind)
            .next()
            .map(|extent| extent.start)
    }

    /// Returns how many bytes have come.
    pub(super) fn count(&self) -> u64 {
        let lengths = self.extents.iter().map(|extent| extent.end - extent.start);
        lengths.sum()
    }
}

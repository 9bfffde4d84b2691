//! What followers wait for that does not come next in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Fill;
use super::held::Seat;

/// What the followers of a fill want of it.
#[derive(Debug, Default)]
pub(super) struct Wants {
    parts: BTreeMap<u64, Part>,
    keys: u64,
    /// Somebody wants all of it.
    is_whole: bool,
}

#[derive(Debug)]
struct Part {
    range: Range<u64>,
    /// How far the follower is.
    seat: Seat,
}

impl Wants {
    /// Returns what each follower that wants a part still wants of it, in the order in which they came.
    pub(super) fn parts(&self) -> Vec<Range<u64>> {
        let rest = |part: &Part| {
            let start = part.seat.load(Ordering::Relaxed).max(part.range.start);
            start..part.range.end
        };
        self.parts.values().map(rest).collect()
    }

    /// Says whether anybody wants a part.
    pub(super) fn has_parts(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Says whether somebody has ever wanted all of the blob.
    pub(super) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(super) const fn want_whole(&mut self) {
        self.is_whole = true;
    }

    /// Adds parts that a follower wants; returns their keys.
    pub(super) fn add(&mut self, ranges: &[Range<u64>], seat: &Seat) -> Range<u64> {
        let first = self.keys;
        for range in ranges {
            let (range, seat) = (range.clone(), Arc::clone(seat));
            self.parts.insert(self.keys, Part { range, seat });
            self.keys += 1;
        }
        first..self.keys
    }

    fn remove(&mut self, keys: Range<u64>) {
        for key in keys {
            self.parts.remove(&key);
        }
    }
}

/// Parts of a blob that a follower waits for. Dropping it takes them back.
#[derive(Debug)]
#[must_use = "what is not wanted any more is not fetched first"]
pub struct Wanted<'f> {
    pub(super) fill: &'f Fill,
    pub(super) keys: Range<u64>,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.fill.wants.lock().remove(self.keys.clone());
    }
}

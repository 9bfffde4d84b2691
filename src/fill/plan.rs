//! What of a blob is still to be fetched, and which stream fetches what: without I/O and without a clock.
//!
//! ```text
//!  0            at          end              at        end                          size
//!  ├─ received ─┼── claimed ──┼─── missing ───┼─ claimed ─┼── received ──┼── missing ──┤
//! ```
//!
//! Invariants
//! - No byte is claimed by two streams, and none that was received.
//! - Every byte of the blob is received, claimed or missing; it is done when all are received.

use std::collections::BTreeMap;
use std::ops::Range;

use super::landed::Landed;

/// What a claim is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The next bytes in order, for whoever wants all of the blob.
    Front,
    /// Bytes that somebody waits for who does not want those before them.
    Ahead,
}

/// The name of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64);

/// Bytes that one stream is about to receive.
#[derive(Clone, Debug)]
struct Claim {
    /// What is still to come of it.
    rest: Range<u64>,
    /// Where the answer ends that its stream receives; 0 until there is one.
    reach: u64,
    purpose: Purpose,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Plan {
    /// `u64::MAX` where it is not known.
    size_bytes: u64,
    received: Landed,
    claims: BTreeMap<Key, Claim>,
    keys: u64,
}

impl Plan {
    /// Returns the plan of a blob of which the first `received` bytes are here.
    pub(super) fn new(size_bytes: Option<u64>, received: u64) -> Self {
        Self {
            size_bytes: size_bytes.unwrap_or(u64::MAX),
            received: Landed::of_prefix(received),
            claims: BTreeMap::new(),
            keys: 0,
        }
    }

    /// Takes note of the size, which was not known.
    pub(super) fn set_size(&mut self, size_bytes: u64) {
        self.size_bytes = size_bytes;
        for claim in self.claims.values_mut() {
            claim.rest.end = claim.rest.end.min(size_bytes);
        }
    }

    /// Returns the size where it is known.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        (self.size_bytes < u64::MAX).then_some(self.size_bytes)
    }

    /// Says whether every byte has been received.
    pub(super) fn is_done(&self) -> bool {
        self.received.prefix() >= self.size_bytes
    }

    /// Returns how many bytes have not been received.
    pub(super) fn left(&self) -> u64 {
        self.size_bytes.saturating_sub(self.received.count())
    }

    /// Returns the first bytes in order that nobody fetches, up to where somebody does.
    pub(super) fn front_gap(&self) -> Option<Range<u64>> {
        let mut at = 0;
        while at < self.size_bytes {
            let past = self.received.end_from(at);
            let past = self.claim_of(past).map_or(past, |claim| claim.rest.end);
            if past == at {
                return Some(at..self.end_of_gap(at));
            }
            at = past;
        }
        None
    }

    /// Returns how many bytes have been received from the first one on.
    pub(super) fn prefix(&self) -> u64 {
        self.received.prefix()
    }

    /// Returns what is to be fetched next of bytes that somebody waits for: nothing if they are here, or the
    /// first of them are being fetched.
    pub(super) fn gap_for(&self, wanted: &Range<u64>) -> Option<Range<u64>> {
        let at = self.received.end_from(wanted.start);
        let is_over = at >= wanted.end.min(self.size_bytes);
        (!is_over && self.claim_of(at).is_none()).then(|| at..self.end_of_gap(at))
    }

    /// Says whether nothing of `range` has come or is being fetched.
    fn is_missing(&self, range: &Range<u64>) -> bool {
        range.is_empty()
            || self.gap_for(range).is_some_and(|gap| {
                gap.start == range.start && gap.end >= range.end.min(self.size_bytes)
            })
    }

    fn claim_of(&self, at: u64) -> Option<&Claim> {
        self.claims.values().find(|claim| claim.rest.contains(&at))
    }

    fn end_of_gap(&self, at: u64) -> u64 {
        let claimed = self.claims.values().map(|claim| claim.rest.start);
        let next = claimed.chain(self.received.next_after(at));
        next.filter(|&start| start > at)
            .min()
            .unwrap_or(u64::MAX)
            .min(self.size_bytes)
    }

    /// Gives `range`, of which nobody fetches anything, to a stream.
    pub(super) fn claim(&mut self, range: Range<u64>, purpose: Purpose) -> Key {
        debug_assert!(
            self.is_missing(&range),
            "{range:?} is not missing: {self:?}"
        );
        let key = Key(self.keys);
        self.keys += 1;
        let claim = Claim {
            rest: range,
            reach: 0,
            purpose,
        };
        self.claims.insert(key, claim);
        key
    }

    /// Takes note of where the answer ends that the stream of a claim receives.
    pub(super) fn set_reach(&mut self, key: Key, end: u64) {
        if let Some(claim) = self.claims.get_mut(&key) {
            claim.reach = end;
        }
    }

    /// Lets every stream receive its answer on to what others have or fetch: nobody else is to fetch that.
    pub(super) fn lengthen(&mut self) {
        let keys: Vec<_> = self.claims.keys().copied().collect();
        for key in keys {
            let rest = self.rest(key);
            // One that is over may have been let go of.
            if rest.is_empty() || self.claim_of(rest.end).is_some() {
                continue;
            }
            let end = match self.received.end_from(rest.end) > rest.end {
                true => rest.end,
                false => self.end_of_gap(rest.end),
            };
            if let Some(claim) = self.claims.get_mut(&key) {
                claim.rest.end = end.min(claim.reach).max(rest.end);
            }
        }
    }

    /// Returns what a claim is for.
    pub(super) fn purpose(&self, key: Key) -> Option<Purpose> {
        self.claims.get(&key).map(|claim| claim.purpose)
    }

    /// Returns what is still to come of a claim: from the next byte to before its end.
    pub(super) fn rest(&self, key: Key) -> Range<u64> {
        let claim = self.claims.get(&key);
        claim.map_or(0..0, |claim| claim.rest.clone())
    }

    /// Takes note that so many bytes of a claim have been received.
    pub(super) fn receive(&mut self, key: Key, count: u64) {
        if let Some(claim) = self.claims.get_mut(&key) {
            let end = claim.rest.start + count;
            self.received.add(claim.rest.start..end);
            claim.rest.start = end;
        }
    }

    /// Takes note that the blob ends where the claim is, as its size was not known before.
    pub(super) fn end_at(&mut self, key: Key) {
        let end = self.rest(key).start;
        self.set_size(end);
    }

    /// Takes a claim back; what has not been received of it is missing again.
    pub(super) fn give_back(&mut self, key: Key) {
        self.claims.remove(&key);
    }

    /// Takes back what a claim has behind its first `count` bytes to come.
    pub(super) fn shorten(&mut self, key: Key, count: u64) {
        if let Some(claim) = self.claims.get_mut(&key) {
            let end = claim.rest.start.saturating_add(count);
            claim.rest.end = claim.rest.end.min(end);
        }
    }

    /// Returns the claim in order that has the most to come, and how much that is.
    pub(super) fn longest_front(&self) -> Option<(Key, u64)> {
        let fronts = self.claims.iter();
        let fronts = fronts.filter(|(_, claim)| claim.purpose == Purpose::Front);
        let lengths = fronts.map(|(&key, claim)| (key, claim.rest.end - claim.rest.start));
        lengths.max_by_key(|&(_, length)| length)
    }

    /// Says whether more than one stream has a claim.
    pub(super) fn has_several_claims(&self) -> bool {
        self.claims.len() > 1
    }

    /// Says whether what has been received, and what is claimed, is one piece from the first byte on.
    pub(super) fn is_in_order(&self) -> bool {
        let prefix = self.received.prefix();
        let mut claims = self.claims.values();
        self.received.count() == prefix
            && self.claims.len() <= 1
            && claims.all(|claim| claim.rest.start == prefix)
    }

    /// Returns how many claims there are for that.
    pub(super) fn claims(&self, purpose: Purpose) -> usize {
        let claims = self.claims.values();
        claims.filter(|claim| claim.purpose == purpose).count()
    }

    /// Forgets all claims, and all but the first `received` bytes.
    pub(super) fn start_over(&mut self, received: u64) {
        self.claims.clear();
        self.received = Landed::of_prefix(received);
    }
}

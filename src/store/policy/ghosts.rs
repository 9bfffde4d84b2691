//! What was evicted from probation lately, as fingerprints.
//!
//! A table of buckets of eight slots, each of 8 bytes: half of a fingerprint, and when it was evicted. Time
//! is the bytes evicted so far, so a ghost is forgotten once enough bytes have followed it, without a queue
//! of its own. A full bucket forgets its oldest. A wrong fingerprint costs a blob its probation, no more.
//!
//! The table doubles when there are more residents than slots. Nothing is moved then: the table before is
//! still asked, until the next doubling.

/// Slots of a bucket: one cache line.
const WAYS: usize = 8;
/// The smallest table: 8 KiB.
const SLOTS_MIN: usize = 1 << 10;
/// The largest table: 4 MiB, for two million residents, as ghosts live for a quarter of the room.
const SLOTS_MAX: usize = 1 << 19;
/// Sizes count in steps of this many bytes, about what a file system gives out.
const STEP_BYTES: u64 = 4096;
/// The widest window, in steps: 8 TiB, half of the clock's turn.
const WINDOW_MAX: u64 = 1 << 31;

/// Fingerprints with the time of their eviction; empty slots are 0.
#[derive(Debug)]
pub(super) struct Ghosts {
    slots: Box<[u64]>,
    /// The table before the last doubling.
    before: Box<[u64]>,
    /// Steps evicted so far.
    clock: u32,
    /// How many steps may follow before a ghost is forgotten.
    window: u32,
}

impl Ghosts {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![0; SLOTS_MIN].into_boxed_slice(),
            before: Box::default(),
            clock: 0,
            window: 0,
        }
    }

    /// Sets how many bytes may be evicted after a ghost before it is forgotten.
    pub(super) fn set_window(&mut self, bytes: u64) {
        let steps = (bytes / STEP_BYTES).min(WINDOW_MAX);
        self.window = u32::try_from(steps).unwrap_or(u32::MAX);
    }

    /// Makes room for as many ghosts as there are residents, within bounds.
    pub(super) fn fit(&mut self, residents: usize) {
        let len = self.slots.len();
        if residents > len && len < SLOTS_MAX {
            // Fresh zeroed pages: their cost is spread over the insertions that follow.
            let larger = vec![0; len * 2].into_boxed_slice();
            self.before = std::mem::replace(&mut self.slots, larger);
        }
    }

    /// Remembers that a blob was evicted.
    pub(super) fn remember(&mut self, fingerprint: u64, size_bytes: u64) {
        let steps = size_bytes.div_ceil(STEP_BYTES).clamp(1, WINDOW_MAX);
        self.clock = self
            .clock
            .wrapping_add(u32::try_from(steps).unwrap_or(u32::MAX));
        let clock = self.clock;
        let bucket = bucket(&mut self.slots, fingerprint);
        let oldest = bucket.iter_mut().max_by_key(|slot| match **slot {
            0 => u64::MAX,
            slot => u64::from(age(slot, clock)),
        });
        if let Some(slot) = oldest {
            *slot = u64::from(tag(fingerprint)) << 32 | u64::from(clock);
        }
    }

    /// Says whether a blob was evicted lately, and forgets it.
    pub(super) fn take(&mut self, fingerprint: u64) -> bool {
        let (clock, window) = (self.clock, self.window);
        [&mut self.slots, &mut self.before]
            .into_iter()
            .filter(|slots| !slots.is_empty())
            .any(|slots| {
                let bucket = bucket(slots, fingerprint);
                let found = bucket.iter_mut().find(|slot| {
                    **slot >> 32 == u64::from(tag(fingerprint)) && age(**slot, clock) < window
                });
                found.map(|slot| *slot = 0).is_some()
            })
    }

    /// Returns the memory of the tables, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        (self.slots.len() + self.before.len()) * size_of::<u64>()
    }
}

/// Returns the bucket of a fingerprint: its low bits choose.
fn bucket(slots: &mut [u64], fingerprint: u64) -> &mut [u64] {
    let buckets = (slots.len() / WAYS) as u64;
    let at = usize::try_from(fingerprint % buckets).unwrap_or(0) * WAYS;
    &mut slots[at..at + WAYS]
}

/// The high half of a fingerprint, never 0: that is an empty slot.
fn tag(fingerprint: u64) -> u32 {
    u32::try_from(fingerprint >> 32).unwrap_or(u32::MAX).max(1)
}

/// Steps that were evicted since a slot was written.
fn age(slot: u64, clock: u32) -> u32 {
    clock.wrapping_sub(u32::try_from(slot & u64::from(u32::MAX)).unwrap_or(0))
}

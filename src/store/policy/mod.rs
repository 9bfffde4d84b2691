//! Who goes when room is needed: S3-FIFO, counted in bytes, and kind to what is tiny.
//!
//! ```text
//!              tiny, or evicted from small a moment ago
//!            ┌──────────────────────────────────────────┐
//!  arrival ──┤                                          ▼
//!            └──▶ small ──used, or pinned──────────▶  main ◀─┐ used since: one use less,
//!                   │                                  │ └───┘ and round again; pinned too
//!                   │ not used                         │ not used
//!                   ▼                                  ▼
//!                victim, and a ghost                victim
//! ```
//!
//! An arrival is on probation in `small` until as many bytes as its share have come after it: half of all
//! layers are asked for once, and a scan asks for everything once. The queues move only when room is needed: a
//! hit notes a use on the resident itself, without a lock. Each kept use is one more turn through main.
//!
//! Why it is set as it is, by `benches/replay.rs` (figures in `benches/README.md`):
//! - **Probation has 5 % of the room.** Between 1 % and 10 % it hardly matters; above, main pays for it.
//! - **One use makes a resident stay.** Two or three gain less than a point of hits and cost as much of bytes, and
//!   a layer that two clients want is worth its room.
//! - **Ghosts live for a quarter of the room.** With a window as wide as main, what a nightly scan fetched
//!   yesterday looks wanted today.
//! - **Tiny is what is below an eighth of the mean resident**: manifests, configs, thin layers. It skips
//!   probation and has three turns of main for nothing. Each miss costs a way to the origin whatever the size:
//!   this lifts the hit ratio by up to nine points for a tenth of a point of bytes. A measure beside the mean
//!   needs no limit of its own: where everything is small, nothing is tiny.
//! - **A large blob is treated as any other.** To keep what exceeds probation only once it is asked for again would
//!   gain three points of bytes where the room is 1 % of what is asked for, and nothing from 5 % on; it would let an
//!   image of 20 GiB be fetched twice, which nobody expects of a cache. Larger than probation and unused, it is
//!   the next to go, before anything of main.
//!
//! Invariants
//! - No call looks at more than its steps and one chunk of a queue; none touches a disk, a clock or a lock.
//! - A victim was here, was evictable when it was looked at, and is here no longer.
//! - What went elsewhere is dropped when a step meets it. Each arrival pays for the sweeping of four residents,
//!   so the dead are never many more than died within the last turn of the broom.
//! - A size never changes while its resident is here.

mod ghosts;
mod queue;
mod resident;

use ghosts::Ghosts;
use queue::{CHUNK, Queue};
pub use resident::{Resident, Standing, USES_MAX};

/// Residents that each arrival pays to have swept: a turn of the broom ends while a quarter of the queue arrives.
const SWEPT_PER_ARRIVAL: usize = 4;
/// After this many pinned ones in a row, main rests and small gives the victim, if it has one.
const KEPT_IN_A_ROW_MAX: usize = 256;

/// A queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Probation.
    #[default]
    Small,
    /// Proved by use.
    Main,
}

/// What [`Policy::evict`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evict<R> {
    /// This one goes. The policy has forgotten it.
    Victim(R),
    /// The steps were used up: call again.
    More,
    /// Nothing here may go. What was unpinned while one search went over several calls may be found only by
    /// the next.
    Nothing,
}

/// How the policy is set. What is best was found by `benches/replay.rs`: see `benches/README.md`.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Share of the room that is probation, in per cent.
    pub small_percent: u64,
    /// Uses in probation that make a resident stay.
    pub uses_to_stay: u8,
    /// Bytes evicted before a ghost is forgotten, in per cent of the room.
    pub ghost_percent: u64,
    /// What is smaller than this part of the mean resident is tiny; 0 for nothing.
    pub tiny_part: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            small_percent: 5,
            uses_to_stay: 1,
            ghost_percent: 25,
            tiny_part: 8,
        }
    }
}

/// Where a reader of the queues is: see [`Policy::read`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    place: Place,
    chunk: u64,
}

/// The queues of one store.
#[derive(Debug)]
pub struct Policy<R> {
    tuning: Tuning,
    small: Queue<R>,
    main: Queue<R>,
    ghosts: Ghosts,
    small_bytes_max: u64,
    /// Pinned ones that main has shown in a row, with nothing else between.
    kept_in_a_row: usize,
    /// Residents that arrivals have paid for and that are not swept yet.
    sweep_credit: usize,
    /// The queue that is swept next.
    broom: Place,
}

impl<R: Resident> Default for Policy<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Resident> Policy<R> {
    /// Returns an empty policy. Until it is told of its room, everything is on probation.
    #[must_use]
    pub fn new() -> Self {
        Self::tuned(Tuning::default())
    }

    /// Returns an empty policy that is set otherwise.
    #[must_use]
    pub fn tuned(tuning: Tuning) -> Self {
        Self {
            tuning,
            small: Queue::new(),
            main: Queue::new(),
            ghosts: Ghosts::new(),
            small_bytes_max: 0,
            kept_in_a_row: 0,
            sweep_credit: 0,
            broom: Place::Small,
        }
    }

    /// Sets the bytes that all residents may have together. Nothing goes until [`Policy::evict`] is called.
    pub fn set_room(&mut self, bytes_max: u64) {
        let share = |percent: u64| bytes_max / 100 * percent + bytes_max % 100 * percent / 100;
        self.small_bytes_max = share(self.tuning.small_percent);
        self.ghosts.set_window(share(self.tuning.ghost_percent));
    }

    /// Takes an arrival in: on probation, or into main if it is tiny or was evicted from probation lately.
    ///
    /// Pays for the sweeping of four residents, done a chunk at a time.
    pub fn insert(&mut self, resident: R) {
        self.ghosts.fit(self.len() + 1);
        let is_tiny = self.is_tiny(resident.size_bytes());
        if is_tiny {
            resident.set_uses(USES_MAX);
        }
        let place = if self.ghosts.take(resident.fingerprint()) || is_tiny {
            Place::Main
        } else {
            Place::Small
        };
        self.push(resident, place);
        self.sweep_credit += SWEPT_PER_ARRIVAL;
        if self.sweep_credit >= CHUNK {
            self.sweep_credit -= CHUNK;
            self.sweep();
        }
    }

    /// Takes in what a snapshot tells, behind what is in `place` already.
    pub fn restore(&mut self, resident: R, place: Place) {
        self.push(resident, place);
    }

    /// Looks for who goes next, at no more than `steps_max` residents.
    ///
    /// Among those never used, the first to come is the first to go.
    pub fn evict(&mut self, steps_max: usize) -> Evict<R> {
        for _ in 0..steps_max {
            match self.turn() {
                None => {
                    self.kept_in_a_row = 0;
                    return Evict::Nothing;
                }
                Some(Place::Small) => {
                    if let Some(victim) = self.step_small() {
                        return Evict::Victim(victim);
                    }
                }
                Some(Place::Main) => {
                    if let Some(victim) = self.step_main() {
                        return Evict::Victim(victim);
                    }
                }
            }
        }
        Evict::More
    }

    /// Drops what is gone from one chunk of a queue, in turns, and returns how many residents it has looked
    /// at; 0 when nothing is here. To be called when much has gone at once and little arrives.
    pub fn sweep(&mut self) -> usize {
        let (first, second) = match self.broom {
            Place::Small => (&mut self.small, &mut self.main),
            Place::Main => (&mut self.main, &mut self.small),
        };
        let (looked_at, is_round) = first.sweep();
        if is_round || looked_at == 0 {
            self.broom = match self.broom {
                Place::Small => Place::Main,
                Place::Main => Place::Small,
            };
        }
        if looked_at > 0 {
            looked_at
        } else {
            second.sweep().0
        }
    }

    /// Appends to `into` some residents in the order in which they would go, and returns where they are and
    /// from where to go on; `None` at the end. What is gone is left out.
    ///
    /// The queues may move between two calls. What is here all the while is read at least once; what moves
    /// meanwhile may be read twice, and then what was read last is true.
    pub fn read(&self, from: Cursor, into: &mut Vec<R>) -> Option<(Place, Cursor)> {
        if from.place == Place::Small
            && let Some(chunk) = self.small.read(from.chunk, into)
        {
            let place = Place::Small;
            return Some((place, Cursor { place, chunk }));
        }
        let place = Place::Main;
        let chunk = if from.place == place { from.chunk } else { 0 };
        let chunk = self.main.read(chunk, into)?;
        Some((place, Cursor { place, chunk }))
    }

    /// Returns how many residents the queues hold, the dead that were not met yet among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.small.len() + self.main.len()
    }

    /// Says whether the queues hold nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of [`Policy::len`] residents.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.small.bytes() + self.main.bytes()
    }

    /// Returns the bytes in one queue.
    #[must_use]
    pub fn bytes_in(&self, place: Place) -> u64 {
        match place {
            Place::Small => self.small.bytes(),
            Place::Main => self.main.bytes(),
        }
    }

    /// Returns the memory that the queues and the ghosts take, in bytes; the residents are the caller's.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.small.memory_bytes() + self.main.memory_bytes() + self.ghosts.memory_bytes()
    }

    /// Says whether a size is small beside what is here.
    fn is_tiny(&self, size_bytes: u64) -> bool {
        let mean = self.bytes() / (self.len() as u64).max(1);
        let tiny = mean.checked_div(self.tuning.tiny_part);
        tiny.is_some_and(|tiny| size_bytes < tiny)
    }

    fn push(&mut self, resident: R, place: Place) {
        match place {
            Place::Small => self.small.push(resident),
            Place::Main => {
                self.kept_in_a_row = 0;
                self.main.push(resident);
            }
        }
    }

    /// Returns the queue to look at next, or `None` when neither has anything that may go.
    fn turn(&self) -> Option<Place> {
        let main_may_give = self.kept_in_a_row < self.main.len();
        let main_rests = !main_may_give || self.kept_in_a_row >= KEPT_IN_A_ROW_MAX;
        let is_over = self.small.bytes() > self.small_bytes_max;
        if self.small.len() > 0 && (is_over || main_rests) {
            Some(Place::Small)
        } else {
            main_may_give.then_some(Place::Main)
        }
    }

    fn step_small(&mut self) -> Option<R> {
        let resident = self.small.pop()?;
        match resident.standing() {
            Standing::Gone => None,
            Standing::Kept => {
                // One more pinned one at the end of the row.
                self.kept_in_a_row += 1;
                self.main.push(resident);
                None
            }
            Standing::Evictable if resident.uses() >= self.tuning.uses_to_stay => {
                resident.set_uses(0);
                self.push(resident, Place::Main);
                None
            }
            Standing::Evictable => {
                self.kept_in_a_row = 0;
                let (fingerprint, size_bytes) = (resident.fingerprint(), resident.size_bytes());
                self.ghosts.remember(fingerprint, size_bytes);
                Some(resident)
            }
        }
    }

    fn step_main(&mut self) -> Option<R> {
        let resident = self.main.pop()?;
        match (resident.standing(), resident.uses()) {
            (Standing::Gone, _) => None,
            (Standing::Kept, _) => {
                self.kept_in_a_row += 1;
                self.main.push(resident);
                None
            }
            (Standing::Evictable, 0) => {
                self.kept_in_a_row = 0;
                Some(resident)
            }
            (Standing::Evictable, uses) => {
                resident.set_uses(uses.min(USES_MAX) - 1);
                self.push(resident, Place::Main);
                None
            }
        }
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

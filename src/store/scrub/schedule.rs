//! When the scrub may read on. Values only: the time is an argument.
//!
//! The rate that is needed is what is left of the round by the time that is left for it, and at least what
//! an even spread takes. `scrub_rate` caps it: where both cannot hold, the disk is spared and the round
//! takes longer. A file is read at the cap and rested for afterwards, so that on the whole the needed rate
//! is kept.

use std::time::{Duration, SystemTime};

/// What opening a file costs beside its bytes, as bytes: a page, so that many small files are spread too.
pub(super) const FILE_COST_BYTES: u64 = 4096;

/// Time that work may be behind its schedule and catch up at once. More is forgotten: a machine that slept
/// does not wake up to a burst.
const SLACK: Duration = Duration::from_secs(1);

/// Longest wait: what nobody asks for, and no time overflows with.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Least rate, in bytes per second, for a store that is said to hold nothing.
const RATE_MIN: f64 = 1.0;

/// How fast to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Within how long everything is read once (`transship.store.scrub`). Not zero.
    pub every: Duration,
    /// Most bytes read per second (`transship.store.scrub_rate`). Not zero.
    pub rate_bytes_max: u64,
}

impl Pace {
    /// Returns the highest rate, in bytes per second.
    pub(super) fn rate_max(self) -> f64 {
        (self.rate_bytes_max as f64).max(RATE_MIN)
    }
}

/// What is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Blobs and manifests.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Holdings {
    fn cost(self) -> u64 {
        self.bytes
            .saturating_add(self.files.saturating_mul(FILE_COST_BYTES))
    }

    /// Returns how long a round takes at least, for a warning where that is more than is wanted.
    #[must_use]
    pub fn round_min(self, pace: Pace) -> Duration {
        time_for(self.cost(), pace.rate_max())
    }
}

/// Returns what a file of this length costs.
pub(super) const fn cost(size_bytes: u64) -> u64 {
    size_bytes.saturating_add(FILE_COST_BYTES)
}

/// Returns the rate that finishes the round in time, in bytes per second.
///
/// - `done_bytes`: the cost of what the round has seen.
/// - `left`: the time until it should end.
pub(super) fn rate(pace: Pace, holdings: Holdings, done_bytes: u64, left: Duration) -> f64 {
    let per_second = |bytes: u64, time: Duration| bytes as f64 / time.as_secs_f64().max(1.0);
    let total = holdings.cost();
    let even = per_second(total, pace.every);
    let needed = per_second(total.saturating_sub(done_bytes), left);
    even.max(needed).clamp(RATE_MIN, pace.rate_max())
}

/// Returns how long `bytes` take at `rate` bytes per second.
fn time_for(bytes: u64, rate: f64) -> Duration {
    Duration::try_from_secs_f64(bytes as f64 / rate).map_or(WAIT_MAX, |time| time.min(WAIT_MAX))
}

/// The moment from which on something is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    due: SystemTime,
    /// The longest that `due` can be ahead: more means that the clock was set back.
    ahead: Duration,
    file_began: SystemTime,
}

impl Schedule {
    pub(super) const fn new(now: SystemTime) -> Self {
        Self {
            due: now,
            ahead: Duration::ZERO,
            file_began: now,
        }
    }

    /// Returns how long there is nothing to do; `None` if something is due.
    pub(super) fn wait(&self, now: SystemTime) -> Option<Duration> {
        let wait = self.due.duration_since(now).ok()?;
        (!wait.is_zero() && wait <= self.ahead).then_some(wait)
    }

    /// A file is opened.
    pub(super) fn begin_file(&mut self, now: SystemTime) {
        self.due = self.base(now);
        self.file_began = self.due;
    }

    /// Waits for `bytes` at `rate`, counted from when the wait before ended and not from `now`: what reading
    /// took counts.
    pub(super) fn pause(&mut self, now: SystemTime, bytes: u64, rate: f64) {
        let from = self.base(now);
        self.until(from + time_for(bytes, rate), now);
    }

    /// Waits until the whole file, of this cost, has taken as long as it does at `rate`.
    pub(super) fn end_file(&mut self, now: SystemTime, cost: u64, rate: f64) {
        let end = self.file_began + time_for(cost, rate);
        self.until(end.max(self.base(now)), now);
    }

    /// Waits for this long.
    pub(super) fn rest(&mut self, now: SystemTime, wait: Duration) {
        self.until(now + wait.min(WAIT_MAX), now);
    }

    fn until(&mut self, due: SystemTime, now: SystemTime) {
        self.due = due;
        self.ahead = due.duration_since(now).unwrap_or_default();
    }

    fn base(&self, now: SystemTime) -> SystemTime {
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        self.due.clamp(earliest, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// Plays a round over `sizes`; returns how long it took, and the most bytes of any second or piece.
    fn play(pace: Pace, sizes: &[u64], work: Duration) -> (Duration, u64) {
        const PIECE: u64 = 1 << 20;
        let holdings = Holdings {
            files: sizes.len() as u64,
            bytes: sizes.iter().sum(),
        };
        let began = UNIX_EPOCH + 1000 * DAY;
        let mut now = began;
        let mut schedule = Schedule::new(now);
        let mut done = 0;
        let mut reads: Vec<(SystemTime, u64)> = Vec::new();
        for &size in sizes {
            schedule.begin_file(now);
            let mut left = size;
            loop {
                let bytes = left.min(PIECE);
                left -= bytes;
                reads.push((now, bytes));
                if left == 0 {
                    break;
                }
                schedule.pause(now, bytes, pace.rate_max());
                now += schedule.wait(now).unwrap_or_default() + work;
            }
            done += cost(size);
            let spent = now.duration_since(began).unwrap();
            let rate = rate(pace, holdings, done, pace.every.saturating_sub(spent));
            schedule.end_file(now, cost(size), rate);
            now += schedule.wait(now).unwrap_or_default() + work;
        }
        let mut most = 0;
        for (at, &(from, _)) in reads.iter().enumerate() {
            let within = reads[at..].iter().take_while(|read| read.0 < from + SLACK);
            most = most.max(within.map(|read| read.1).sum());
        }
        (now.duration_since(began).unwrap(), most)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_round_ends_in_time_and_never_exceeds_the_rate(
            sizes in prop::collection::vec(prop_oneof![0u64..5000, 0u64..8_000_000], 1..60),
            hours in 1u64..100, rate_mib in 1u64..64, work_ms in 0u64..5,
        ) {
            let pace = Pace { every: Duration::from_secs(hours * 3600), rate_bytes_max: rate_mib << 20 };
            let (took, most) = play(pace, &sizes, Duration::from_millis(work_ms));
            prop_assert!(took <= pace.every + pace.every / 50, "{took:?} of {:?}", pace.every);
            // As evenly as files allow: the last one's rest belongs to the round.
            let cost: u64 = sizes.iter().map(|size| cost(*size)).sum();
            let even = cost as f64 / pace.every.as_secs_f64();
            prop_assert!(even < RATE_MIN || took >= pace.every / 2, "{took:?} of {:?}", pace.every);
            // Within the slack twice the rate may be read, and a piece is read at once.
            prop_assert!(most <= 2 * pace.rate_bytes_max + (2 << 20), "{most} in a second");
        }
    }

    #[test]
    fn the_disk_is_spared_where_both_bounds_cannot_hold() {
        let pace = Pace {
            every: Duration::from_secs(10),
            rate_bytes_max: 1 << 20,
        };
        let sizes = [8 << 20; 10];
        let (took, most) = play(pace, &sizes, Duration::ZERO);
        assert!(took >= Duration::from_secs(80), "{took:?}");
        assert!(most <= 2 << 20, "{most}");
        let holdings = Holdings {
            files: 10,
            bytes: 80 << 20,
        };
        assert!(holdings.round_min(pace) > pace.every);
    }

    #[test]
    fn what_was_missed_is_caught_up_with() {
        // A cache that is off at night would never finish a round.
        let pace = Pace {
            every: 30 * DAY,
            rate_bytes_max: 32 << 20,
        };
        let holdings = Holdings {
            files: 0,
            bytes: 30 << 30,
        };
        let even = rate(pace, holdings, 0, pace.every);
        let near = |rate: f64, wanted: f64| (rate / wanted - 1.0).abs() < 1e-9;
        assert!(near(even, (30u64 << 30) as f64 / pace.every.as_secs_f64()));
        assert!(near(rate(pace, holdings, 0, 10 * DAY), 3.0 * even));
        assert!(near(
            rate(pace, holdings, 0, Duration::ZERO),
            pace.rate_max()
        ));
        assert!(near(rate(pace, holdings, 31 << 30, Duration::ZERO), even));
        assert!(near(
            rate(pace, Holdings::default(), 0, Duration::ZERO),
            RATE_MIN
        ));
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let now = UNIX_EPOCH + 1000 * DAY;
        let mut schedule = Schedule::new(now);
        schedule.rest(now, DAY);
        assert_eq!(schedule.wait(now), Some(DAY));
        assert_eq!(schedule.wait(now - DAY), None);
        assert_eq!(schedule.wait(now + DAY), None);
    }
}

//! Whether every core goes through its loop: a state machine without a clock.

use std::time::{Duration, Instant};

/// A core that has not gone through its loop for this long is wedged. The longest turn of a healthy one is
/// some milliseconds; a machine that is out of memory or frozen by its host takes seconds.
pub(super) const WEDGED_AFTER: Duration = Duration::from_secs(10);

/// How often it is looked.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was seen of each core.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    cores: Vec<(u64, Duration)>,
    looked: Option<Instant>,
}

impl Pulse {
    /// Takes note of how often each core has gone through its loop.
    pub(super) fn look(&mut self, beats: impl Iterator<Item = u64>, now: Instant) {
        // By the time between looks, of which a stretch in which this thread did not run itself counts as
        // one: after the process was stopped, all cores would seem to have stood still.
        let passed = self.looked.map_or(Duration::ZERO, |looked| {
            now.saturating_duration_since(looked).min(2 * LOOK_EVERY)
        });
        self.looked = Some(now);
        for (index, count) in beats.enumerate() {
            match self.cores.get_mut(index) {
                Some((seen, still)) if *seen == count => *still += passed,
                Some(core) => *core = (count, Duration::ZERO),
                None => self.cores.push((count, Duration::ZERO)),
            }
        }
    }

    /// Returns the cores that have stood still for too long.
    pub(super) fn wedged(&self) -> Vec<usize> {
        let cores = self.cores.iter().enumerate();
        cores
            .filter(|(_, (_, still))| *still >= WEDGED_AFTER)
            .map(|(index, _)| index)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_stands_still_is_found_and_one_that_goes_on_again_is_well() {
        let (mut pulse, start) = (Pulse::default(), Instant::now());
        for second in 0..=9_u64 {
            let now = start + Duration::from_secs(second);
            pulse.look([second, 7].into_iter(), now);
            assert!(pulse.wedged().is_empty(), "{second}");
        }
        pulse.look([10, 7].into_iter(), start + Duration::from_secs(10));
        assert_eq!(pulse.wedged(), [1]);
        pulse.look([10, 8].into_iter(), start + Duration::from_secs(11));
        assert!(pulse.wedged().is_empty());
    }

    #[test]
    fn a_process_that_was_stopped_as_a_whole_is_not_wedged() {
        let (mut pulse, start) = (Pulse::default(), Instant::now());
        pulse.look([1, 1].into_iter(), start);
        pulse.look([1, 1].into_iter(), start + Duration::from_secs(3600));
        assert!(pulse.wedged().is_empty());
    }
}

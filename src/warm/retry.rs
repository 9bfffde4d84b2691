//! How long a job goes on trying an image that cannot be had just now. Without a clock.

use std::time::Duration;

use crate::limits::{WARM_WAIT_MAX, WARM_WAIT_MIN};

/// Failures in a row, without anything having come in between.
#[derive(Debug)]
pub(super) struct Retry {
    patience: Duration,
    failures: u32,
}

impl Retry {
    /// - `patience`: how long it may be that nothing comes.
    pub(super) const fn new(patience: Duration) -> Self {
        Self {
            patience,
            failures: 0,
        }
    }

    /// Takes note of a failure; returns how long to wait before the next try, or `None` to give up.
    ///
    /// - `since`: how long ago something came last.
    /// - `has_come`: something has come since the failure before.
    /// - `spread`: from 0 to 1, at random.
    pub(super) fn next(
        &mut self,
        since: Duration,
        has_come: bool,
        spread: f64,
    ) -> Option<Duration> {
        if has_come {
            self.failures = 0;
        }
        let left = self.patience.checked_sub(since)?;
        let doubled = WARM_WAIT_MIN * (1 << self.failures.min(10));
        self.failures += 1;
        let wait = doubled.min(WARM_WAIT_MAX).mul_f64(0.5 + spread / 2.0);
        (!left.is_zero()).then(|| wait.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_with_the_patience() {
        let mut retry = Retry::new(Duration::from_secs(300));
        let mut since = Duration::ZERO;
        let mut waits = Vec::new();
        while let Some(wait) = retry.next(since, false, 1.0) {
            assert!(wait <= WARM_WAIT_MAX && wait > Duration::ZERO);
            since += wait;
            waits.push(wait);
        }
        assert_eq!(since, Duration::from_secs(300), "all of it is used");
        assert_eq!(waits[1], WARM_WAIT_MIN * 2);
        assert!(waits.len() > 5 && waits.len() < 50);
    }

    #[test]
    fn what_has_come_makes_up_for_failures_and_no_patience_is_no_try() {
        let mut retry = Retry::new(Duration::from_secs(300));
        for _ in 0..5 {
            let _ = retry.next(Duration::from_secs(1), false, 1.0);
        }
        let next = retry.next(Duration::from_secs(1), true, 1.0);
        assert_eq!(next, Some(WARM_WAIT_MIN));
        assert_eq!(
            Retry::new(Duration::ZERO).next(Duration::ZERO, true, 0.0),
            None
        );
    }
}

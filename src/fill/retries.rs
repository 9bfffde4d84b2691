//! How often a fill goes on after its next hop broke off, and after which pauses. Without a clock.

use std::time::Duration;

use crate::limits::{RESUME_WAIT_MAX, RESUME_WAIT_MIN, RESUMES_MAX};

/// Bytes that make up for every failure before them.
const PROGRESS_BYTES: u64 = 1024 * 1024;
/// A refusal in mid-blob, or an answer that makes no sense, is seldom taken back: it counts as so many failures.
const REFUSAL_WEIGHT: u32 = RESUMES_MAX;

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Retries {
    failures: u32,
    tries: u32,
    received_at_last: u64,
}

impl Retries {
    /// Takes note of a failure; returns how long to wait before going on, or `None` if it was the last one.
    ///
    /// Whoever has received much loses much: it is tried twice as often.
    ///
    /// - `received`: bytes that the fill has received so far.
    /// - `spread`: from 0 to 1, at random, so that many fills of one hop do not come back at once.
    pub(super) fn next(
        &mut self,
        received: u64,
        is_refusal: bool,
        spread: f64,
    ) -> Option<Duration> {
        if received - self.received_at_last >= PROGRESS_BYTES {
            (self.failures, self.tries) = (0, 0);
        }
        self.received_at_last = received;
        self.failures += if is_refusal { REFUSAL_WEIGHT } else { 1 };
        let most = match received >= PROGRESS_BYTES {
            true => 2 * RESUMES_MAX,
            false => RESUMES_MAX,
        };
        let doubled = RESUME_WAIT_MIN * (1 << self.tries.min(10));
        self.tries += 1;
        let wait = doubled.min(RESUME_WAIT_MAX).mul_f64(0.5 + spread / 2.0);
        (self.failures <= most).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(retries: &mut Retries, received: u64) -> u32 {
        let next = |_: &u32| retries.next(received, false, 1.0).is_some();
        u32::try_from((0..100).take_while(next).count()).unwrap()
    }

    #[test]
    fn a_hop_that_sends_nothing_is_given_up_and_one_that_sends_something_is_not() {
        let mut retries = Retries::default();
        assert_eq!(tries(&mut retries, 5), RESUMES_MAX);
        let mut retries = Retries::default();
        for step in 1..100 {
            let waited = retries.next(step * PROGRESS_BYTES, false, 1.0);
            assert_eq!(waited, Some(RESUME_WAIT_MIN));
        }
        let left = tries(&mut retries, 99 * PROGRESS_BYTES + 1);
        assert_eq!(left, 2 * RESUMES_MAX - 1, "it has gone that far");
    }

    #[test]
    fn the_pauses_double_up_to_a_bound_and_are_spread() {
        let mut retries = Retries::default();
        let received = PROGRESS_BYTES;
        let waits: Vec<_> = std::iter::from_fn(|| retries.next(received, false, 1.0)).collect();
        assert_eq!(waits[1], 2 * waits[0]);
        assert!(waits.iter().all(|&wait| wait <= RESUME_WAIT_MAX));
        assert_eq!(waits.last(), Some(&RESUME_WAIT_MAX));
        let least = Retries::default().next(received, false, 0.0);
        assert_eq!(least, Some(RESUME_WAIT_MIN / 2));
    }

    #[test]
    fn a_refusal_is_not_asked_for_long() {
        let mut retries = Retries::default();
        let refused = |_: &u32| retries.next(0, true, 1.0).is_some();
        assert_eq!((0..100).take_while(refused).count(), 1);
        let mut retries = Retries::default();
        let refused = |_: &u32| retries.next(PROGRESS_BYTES, true, 1.0).is_some();
        assert_eq!((0..100).take_while(refused).count(), 2);
    }
}

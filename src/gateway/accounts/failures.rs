//! How often one client may guess one account's password.
//!
//! Ten wrong ones at once, then one every six seconds. The measure is kept for a client and an account together: whoever
//! guesses locks out neither the account's owner, who comes from elsewhere, nor others behind the same address.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// What one wrong password costs.
const PRICE: Duration = Duration::from_secs(6);
/// What may be owed before the next guess has to wait.
const CREDIT: Duration = Duration::from_secs(60);
/// Most measures that are kept.
const KEPT_MAX: usize = 16 * 1024;

/// Debts of those who guessed wrong.
#[derive(Debug)]
pub(super) struct Failures<K> {
    /// When each has nothing to owe any more.
    until: HashMap<K, Instant>,
}

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self {
            until: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Failures<K> {
    /// Says whether `key` may guess at `now`.
    pub(super) fn may(&self, key: &K, now: Instant) -> bool {
        let until = self.until.get(key);
        until.is_none_or(|until| until.saturating_duration_since(now) + PRICE <= CREDIT)
    }

    /// Notes a wrong guess.
    pub(super) fn note(&mut self, key: K, now: Instant) {
        if self.until.len() >= KEPT_MAX {
            self.until.retain(|_, until| *until > now);
            // Whoever has as many addresses is bounded by the queue alone.
            if self.until.len() >= KEPT_MAX {
                self.until.clear();
            }
        }
        let until = self.until.entry(key).or_insert(now);
        *until = (*until).max(now) + PRICE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_guesses_are_free_and_the_next_ones_wait() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        for _ in 0..10 {
            assert!(failures.may(&"a", start));
            failures.note("a", start);
        }
        assert!(!failures.may(&"a", start));
        assert!(failures.may(&"b", start));
        assert!(!failures.may(&"a", start + PRICE - Duration::from_nanos(1)));
        assert!(failures.may(&"a", start + PRICE));
        failures.note("a", start + PRICE);
        assert!(!failures.may(&"a", start + PRICE));
        assert!(failures.may(&"a", start + Duration::from_secs(3600)));
    }

    #[test]
    fn no_more_is_kept_than_there_may_be() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        for guess in 0..3 * KEPT_MAX {
            failures.note(guess, start);
            assert!(failures.until.len() <= KEPT_MAX);
        }
        failures.note(0, start + Duration::from_secs(3600));
        assert!(failures.until.len() <= KEPT_MAX);
    }
}

//! Who asks for the same blob again within seconds: a client that was sent to a cache in vain. No clock, no network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::digest::Digest;

/// How soon clients try again.
const SOON: Duration = Duration::from_secs(20);

/// How often a cache is looked at for them: many pull the same from behind one address and get it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How much is remembered.
const REMEMBERED_MAX: usize = 20_000;

/// A question for a blob. A GET after a HEAD is none that is asked again.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) user: Option<String>,
    pub(super) client: IpAddr,
    pub(super) is_head: bool,
    pub(super) digest: Digest,
}

/// What was asked for lately.
#[derive(Debug, Default)]
pub(super) struct Again {
    asked: HashMap<Asked, Instant>,
    /// When a cache was last looked at for somebody who asked again, by id.
    looked: HashMap<String, Instant>,
}

impl Again {
    /// Takes note of a question at `now`; says whether it was asked a short while ago.
    pub(super) fn is_asked_again(&mut self, asked: Asked, now: Instant) -> bool {
        if self.asked.len() >= REMEMBERED_MAX {
            self.asked.retain(|_, at| is_within(SOON, *at, now));
            if self.asked.len() >= REMEMBERED_MAX {
                self.asked.clear();
            }
        }
        let before = self.asked.insert(asked, now);
        before.is_some_and(|at| is_within(SOON, at, now))
    }

    /// Says whether a cache is to be looked at for somebody who asks again, and takes it for done.
    pub(super) fn is_to_be_looked_at(&mut self, cache: &str, now: Instant) -> bool {
        self.looked.retain(|_, at| is_within(LOOK_EVERY, *at, now));
        let is_due = !self.looked.contains_key(cache);
        if is_due {
            self.looked.insert(cache.to_owned(), now);
        }
        is_due
    }
}

fn is_within(span: Duration, at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < span
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    fn asked(user: &str, is_head: bool, seed: &str) -> Asked {
        Asked {
            user: Some(user.to_owned()),
            client: IpAddr::from([127, 0, 0, 1]),
            is_head,
            digest: Digest::of(Algorithm::Sha256, seed.as_bytes()),
        }
    }

    #[test]
    fn the_same_question_within_seconds_is_one_that_is_asked_again() {
        let (mut again, begin) = (Again::default(), Instant::now());
        assert!(!again.is_asked_again(asked("ann", false, "a"), begin));
        for other in [
            asked("ann", true, "a"),
            asked("kim", false, "a"),
            asked("ann", false, "b"),
        ] {
            assert!(!again.is_asked_again(other, begin));
        }
        let soon = begin + SOON - Duration::from_millis(1);
        assert!(again.is_asked_again(asked("ann", false, "a"), soon));
        assert!(!again.is_asked_again(asked("ann", false, "a"), soon + SOON));
    }

    #[test]
    fn little_is_remembered_and_no_cache_is_looked_at_for_each() {
        let (mut again, begin) = (Again::default(), Instant::now());
        for number in 0..=REMEMBERED_MAX {
            again.is_asked_again(asked("ann", false, &number.to_string()), begin);
        }
        assert_eq!(again.asked.len(), 1);
        assert!(again.is_to_be_looked_at("1", begin));
        assert!(!again.is_to_be_looked_at("1", begin));
        assert!(again.is_to_be_looked_at("2", begin));
        assert!(again.is_to_be_looked_at("1", begin + LOOK_EVERY));
    }
}

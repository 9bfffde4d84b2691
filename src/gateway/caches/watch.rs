//! What several looks at a cache make of its health. No clock, no network.

use std::time::Duration;

use url::Url;

use super::Health;

/// Failures in a row after which a cache that was up is down: one may be the network's.
const FAILURES: u32 = 2;

/// What is known of a cache's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Look {
    pub(in crate::gateway) health: Health,
    /// Since when it is so, in seconds since the epoch.
    pub(in crate::gateway) since: Option<u64>,
    /// When it was last looked at.
    pub(in crate::gateway) checked_at: Option<u64>,
    /// How long its last good answer took.
    pub(in crate::gateway) round_trip: Option<Duration>,
}

impl Look {
    /// Returns what is known of a cache that was never looked at.
    pub(super) const fn none() -> Self {
        Self {
            health: Health::Unknown,
            since: None,
            checked_at: None,
            round_trip: None,
        }
    }
}

/// How much a single look counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Trust {
    /// It is one of many.
    InTime,
    /// It decides: somebody waits for it.
    AtOnce,
}

/// A cache that is looked at.
#[derive(Debug)]
pub(super) struct Watch {
    /// Where it is looked at.
    pub(super) host: Url,
    pub(super) look: Look,
    failures: u32,
}

impl Watch {
    pub(super) const fn new(host: Url) -> Self {
        Self {
            host,
            look: Look::none(),
            failures: 0,
        }
    }

    /// Says whether the last look failed.
    pub(super) const fn is_doubted(&self) -> bool {
        self.failures > 0
    }

    /// Takes note of a look at `now`: how long the answer took, or why there was none.
    pub(super) fn saw(&mut self, seen: Result<Duration, String>, trust: Trust, now: u64) {
        let look = &mut self.look;
        look.checked_at = Some(now);
        let health = match seen {
            Ok(took) => {
                self.failures = 0;
                look.round_trip = Some(took);
                Health::Up
            }
            Err(reason) => {
                self.failures = self.failures.saturating_add(1);
                let is_doubted = look.health == Health::Up && self.failures < FAILURES;
                if trust == Trust::InTime && is_doubted {
                    return;
                }
                look.round_trip = None;
                Health::Down(reason)
            }
        };
        let is_same = matches!(
            (&look.health, &health),
            (Health::Up, Health::Up) | (Health::Down(_), Health::Down(_))
        );
        if !is_same {
            look.since = Some(now);
        }
        look.health = health;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(3);

    fn watch() -> Watch {
        Watch::new("https://cache.example.org".parse().unwrap())
    }

    fn failed(why: &str) -> Result<Duration, String> {
        Err(why.to_owned())
    }

    #[test]
    fn the_first_look_decides() {
        let (mut up, mut down) = (watch(), watch());
        assert_eq!(up.look.health, Health::Unknown);
        up.saw(Ok(TOOK), Trust::InTime, 10);
        down.saw(failed("refused"), Trust::InTime, 10);
        assert_eq!((up.look.health, up.look.since), (Health::Up, Some(10)));
        assert_eq!(down.look.health, Health::Down("refused".to_owned()));
    }

    #[test]
    fn one_failure_is_doubted_and_two_in_a_row_are_not() {
        let mut watch = watch();
        watch.saw(Ok(TOOK), Trust::InTime, 1);
        for now in [2, 4] {
            watch.saw(failed("lost"), Trust::InTime, now);
            assert_eq!(watch.look.health, Health::Up);
            assert_eq!(watch.look.checked_at, Some(now));
            watch.saw(Ok(TOOK), Trust::InTime, now + 1);
        }
        watch.saw(failed("lost"), Trust::InTime, 6);
        watch.saw(failed("refused"), Trust::InTime, 7);
        assert_eq!(watch.look.health, Health::Down("refused".to_owned()));
        assert_eq!((watch.look.since, watch.look.round_trip), (Some(7), None));
    }

    #[test]
    fn one_good_answer_is_enough_and_the_reason_is_the_last_one() {
        let mut watch = watch();
        watch.saw(failed("refused"), Trust::InTime, 1);
        watch.saw(failed("502"), Trust::InTime, 2);
        assert_eq!(watch.look.health, Health::Down("502".to_owned()));
        assert_eq!(watch.look.since, Some(1));
        watch.saw(Ok(TOOK), Trust::InTime, 3);
        assert_eq!(
            (&watch.look.health, watch.look.since),
            (&Health::Up, Some(3))
        );
        assert_eq!(watch.look.round_trip, Some(TOOK));
    }

    #[test]
    fn a_look_that_somebody_waits_for_decides() {
        let mut watch = watch();
        watch.saw(Ok(TOOK), Trust::InTime, 1);
        watch.saw(failed("refused"), Trust::AtOnce, 2);
        assert_eq!(watch.look.health, Health::Down("refused".to_owned()));
    }
}

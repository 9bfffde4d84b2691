//! Whether one hop is up, from what becomes of the requests to it: a state machine without a clock.
//!
//! ```text
//!        failed, enough of it                 the wait is over, one request asks
//!  Up ───────────────────────▶ Down until T ──────────────────────────────────▶ Probing
//!   ▲                            ▲    │ answered a last resort                    │   │
//!   ├────────────────────────────┼────╯                                           │   │
//!   │                            ╰─ failed: T doubles ────────────────────────────╯   │
//!   ╰──────────────────────────────── answered ───────────────────────────────────────╯
//! ```
//!
//! Nobody is asked for the sake of asking: a probe is a client's own request. What fails counts only if
//! the hop has answered nothing since that request began.

use std::time::{Duration, Instant};

use crate::limits::{HOP_FAILURES_MAX, HOP_WAIT_MAX, HOP_WAIT_MIN, QUICK_FAILURE};

/// How a hop failed, by what it takes to believe that it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failing {
    /// No connection, no TLS: nothing but a hop that is down does that. Once is enough.
    Gone,
    /// Nothing within its time. Once is enough where others can answer in its stead; a hop that is alone
    /// may have been slow with one answer.
    Silent,
    /// An answer that is an error of its own, or none at all. It takes several in a row.
    Ill,
}

/// What a request may do with a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Ask: it is up.
    Up,
    /// Ask: it is down, and this request finds out whether it still is.
    Probe,
    /// Ask if nobody else answers: it is down, and says so quickly.
    LastResort,
    /// Do not ask: it is down, and asking costs a timeout.
    Closed,
}

/// What changed, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is down, and asked again after this.
    WentDown { wait: Duration },
    /// It is up again, after having been down for so long.
    CameBack { after: Duration },
}

/// What is remembered of a hop that is down.
#[derive(Clone, Copy, Debug)]
struct Down {
    since: Instant,
    /// When somebody may ask it again.
    until: Instant,
    /// The wait that `until` was made from, without jitter.
    wait: Duration,
    /// Whether it failed at once, so that asking costs next to nothing.
    is_quick: bool,
    is_probed: bool,
}

/// One hop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    /// Failures in a row that alone do not make it down.
    failures: u32,
    /// Bodies in a row that broke off. They do not end with a head, which such a hop sends readily.
    broken: u32,
    /// What such a hop waits the next time that it goes down for them.
    broken_wait: Duration,
    /// When it answered last.
    answered: Option<Instant>,
    down: Option<Down>,
    /// Whether no other hop can answer in its stead.
    is_alone: bool,
}

impl Health {
    /// Returns a hop that is up.
    pub(super) const fn new(is_alone: bool) -> Self {
        Self {
            failures: 0,
            broken: 0,
            broken_wait: HOP_WAIT_MIN,
            answered: None,
            down: None,
            is_alone,
        }
    }

    /// Says whether somebody finds out just now whether it still is down.
    pub(super) fn is_probed(&self) -> bool {
        self.down.is_some_and(|down| down.is_probed)
    }

    /// Returns since when it is down.
    pub(super) fn down_since(&self) -> Option<Instant> {
        self.down.map(|down| down.since)
    }

    /// Returns when somebody may find out whether it still is down.
    pub(super) fn asked_again(&self) -> Option<Instant> {
        self.down.map(|down| down.until)
    }

    /// Says whether a request of now would ask it, were it to choose this one.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.down
            .is_none_or(|down| !down.is_probed && now >= down.until)
    }

    /// Says whether a request of now may ask it at all, if only as the last resort.
    pub(super) fn may_be_asked(&self, now: Instant) -> bool {
        self.is_open(now) || self.down.is_some_and(|down| down.is_quick)
    }

    /// Says what a request of now may do with it; takes the probe's place where that is free.
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        let Some(down) = &mut self.down else {
            return Admission::Up;
        };
        if !down.is_probed && now >= down.until {
            down.is_probed = true;
            return Admission::Probe;
        }
        match down.is_quick {
            true => Admission::LastResort,
            false => Admission::Closed,
        }
    }

    /// Takes note that it answered.
    pub(super) fn answered(&mut self, now: Instant) -> Option<Change> {
        self.failures = 0;
        self.answered = Some(now);
        let down = self.down.take()?;
        let after = now.saturating_duration_since(down.since);
        Some(Change::CameBack { after })
    }

    /// Takes note that a request that began at `began` failed.
    ///
    /// - `is_probe`: whether it was admitted as such.
    /// - `spread`: 0 to 1, at random: hops that went down together are not asked again together.
    pub(super) fn failed(
        &mut self,
        failing: Failing,
        began: Instant,
        now: Instant,
        is_probe: bool,
        spread: f64,
    ) -> Option<Change> {
        let is_quick = now.saturating_duration_since(began) < QUICK_FAILURE;
        if let Some(down) = &mut self.down {
            if is_probe {
                down.wait = (down.wait * 2).min(HOP_WAIT_MAX);
                down.until = now + spread_out(down.wait, spread);
                down.is_quick = is_quick;
                down.is_probed = false;
            }
            return None;
        }
        if self.answered.is_some_and(|answered| answered > began) {
            return None;
        }
        self.failures += 1;
        if self.failures < self.failures_max(failing) {
            return None;
        }
        self.failures = 0;
        Some(self.go_down(now, is_quick, HOP_WAIT_MIN, spread))
    }

    /// Takes note that a body broke off. Once it has gone down for that, one more is enough, until a body
    /// ends as it should.
    pub(super) fn broke(&mut self, now: Instant, spread: f64) -> Option<Change> {
        self.broken = (self.broken + 1).min(HOP_FAILURES_MAX);
        if self.broken < HOP_FAILURES_MAX || self.down.is_some() {
            return None;
        }
        self.broken = HOP_FAILURES_MAX - 1;
        let wait = self.broken_wait;
        self.broken_wait = (wait * 2).min(HOP_WAIT_MAX);
        // Its heads come, so asking it costs nobody a timeout, and half a blob is better than none.
        Some(self.go_down(now, true, wait, spread))
    }

    /// Takes note that a body ended exactly.
    pub(super) const fn ended(&mut self) {
        self.broken = 0;
        self.broken_wait = HOP_WAIT_MIN;
    }

    fn go_down(&mut self, now: Instant, is_quick: bool, base: Duration, spread: f64) -> Change {
        let wait = spread_out(base, spread);
        self.down = Some(Down {
            since: now,
            until: now + wait,
            wait: base,
            is_quick,
            is_probed: false,
        });
        Change::WentDown { wait }
    }

    /// Gives the probe's place back: its client left before anything could be told.
    pub(super) const fn abandoned(&mut self) {
        if let Some(down) = &mut self.down {
            down.is_probed = false;
        }
    }

    const fn failures_max(&self, failing: Failing) -> u32 {
        match failing {
            Failing::Gone => 1,
            Failing::Silent if !self.is_alone => 1,
            Failing::Silent | Failing::Ill => HOP_FAILURES_MAX,
        }
    }
}

/// Returns `wait`, a fifth more or less.
fn spread_out(wait: Duration, spread: f64) -> Duration {
    wait.mul_f64(0.8 + 0.4 * spread.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// Exactly the wait, neither more nor less.
    const EVEN: f64 = 0.5;

    /// A hop that goes down at the moment returned, having taken `took` for it.
    fn down(failing: Failing, took: Duration, is_alone: bool) -> (Health, Instant) {
        let mut health = Health::new(is_alone);
        let mut now = Instant::now();
        for _ in 0..HOP_FAILURES_MAX {
            let began = now;
            now += took;
            if health.failed(failing, began, now, false, EVEN).is_some() {
                return (health, now);
            }
        }
        panic!("still up");
    }

    #[test]
    fn a_hop_that_cannot_be_reached_is_down_at_once_and_one_request_asks_again() {
        let (mut health, at) = down(Failing::Gone, 5 * SECOND, false);
        assert_eq!(health.admit(at), Admission::Closed);
        assert_eq!(health.admit(at + HOP_WAIT_MIN), Admission::Probe);
        assert!(!health.is_open(at + 9 * SECOND));
        assert_eq!(health.admit(at + 9 * SECOND), Admission::Closed);
        let now = at + 10 * SECOND;
        let after = now - at;
        assert_eq!(health.answered(now), Some(Change::CameBack { after }));
        assert_eq!(health.admit(now), Admission::Up);
    }

    #[test]
    fn bodies_that_break_off_again_and_again_take_a_hop_down_whatever_its_heads_say() {
        let (mut health, now) = (Health::new(true), Instant::now());
        for _ in 1..HOP_FAILURES_MAX {
            assert_eq!(health.broke(now, EVEN), None);
            health.answered(now);
        }
        health.ended();
        for _ in 1..HOP_FAILURES_MAX {
            assert_eq!(health.broke(now, EVEN), None);
            health.answered(now);
        }
        let wait = HOP_WAIT_MIN;
        assert_eq!(health.broke(now, EVEN), Some(Change::WentDown { wait }));
        assert_eq!(health.broke(now, EVEN), None, "another of the same time");
        assert_eq!(health.admit(now), Admission::LastResort);
        assert_eq!(health.admit(now + HOP_WAIT_MIN), Admission::Probe);
        assert!(health.answered(now + HOP_WAIT_MIN).is_some());
        let wait = 2 * HOP_WAIT_MIN;
        let again = health.broke(now, EVEN);
        assert_eq!(again, Some(Change::WentDown { wait }), "it is no better");
    }

    #[test]
    fn what_fails_quickly_is_still_asked_when_nobody_else_answers() {
        let (mut health, at) = down(Failing::Gone, Duration::ZERO, true);
        assert_eq!(health.admit(at), Admission::LastResort);
        assert!(health.answered(at).is_some());
        assert_eq!(health.admit(at), Admission::Up);
    }

    #[test]
    fn one_slow_answer_does_not_close_the_only_hop() {
        let mut health = Health::new(true);
        let mut now = Instant::now();
        for _ in 1..HOP_FAILURES_MAX {
            let began = now;
            now += 20 * SECOND;
            assert_eq!(
                health.failed(Failing::Silent, began, now, false, EVEN),
                None
            );
            assert_eq!(health.admit(now), Admission::Up);
        }
        assert!(
            health
                .failed(Failing::Silent, now, now + SECOND, false, EVEN)
                .is_some()
        );
        let mut other = Health::new(false);
        assert!(
            other
                .failed(Failing::Silent, now, now + SECOND, false, EVEN)
                .is_some()
        );
    }

    #[test]
    fn errors_count_in_a_row_and_answers_of_meanwhile_outweigh_them() {
        let (mut health, start) = (Health::new(false), Instant::now());
        for step in 0..10 {
            let now = start + step * SECOND;
            assert_eq!(health.failed(Failing::Ill, now, now, false, EVEN), None);
            assert_eq!(health.answered(now), None);
        }
        let answered = start + 10 * SECOND;
        health.answered(answered);
        let late = answered + SECOND;
        assert_eq!(health.failed(Failing::Gone, start, late, false, EVEN), None);
        assert!(
            health
                .failed(Failing::Gone, answered, late, false, EVEN)
                .is_some()
        );
    }

    #[test]
    fn a_probe_that_is_given_up_lets_the_next_request_probe() {
        let (mut health, at) = down(Failing::Gone, 5 * SECOND, true);
        let due = at + HOP_WAIT_MIN;
        assert_eq!(health.admit(due), Admission::Probe);
        health.abandoned();
        assert_eq!(health.admit(due), Admission::Probe);
    }

    #[test]
    fn requests_that_were_under_way_do_not_make_the_wait_longer() {
        let (mut health, at) = down(Failing::Gone, 5 * SECOND, false);
        let began = at - SECOND;
        for _ in 0..100 {
            assert_eq!(
                health.failed(Failing::Gone, began, at + SECOND / 2, false, EVEN),
                None
            );
        }
        assert_eq!(health.admit(at + HOP_WAIT_MIN), Admission::Probe);
    }

    #[derive(Clone, Debug)]
    enum Event {
        Pass(u64),
        Ask(bool, u8),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            (0_u64..15_000).prop_map(Event::Pass),
            (any::<bool>(), 0_u8..3).prop_map(|(is_good, how)| Event::Ask(is_good, how)),
        ];
        proptest::collection::vec(event, 1..200)
    }

    proptest! {
        /// Whatever happens: a hop is asked again within the longest wait, and comes back with the first
        /// answer.
        #[test]
        fn no_hop_is_lost_for_good(events in events(), is_alone: bool, spread in 0.0..1.0) {
            let mut health = Health::new(is_alone);
            let mut now = Instant::now();
            for event in events {
                match event {
                    Event::Pass(milliseconds) => now += Duration::from_millis(milliseconds),
                    Event::Ask(is_good, how) => {
                        let admission = health.admit(now);
                        if admission == Admission::Closed {
                            prop_assert!(!health.is_probed());
                            continue;
                        }
                        let began = now;
                        now += Duration::from_millis(300) * u32::from(how) * 10;
                        if is_good {
                            health.answered(now);
                            prop_assert_eq!(health.admit(now), Admission::Up);
                        } else {
                            let failing = [Failing::Gone, Failing::Silent, Failing::Ill][usize::from(how)];
                            let is_probe = admission == Admission::Probe;
                            health.failed(failing, began, now, is_probe, spread);
                        }
                    }
                }
                prop_assert!(health.is_open(now + HOP_WAIT_MAX.mul_f64(1.2)));
            }
        }

        /// The wait doubles up to its bound, and never by more than a fifth off.
        #[test]
        fn waits_double_and_are_bounded(spreads in proptest::collection::vec(0.0..1.0, 1..20)) {
            let (mut health, mut now) = down(Failing::Gone, 5 * SECOND, false);
            let mut wait = HOP_WAIT_MIN;
            for spread in spreads {
                let until = health.down.unwrap().until;
                prop_assert!(until - now <= HOP_WAIT_MAX.mul_f64(1.2));
                now = until;
                prop_assert_eq!(health.admit(now), Admission::Probe);
                health.failed(Failing::Gone, now, now, true, spread);
                wait = (wait * 2).min(HOP_WAIT_MAX);
                let next = health.down.unwrap().until - now;
                prop_assert!(next >= wait.mul_f64(0.79) && next <= wait.mul_f64(1.21));
            }
        }
    }
}

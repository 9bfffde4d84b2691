//! Whether one hop asks to be left alone: a state machine without a clock.
//!
//! ```text
//!        429, or 503 with Retry-After         its time is over, one request asks
//!  Open ─────────────────────────────▶ Closed ─────────────────────────────────▶ Probing
//!   ▲                                    ▲ ▲      says so again: longer           │   │
//!   │                                    │ ╰──────────────────────────────────────╯   │
//!   │                                    ╰──── says so again ───╮                     │
//!   ╰────── enough answers in a row ──────────────────────── Easing ◀── answered ─────╯
//! ```
//!
//! Easing lets two ask at once, and with each answer one more: a thousand who waited do not come
//! together. A hop that throttles works, so none of this says anything about its health.

use std::time::{Duration, Instant, SystemTime};

use crate::limits::{
    RETRY_AFTER_MAX, THROTTLE_EASE_MAX, THROTTLE_SPREAD_MAX, THROTTLE_WAIT_MAX, THROTTLE_WAIT_MIN,
};

/// What changed, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is asked nothing for so long.
    Began { wait: Duration },
    /// It answers again, after so long.
    Ended { after: Duration },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nobody asks before this.
    Closed(Instant),
    /// Its time is over, and one request finds out what it says now.
    Probing,
    /// It answers again; this many may ask at once.
    Easing(usize),
}

/// One hop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Throttle {
    state: State,
    /// When it said so first, while it is not known to answer again.
    since: Option<Instant>,
    /// When it said so last.
    closed: Option<Instant>,
    backoff: Backoff,
}

impl Throttle {
    /// Returns a hop that may be asked.
    pub(super) const fn new() -> Self {
        Self {
            state: State::Open,
            since: None,
            closed: None,
            backoff: Backoff::new(),
        }
    }

    /// Says whether a request may ask it at `now`, with so many whose answer is not there yet.
    pub(super) fn admits(&self, now: Instant, asking: usize) -> bool {
        match self.state {
            State::Open => true,
            State::Closed(until) => now >= until,
            State::Probing => false,
            State::Easing(window) => asking < window,
        }
    }

    /// Takes note that a request asks it, which [`Self::admits`]; says whether it is the probe.
    pub(super) fn admit(&mut self) -> bool {
        let is_probe = matches!(self.state, State::Closed(_));
        if is_probe {
            self.state = State::Probing;
        }
        is_probe
    }

    /// Says whether it is left alone: it said so, and has not answered since.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_) | State::Probing)
    }

    /// Returns when its time is over.
    pub(super) const fn until(&self) -> Option<Instant> {
        match self.state {
            State::Closed(until) => Some(until),
            _ => None,
        }
    }

    /// Takes note that it asks to be left alone, in answer to a request that began at `began`.
    ///
    /// - `asked`: for how long, where it says that.
    /// - `spread`: 0 to 1, at random.
    pub(super) fn refused(
        &mut self,
        asked: Option<Duration>,
        began: Instant,
        now: Instant,
        spread: f64,
    ) -> Option<Change> {
        // Of many that were on their way when it said so first, each is told the same.
        let is_news = self.closed.is_none_or(|closed| began >= closed);
        if !is_news && !matches!(self.state, State::Closed(_)) {
            return None;
        }
        let wait = match (asked, is_news) {
            (Some(asked), _) => bound(asked),
            (None, true) => self.backoff.next(now),
            (None, false) => return None,
        };
        let until = now + spread_out(wait, spread);
        self.state = match self.state {
            State::Closed(before) => State::Closed(before.max(until)),
            _ => State::Closed(until),
        };
        if is_news {
            self.closed = Some(now);
        }
        if self.since.is_some() {
            return None;
        }
        self.since = Some(now);
        Some(Change::Began { wait })
    }

    /// Takes note that it answered a request that began at `began`.
    pub(super) fn answered(
        &mut self,
        is_probe: bool,
        began: Instant,
        now: Instant,
    ) -> Option<Change> {
        match self.state {
            State::Probing if is_probe => self.state = State::Easing(2),
            State::Easing(window) if self.closed.is_none_or(|closed| began >= closed) => {
                self.state = State::Easing(window + 1);
                if window + 1 >= THROTTLE_EASE_MAX {
                    self.state = State::Open;
                }
            }
            _ => {}
        }
        if self.is_closed() {
            return None;
        }
        let since = self.since.take()?;
        let after = now.saturating_duration_since(since);
        Some(Change::Ended { after })
    }

    /// Takes note that a request told nothing: it failed otherwise, or its client left. If it was the
    /// probe, the next one is.
    pub(super) fn told_nothing(&mut self, is_probe: bool, now: Instant) {
        if is_probe && self.state == State::Probing {
            self.state = State::Closed(now);
        }
    }
}

/// How long to wait after a 429 that does not say so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    wait: Duration,
    /// When it was last asked for.
    last: Option<Instant>,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self {
            wait: THROTTLE_WAIT_MIN,
            last: None,
        }
    }

    /// Returns the next wait: twice the last one, unless that was long ago.
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        let is_over = |last| now.saturating_duration_since(last) > 2 * THROTTLE_WAIT_MAX;
        if self.last.is_some_and(is_over) {
            self.wait = THROTTLE_WAIT_MIN;
        }
        self.last = Some(now);
        let wait = self.wait;
        self.wait = (wait * 2).min(THROTTLE_WAIT_MAX);
        wait
    }
}

/// Reads `Retry-After` (RFC 9110 §10.2.3): seconds, or a date. `None` where it is neither, or says that
/// there is nothing to wait for.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let asked = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // What does not fit is longer than what is believed.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).ok()?
    };
    (!asked.is_zero()).then_some(asked)
}

/// Returns as much of what a hop asks for as is believed.
pub(super) fn bound(asked: Duration) -> Duration {
    asked.clamp(THROTTLE_WAIT_MIN, RETRY_AFTER_MAX)
}

/// Returns `wait`, a little more: never less than was asked for.
pub(super) fn spread_out(wait: Duration, spread: f64) -> Duration {
    wait + (wait / 5)
        .min(THROTTLE_SPREAD_MAX)
        .mul_f64(spread.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A hop that asks to be left alone for ten seconds from the moment returned.
    fn closed() -> (Throttle, Instant) {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        let change = throttle.refused(Some(10 * SECOND), now, now, 0.0);
        assert_eq!(change, Some(Change::Began { wait: 10 * SECOND }));
        (throttle, now)
    }

    #[test]
    fn nobody_asks_before_its_time_and_then_one_does() {
        let (mut throttle, at) = closed();
        assert!(!throttle.admits(at + 9 * SECOND, 0));
        let now = at + 10 * SECOND;
        assert!(throttle.admits(now, 0));
        assert!(throttle.admit());
        assert!(!throttle.admits(now, 1), "one is enough");
        // What began before it closed tells nothing of now.
        assert_eq!(throttle.answered(false, at - SECOND, now), None);
        assert!(!throttle.admits(now, 1));
        let after = 10 * SECOND;
        let change = throttle.answered(true, now, now);
        assert_eq!(change, Some(Change::Ended { after }));
        assert_eq!(throttle.answered(false, now, now), None, "told once");
    }

    #[test]
    fn those_who_waited_come_a_few_at_a_time_and_more_with_each_answer() {
        let (mut throttle, at) = closed();
        let now = at + 10 * SECOND;
        assert!(throttle.admit());
        throttle.answered(true, now, now);
        assert!(throttle.admits(now, 1) && !throttle.admits(now, 2));
        throttle.answered(false, now, now);
        assert!(throttle.admits(now, 2) && !throttle.admits(now, 3));
        for _ in 0..THROTTLE_EASE_MAX {
            throttle.answered(false, now, now);
        }
        assert!(throttle.admits(now, usize::MAX));
    }

    #[test]
    fn the_answers_to_one_volley_count_once() {
        let (mut throttle, start) = (Throttle::new(), Instant::now());
        for _ in 0..100 {
            throttle.refused(None, start, start + SECOND, 0.0);
        }
        assert_eq!(throttle.until(), Some(start + 2 * SECOND));
        // One that says how long is believed all the same.
        throttle.refused(Some(7 * SECOND), start, start + SECOND, 0.0);
        assert_eq!(throttle.until(), Some(start + 8 * SECOND));
    }

    #[test]
    fn each_one_in_a_row_that_does_not_say_how_long_doubles_the_wait() {
        let (mut throttle, mut now) = (Throttle::new(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..7 {
            throttle.refused(None, now, now, 0.0);
            let until = throttle.until().unwrap();
            waits.push((until - now).as_secs());
            now = until;
            assert!(throttle.admits(now, 0) && throttle.admit());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        throttle.answered(true, now, now);
        now += 100 * SECOND;
        throttle.refused(None, now, now, 0.0);
        assert_eq!(throttle.until(), Some(now + SECOND), "long ago");
    }

    #[test]
    fn a_probe_that_tells_nothing_makes_room_for_the_next() {
        let (mut throttle, at) = closed();
        let now = at + 10 * SECOND;
        assert!(throttle.admits(now, 0) && throttle.admit());
        throttle.told_nothing(false, now);
        assert!(!throttle.admits(now, 1), "somebody else's");
        throttle.told_nothing(true, now);
        assert!(throttle.admits(now, 0) && throttle.admit());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, expected) in [
            ("120", Some(120)),
            (" 5 ", Some(5)),
            ("0", None),
            ("18446744073709551616", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:27 GMT", None),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10)),
            ("-5", None),
            ("+5", None),
            ("5.5", None),
            ("5s", None),
            ("tomorrow", None),
            ("", None),
        ] {
            let found = retry_after(value, now).map(|found| found.as_secs());
            assert_eq!(found, expected, "{value:?}");
        }
        let ever = Duration::from_secs(u64::MAX);
        assert_eq!(bound(ever), RETRY_AFTER_MAX);
    }

    #[derive(Clone, Debug)]
    enum Event {
        Ask,
        Refuse(Option<u64>),
        Answer,
        Leave,
        Wait(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => Just(Event::Ask),
            2 => prop::option::of(0_u64..1000).prop_map(Event::Refuse),
            2 => Just(Event::Answer),
            1 => Just(Event::Leave),
            2 => (0_u64..400).prop_map(Event::Wait),
        ]
    }

    proptest! {
        /// A hop that nobody may ever ask again would be lost until the next start.
        #[test]
        fn whatever_happens_it_is_asked_again(
            events in prop::collection::vec(event(), 0..200),
        ) {
            let (mut throttle, mut now) = (Throttle::new(), Instant::now());
            // Those whose answer is not there yet: when they began, and whether they probe.
            let mut asking: Vec<(Instant, bool)> = Vec::new();
            for event in events {
                let oldest = (!asking.is_empty()).then(|| asking[0]);
                match event {
                    Event::Ask if throttle.admits(now, asking.len()) => {
                        let is_probe = throttle.admit();
                        asking.push((now, is_probe));
                    }
                    Event::Ask => {}
                    Event::Wait(seconds) => now += Duration::from_secs(seconds),
                    Event::Refuse(seconds) => if let Some((began, _)) = oldest {
                        asking.remove(0);
                        let asked = seconds.map(Duration::from_secs);
                        throttle.refused(asked, began, now, 0.5);
                        if began == now {
                            let until = throttle.until();
                            prop_assert!(until.is_some_and(|until| until > now));
                        }
                    },
                    Event::Answer => if let Some((began, is_probe)) = oldest {
                        asking.remove(0);
                        throttle.answered(is_probe, began, now);
                    },
                    Event::Leave => if let Some((_, is_probe)) = oldest {
                        asking.remove(0);
                        throttle.told_nothing(is_probe, now);
                    },
                }
            }
            for (_, is_probe) in asking {
                throttle.told_nothing(is_probe, now);
            }
            prop_assert!(throttle.admits(now + RETRY_AFTER_MAX + THROTTLE_SPREAD_MAX, 0));
        }
    }
}

//! Who asks which hop next: requests that wait in order, for a hop that may be asked and has room.
//!
//! ```text
//!  join ─▶ clients    [ c1 c2 c3 ] ─╮           ╭─ hop 0: running < max, not throttled ─▶ grant
//!          background [ b1 b2 ] ────┴─ in order ┼─ hop 1: full                   ✗
//!                                               ╰─ hop 2: left alone until T     ✗
//! ```
//!
//! Without I/O and clock. Invariant: a request is in the line, or has a grant that is given back.

use std::collections::VecDeque;
use std::time::Instant;

use crate::upstream::request::Urgency;
use crate::upstream::throttle::Throttle;

/// The right to ask one hop once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Grant {
    pub(in crate::upstream) hop: usize,
    /// Whether it finds out if the hop still asks to be left alone.
    pub(in crate::upstream) is_probe: bool,
}

/// What is on its way to one hop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Requests whose answer has not ended.
    running: usize,
    /// Those of them whose head is not there yet.
    asking: usize,
    pub(super) throttle: Throttle,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    /// Whom it would ask, in order.
    hops: Vec<usize>,
}

/// All hops of one client, and those who wait for them.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) loads: Vec<Load>,
    /// Most requests at once to one hop.
    max: usize,
    /// Whether a request waits for its first hop that may be asked, rather than go to another with room.
    is_loyal: bool,
    /// Clients', then the others.
    waiters: [VecDeque<Waiter>; 2],
    numbers: u64,
}

impl Line {
    pub(super) fn new(hops: usize, max: usize, is_loyal: bool) -> Self {
        let load = Load {
            running: 0,
            asking: 0,
            throttle: Throttle::new(),
        };
        Self {
            loads: vec![load; hops],
            max,
            is_loyal,
            waiters: [VecDeque::new(), VecDeque::new()],
            numbers: 0,
        }
    }

    /// Grants a request without waiting, if nobody who goes before it waits.
    pub(super) fn pass(&mut self, hops: &[usize], urgency: Urgency, now: Instant) -> Option<Grant> {
        let before = ..=rank(urgency);
        if !self.waiters[before].iter().all(VecDeque::is_empty) {
            return None;
        }
        let hop = self.choose(hops, now)?;
        Some(self.grant(hop))
    }

    /// Takes a request to the end of its line; returns its number.
    pub(super) fn join(&mut self, hops: Vec<usize>, urgency: Urgency) -> u64 {
        self.numbers += 1;
        let number = self.numbers;
        self.waiters[rank(urgency)].push_back(Waiter { number, hops });
        number
    }

    /// Takes a request off the line that has no grant; says whether it was there.
    pub(super) fn leave(&mut self, number: u64) -> bool {
        self.waiters.iter_mut().any(|line| {
            let found = line.iter().position(|waiter| waiter.number == number);
            found.is_some_and(|at| line.remove(at).is_some())
        })
    }

    /// Returns the next grant and whose it is, if anybody can be granted anything at `now`.
    pub(super) fn next(&mut self, now: Instant) -> Option<(u64, Grant)> {
        if !(0..self.loads.len()).any(|hop| self.has_room(hop) && self.is_open(hop, now)) {
            return None;
        }
        for rank in 0..self.waiters.len() {
            let found = self.waiters[rank]
                .iter()
                .enumerate()
                .find_map(|(at, waiter)| Some((at, self.choose(&waiter.hops, now)?)));
            if let Some((at, hop)) = found {
                let waiter = self.waiters[rank].remove(at)?;
                return Some((waiter.number, self.grant(hop)));
            }
        }
        None
    }

    /// Returns when, of the hops that are left alone for a time, the first may be asked again, and which
    /// that is; `None` where one is not kept back by that alone.
    pub(super) fn opens(&self, hops: &[usize], now: Instant) -> Option<(Instant, usize)> {
        let mut first = None;
        for &hop in hops {
            let throttle = &self.loads[hop].throttle;
            let until = throttle.until().filter(|until| *until > now)?;
            first = match first {
                Some((before, _)) if before <= until => first,
                _ => Some((until, hop)),
            };
        }
        first
    }

    /// The head of a granted request is there, or will not come.
    pub(super) fn heard(&mut self, hop: usize) -> &mut Throttle {
        let load = &mut self.loads[hop];
        load.asking = load.asking.saturating_sub(1);
        &mut load.throttle
    }

    /// The answer to a granted request has ended.
    pub(super) fn ended(&mut self, hop: usize) {
        let load = &mut self.loads[hop];
        load.running = load.running.saturating_sub(1);
    }

    /// Says whether a hop that `is_up` could be asked at once by somebody for whom nobody would wait.
    pub(super) fn has_spare(&self, now: Instant, is_up: impl Fn(usize) -> bool) -> bool {
        self.waiters.iter().all(VecDeque::is_empty)
            && (0..self.loads.len()).any(|hop| {
                let is_closed = self.loads[hop].throttle.is_closed();
                !is_closed && self.has_room(hop) && self.is_open(hop, now) && is_up(hop)
            })
    }

    /// Returns the first of `hops` that may be asked at `now`.
    fn choose(&self, hops: &[usize], now: Instant) -> Option<usize> {
        let mut open = hops.iter().copied().filter(|&hop| self.is_open(hop, now));
        if self.is_loyal {
            return open.next().filter(|&hop| self.has_room(hop));
        }
        open.find(|&hop| self.has_room(hop))
    }

    fn is_open(&self, hop: usize, now: Instant) -> bool {
        let load = &self.loads[hop];
        load.throttle.admits(now, load.asking)
    }

    fn has_room(&self, hop: usize) -> bool {
        self.loads[hop].running < self.max
    }

    fn grant(&mut self, hop: usize) -> Grant {
        let load = &mut self.loads[hop];
        load.running += 1;
        load.asking += 1;
        let is_probe = load.throttle.admit();
        Grant { hop, is_probe }
    }
}

const fn rank(urgency: Urgency) -> usize {
    match urgency {
        Urgency::Client => 0,
        Urgency::Background => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::limits::{RETRY_AFTER_MAX, THROTTLE_SPREAD_MAX};

    const SECOND: Duration = Duration::from_secs(1);
    use Urgency::{Background, Client};

    #[test]
    fn clients_go_first_and_else_it_is_first_come_first_served() {
        let (mut line, now) = (Line::new(1, 1, false), Instant::now());
        assert!(line.pass(&[0], Background, now).is_some());
        assert!(line.pass(&[0], Client, now).is_none(), "full");
        let order = [Background, Client, Background, Client];
        let numbers = order.map(|urgency| line.join(vec![0], urgency));
        assert!(line.next(now).is_none());
        let mut granted = Vec::new();
        for _ in 0..4 {
            line.ended(0);
            // Nobody who comes just now jumps the line.
            assert!(line.pass(&[0], Background, now).is_none());
            granted.push(line.next(now).unwrap().0);
        }
        let [b1, c1, b2, c2] = numbers;
        assert_eq!(granted, [c1, c2, b1, b2]);
    }

    #[test]
    fn who_leaves_is_passed_over() {
        let (mut line, now) = (Line::new(1, 1, false), Instant::now());
        line.pass(&[0], Client, now);
        let numbers = [(); 2].map(|()| line.join(vec![0], Client));
        assert!(line.leave(numbers[0]) && !line.leave(numbers[0]));
        line.ended(0);
        assert_eq!(line.next(now).unwrap().0, numbers[1]);
    }

    #[test]
    fn a_hop_that_is_left_alone_is_passed_over_and_a_full_one_unless_the_first_matters() {
        let now = Instant::now();
        for is_loyal in [false, true] {
            let mut line = Line::new(2, 1, is_loyal);
            let hop = |grant: Option<Grant>| grant.map(|grant| grant.hop);
            assert_eq!(hop(line.pass(&[0, 1], Client, now)), Some(0));
            let second = hop(line.pass(&[0, 1], Client, now));
            assert_eq!(second, (!is_loyal).then_some(1));
            let mut line = Line::new(2, 1, is_loyal);
            line.loads[0].throttle.refused(Some(SECOND), now, now, 0.0);
            assert_eq!(hop(line.pass(&[0, 1], Client, now)), Some(1));
            assert_eq!(hop(line.pass(&[0, 1], Client, now)), None);
            assert_eq!(line.opens(&[0], now), Some((now + SECOND, 0)));
            assert_eq!(line.opens(&[0, 1], now), None, "it only has no room");
        }
    }

    #[test]
    fn there_is_something_to_spare_only_where_nobody_waits() {
        let (mut line, now) = (Line::new(2, 1, true), Instant::now());
        let everyone = |_| true;
        assert!(line.has_spare(now, everyone));
        assert!(!line.has_spare(now, |_| false), "all are down");
        line.pass(&[0], Client, now);
        assert!(line.has_spare(now, everyone), "the second");
        let number = line.join(vec![0], Background);
        assert!(!line.has_spare(now, everyone));
        line.leave(number);
        line.loads[1].throttle.refused(None, now, now, 0.0);
        assert!(!line.has_spare(now, everyone));
        let later = now + 5 * SECOND;
        assert!(!line.has_spare(later, everyone), "nobody has asked it yet");
    }

    proptest! {
        /// A bound that is not kept is none; a request that nobody wakes waits for ever.
        #[test]
        fn the_bound_is_kept_and_everyone_gets_a_turn(
            max in 1_usize..4,
            is_loyal in any::<bool>(),
            steps in prop::collection::vec((0_u8..7, any::<bool>(), 0_usize..4), 0..200),
        ) {
            let (mut line, mut now) = (Line::new(2, max, is_loyal), Instant::now());
            let mut waiting: Vec<u64> = Vec::new();
            // Granted: whether the head is there.
            let mut running: Vec<(Grant, Instant, bool)> = Vec::new();
            for (step, flag, pick) in steps {
                let chosen = (!running.is_empty()).then(|| pick % running.len());
                match (step, chosen) {
                    (0 | 1, _) => {
                        let urgency = if flag { Client } else { Background };
                        let hops = [vec![0], vec![1], vec![0, 1], vec![1, 0]][pick].clone();
                        match line.pass(&hops, urgency, now) {
                            Some(grant) => running.push((grant, now, false)),
                            None => waiting.push(line.join(hops, urgency)),
                        }
                    }
                    (2, _) => now += Duration::from_millis(700),
                    (3, _) if !waiting.is_empty() => {
                        let number = waiting.swap_remove(pick % waiting.len());
                        prop_assert!(line.leave(number));
                    }
                    (4 | 5, Some(at)) if !running[at].2 => {
                        let (grant, began, _) = running[at];
                        running[at].2 = true;
                        let throttle = line.heard(grant.hop);
                        match flag {
                            true => drop(throttle.answered(grant.is_probe, began, now)),
                            false => drop(throttle.refused(None, began, now, 0.0)),
                        }
                    }
                    (6, Some(at)) => {
                        let (grant, _, is_heard) = running.swap_remove(at);
                        if !is_heard {
                            line.heard(grant.hop).told_nothing(grant.is_probe, now);
                        }
                        line.ended(grant.hop);
                    }
                    _ => {}
                }
                while let Some((number, grant)) = line.next(now) {
                    waiting.retain(|&one| one != number);
                    running.push((grant, now, false));
                }
                for hop in 0..2 {
                    let count = running.iter().filter(|one| one.0.hop == hop).count();
                    prop_assert!(count <= max);
                }
            }
            // Everyone ends well, and those who wait all get their turn.
            for _ in 0..1000 {
                for (grant, began, is_heard) in running.drain(..) {
                    if !is_heard {
                        line.heard(grant.hop).answered(grant.is_probe, began, now);
                    }
                    line.ended(grant.hop);
                }
                while let Some((number, grant)) = line.next(now) {
                    waiting.retain(|&one| one != number);
                    running.push((grant, now, false));
                }
                now += RETRY_AFTER_MAX + THROTTLE_SPREAD_MAX;
            }
            prop_assert!(waiting.is_empty(), "{waiting:?}");
        }
    }
}

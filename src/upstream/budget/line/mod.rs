//! Who asks which hop next: requests that wait in order, for a hop that may be asked and has room.
//!
//! ```text
//!  join ─▶ clients    [ c1 c2 c3 ] ─╮           ╭─ hop 0: running < max, not throttled ─▶ grant
//!          background [ b1 b2 ] ────┴─ in order ┼─ hop 1: full                   ✗
//!                                               ╰─ hop 2: left alone until T     ✗
//! ```
//!
//! What nobody waits for never takes all of the room, and whoever of it runs in a client's way is counted, so
//! that as many can be told to give way.
//!
//! Without I/O and clock. Invariants: a request is in the line, or has a grant that is given back; whoever is
//! in the line could not be granted anything when [`Line::next`] said so last.

use std::collections::VecDeque;
use std::time::Instant;

use crate::upstream::authority::Quota;
use crate::upstream::request::Urgency;
use crate::upstream::throttle::Throttle;

/// What a request is to the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Kind {
    /// Who waits for it.
    pub(in crate::upstream) urgency: Urgency,
    /// What it draws on.
    pub(in crate::upstream) quota: Quota,
}

/// The right to ask one hop once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Grant {
    pub(in crate::upstream) hop: usize,
    pub(in crate::upstream) kind: Kind,
    /// Whether it finds out if the hop still asks to be left alone.
    pub(in crate::upstream) is_probe: bool,
}

/// What is on its way to one hop.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) struct Load {
    /// Requests whose answer has not ended.
    running: usize,
    /// Those of them that nobody waits for.
    background: usize,
    /// Of these, how many are in the way of a client.
    wanted: usize,
    /// One for each quota.
    doors: [Door; Quota::COUNT],
}

/// How one quota of a hop stands.
#[derive(Clone, Copy, Debug)]
struct Door {
    /// Requests whose head is not there yet.
    asking: usize,
    throttle: Throttle,
}

impl Load {
    const fn new() -> Self {
        let throttle = Throttle::new();
        let door = Door {
            asking: 0,
            throttle,
        };
        Self {
            running: 0,
            background: 0,
            wanted: 0,
            doors: [door; Quota::COUNT],
        }
    }

    /// Returns what the hop has said to those who draw on `quota`.
    pub(in crate::upstream) const fn throttle(&mut self, quota: Quota) -> &mut Throttle {
        &mut self.doors[quota as usize].throttle
    }

    /// Says whether anybody is to leave the hop alone.
    pub(in crate::upstream) fn is_throttled(&self) -> bool {
        self.doors.iter().any(|door| door.throttle.is_closed())
    }

    /// Returns how many that nobody waits for are in the way of a client.
    pub(super) const fn wanted(&self) -> usize {
        self.wanted
    }
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    /// Whom it would ask, in order.
    hops: Vec<usize>,
    kind: Kind,
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
        Self {
            loads: vec![Load::new(); hops],
            max,
            is_loyal,
            waiters: [VecDeque::new(), VecDeque::new()],
            numbers: 0,
        }
    }

    /// Grants go by another bound from now on.
    pub(super) const fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Grants a request without a look at the line, if nobody who goes before it waits.
    pub(super) fn pass(&mut self, hops: &[usize], kind: Kind, now: Instant) -> Option<Grant> {
        let before = ..=rank(kind.urgency);
        if !self.waiters[before].iter().all(VecDeque::is_empty) {
            return None;
        }
        let hop = self.choose(hops, kind, now)?;
        Some(self.grant(hop, kind))
    }

    /// Takes a request to the end of its line; returns its number. It may be granted something at once:
    /// those before it need not wait for the same hop.
    pub(super) fn join(&mut self, hops: Vec<usize>, kind: Kind) -> u64 {
        self.numbers += 1;
        let number = self.numbers;
        let waiter = Waiter { number, hops, kind };
        self.waiters[rank(kind.urgency)].push_back(waiter);
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
        let is_open = |load: &Load| load.doors.iter().any(|door| door.is_open(now));
        let may_be_asked = |load: &Load| load.running < self.max && is_open(load);
        if !self.loads.iter().any(may_be_asked) {
            return None;
        }
        for rank in 0..self.waiters.len() {
            let found = self.waiters[rank]
                .iter()
                .enumerate()
                .find_map(|(at, one)| Some((at, self.choose(&one.hops, one.kind, now)?)));
            if let Some((at, hop)) = found {
                let waiter = self.waiters[rank].remove(at)?;
                return Some((waiter.number, self.grant(hop, waiter.kind)));
            }
        }
        None
    }

    /// Counts anew, for each hop, how many that nobody waits for are in the way of a client.
    pub(super) fn count_wanted(&mut self, now: Instant) {
        let mut background = 0;
        for load in &mut self.loads {
            load.wanted = 0;
            background += load.background;
        }
        for at in 0..self.waiters[0].len() {
            if background == 0 {
                return;
            }
            if let Some(hop) = self.in_way(&self.waiters[0][at], now) {
                self.loads[hop].wanted += 1;
                background -= 1;
            }
        }
    }

    /// Returns a hop that a client could ask if somebody gave way there who is not counted yet.
    fn in_way(&self, client: &Waiter, now: Instant) -> Option<usize> {
        let is_open = |&hop: &usize| self.is_open(hop, client.kind.quota, now);
        let mut open = client.hops.iter().copied().filter(is_open);
        let may_give_way = |hop: &usize| self.loads[*hop].wanted < self.loads[*hop].background;
        if self.is_loyal {
            return open.next().filter(may_give_way);
        }
        open.find(may_give_way)
    }

    /// Returns when, of the hops that are left alone for a time, the first may be asked again, and which
    /// that is; `None` where one is not kept back by that alone.
    pub(super) fn opens(
        &self,
        hops: &[usize],
        quota: Quota,
        now: Instant,
    ) -> Option<(Instant, usize)> {
        let mut first = None;
        for &hop in hops {
            let until = self.closed_until(hop, quota, now)?;
            first = match first {
                Some((before, _)) if before <= until => first,
                _ => Some((until, hop)),
            };
        }
        first
    }

    /// Returns when the time of one of `hops` is over that is left alone, whatever keeps the others back.
    pub(super) fn changes(&self, hops: &[usize], quota: Quota, now: Instant) -> Option<Instant> {
        let until = |&hop| self.closed_until(hop, quota, now);
        hops.iter().filter_map(until).min()
    }

    fn closed_until(&self, hop: usize, quota: Quota, now: Instant) -> Option<Instant> {
        let throttle = &self.loads[hop].doors[quota as usize].throttle;
        throttle.until().filter(|until| *until > now)
    }

    /// Returns the first of `hops` that would be asked if it had room.
    pub(super) fn full(&self, hops: &[usize], kind: Kind, now: Instant) -> Option<usize> {
        let is_full = |hop: usize| !self.has_room(hop, kind.urgency);
        let mut open = hops
            .iter()
            .copied()
            .filter(|&hop| self.is_open(hop, kind.quota, now));
        open.find(|&hop| is_full(hop))
    }

    /// The head of a granted request is there, or will not come.
    pub(super) fn heard(&mut self, grant: Grant) -> &mut Load {
        let load = &mut self.loads[grant.hop];
        let door = &mut load.doors[grant.kind.quota as usize];
        door.asking = door.asking.saturating_sub(1);
        load
    }

    /// Somebody waits now for a granted request, or nobody does any more.
    pub(super) fn turned(&mut self, hop: usize, urgency: Urgency) {
        let load = &mut self.loads[hop];
        load.background = match urgency {
            Urgency::Client => load.background.saturating_sub(1),
            Urgency::Background => load.background + 1,
        };
    }

    /// The answer to a granted request has ended, which is of this urgency now.
    pub(super) fn ended(&mut self, hop: usize, urgency: Urgency) {
        let load = &mut self.loads[hop];
        load.running = load.running.saturating_sub(1);
        if urgency == Urgency::Background {
            load.background = load.background.saturating_sub(1);
        }
    }

    /// Says whether a hop that `is_up` could be asked at once by somebody for whom nobody would wait.
    pub(super) fn has_spare(&self, now: Instant, is_up: impl Fn(usize) -> bool) -> bool {
        let quota = Quota::Cache;
        self.waiters.iter().all(VecDeque::is_empty)
            && (0..self.loads.len()).any(|hop| {
                let door = &self.loads[hop].doors[quota as usize];
                !door.throttle.is_closed()
                    && door.is_open(now)
                    // What is left for clients alone is not to spare.
                    && self.has_room(hop, Urgency::Background)
                    && is_up(hop)
            })
    }

    /// Returns the first of `hops` that may be asked at `now`.
    fn choose(&self, hops: &[usize], kind: Kind, now: Instant) -> Option<usize> {
        let is_open = |&hop: &usize| self.is_open(hop, kind.quota, now);
        let mut open = hops.iter().copied().filter(is_open);
        let has_room = |hop: &usize| self.has_room(*hop, kind.urgency);
        if self.is_loyal {
            return open.next().filter(has_room);
        }
        open.find(has_room)
    }

    fn is_open(&self, hop: usize, quota: Quota, now: Instant) -> bool {
        self.loads[hop].doors[quota as usize].is_open(now)
    }

    /// Says whether one more of this urgency may run. Where there is room for more than one, some of it is
    /// never taken by what nobody waits for: it keeps its room for the whole of a body.
    fn has_room(&self, hop: usize, urgency: Urgency) -> bool {
        let load = &self.loads[hop];
        let kept = match self.max {
            0 | 1 => 0,
            max => (max / 4).max(1),
        };
        load.running < self.max && (urgency == Urgency::Client || load.background < self.max - kept)
    }

    fn grant(&mut self, hop: usize, kind: Kind) -> Grant {
        let load = &mut self.loads[hop];
        load.running += 1;
        load.background += usize::from(kind.urgency == Urgency::Background);
        let door = &mut load.doors[kind.quota as usize];
        door.asking += 1;
        let is_probe = door.throttle.admit();
        Grant {
            hop,
            kind,
            is_probe,
        }
    }
}

impl Door {
    fn is_open(&self, now: Instant) -> bool {
        self.throttle.admits(now, self.asking)
    }
}

const fn rank(urgency: Urgency) -> usize {
    match urgency {
        Urgency::Client => 0,
        Urgency::Background => 1,
    }
}

#[cfg(test)]
mod tests;

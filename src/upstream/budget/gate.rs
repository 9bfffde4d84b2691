//! Waiting for a hop that may be asked: the [`Line`] with tasks and a clock.
//!
//! Invariant: whoever waits has been looked at since anything changed in the line, under the same lock; what
//! the clock changes, each one who waits looks for itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::line::{Grant, Kind, Line, Load};
use super::seat::Seat;
use crate::limits::NO_ROOM_RETRY_AFTER;
use crate::upstream::request::Urgency;

/// One for all cores.
#[derive(Debug)]
pub(in crate::upstream) struct Gate {
    state: Mutex<State>,
    /// One for each hop.
    wishes: Vec<Wish>,
}

#[derive(Debug)]
struct State {
    line: Line,
    /// Of those who wait and have no grant yet.
    seats: HashMap<u64, Arc<Seat<Call>>>,
}

/// How many that nobody waits for clients wish out of their way at one hop. Read between the chunks of a
/// body, so without the lock.
#[derive(Debug, Default)]
struct Wish {
    wanted: AtomicUsize,
    /// Those who have heard so, and are about to give way.
    giving: AtomicUsize,
}

/// What one who waits is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Go(Grant),
    /// When it may go has changed.
    LookAgain,
}

/// Why nobody may be asked in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct NoTurn {
    /// The hop that could be asked first.
    pub(in crate::upstream) hop: usize,
    pub(in crate::upstream) retry_after: Duration,
    pub(in crate::upstream) reason: Reason,
}

/// What keeps a request from a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Reason {
    /// The hop asks to be left alone.
    Throttled,
    /// The operator's bound on requests at once.
    Full,
}

impl Gate {
    /// - `max`: most requests at once to one hop.
    /// - `is_loyal`: whether a request waits for its first hop that may be asked, however full it is.
    pub(in crate::upstream) fn new(hops: usize, max: usize, is_loyal: bool) -> Self {
        let line = Line::new(hops, max, is_loyal);
        let seats = HashMap::new();
        Self {
            state: Mutex::new(State { line, seats }),
            wishes: std::iter::repeat_with(Wish::default).take(hops).collect(),
        }
    }

    /// Lets so many at once to one hop from now on.
    pub(in crate::upstream) fn set_max(&self, max: usize) {
        let mut state = self.state.lock();
        state.line.set_max(max);
        self.serve(&mut state, Instant::now());
    }

    /// Waits for the right to ask one of `hops`, which are in order and not empty.
    ///
    /// # Errors
    /// At once where each of them is to be left alone for longer than until `end`; at `end` else.
    pub(in crate::upstream) async fn enter(
        self: &Arc<Self>,
        hops: &[usize],
        kind: Kind,
        end: Instant,
    ) -> Result<Permit, NoTurn> {
        let waiting = {
            let now = Instant::now();
            let mut state = self.state.lock();
            if let Some(grant) = state.line.pass(hops, kind, now) {
                return Ok(Permit::new(self, grant));
            }
            let number = state.line.join(hops.to_vec(), kind);
            let seat = Arc::new(Seat::new());
            state.seats.insert(number, Arc::clone(&seat));
            // Those before it may wait for other hops than it does.
            self.serve(&mut state, now);
            let gate = self;
            Waiting { gate, number, seat }
        };
        let mut told = waiting.seat.take();
        loop {
            if let Some(Call::Go(grant)) = told {
                return Ok(Permit::new(self, grant));
            }
            let by = self.look(hops, kind, end)?;
            told = waiting.seat.wait(Some(by)).await;
            if told.is_none() {
                // It is time: for everyone, since others may go before this one.
                let mut state = self.state.lock();
                self.serve(&mut state, Instant::now());
                told = waiting.seat.take();
            }
        }
    }

    /// Returns when one who waits looks again, unless something happens before.
    fn look(&self, hops: &[usize], kind: Kind, end: Instant) -> Result<Instant, NoTurn> {
        let now = Instant::now();
        let line = &self.state.lock().line;
        let opens = line.opens(hops, kind.quota, now);
        if let Some((until, hop)) = opens.filter(|(until, _)| *until > end) {
            return Err(NoTurn {
                hop,
                retry_after: until.saturating_duration_since(now),
                reason: Reason::Throttled,
            });
        }
        if now >= end {
            let full = line.full(hops, kind, now);
            return Err(NoTurn {
                hop: full.unwrap_or(hops[0]),
                retry_after: NO_ROOM_RETRY_AFTER,
                reason: full.map_or(Reason::Throttled, |_| Reason::Full),
            });
        }
        let changes = line.changes(hops, kind.quota, now);
        Ok(changes.map_or(end, |changes| changes.min(end)))
    }

    /// Says whether a hop that `is_up` could be asked at once by somebody for whom nobody would wait.
    pub(in crate::upstream) fn has_spare(&self, is_up: impl Fn(usize) -> bool) -> bool {
        let state = self.state.lock();
        state.line.has_spare(Instant::now(), is_up)
    }

    /// Returns how many requests wait.
    pub(in crate::upstream) fn waiting(&self) -> usize {
        self.state.lock().seats.len()
    }

    /// Tells everyone whose turn it is, and those who are in a client's way.
    fn serve(&self, state: &mut State, now: Instant) {
        while let Some((number, grant)) = state.line.next(now) {
            if let Some(seat) = state.seats.remove(&number) {
                seat.tell(Call::Go(grant));
            }
        }
        self.wish(state, now);
    }

    fn wish(&self, state: &mut State, now: Instant) {
        state.line.count_wanted(now);
        for (load, wish) in state.line.loads.iter().zip(&self.wishes) {
            wish.wanted.store(load.wanted(), Ordering::Relaxed);
        }
    }
}

/// One in the line, who leaves it when its task goes.
struct Waiting<'g> {
    gate: &'g Arc<Gate>,
    number: u64,
    seat: Arc<Seat<Call>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let told = {
            let mut state = self.gate.state.lock();
            state.seats.remove(&self.number);
            if state.line.leave(self.number) {
                self.gate.wish(&mut state, Instant::now());
            }
            self.seat.take()
        };
        if let Some(Call::Go(grant)) = told {
            // Granted to somebody who has left meanwhile.
            drop(Permit::new(self.gate, grant));
        }
    }
}

/// The right to ask one hop once, from before connecting until the answer has ended. Given back on drop.
#[derive(Debug)]
pub(in crate::upstream) struct Permit {
    gate: Arc<Gate>,
    grant: Grant,
    began: Instant,
    is_heard: bool,
    /// Nobody waits for the answer, as things are now.
    is_background: AtomicBool,
    /// It has heard that a client wishes it out of its way.
    gives_way: AtomicBool,
}

/// A request that was heard of.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) struct Asked {
    pub(in crate::upstream) grant: Grant,
    pub(in crate::upstream) began: Instant,
}

impl Permit {
    fn new(gate: &Arc<Gate>, grant: Grant) -> Self {
        Self {
            gate: Arc::clone(gate),
            grant,
            began: Instant::now(),
            is_heard: false,
            is_background: AtomicBool::new(grant.kind.urgency == Urgency::Background),
            gives_way: AtomicBool::new(false),
        }
    }

    /// Returns the hop that may be asked.
    pub(in crate::upstream) const fn hop(&self) -> usize {
        self.grant.hop
    }

    /// Says who waits for the answer from now on.
    pub(in crate::upstream) fn set_urgency(&self, urgency: Urgency) {
        let is_background = urgency == Urgency::Background;
        if self.is_background.load(Ordering::Relaxed) == is_background {
            return;
        }
        let mut state = self.gate.state.lock();
        if self.is_background.swap(is_background, Ordering::Relaxed) == is_background {
            return;
        }
        if !is_background {
            self.stay();
        }
        state.line.turned(self.grant.hop, urgency);
        self.gate.serve(&mut state, Instant::now());
    }

    /// Says whether nobody waits for the answer and it is in the way of a client. One is told so for each
    /// client that waits; who was told is counted on.
    pub(in crate::upstream) fn should_give_way(&self) -> bool {
        let wish = &self.gate.wishes[self.grant.hop];
        let giving = wish.giving.load(Ordering::Relaxed);
        if self.gives_way.load(Ordering::Relaxed) {
            return true;
        }
        if giving >= wish.wanted.load(Ordering::Relaxed)
            || !self.is_background.load(Ordering::Relaxed)
        {
            return false;
        }
        let order = Ordering::Relaxed;
        let swapped = (wish.giving).compare_exchange(giving, giving + 1, order, order);
        self.gives_way.store(swapped.is_ok(), Ordering::Relaxed);
        swapped.is_ok()
    }

    /// It does not give way, or has done so.
    fn stay(&self) {
        if self.gives_way.swap(false, Ordering::Relaxed) {
            let wish = &self.gate.wishes[self.grant.hop];
            wish.giving.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes note of what came of asking, by a function of what is known of the hop and now. Counts once.
    pub(in crate::upstream) fn heard<T>(
        &mut self,
        tell: impl FnOnce(&mut Load, Asked, Instant) -> T,
    ) -> T {
        let now = Instant::now();
        let (grant, began) = (self.grant, self.began);
        let mut state = self.gate.state.lock();
        let load = match std::mem::replace(&mut self.is_heard, true) {
            false => state.line.heard(grant),
            true => &mut state.line.loads[grant.hop],
        };
        let told = tell(load, Asked { grant, began }, now);
        if load.throttle(grant.kind.quota).is_closed() {
            for seat in state.seats.values() {
                seat.tell(Call::LookAgain);
            }
        }
        self.gate.serve(&mut state, now);
        told
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_heard {
            self.heard(|load, asked, now| {
                let throttle = load.throttle(asked.grant.kind.quota);
                throttle.told_nothing(asked.grant.is_probe, now);
            });
        }
        let mut state = self.gate.state.lock();
        let urgency = match self.is_background.load(Ordering::Relaxed) {
            true => Urgency::Background,
            false => Urgency::Client,
        };
        self.stay();
        state.line.ended(self.grant.hop, urgency);
        self.gate.serve(&mut state, Instant::now());
    }
}

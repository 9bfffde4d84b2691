//! Waiting for a hop that may be asked: the [`Line`] with tasks and a clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::line::{Grant, Line};
use super::seat::Seat;
use crate::limits::NO_ROOM_RETRY_AFTER;
use crate::upstream::request::Urgency;
use crate::upstream::throttle::Throttle;

/// One for all cores.
#[derive(Debug)]
pub(in crate::upstream) struct Gate {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    line: Line,
    /// Of those who wait and have no grant yet.
    seats: HashMap<u64, Arc<Seat<Turn>>>,
}

/// What one who waits is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Go(Grant),
    /// When it may go has changed.
    LookAgain,
}

impl State {
    /// Tells everyone whose turn it is.
    fn serve(&mut self, now: Instant) {
        while let Some((number, grant)) = self.line.next(now) {
            if let Some(seat) = self.seats.remove(&number) {
                seat.tell(Turn::Go(grant));
            }
        }
    }
}

/// Why nobody may be asked in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct NoTurn {
    /// The hop that could be asked first.
    pub(in crate::upstream) hop: usize,
    pub(in crate::upstream) retry_after: Duration,
}

impl Gate {
    /// - `max`: most requests at once to one hop.
    /// - `is_loyal`: whether a request waits for its first hop that may be asked, however full it is.
    pub(in crate::upstream) fn new(hops: usize, max: usize, is_loyal: bool) -> Self {
        let line = Line::new(hops, max, is_loyal);
        let seats = HashMap::new();
        let state = Mutex::new(State { line, seats });
        Self { state }
    }

    /// Waits for the right to ask one of `hops`, which are in order and not empty.
    ///
    /// # Errors
    /// At once where each of them is to be left alone for longer than until `end`; at `end` else.
    pub(in crate::upstream) async fn enter(
        self: &Arc<Self>,
        hops: &[usize],
        urgency: Urgency,
        end: Instant,
    ) -> Result<Permit, NoTurn> {
        let place = {
            let now = Instant::now();
            let mut state = self.state.lock();
            if let Some(grant) = state.line.pass(hops, urgency, now) {
                return Ok(Permit::new(self, grant));
            }
            let number = state.line.join(hops.to_vec(), urgency);
            let seat = Arc::new(Seat::new());
            state.seats.insert(number, Arc::clone(&seat));
            let gate = self;
            Place { gate, number, seat }
        };
        loop {
            let (now, opens) = (Instant::now(), self.opens(hops));
            if let Some((until, hop)) = opens.filter(|(until, _)| *until > end) {
                let retry_after = until.saturating_duration_since(now);
                return Err(NoTurn { hop, retry_after });
            }
            let by = opens.map_or(end, |(until, _)| until.min(end));
            let mut told = place.seat.wait(Some(by)).await;
            if told.is_none() {
                // It is time: for everyone, since others may go before this one.
                self.state.lock().serve(Instant::now());
                told = place.seat.take();
            }
            if let Some(Turn::Go(grant)) = told {
                return Ok(Permit::new(self, grant));
            }
            if Instant::now() >= end {
                let retry_after = NO_ROOM_RETRY_AFTER;
                let hop = hops[0];
                return Err(NoTurn { hop, retry_after });
            }
        }
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

    fn opens(&self, hops: &[usize]) -> Option<(Instant, usize)> {
        self.state.lock().line.opens(hops, Instant::now())
    }
}

/// A place in the line, given up when its task goes.
struct Place<'g> {
    gate: &'g Arc<Gate>,
    number: u64,
    seat: Arc<Seat<Turn>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let told = {
            let mut state = self.gate.state.lock();
            state.seats.remove(&self.number);
            state.line.leave(self.number);
            self.seat.take()
        };
        if let Some(Turn::Go(grant)) = told {
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
}

impl Permit {
    fn new(gate: &Arc<Gate>, grant: Grant) -> Self {
        Self {
            gate: Arc::clone(gate),
            grant,
            began: Instant::now(),
            is_heard: false,
        }
    }

    /// Returns the hop that may be asked.
    pub(in crate::upstream) const fn hop(&self) -> usize {
        self.grant.hop
    }

    /// Takes note of what came of asking, by a function of the hop's throttle, when the request began,
    /// now, and whether it was the probe. Counts once.
    pub(in crate::upstream) fn heard<T>(
        &mut self,
        tell: impl FnOnce(&mut Throttle, Instant, Instant, bool) -> T,
    ) -> T {
        let now = Instant::now();
        let mut state = self.gate.state.lock();
        let throttle = match std::mem::replace(&mut self.is_heard, true) {
            false => state.line.heard(self.grant.hop),
            true => &mut state.line.loads[self.grant.hop].throttle,
        };
        let told = tell(throttle, self.began, now, self.grant.is_probe);
        if throttle.is_closed() {
            for seat in state.seats.values() {
                seat.tell(Turn::LookAgain);
            }
        }
        state.serve(now);
        told
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_heard {
            self.heard(|throttle, _, now, is_probe| throttle.told_nothing(is_probe, now));
        }
        let mut state = self.gate.state.lock();
        state.line.ended(self.grant.hop);
        state.serve(Instant::now());
    }
}

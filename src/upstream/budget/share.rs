//! Paying for bytes that were received: the [`Rate`] with tasks and a clock.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::rate::{Place, Rate, Reach};
use super::seat::Seat;
use crate::live::Live;
use crate::upstream::request::Urgency;

/// The bound on bytes a second of all cores, if there is one.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Bandwidth(Arc<Link>);

#[derive(Debug)]
struct Link {
    /// Without a bound nobody looks at the state.
    bound: Live<Option<NonZeroU64>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rate: Rate,
    seats: HashMap<Place, Arc<Seat<Turn>>>,
}

/// What one who waits is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It may go.
    Go,
    /// It is the first one now, and has to look at the clock for all behind it.
    Watch,
}

impl State {
    /// Lets everyone go whose turn it is, and tells who watches the clock from now on.
    fn serve(&mut self, now: Instant) {
        while let Some(place) = self.rate.next(now) {
            if let Some(seat) = self.seats.remove(&place) {
                seat.tell(Turn::Go);
            }
        }
        for (place, _) in self.rate.fronts() {
            if let Some(seat) = self.seats.get(&place) {
                seat.tell(Turn::Watch);
            }
        }
    }

    /// Returns when the turn of who waits at `place` comes, if it is the first one.
    fn due(&self, place: Place) -> Option<Instant> {
        let mut fronts = self.rate.fronts();
        fronts.find_map(|(front, due)| (front == place).then_some(due))
    }
}

impl Bandwidth {
    pub(in crate::upstream) fn new(bytes_per_second: Option<NonZeroU64>) -> Self {
        let rate = Rate::new(rate(bytes_per_second), Instant::now());
        let seats = HashMap::new();
        Self(Arc::new(Link {
            bound: Live::new(bytes_per_second),
            state: Mutex::new(State { rate, seats }),
        }))
    }

    /// Goes by another bound from now on, which who waits feels at once.
    pub(in crate::upstream) fn set(&self, bytes_per_second: Option<NonZeroU64>) {
        if self.0.bound.get() == bytes_per_second {
            return;
        }
        self.0.bound.set(bytes_per_second);
        let (mut state, now) = (self.0.state.lock(), Instant::now());
        state.rate.set(rate(bytes_per_second), now);
        state.serve(now);
    }

    /// Returns how many wait for their turn.
    pub(in crate::upstream) fn waiting(&self) -> usize {
        self.0.state.lock().seats.len()
    }

    /// Returns one more share.
    pub(in crate::upstream) fn share(&self) -> Share {
        Share(Arc::new(Own {
            link: Arc::clone(&self.0),
            reach: Mutex::default(),
        }))
    }
}

/// Returns the rate that a bound stands for.
fn rate(bound: Option<NonZeroU64>) -> u64 {
    bound.map_or(u64::MAX, NonZeroU64::get)
}

/// One fill's share of the bytes a second that the operator allows. Cheap to clone; clones are one share.
#[derive(Clone, Debug)]
pub struct Share(Arc<Own>);

#[derive(Debug)]
struct Own {
    link: Arc<Link>,
    /// Taken under the lock of the link's state alone.
    reach: Mutex<Reach>,
}

impl Share {
    /// Pays for bytes that were received: returns at once where there is no bound, else when these bytes
    /// and all before them are within it. Shares that wait take turns, those of clients first. Bytes count
    /// as paid also if this is dropped before it returns.
    pub async fn pay(&self, bytes: usize, urgency: Urgency) {
        let own = &self.0;
        if own.link.bound.get().is_none() {
            return;
        }
        let waiting = {
            let mut state = own.link.state.lock();
            let mut reach = own.reach.lock();
            let joined = state.rate.join(bytes, urgency, &mut reach, Instant::now());
            let Some(place) = joined else {
                return;
            };
            let seat = Arc::new(Seat::new());
            state.seats.insert(place, Arc::clone(&seat));
            let state = &own.link.state;
            Waiting { state, place, seat }
        };
        waiting.wait().await;
    }
}

/// A place in the line, given up when its task goes.
struct Waiting<'s> {
    state: &'s Mutex<State>,
    place: Place,
    seat: Arc<Seat<Turn>>,
}

impl Waiting<'_> {
    async fn wait(&self) {
        loop {
            let due = self.state.lock().due(self.place);
            match self.seat.wait(due).await {
                Some(Turn::Go) => return,
                Some(Turn::Watch) => {}
                None => self.state.lock().serve(Instant::now()),
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        // Let go: nothing is left to do.
        if state.seats.remove(&self.place).is_some() {
            let now = Instant::now();
            state.rate.leave(self.place, now);
            state.serve(now);
        }
    }
}

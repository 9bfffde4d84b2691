//! Connects to whichever of a host's addresses answers first.
//!
//! Attempts start one after the other, each a moment after the one before or as soon as that failed, so
//! a dead address costs that moment and not the whole time allowed (RFC 8305 §5).

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::rt::{Notify, Socket, spawn, timeout};

/// Head start of an attempt over the next one (RFC 8305 §8).
const HEAD_START: Duration = Duration::from_millis(250);
/// Most addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;

/// Attempts under way.
#[derive(Default)]
struct Race {
    winner: RefCell<Option<Socket>>,
    failures: Cell<usize>,
    first_error: RefCell<Option<io::Error>>,
    changed: Notify,
}

impl Race {
    /// Returns the winner, or the first error once `started` attempts have failed.
    fn outcome(&self, started: usize) -> Option<io::Result<Socket>> {
        if let Some(socket) = self.winner.take() {
            return Some(Ok(socket));
        }
        (self.failures.get() == started).then(|| {
            let error = self.first_error.take();
            Err(error.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
        })
    }
}

/// Returns a connection to one of `addresses`, preferring those in front.
///
/// Losers are closed when they connect, or give up with the deadline.
///
/// # Errors
/// The first address's where all fail; `TimedOut` at the deadline.
pub(super) async fn connect(addresses: &[SocketAddr], deadline: Instant) -> io::Result<Socket> {
    let race = Rc::new(Race::default());
    let addresses = &addresses[..addresses.len().min(ADDRESSES_MAX)];
    for (index, &address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        spawn(attempt(Rc::clone(&race), address, left));
        let is_last = index + 1 == addresses.len();
        // The attempts of the last round end by themselves, at the deadline at the latest.
        let patience = if is_last {
            left + HEAD_START
        } else {
            HEAD_START
        };
        let started = index + 1;
        let outcome = race.changed.wait(|| race.outcome(started));
        match timeout(patience.min(left + HEAD_START), outcome).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) if is_last => return Err(error),
            Ok(Err(error)) => *race.first_error.borrow_mut() = Some(error),
            Err(_) if is_last => break,
            Err(_) => {}
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

async fn attempt(race: Rc<Race>, address: SocketAddr, within: Duration) {
    match Socket::connect(address, within).await {
        Ok(socket) => {
            let mut winner = race.winner.borrow_mut();
            if winner.is_none() {
                *winner = Some(socket);
            }
        }
        Err(error) => {
            race.failures.set(race.failures.get() + 1);
            race.first_error.borrow_mut().get_or_insert(error);
        }
    }
    race.changed.wake_all();
}

//! Connections that wait on this core for another request to the same peer.
//!
//! Each core keeps its own, so taking one costs no lock. A connection is given up when the peer closes
//! it, when it says something unasked, when it is idle too long, or to keep within bounds.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::connection::Connection;
use super::peer::Peer;
use crate::rt::{DeadlineKind, sleep, spawn};

/// Longest that a connection waits for its next request: below what common servers allow.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// How often connections are looked at for a peer that has closed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Most connections that wait on a core: those to signed storage hosts add up.
const CONNECTIONS_MAX: usize = 64;
/// Most connections that wait on a core for one peer.
const CONNECTIONS_PER_PEER_MAX: usize = 16;

thread_local! {
    /// Longest idle first.
    static IDLE: RefCell<Vec<Connection>> = const { RefCell::new(Vec::new()) };
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Returns the connection to `peer` that was used last, if one is left.
pub(super) fn take(peer: &Peer) -> Option<Connection> {
    loop {
        let mut connection = IDLE.with_borrow_mut(|idle| {
            let index = idle.iter().rposition(|one| one.peer() == peer)?;
            Some(idle.remove(index))
        })?;
        if connection.is_quiet() {
            connection.set_reused();
            return Some(connection);
        }
    }
}

/// Keeps a connection whose last response has ended exactly.
pub(super) fn keep(connection: Connection) {
    connection
        .socket()
        .set_deadline(IDLE_TIME, DeadlineKind::Idle);
    let surplus = IDLE.with_borrow_mut(|idle| {
        let mut peers = idle.iter().enumerate();
        let first = peers.position(|(_, one)| one.peer() == connection.peer());
        let count = 1 + peers
            .filter(|(_, one)| one.peer() == connection.peer())
            .count();
        let surplus = match first {
            Some(first) if count >= CONNECTIONS_PER_PEER_MAX => Some(idle.remove(first)),
            _ if idle.len() >= CONNECTIONS_MAX => Some(idle.remove(0)),
            _ => None,
        };
        idle.push(connection);
        surplus
    });
    drop(surplus);
    if !IS_WATCHED.replace(true) {
        spawn(watch());
    }
}

/// Closes what is of no more use, until nothing is left.
async fn watch() {
    let _end = End;
    loop {
        sleep(LOOK_EVERY).await;
        let (useless, is_empty) = IDLE.with_borrow_mut(|idle| {
            let useless: Vec<_> = idle.extract_if(.., |one| !one.is_quiet()).collect();
            (useless, idle.is_empty())
        });
        drop(useless);
        if is_empty {
            return;
        }
    }
}

/// Lets the next connection start a new watch.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        IS_WATCHED.set(false);
    }
}

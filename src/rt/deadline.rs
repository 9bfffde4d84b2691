//! Deadlines of a core's sockets, kept by one task.
//!
//! A deadline shuts the socket down; the operation that waits then ends by itself, and
//! no bytes are lost in a dropped future. Setting one costs two stores; keeping all of them costs one
//! pass over a core's sockets every [`DEADLINE_TICK`]. The same tick bounds the harm of a wake-up from
//! another thread that were ever lost: the core looks again within one tick.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::sys;
use crate::limits::DEADLINE_TICK;

/// What a socket waits for, which decides what a drain does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineKind {
    /// A response being sent: each byte that the peer takes gives it the whole time again.
    Active,
    /// Something that must have ended by then, whatever the peer takes or sends in the meantime.
    Whole,
    /// A message being received: past its deadline the receiving direction ends, so that the peer can
    /// still be told why.
    Receive,
    /// The next request of a kept-alive connection: a drain ends it at once.
    Idle,
}

/// One socket's deadline.
#[derive(Debug)]
pub(super) struct Deadline {
    entry: Rc<Entry>,
}

/// Invariant: until `gone` is set, `fd` is open and is the socket that the deadline was made for.
#[derive(Debug)]
struct Entry {
    fd: RawFd,
    /// Of a client, not of ours towards somebody else.
    is_accepted: bool,
    due: Cell<Option<Instant>>,
    /// What it was set to, to be set again on progress.
    after: Cell<Duration>,
    kind: Cell<DeadlineKind>,
    expired: Cell<bool>,
    gone: Cell<bool>,
}

impl Entry {
    /// Returns how long ago it was set.
    fn waits(&self, now: Instant) -> Option<Duration> {
        let left = self.due.get()?.saturating_duration_since(now);
        Some(self.after.get().saturating_sub(left))
    }
}

thread_local! {
    static ENTRIES: RefCell<Vec<Rc<Entry>>> = const { RefCell::new(Vec::new()) };
}

impl Deadline {
    /// Returns a deadline, not yet set, for the socket `fd`.
    ///
    /// - `is_accepted`: whether a listener took it, not we who connected.
    ///
    /// The owner of the socket drops the deadline before it closes the socket, on the same thread.
    pub(super) fn new(fd: RawFd, is_accepted: bool) -> Self {
        let entry = Rc::new(Entry {
            fd,
            is_accepted,
            due: Cell::new(None),
            after: Cell::new(Duration::ZERO),
            kind: Cell::new(DeadlineKind::Active),
            expired: Cell::new(false),
            gone: Cell::new(false),
        });
        ENTRIES.with_borrow_mut(|entries| entries.push(Rc::clone(&entry)));
        Self { entry }
    }

    /// Sets it to `after` from this moment.
    ///
    /// A `Receive` deadline that has passed left the sending direction open; that direction gets a
    /// deadline of its own here.
    pub(super) fn set(&self, after: Duration, kind: DeadlineKind) {
        if self.entry.kind.get() == DeadlineKind::Receive {
            self.entry.expired.set(false);
        }
        self.entry.due.set(Instant::now().checked_add(after));
        self.entry.after.set(after);
        self.entry.kind.set(kind);
    }

    /// Sets an `Active` one once more to what it was set to: the peer took something.
    ///
    /// Others stay: what TLS sends on its own account, in a handshake or for new keys, is no progress of
    /// what they wait for.
    pub(super) fn renew(&self) {
        if self.entry.kind.get() == DeadlineKind::Active && self.entry.due.get().is_some() {
            self.entry
                .due
                .set(Instant::now().checked_add(self.entry.after.get()));
        }
    }

    /// Takes it back.
    pub(super) fn clear(&self) {
        self.entry.due.set(None);
        self.entry.kind.set(DeadlineKind::Active);
    }

    /// Says whether it has passed and the socket was shut down for it.
    pub(super) fn expired(&self) -> bool {
        self.entry.expired.get()
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.entry.gone.set(true);
    }
}

/// Shuts down what is due, for as long as the core runs.
pub(super) async fn sweep() {
    loop {
        monoio::time::sleep(DEADLINE_TICK).await;
        let now = Instant::now();
        expire(|entry| entry.due.get().is_some_and(|due| due <= now));
    }
}

/// Shuts down every socket of this core that has only waited for a next request for so long, and has not received
/// it.
pub fn expire_idle(least: Duration) {
    let now = Instant::now();
    expire(|entry| {
        entry.kind.get() == DeadlineKind::Idle
            && entry.waits(now).is_some_and(|waits| waits >= least)
            && sys::is_quiet(entry.fd)
    });
}

/// Shuts down every socket of this core that a listener took: what its task waits for ends, and the task with it.
pub fn cut_accepted() {
    expire(|entry| entry.is_accepted);
}

fn expire(is_due: impl Fn(&Entry) -> bool) {
    ENTRIES.with_borrow_mut(|entries| {
        entries.retain(|entry| {
            if entry.gone.get() {
                return false;
            }
            if !entry.expired.get() && is_due(entry) {
                entry.expired.set(true);
                match entry.kind.get() {
                    DeadlineKind::Receive => sys::shut_down_receive(entry.fd),
                    DeadlineKind::Active | DeadlineKind::Whole | DeadlineKind::Idle => {
                        sys::shut_down(entry.fd);
                    }
                }
            }
            true
        });
    });
}

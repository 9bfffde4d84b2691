//! How a task that never has to wait lets the others of its core run.
//!
//! On a ring any operation does that. With epoll an operation on a socket that is ready returns at once,
//! so there the task steps back by itself: it wakes itself up and goes to the end of the queue, before
//! which monoio looks at the sockets. It does not look at its timers then, so now and then the task rests
//! for the shortest time that there is.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The longest time that tasks which only step back may keep a core from its timers.
const REST_EVERY: Duration = Duration::from_millis(20);

/// The shortest sleep: timers have a resolution of a millisecond.
const REST: Duration = Duration::from_millis(1);

thread_local! {
    /// When a task of this core last rested; `None` on a ring.
    static RESTED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Says that this thread's runtime is on epoll.
pub(super) fn on_epoll() {
    RESTED.set(Some(Instant::now()));
}

/// Steps back on epoll; on a ring it returns at once.
pub(super) async fn step_back() {
    let Some(rested) = RESTED.get() else {
        return;
    };
    if rested.elapsed() >= REST_EVERY {
        RESTED.set(Some(Instant::now()));
        monoio::time::sleep(REST).await;
        return;
    }
    let mut has_stepped = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_stepped, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

//! Wake-ups for tasks that wait, on any core, for shared state to change.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

/// A list of tasks that wait for something to become true.
///
/// The state itself lives elsewhere, in atomics or behind a lock of its own; whoever changes it calls
/// [`Notify::wake_all`] afterwards. No wake-up is lost: a waiter looks again after it registered.
#[derive(Debug, Default)]
pub struct Notify {
    waiters: Mutex<HashMap<u64, Waker>>,
    keys: AtomicU64,
}

impl Notify {
    /// Waits until `state` returns something, and returns it.
    ///
    /// Costs a lock per look that finds nothing; none when the first look finds something.
    pub async fn wait<T>(&self, mut state: impl FnMut() -> Option<T>) -> T {
        if let Some(found) = state() {
            return found;
        }
        let seat = Seat {
            notify: self,
            key: self.keys.fetch_add(1, Ordering::Relaxed),
        };
        poll_fn(|context| {
            seat.notify
                .waiters
                .lock()
                .insert(seat.key, context.waker().clone());
            state().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Wakes every waiter, so that each looks at the state again.
    pub fn wake_all(&self) {
        let woken = std::mem::take(&mut *self.waiters.lock());
        for waker in woken.into_values() {
            waker.wake();
        }
    }
}

/// A place in the list, given up when the waiter goes.
struct Seat<'n> {
    notify: &'n Notify,
    key: u64,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.notify.waiters.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::rt::Tier;
    use crate::rt::cores::run;

    /// Runs `count` waiters on each of two cores and raises a number from a third thread.
    fn everyone_sees_every_step(tier: Tier) {
        let step = Arc::new((AtomicU32::new(0), Notify::default()));
        let seen = Arc::new((AtomicU32::new(0), Notify::default()));
        let cores: Vec<_> = (0..2)
            .map(|_| {
                let (step, seen, tier) = (Arc::clone(&step), Arc::clone(&seen), tier.clone());
                std::thread::spawn(move || {
                    run(tier, async move {
                        for wanted in 1..=500 {
                            step.1
                                .wait(|| (step.0.load(Ordering::SeqCst) >= wanted).then_some(()))
                                .await;
                            seen.0.fetch_add(1, Ordering::SeqCst);
                        }
                        seen.1.wake_all();
                    })
                    .unwrap();
                })
            })
            .collect();
        while step.0.load(Ordering::SeqCst) < 500 {
            let done = seen.0.load(Ordering::SeqCst);
            if done >= 2 * step.0.load(Ordering::SeqCst) {
                step.0.fetch_add(1, Ordering::SeqCst);
                step.1.wake_all();
            } else {
                std::thread::yield_now();
            }
        }
        for core in cores {
            core.join().unwrap();
        }
        assert_eq!(seen.0.load(Ordering::SeqCst), 1000);
    }

    #[test]
    fn no_wake_up_from_another_thread_is_lost_on_io_uring() {
        everyone_sees_every_step(Tier::probe(false));
    }

    #[test]
    fn no_wake_up_from_another_thread_is_lost_on_epoll() {
        everyone_sees_every_step(Tier::probe(true));
    }
}

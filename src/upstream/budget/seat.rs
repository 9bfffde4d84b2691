//! Where one task waits for its turn, woken by itself and not with all others.

use std::time::Instant;

use parking_lot::Mutex;

use crate::rt::{Notify, timeout};

/// A seat in a line. What it is told is told once, from any core.
#[derive(Debug)]
pub(super) struct Seat<T> {
    told: Mutex<Option<T>>,
    notify: Notify,
}

impl<T> Seat<T> {
    pub(super) fn new() -> Self {
        Self {
            told: Mutex::new(None),
            notify: Notify::default(),
        }
    }

    /// Tells it something, in the place of what it has not heard yet.
    pub(super) fn tell(&self, what: T) {
        *self.told.lock() = Some(what);
        self.notify.wake_all();
    }

    /// Takes what it was told.
    pub(super) fn take(&self) -> Option<T> {
        self.told.lock().take()
    }

    /// Waits until it is told something; `None` once it is `by`.
    pub(super) async fn wait(&self, by: Option<Instant>) -> Option<T> {
        let told = self.notify.wait(|| self.take());
        match by {
            None => Some(told.await),
            Some(by) => {
                let left = by.saturating_duration_since(Instant::now());
                timeout(left, told).await.ok()
            }
        }
    }
}

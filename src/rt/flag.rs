//! Something that becomes true once, and that tasks on any core wait for.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Notify;

/// False until it is raised; never false again.
#[derive(Debug, Default)]
pub struct Flag {
    is_raised: AtomicBool,
    notify: Notify,
}

impl Flag {
    /// Makes it true, and wakes everyone who waits for that. Says whether it was false.
    pub fn raise(&self) -> bool {
        let was_raised = self.is_raised.swap(true, Ordering::AcqRel);
        self.notify.wake_all();
        !was_raised
    }

    /// Says whether it was raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.is_raised.load(Ordering::Acquire)
    }

    /// Waits until it is raised.
    pub async fn wait(&self) {
        self.notify.wait(|| self.is_raised().then_some(())).await;
    }
}

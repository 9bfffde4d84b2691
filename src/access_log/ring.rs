//! A core's way to the writer: batches in a bounded ring, which come back empty.
//!
//! ```text
//!  core: Pen ─ line ─▶ batch ─ full, or a tick later ─▶ ring ─▶ writer
//!                       ▲                                        │
//!                       ╰─────────────── empty ◀─────────────────╯
//! ```
//!
//! Invariants
//! - A core never waits: what has no room is counted and forgotten.
//! - Nobody is woken: the writer looks every [`LOG_LOOK_EVERY`](crate::limits::LOG_LOOK_EVERY).

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::Shared;
use super::line::{Batch, Entry};
use crate::limits::LOG_BATCHES_MAX;
use crate::metrics::Counters;

/// The batches of one core.
#[derive(Debug)]
pub(super) struct Ring {
    full: ArrayQueue<Batch>,
    empty: ArrayQueue<Batch>,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            full: ArrayQueue::new(LOG_BATCHES_MAX),
            empty: ArrayQueue::new(LOG_BATCHES_MAX),
        }
    }
}

impl Ring {
    pub(super) fn take(&self) -> Option<Batch> {
        self.full.pop()
    }

    /// Gives a batch back that was taken.
    pub(super) fn give_back(&self, mut batch: Batch) {
        batch.clear();
        // Without room there are enough of them.
        drop(self.empty.push(batch));
    }
}

/// What one core writes its lines with. Belongs to that core's thread alone.
#[derive(Debug)]
pub struct Pen {
    shared: Arc<Shared>,
    ring: Arc<Ring>,
    counters: Arc<Counters>,
    batch: Batch,
}

impl Pen {
    pub(super) fn new(shared: Arc<Shared>, ring: Arc<Ring>, counters: Arc<Counters>) -> Self {
        Self {
            shared,
            ring,
            counters,
            batch: Batch::default(),
        }
    }

    /// Says whether lines are wanted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.shared.is_on.get()
    }

    /// Takes note of a request, or drops it where the writer is too far behind.
    pub fn add(&mut self, entry: &Entry<'_>) {
        if self.batch.is_full() {
            self.hand_over();
            if self.batch.is_full() {
                self.counters.log_lines_dropped.add(1);
                return;
            }
        }
        self.batch.add(entry);
    }

    /// Hands over what there is; to be called every now and then, or a line would wait for those after it.
    pub fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.batch = match self.ring.full.push(batch) {
            Ok(()) => self.ring.empty.pop().unwrap_or_default(),
            Err(batch) => batch,
        };
    }
}

//! What is counted of jobs that warm the store.

use super::table::{WARM_BYTES, WARM_JOBS};
use super::{Cell, Counters, Metrics, Sample};

/// How a job that warms the store ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmOutcome {
    /// Every image is here.
    Done,
    /// One at least could not be had.
    Failed,
    /// Nobody wanted it any more.
    Cancelled,
}

impl WarmOutcome {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 3] = [Self::Done, Self::Failed, Self::Cancelled];

    /// Returns the value of the `outcome` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Jobs that have ended, by outcome.
#[derive(Debug, Default)]
pub(super) struct WarmCounters([Cell; WarmOutcome::ALL.len()]);

impl Counters {
    /// Counts the end of a job that warms the store.
    pub fn count_warm(&self, outcome: WarmOutcome) {
        self.warm.0[outcome as usize].add(1);
    }
}

impl Metrics {
    pub(super) fn warm_samples(&self) -> Vec<Sample> {
        let jobs = WarmOutcome::ALL.into_iter().map(|outcome| {
            let value = self.sum(|core| &core.warm.0[outcome as usize]);
            WARM_JOBS.sample([outcome.label()], value)
        });
        let bytes = WARM_BYTES.alone(self.sum(|core| &core.warm_bytes));
        jobs.chain([bytes]).collect()
    }
}

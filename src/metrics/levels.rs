//! What nobody counts, and is looked at when asked: lengths of queues and the like.

use std::fmt;
use std::sync::Arc;

use super::Sample;
use super::table::{
    FILL_CHUNKS_WAITING, FILL_FOLLOWERS, HELPER_JOBS_WAITING, SINK_JOBS_WAITING, STORE_HOUSEKEEPER,
    UPSTREAM_PAYMENTS_WAITING, UPSTREAM_REQUESTS_WAITING,
};

/// One look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Responses that follow a fill.
    pub fill_followers: usize,
    /// Chunks of fills that are received and not written.
    pub fill_chunks_waiting: usize,
    /// Fills that wait for a helper thread.
    pub sink_jobs_waiting: usize,
    /// Other calls that wait for one.
    pub helper_jobs_waiting: usize,
    /// Requests that wait for a next hop.
    pub upstream_requests_waiting: usize,
    /// Streams that wait for their turn within the bandwidth.
    pub upstream_payments_waiting: usize,
    /// Whether this process keeps house.
    pub is_housekeeper: bool,
}

impl Levels {
    fn samples(self) -> [Sample; 7] {
        [
            FILL_FOLLOWERS.alone(self.fill_followers as u64),
            FILL_CHUNKS_WAITING.alone(self.fill_chunks_waiting as u64),
            SINK_JOBS_WAITING.alone(self.sink_jobs_waiting as u64),
            HELPER_JOBS_WAITING.alone(self.helper_jobs_waiting as u64),
            UPSTREAM_REQUESTS_WAITING.alone(self.upstream_requests_waiting as u64),
            UPSTREAM_PAYMENTS_WAITING.alone(self.upstream_payments_waiting as u64),
            STORE_HOUSEKEEPER.alone(self.is_housekeeper.into()),
        ]
    }
}

/// Who takes a look.
#[derive(Clone)]
pub(super) struct Probe(Arc<dyn Fn() -> Levels + Send + Sync>);

impl Probe {
    pub(super) fn new(look: impl Fn() -> Levels + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    pub(super) fn samples(&self) -> [Sample; 7] {
        (self.0)().samples()
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self::new(Levels::default)
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}

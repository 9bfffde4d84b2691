//! What an operator is shown of the next hops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Upstream;
use crate::metrics::{HopNumbers, HopOutcome};

/// One next hop.
#[derive(Clone, Debug)]
pub struct HopState {
    /// Its URL, without credentials.
    pub url: String,
    /// Its `host[:port]`, as in the metrics.
    pub name: String,
    /// It is asked in its turn.
    pub is_up: bool,
    /// For how long it has been down.
    pub down_for: Option<Duration>,
    /// After how long a request may find out whether it is back.
    pub asked_again_in: Option<Duration>,
    /// Why it failed last; empty if it never did.
    pub why: String,
    /// It asked to slow down, and is left alone.
    pub is_throttled: bool,
    /// Requests by outcome.
    pub requests: Vec<(HopOutcome, u64)>,
    /// Body bytes that came from it.
    pub bytes: u64,
}

/// What the board knows of one hop, besides its numbers.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) numbers: Arc<HopNumbers>,
    pub(super) down_for: Option<Duration>,
    pub(super) asked_again_in: Option<Duration>,
    pub(super) why: Arc<str>,
}

impl Upstream {
    /// Returns how each next hop is, in order.
    #[must_use]
    pub fn states(&self) -> Vec<HopState> {
        let standings = self.board.standings(Instant::now());
        let states = self.hops().zip(standings);
        states
            .map(|(url, standing)| state(url, &standing))
            .collect()
    }
}

fn state(url: String, standing: &Standing) -> HopState {
    let numbers = &standing.numbers;
    HopState {
        url,
        name: numbers.name().to_owned(),
        is_up: standing.down_for.is_none(),
        down_for: standing.down_for,
        asked_again_in: standing.asked_again_in,
        why: standing.why.to_string(),
        is_throttled: numbers.is_throttled(),
        requests: numbers.requests().collect(),
        bytes: numbers.bytes(),
    }
}

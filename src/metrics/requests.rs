//! What is counted of requests and of the bytes that answer them.

use std::time::Duration;

use super::table::{
    CLIENT_BYTES, DEADLINES_PASSED, ERRORS, HIT_BYTES, REQUESTS, REQUESTS_REFUSED,
    RESPONSES_ABORTED, UPSTREAM_BYTES,
};
use super::{Cell, Counters, DeadlinePassed, Fault, Metrics, RequestRefusal, Sample};

/// How the cache took part in a response, in the words of `Cache-Status` (RFC 9211 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheUse {
    /// From the store alone.
    Hit,
    /// This request started a fill.
    Miss,
    /// This request followed a fill that another one had started.
    Collapsed,
    /// From the store, though the next hops were asked and gave no answer.
    Stale,
    /// From memory: the next hop has just said that it is not there.
    Negative,
    /// Answered without the store: by the next hop's word, or by the server itself.
    Bypass,
}

impl CacheUse {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 6] = [
        Self::Hit,
        Self::Miss,
        Self::Collapsed,
        Self::Stale,
        Self::Negative,
        Self::Bypass,
    ];

    /// Returns the value of the `cache` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Stale => "stale",
            Self::Negative => "negative",
            Self::Bypass => "bypass",
        }
    }

    /// Returns the value of the `Cache-Status` response field (RFC 9211).
    #[must_use]
    pub const fn cache_status(self) -> &'static str {
        match self {
            Self::Hit => "transship; hit",
            Self::Miss => "transship; fwd=uri-miss",
            Self::Collapsed => "transship; fwd=uri-miss; collapsed",
            Self::Stale => "transship; hit; fwd=stale",
            Self::Negative => "transship; hit; detail=negative",
            Self::Bypass => "transship; fwd=bypass",
        }
    }
}

/// Statuses that are counted by number; any other counts as 0.
const STATUSES: [u16; 26] = [
    0, 200, 206, 304, 307, 400, 401, 403, 404, 405, 406, 408, 413, 414, 416, 417, 421, 429, 431,
    500, 501, 502, 503, 504, 505, 508,
];

/// One core's numbers.
#[derive(Debug, Default)]
pub(super) struct RequestCounters {
    answered: [[Cell; STATUSES.len()]; CacheUse::ALL.len()],
    refused: [Cell; RequestRefusal::ALL.len()],
    deadlines_passed: [Cell; DeadlinePassed::ALL.len()],
    errors: [Cell; Fault::ALL.len()],
}

impl Counters {
    /// Counts one response.
    pub fn count_request(&self, cache: CacheUse, status: u16) {
        let column = STATUSES
            .iter()
            .position(|&known| known == status)
            .unwrap_or(0);
        self.requests.answered[cache as usize][column].add(1);
    }

    /// Counts how long a response took; `first_byte` is `None` if none was sent.
    pub fn count_times(&self, cache: CacheUse, first_byte: Option<Duration>, whole: Duration) {
        self.times.add(cache, first_byte, whole);
    }

    /// Counts a request that was refused for its form.
    pub fn count_refused_request(&self, reason: RequestRefusal) {
        self.requests.refused[reason as usize].add(1);
    }

    /// Counts a client that let a deadline pass.
    pub fn count_deadline(&self, kind: DeadlinePassed) {
        self.requests.deadlines_passed[kind as usize].add(1);
    }

    /// Counts a response that failed or ended short, once, by whose fault.
    pub fn count_error(&self, fault: Fault) {
        self.requests.errors[fault as usize].add(1);
    }
}

impl Metrics {
    /// Combinations of labels that never happened are left out, except that each cache use is shown with
    /// status 200, so that a rate can be asked before the first event.
    pub(super) fn request_samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for cache in CacheUse::ALL {
            for (column, status) in STATUSES.into_iter().enumerate() {
                let value = self.sum(|core| &core.requests.answered[cache as usize][column]);
                if value > 0 || status == 200 {
                    let labels = [cache.label().to_owned(), status.to_string()];
                    samples.push(REQUESTS.sample(labels, value));
                }
            }
        }
        samples.extend(RequestRefusal::ALL.into_iter().map(|reason| {
            let value = self.sum(|core| &core.requests.refused[reason as usize]);
            REQUESTS_REFUSED.sample([reason.label()], value)
        }));
        samples.extend(DeadlinePassed::ALL.into_iter().map(|kind| {
            let value = self.sum(|core| &core.requests.deadlines_passed[kind as usize]);
            DEADLINES_PASSED.sample([kind.label()], value)
        }));
        samples.extend(Fault::ALL.into_iter().map(|fault| {
            let value = self.sum(|core| &core.requests.errors[fault as usize]);
            ERRORS.sample([fault.label()], value)
        }));
        samples.extend([
            RESPONSES_ABORTED.alone(self.sum(|core| &core.responses_aborted)),
            CLIENT_BYTES.alone(self.sum(|core| &core.client_bytes)),
            HIT_BYTES.alone(self.sum(|core| &core.hit_bytes)),
            UPSTREAM_BYTES.alone(self.sum(|core| &core.upstream_bytes)),
        ]);
        samples
    }
}

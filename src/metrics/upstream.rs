//! What is counted of each next hop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::table::{
    UPSTREAM_BROKEN_BODIES, UPSTREAM_HEAD, UPSTREAM_HOP_BYTES, UPSTREAM_REQUESTS,
    UPSTREAM_SLOW_DOWNS, UPSTREAM_THROTTLED, UPSTREAM_UP,
};
use super::timing::{bounds, bucket};
use super::{Histogram, Metrics, Sample};

/// What became of a request to a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopOutcome {
    /// It answered: what was asked for, or that it will not give it.
    Answered,
    /// It answered with an error of its own (500, 502, 503, 504).
    Failed,
    /// No address took the connection, or it broke before the head.
    Unreachable,
    /// No TLS session.
    Tls,
    /// Not in time.
    TimedOut,
    /// What came is not HTTP.
    Protocol,
    /// It was down, to be left alone or full, as were all others: the request failed.
    NotAsked,
}

impl HopOutcome {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 7] = [
        Self::Answered,
        Self::Failed,
        Self::Unreachable,
        Self::Tls,
        Self::TimedOut,
        Self::Protocol,
        Self::NotAsked,
    ];

    /// Returns the value of the `outcome` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::TimedOut => "timed_out",
            Self::Protocol => "protocol",
            Self::NotAsked => "not_asked",
        }
    }
}

/// Upper bounds of the buckets of head times, in microseconds; above them is one more.
const HEAD_BOUNDS_US: [u32; 12] = [
    5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 25_000_000,
];

/// One hop's numbers, shared by all cores: what asks a next hop can afford a shared cache line.
#[derive(Debug)]
pub struct HopNumbers {
    name: String,
    is_up: AtomicBool,
    outcomes: [AtomicU64; HopOutcome::ALL.len()],
    head_microseconds: AtomicU64,
    /// Each counts what lies above the bound before it.
    head_buckets: [AtomicU64; HEAD_BOUNDS_US.len() + 1],
    is_throttled: AtomicBool,
    throttled: AtomicU64,
    broken_bodies: AtomicU64,
    bytes: AtomicU64,
}

impl HopNumbers {
    /// Returns the numbers of a hop that is up; `name` is its `host[:port]`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_up: AtomicBool::new(true),
            outcomes: Default::default(),
            head_microseconds: AtomicU64::new(0),
            head_buckets: Default::default(),
            is_throttled: AtomicBool::new(false),
            throttled: AtomicU64::new(0),
            broken_bodies: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Returns the hop's `host[:port]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a request.
    pub fn count(&self, outcome: HopOutcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Takes note of whether it is up.
    pub fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Relaxed);
    }

    /// Counts a response head, and the time that it took, connecting included.
    pub fn add_head_time(&self, took: Duration) {
        let bucket = bucket(&HEAD_BOUNDS_US, took);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.head_microseconds.fetch_add(took, Ordering::Relaxed);
        self.head_buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer that asks to slow down.
    pub fn count_throttled(&self) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes note of whether it is left alone for now.
    pub fn set_throttled(&self, is_throttled: bool) {
        self.is_throttled.store(is_throttled, Ordering::Relaxed);
    }

    /// Counts a body that broke off.
    pub fn count_broken_body(&self) {
        self.broken_bodies.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes of bodies.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl HopNumbers {
    /// Says whether it is left alone for now.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.is_throttled.load(Ordering::Relaxed)
    }

    /// Returns the bytes of bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the requests by outcome.
    pub fn requests(&self) -> impl Iterator<Item = (HopOutcome, u64)> {
        let count = |outcome| self.outcomes[outcome as usize].load(Ordering::Relaxed);
        HopOutcome::ALL
            .into_iter()
            .map(move |outcome| (outcome, count(outcome)))
    }
}

impl Metrics {
    pub(super) fn hop_samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for hop in self.hops.iter() {
            let name = hop.name.as_str();
            let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
            let is_throttled = hop.is_throttled.load(Ordering::Relaxed);
            samples.extend([
                UPSTREAM_UP.sample([name], hop.is_up.load(Ordering::Relaxed).into()),
                UPSTREAM_THROTTLED.sample([name], is_throttled.into()),
                UPSTREAM_SLOW_DOWNS.sample([name], read(&hop.throttled)),
                UPSTREAM_BROKEN_BODIES.sample([name], read(&hop.broken_bodies)),
                UPSTREAM_HOP_BYTES.sample([name], read(&hop.bytes)),
            ]);
            samples.extend(HopOutcome::ALL.into_iter().map(|outcome| {
                let value = read(&hop.outcomes[outcome as usize]);
                UPSTREAM_REQUESTS.sample([name, outcome.label()], value)
            }));
        }
        samples
    }

    /// Returns how long response heads took.
    pub(super) fn hop_histograms(&self) -> Vec<Histogram> {
        let of_hop = |hop: &std::sync::Arc<HopNumbers>| {
            let count = |bucket: &AtomicU64| bucket.load(Ordering::Relaxed);
            Histogram {
                name: UPSTREAM_HEAD.name,
                label: ("upstream", hop.name.clone()),
                bounds: bounds(&HEAD_BOUNDS_US),
                counts: hop.head_buckets.iter().map(count).collect(),
                sum: Duration::from_micros(hop.head_microseconds.load(Ordering::Relaxed)),
            }
        };
        self.hops.iter().map(of_hop).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_head_time_is_in_the_bucket_whose_bound_it_does_not_pass() {
        let hop = Arc::new(HopNumbers::new("a.example"));
        for (ms, bucket) in [(0, 0), (5, 0), (6, 1), (25_000, 11), (25_001, 12)] {
            let before = hop.head_buckets[bucket].load(Ordering::Relaxed);
            hop.add_head_time(Duration::from_millis(ms));
            let after = hop.head_buckets[bucket].load(Ordering::Relaxed);
            assert_eq!(after, before + 1, "{ms}");
        }
        let metrics = Metrics::new(1).with_hops(std::iter::once(hop));
        let histogram = &metrics.hop_histograms()[0];
        assert_eq!(histogram.counts.len(), histogram.bounds.len() + 1);
        assert_eq!(histogram.sum, Duration::from_millis(50_012));
    }
}

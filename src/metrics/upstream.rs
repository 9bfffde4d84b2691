//! What is counted of each next hop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Kind, Metrics, Sample};

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
    /// It was down, as were all others: the request failed at once.
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

/// One hop's numbers, shared by all cores: what asks a next hop can afford a shared cache line.
#[derive(Debug)]
pub struct HopNumbers {
    name: String,
    is_up: AtomicBool,
    outcomes: [AtomicU64; HopOutcome::ALL.len()],
    head_microseconds: AtomicU64,
    heads: AtomicU64,
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
            heads: AtomicU64::new(0),
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
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.head_microseconds.fetch_add(took, Ordering::Relaxed);
        self.heads.fetch_add(1, Ordering::Relaxed);
    }
}

impl Metrics {
    pub(super) fn hop_samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for hop in self.hops.iter() {
            let upstream = || ("upstream", hop.name.clone());
            let mut add = |name, kind, help, labels, value| {
                samples.push(Sample {
                    name,
                    kind,
                    help,
                    labels,
                    value,
                });
            };
            add(
                "transship_upstream_up",
                Kind::Gauge,
                "1 while the next hop is asked in its turn, 0 while it counts as down.",
                vec![upstream()],
                u64::from(hop.is_up.load(Ordering::Relaxed)),
            );
            for outcome in HopOutcome::ALL {
                add(
                    "transship_upstream_requests_total",
                    Kind::Counter,
                    "Requests to a next hop by outcome; `not_asked` failed at once since every next hop was down.",
                    vec![upstream(), ("outcome", outcome.label().to_owned())],
                    hop.outcomes[outcome as usize].load(Ordering::Relaxed),
                );
            }
            add(
                "transship_upstream_heads_total",
                Kind::Counter,
                "First response heads received from a next hop.",
                vec![upstream()],
                hop.heads.load(Ordering::Relaxed),
            );
            add(
                "transship_upstream_head_microseconds_total",
                Kind::Counter,
                "Time from the beginning of a request to those heads, summed.",
                vec![upstream()],
                hop.head_microseconds.load(Ordering::Relaxed),
            );
        }
        samples
    }
}

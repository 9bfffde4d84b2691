//! Counters that cores write without sharing a cache line, and one table of their names.
//!
//! Values only: no registry, no I/O. Each core owns one [`Counters`] and is its only writer, so that
//! counting costs a plain load and store; readers on other threads sum over all cores.

mod access;
mod reason;
mod store;
mod upstream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use access::{AccessRefusal, CheckOutcome};
pub use reason::{ConnectionRefusal, DeadlinePassed, RequestRefusal};
pub use store::{DiskTrouble, Removal, StoreNumbers};
pub use upstream::{HopNumbers, HopOutcome};

use access::AccessCounters;

/// A number with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `amount`. Only the owning core may call it.
    pub fn add(&self, amount: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(amount),
            Ordering::Relaxed,
        );
    }

    /// Takes `amount` away again, for numbers that go both ways. Only the owning core may call it.
    pub fn sub(&self, amount: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_sub(amount),
            Ordering::Relaxed,
        );
    }

    /// Replaces the number. Only its one writer may call it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Returns the number.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

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

/// How a fill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillOutcome {
    /// The blob is in the store.
    Committed,
    /// The next hop answered that it will not give the blob (404, 401, 403).
    Refused,
    /// The next hop could not be reached, broke off, or broke the protocol.
    UpstreamFailed,
    /// The bytes were not those of the digest, or of another length than announced.
    Corrupt,
    /// The disk failed.
    DiskFailed,
    /// The disk failed, and what clients wanted of the blob went past it; nothing is stored.
    PassedThrough,
    /// Only parts of the blob were asked for (`transship.fill.on_range: only`); nothing is stored.
    Unwanted,
}

impl FillOutcome {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 7] = [
        Self::Committed,
        Self::Refused,
        Self::UpstreamFailed,
        Self::Corrupt,
        Self::DiskFailed,
        Self::PassedThrough,
        Self::Unwanted,
    ];

    /// Returns the value of the `outcome` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Refused => "refused",
            Self::UpstreamFailed => "upstream_failed",
            Self::Corrupt => "corrupt",
            Self::DiskFailed => "disk_failed",
            Self::PassedThrough => "passed_through",
            Self::Unwanted => "unwanted",
        }
    }
}

/// What a stream of a fill was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// The fill's first one.
    First,
    /// A range beside others, as more bring more.
    Parallel,
    /// A part that a client waits for, ahead of its turn.
    Ahead,
    /// The rest of one that broke off or gave way.
    Resumed,
}

impl StreamKind {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 4] = [Self::First, Self::Parallel, Self::Ahead, Self::Resumed];

    /// Returns the value of the `kind` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Parallel => "parallel",
            Self::Ahead => "ahead",
            Self::Resumed => "resumed",
        }
    }
}

/// One core's numbers.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    requests: [[Cell; STATUSES.len()]; CacheUse::ALL.len()],
    fills: [Cell; FillOutcome::ALL.len()],
    streams: [Cell; StreamKind::ALL.len()],
    access: AccessCounters,
    connections_refused: [Cell; ConnectionRefusal::ALL.len()],
    requests_refused: [Cell; RequestRefusal::ALL.len()],
    deadlines_passed: [Cell; DeadlinePassed::ALL.len()],
    /// How often a next hop broke off in the midst of a fill.
    pub fill_breaks: Cell,
    /// Fills that run.
    pub fills_running: Cell,
    /// Body bytes sent to clients.
    pub client_bytes: Cell,
    /// Body bytes received from next hops.
    pub upstream_bytes: Cell,
    /// Client connections that are open.
    pub connections: Cell,
    /// Client connections accepted.
    pub connections_accepted: Cell,
    /// Responses that ended short of their length.
    pub responses_aborted: Cell,
    /// Times that the core went through its loop: it is alive while this moves.
    pub beats: Cell,
}

impl Counters {
    /// Counts one response.
    pub fn count_request(&self, cache: CacheUse, status: u16) {
        let column = STATUSES
            .iter()
            .position(|&known| known == status)
            .unwrap_or(0);
        self.requests[cache as usize][column].add(1);
    }

    /// Counts the end of one fill.
    pub fn count_fill(&self, outcome: FillOutcome) {
        self.fills[outcome as usize].add(1);
    }

    /// Counts a stream of a fill.
    pub fn count_stream(&self, kind: StreamKind) {
        self.streams[kind as usize].add(1);
    }

    /// Counts a connection that was closed at once.
    pub fn count_refused_connection(&self, reason: ConnectionRefusal) {
        self.connections_refused[reason as usize].add(1);
    }

    /// Counts a request that was refused for its form.
    pub fn count_refused_request(&self, reason: RequestRefusal) {
        self.requests_refused[reason as usize].add(1);
    }

    /// Counts a client that let a deadline pass.
    pub fn count_deadline(&self, kind: DeadlinePassed) {
        self.deadlines_passed[kind as usize].add(1);
    }
}

/// What came of reading the server's certificate again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// It is in use.
    Replaced,
    /// It is of no use; the old one stays.
    Refused,
}

impl ReloadOutcome {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 2] = [Self::Replaced, Self::Refused];

    /// Returns the value of the `outcome` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Refused => "refused",
        }
    }
}

/// The numbers of the server's certificate, written by whoever reads it, one at a time.
#[derive(Debug, Default)]
pub struct Certificate {
    /// 0 while there is no certificate.
    expires: Cell,
    reloads: [Cell; ReloadOutcome::ALL.len()],
}

impl Certificate {
    /// Sets when the certificate in use expires, in seconds since the epoch.
    pub fn set_expiry(&self, expires: i64) {
        self.expires.set(u64::try_from(expires).unwrap_or(0));
    }

    /// Counts one reading.
    pub fn count(&self, outcome: ReloadOutcome) {
        self.reloads[outcome as usize].add(1);
    }

    fn samples(&self) -> Vec<Sample> {
        let expires = self.expires.read();
        if expires == 0 {
            return Vec::new();
        }
        let mut samples = vec![Sample {
            name: "transship_tls_certificate_expiry_seconds",
            kind: Kind::Gauge,
            help: "When the certificate shown to clients expires, in seconds since the epoch.",
            labels: Vec::new(),
            value: expires,
        }];
        samples.extend(ReloadOutcome::ALL.into_iter().map(|outcome| Sample {
            name: "transship_tls_reloads_total",
            kind: Kind::Counter,
            help: "Times that changed certificate files were read, by outcome.",
            labels: vec![("outcome", outcome.label().to_owned())],
            value: self.reloads[outcome as usize].read(),
        }));
        samples
    }
}

/// What kind of metric a name is, after Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes both ways.
    Gauge,
}

/// One number with its name, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Name after Prometheus conventions.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// One sentence for the operator.
    pub help: &'static str,
    /// Label names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The sum over all cores.
    pub value: u64,
}

/// How long something took, sorted by upper bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Name after Prometheus conventions, in seconds.
    pub name: &'static str,
    /// One sentence for the operator.
    pub help: &'static str,
    /// Label name and value.
    pub label: (&'static str, String),
    /// Ascending.
    pub bounds: Vec<Duration>,
    /// How many lie within each bound and above the one before it, and then above all: one more than
    /// bounds.
    pub counts: Vec<u64>,
    /// All of them together.
    pub sum: Duration,
}

/// The numbers of all cores.
#[derive(Clone, Debug)]
pub struct Metrics {
    cores: Arc<[Arc<Counters>]>,
    hops: Arc<[Arc<HopNumbers>]>,
    certificate: Arc<Certificate>,
    store: Arc<StoreNumbers>,
}

impl Metrics {
    /// Returns zeroed numbers for `cores` cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self {
            cores: (0..cores).map(|_| Arc::default()).collect(),
            hops: Arc::new([]),
            certificate: Arc::default(),
            store: Arc::default(),
        }
    }

    /// Returns the numbers of the store.
    #[must_use]
    pub fn store(&self) -> Arc<StoreNumbers> {
        Arc::clone(&self.store)
    }

    /// Shows the numbers of these next hops besides.
    #[must_use]
    pub fn with_hops(self, hops: impl Iterator<Item = Arc<HopNumbers>>) -> Self {
        Self {
            hops: hops.collect(),
            ..self
        }
    }

    /// Returns the numbers of the server's certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Returns the numbers that core `index` writes.
    ///
    /// # Panics
    /// When there is no such core.
    #[must_use]
    pub fn core(&self, index: usize) -> Arc<Counters> {
        Arc::clone(&self.cores[index])
    }

    /// Returns how often each core has gone through its loop.
    pub fn beats(&self) -> impl Iterator<Item = u64> {
        self.cores.iter().map(|core| core.beats.read())
    }

    fn sum(&self, of: impl Fn(&Counters) -> &Cell) -> u64 {
        self.cores
            .iter()
            .fold(0, |sum, core| sum.wrapping_add(of(core).read()))
    }

    /// Returns every number. Combinations of labels that never happened are left out, except that
    /// each cache use is shown with status 200, so that a rate can be asked before the first event.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = self.request_samples();
        samples.extend(FillOutcome::ALL.into_iter().map(|outcome| Sample {
            name: "transship_fills_total",
            kind: Kind::Counter,
            help: "Fills that ended, by outcome.",
            labels: vec![("outcome", outcome.label().to_owned())],
            value: self.sum(|core| &core.fills[outcome as usize]),
        }));
        samples.extend(StreamKind::ALL.into_iter().map(|kind| Sample {
            name: "transship_fill_streams_total",
            kind: Kind::Counter,
            help: "Requests of fills to next hops, by what for: the first of a fill, one beside others, a part that a client waits for, the rest of one that ended early.",
            labels: vec![("kind", kind.label().to_owned())],
            value: self.sum(|core| &core.streams[kind as usize]),
        }));
        samples.extend(self.access_samples());
        samples.extend(self.hop_samples());
        samples.extend(self.reason_samples());
        samples.extend(self.plain_samples());
        samples.extend(self.certificate.samples());
        samples.extend(self.store.samples());
        samples
    }

    /// Every reason is shown from the start, so that an alert can be written before the first event.
    fn reason_samples(&self) -> Vec<Sample> {
        let sample = |name, help, label: (&'static str, &str), value| Sample {
            name,
            kind: Kind::Counter,
            help,
            labels: vec![(label.0, label.1.to_owned())],
            value,
        };
        let connections = ConnectionRefusal::ALL.into_iter().map(|reason| {
            sample(
                "transship_connections_refused_total",
                "Client connections closed at once: too many in total or from one address.",
                ("reason", reason.label()),
                self.sum(|core| &core.connections_refused[reason as usize]),
            )
        });
        let requests = RequestRefusal::ALL.into_iter().map(|reason| {
            sample(
                "transship_requests_refused_total",
                "Requests refused for their form, by reason.",
                ("reason", reason.label()),
                self.sum(|core| &core.requests_refused[reason as usize]),
            )
        });
        let deadlines = DeadlinePassed::ALL.into_iter().map(|kind| {
            sample(
                "transship_deadlines_passed_total",
                "Client connections closed because a deadline passed, by its kind.",
                ("kind", kind.label()),
                self.sum(|core| &core.deadlines_passed[kind as usize]),
            )
        });
        connections.chain(requests).chain(deadlines).collect()
    }

    fn request_samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for cache in CacheUse::ALL {
            for (column, status) in STATUSES.into_iter().enumerate() {
                let value = self.sum(|core| &core.requests[cache as usize][column]);
                if value > 0 || status == 200 {
                    samples.push(Sample {
                        name: "transship_requests_total",
                        kind: Kind::Counter,
                        help: "Requests answered, by use of the cache and by status (0: any other).",
                        labels: vec![
                            ("cache", cache.label().to_owned()),
                            ("status", status.to_string()),
                        ],
                        value,
                    });
                }
            }
        }
        samples
    }

    fn plain_samples(&self) -> Vec<Sample> {
        type Row = (&'static str, Kind, &'static str, fn(&Counters) -> &Cell);
        let rows: [Row; 7] = [
            (
                "transship_fill_breaks_total",
                Kind::Counter,
                "How often a next hop broke off in the midst of a blob, and the fill went on.",
                |c| &c.fill_breaks,
            ),
            ("transship_fills", Kind::Gauge, "Fills that run.", |c| {
                &c.fills_running
            }),
            (
                "transship_client_bytes_total",
                Kind::Counter,
                "Body bytes sent to clients.",
                |c| &c.client_bytes,
            ),
            (
                "transship_upstream_bytes_total",
                Kind::Counter,
                "Body bytes received from next hops.",
                |c| &c.upstream_bytes,
            ),
            (
                "transship_connections",
                Kind::Gauge,
                "Client connections open.",
                |c| &c.connections,
            ),
            (
                "transship_connections_accepted_total",
                Kind::Counter,
                "Client connections accepted.",
                |c| &c.connections_accepted,
            ),
            (
                "transship_responses_aborted_total",
                Kind::Counter,
                "Responses that ended short of their length.",
                |c| &c.responses_aborted,
            ),
        ];
        rows.into_iter()
            .map(|(name, kind, help, of)| Sample {
                name,
                kind,
                help,
                labels: Vec::new(),
                value: self.sum(of),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_summed_over_cores_and_odd_statuses_are_not_lost() {
        let metrics = Metrics::new(2);
        metrics.core(0).count_request(CacheUse::Hit, 200);
        metrics.core(1).count_request(CacheUse::Hit, 200);
        metrics.core(1).count_request(CacheUse::Bypass, 299);
        metrics.core(0).connections.add(3);
        metrics.core(0).connections.sub(1);
        let last = RequestRefusal::ALL[RequestRefusal::ALL.len() - 1];
        metrics.core(1).count_refused_request(last);
        metrics.core(0).count_deadline(DeadlinePassed::Body);
        let value = |name: &str, labels: &[&str]| {
            let found = metrics.samples().into_iter().find(|sample| {
                sample.name == name
                    && sample
                        .labels
                        .iter()
                        .map(|(_, v)| v.as_str())
                        .eq(labels.iter().copied())
            });
            found.unwrap().value
        };
        assert_eq!(value("transship_requests_total", &["hit", "200"]), 2);
        assert_eq!(value("transship_requests_total", &["bypass", "0"]), 1);
        assert_eq!(value("transship_requests_total", &["miss", "200"]), 0);
        assert_eq!(value("transship_connections", &[]), 2);
        let refused = "transship_requests_refused_total";
        assert_eq!(value(refused, &[last.label()]), 1);
        assert_eq!(value(refused, &["framing"]), 0);
        assert_eq!(value("transship_deadlines_passed_total", &["body"]), 1);
        assert_eq!(
            value("transship_connections_refused_total", &["address"]),
            0
        );
    }
}

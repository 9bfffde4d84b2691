//! Counters that cores write without sharing a cache line, and one table of what they are called.
//!
//! Values only: no registry, no I/O. Each core owns one [`Counters`] and is its only writer, so that
//! counting costs a plain load and store; readers on other threads sum over all cores.
//!
//! ```text
//!  a core ──▶ Counters ─╮ requests, connections, fills, access
//!  a hop ───▶ HopNumbers┤ upstream                              table: name, kind, unit, labels,
//!  the disk ▶ StoreNumbers store                      ─▶ Sample ─────── help, what to do ─▶ docs
//!  a scrape ▶ Levels ───╯ levels: queues, looked at when asked
//! ```
//!
//! A new number has a row in `table`, a cell in the file of its area, and a line in that file's `…_samples`; then
//! `docs/metrics.md` is written anew. A sample without a row cannot be made, and a test on a running server
//! finds a row without a sample.

mod access;
mod cell;
mod certificate;
mod connections;
mod docs;
mod fills;
mod levels;
mod reason;
mod requests;
mod store;
pub mod table;
mod timing;
mod upstream;
mod warm;

use std::sync::Arc;
use std::time::Duration;

pub use access::{AccessRefusal, CheckOutcome};
pub use cell::Cell;
pub use certificate::{Certificate, ReloadOutcome};
pub use docs::markdown;
pub use fills::{FillOutcome, StreamKind};
pub use levels::Levels;
pub use reason::{ConnectionRefusal, DeadlinePassed, Fault, RequestRefusal};
pub use requests::CacheUse;
pub use store::{DiskTrouble, Removal, StoreNumbers};
pub use table::{Kind, Metric, Unit};
pub use upstream::{HopNumbers, HopOutcome};
pub use warm::WarmOutcome;

use access::AccessCounters;
use connections::ConnectionCounters;
use fills::FillCounters;
use levels::Probe;
use requests::RequestCounters;
use timing::ResponseTimes;
use warm::WarmCounters;

/// One core's numbers.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    requests: RequestCounters,
    connection: ConnectionCounters,
    fills: FillCounters,
    access: AccessCounters,
    times: ResponseTimes,
    warm: WarmCounters,
    /// How often a next hop broke off in the midst of a fill.
    pub fill_breaks: Cell,
    /// Fills that run.
    pub fills_running: Cell,
    /// Body bytes sent to clients.
    pub client_bytes: Cell,
    /// Those of them that were stored when they were asked for.
    pub hit_bytes: Cell,
    /// Body bytes received from next hops.
    pub upstream_bytes: Cell,
    /// Bytes of blobs that jobs have fetched that warm the store.
    pub warm_bytes: Cell,
    /// Client connections that are open.
    pub connections: Cell,
    /// Client connections accepted.
    pub connections_accepted: Cell,
    /// Responses that ended short of their length.
    pub responses_aborted: Cell,
    /// Lines of the access log that found no room.
    pub log_lines_dropped: Cell,
    /// Times that the core went through its loop: it is alive while this moves.
    pub beats: Cell,
}

/// One number with its name, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The name of its row in the table.
    pub name: &'static str,
    /// Label names and values.
    pub labels: Vec<(&'static str, String)>,
    /// In the row's unit.
    pub value: u64,
}

/// How long something took, sorted by upper bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// The name of its row in the table, in seconds.
    pub name: &'static str,
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
    /// Those of the thread that warms the store, which is no core.
    warm: Arc<Counters>,
    hops: Arc<[Arc<HopNumbers>]>,
    certificate: Arc<Certificate>,
    store: Arc<StoreNumbers>,
    probe: Probe,
    log_lines_lost: Arc<Cell>,
}

impl Metrics {
    /// Returns zeroed numbers for `cores` cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self {
            cores: (0..cores).map(|_| Arc::default()).collect(),
            warm: Arc::default(),
            hops: Arc::new([]),
            certificate: Arc::default(),
            store: Arc::default(),
            probe: Probe::default(),
            log_lines_lost: Arc::default(),
        }
    }

    /// Returns the count of lines that the access log could not write, for its one writer.
    #[must_use]
    pub fn log_lines_lost(&self) -> Arc<Cell> {
        Arc::clone(&self.log_lines_lost)
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

    /// Shows what `look` sees besides, each time that it is asked.
    #[must_use]
    pub fn with_levels(self, look: impl Fn() -> Levels + Send + Sync + 'static) -> Self {
        Self {
            probe: Probe::new(look),
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

    /// Returns the numbers that the thread writes which warms the store.
    #[must_use]
    pub fn warm(&self) -> Arc<Counters> {
        Arc::clone(&self.warm)
    }

    /// Returns how often each core has gone through its loop.
    pub fn beats(&self) -> impl Iterator<Item = u64> {
        self.cores.iter().map(|core| core.beats.read())
    }

    fn sum(&self, of: impl Fn(&Counters) -> &Cell) -> u64 {
        let all = self.cores.iter().chain([&self.warm]);
        all.fold(0, |sum, core| sum.wrapping_add(of(core).read()))
    }

    /// Returns every number that is not a histogram.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = self.request_samples();
        samples.extend(self.connection_samples());
        samples.extend(self.fill_samples());
        samples.extend(self.access_samples());
        samples.extend(self.hop_samples());
        samples.extend(self.warm_samples());
        samples.extend(self.log_samples());
        samples.extend(self.certificate.samples());
        samples.extend(self.store.samples());
        samples.extend(self.probe.samples());
        samples.push(table::BUILD_INFO.sample([env!("CARGO_PKG_VERSION")], 1));
        samples
    }

    fn log_samples(&self) -> [Sample; 2] {
        let full = self.sum(|core| &core.log_lines_dropped);
        let reasons = [("full", full), ("write", self.log_lines_lost.read())];
        reasons.map(|(reason, value)| table::ACCESS_LOG_DROPPED.sample([reason], value))
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

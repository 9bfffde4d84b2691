//! What the status page and `transship top` show: counters that only grow, with the time at which they were
//! read, and levels. Whoever has two answers has the rates between them, as often as it likes, and the server
//! keeps nothing for it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde::Serialize;

use super::api::{Api, by_label, sum};
use super::charts::Chart;
use super::prometheus::process;
use super::recent::Event;
use super::views::{self, seconds};
use crate::metrics::table::{CORE_BUSY, FIRST_BYTE, PROCESS_MEMORY, REQUESTS, UPSTREAM_HEAD};
use crate::metrics::{Histogram, Sample};

/// Warnings and errors that are told.
const EVENTS: usize = 50;
/// Fills that are told, the oldest first; how many run is told besides.
const FILLS: usize = 100;

#[derive(Serialize)]
pub(super) struct Live {
    version: &'static str,
    listen: String,
    /// Seconds since the epoch, for people.
    taken_at: f64,
    /// Seconds since the start, by a clock that nobody sets: what rates are made from.
    uptime_seconds: f64,
    is_draining: bool,
    reasons: Vec<String>,
    connections: u64,
    memory_bytes: u64,
    /// Processor time of each core since the start.
    core_busy_seconds: Vec<f64>,
    client_bytes: u64,
    /// Those of them that were stored when they were asked for.
    hit_bytes: u64,
    upstream_bytes: u64,
    /// By use of the cache.
    requests: BTreeMap<String, u64>,
    /// By the first digit of the status; `other` is any that is not counted by number.
    statuses: BTreeMap<&'static str, u64>,
    /// By whose fault.
    errors: BTreeMap<String, u64>,
    /// By use of the cache.
    first_byte: Buckets,
    /// By the name of the upstream.
    upstream_head: Buckets,
    fills_running: usize,
    fill_followers: u64,
    fills_ended: BTreeMap<String, u64>,
    fills: Vec<views::Fill>,
    upstreams: Vec<views::Hop>,
    store: views::StoreStatus,
    /// How long what was evicted for room last had not been used; 0 before the first.
    evicted_age_seconds: u64,
    evicted: BTreeMap<String, u64>,
    top: Chart,
    /// The latest first.
    recent: Vec<Told>,
}

/// How many lie within each bound and above the one before it, then above all.
#[derive(Default, Serialize)]
struct Buckets {
    bounds_seconds: Vec<f64>,
    counts: BTreeMap<String, Vec<u64>>,
}

#[derive(Serialize)]
struct Told {
    at: u64,
    level: &'static str,
    message: String,
    times: u64,
}

impl From<Event> for Told {
    fn from(event: Event) -> Self {
        Self {
            at: seconds(event.at),
            level: event.severity.label(),
            message: event.text,
            times: event.times,
        }
    }
}

/// Takes one look at everything.
pub(super) fn look(api: &Api) -> Live {
    // Before the counters: the time between two answers is never shorter than what they count.
    let uptime = api.started.elapsed();
    let taken = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let parts = &api.parts;
    let (samples, process) = (parts.metrics.samples(), process::samples());
    let histograms = parts.metrics.histograms();
    let mut fills = api.fills().fills;
    let fills_running = fills.len();
    fills.truncate(FILLS);
    let recent = parts.recent.list(EVENTS).into_iter();
    let evicted_age = &parts.metrics.store().evicted_age_seconds;
    Live {
        version: env!("CARGO_PKG_VERSION"),
        listen: parts.listen.clone(),
        taken_at: taken.unwrap_or_default().as_secs_f64(),
        uptime_seconds: uptime.as_secs_f64(),
        is_draining: parts.steering.is_draining(),
        reasons: parts.steering.reasons(),
        connections: sum(&samples, "transship_connections"),
        memory_bytes: sum(&process, PROCESS_MEMORY.name),
        core_busy_seconds: busy(&process),
        client_bytes: sum(&samples, "transship_client_bytes_total"),
        hit_bytes: sum(&samples, "transship_hit_bytes_total"),
        upstream_bytes: sum(&samples, "transship_upstream_bytes_total"),
        requests: by_label(&samples, REQUESTS.name, "cache"),
        statuses: statuses(&samples),
        errors: by_label(&samples, "transship_errors_total", "fault"),
        first_byte: buckets(&histograms, FIRST_BYTE.name),
        upstream_head: buckets(&histograms, UPSTREAM_HEAD.name),
        fills_running,
        fill_followers: sum(&samples, "transship_fill_followers"),
        fills_ended: by_label(&samples, "transship_fills_total", "outcome"),
        fills,
        upstreams: api.upstreams().upstreams,
        store: api.store(),
        evicted_age_seconds: evicted_age.load(Ordering::Relaxed),
        evicted: by_label(&samples, "transship_store_evictions_total", "reason"),
        top: api.charts.read(parts),
        recent: recent.map(Told::from).collect(),
    }
}

fn busy(process: &[Sample]) -> Vec<f64> {
    let cores = process
        .iter()
        .filter(|sample| sample.name == CORE_BUSY.name);
    cores
        .map(|sample| std::time::Duration::from_millis(sample.value).as_secs_f64())
        .collect()
}

fn statuses(samples: &[Sample]) -> BTreeMap<&'static str, u64> {
    let classes = ["2xx", "3xx", "4xx", "5xx", "other"];
    let mut sums = BTreeMap::from(classes.map(|class| (class, 0)));
    for (status, count) in by_label(samples, REQUESTS.name, "status") {
        let class = classes
            .into_iter()
            .find(|class| status.len() == 3 && status.starts_with(&class[..1]));
        *sums.entry(class.unwrap_or("other")).or_default() += count;
    }
    sums
}

fn buckets(histograms: &[Histogram], name: &str) -> Buckets {
    let mut buckets = Buckets::default();
    for histogram in histograms.iter().filter(|one| one.name == name) {
        let bounds = histogram.bounds.iter();
        buckets.bounds_seconds = bounds.map(|bound| bound.as_secs_f64()).collect();
        let label = histogram.label.1.clone();
        buckets.counts.insert(label, histogram.counts.clone());
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{CacheUse, Metrics};

    #[test]
    fn statuses_are_summed_by_their_class_and_none_is_lost() {
        let metrics = Metrics::new(1);
        for status in [200, 206, 304, 404, 502, 299] {
            metrics.core(0).count_request(CacheUse::Bypass, status);
        }
        let sums: Vec<_> = statuses(&metrics.samples()).into_iter().collect();
        let wanted = [("2xx", 2), ("3xx", 1), ("4xx", 1), ("5xx", 1), ("other", 1)];
        assert_eq!(sums, wanted);
    }
}

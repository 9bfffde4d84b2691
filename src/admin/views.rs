//! The bodies of the API, as serde writes them. Times are seconds since the epoch, sizes are bytes.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::fill::{Ended, Running};
use crate::store::{Row, Shown};
use crate::upstream::HopState;

#[derive(Serialize)]
pub(super) struct Status {
    pub(super) version: &'static str,
    pub(super) uptime_seconds: u64,
    pub(super) listen: String,
    pub(super) cores: usize,
    pub(super) is_draining: bool,
    /// What keeps it from being ready.
    pub(super) reasons: Vec<String>,
    pub(super) connections: u64,
    pub(super) store: StoreStatus,
    pub(super) fills: FillsStatus,
    pub(super) upstreams: UpstreamsStatus,
    /// Requests answered, by use of the cache.
    pub(super) requests: BTreeMap<String, u64>,
    pub(super) client_bytes: u64,
    pub(super) upstream_bytes: u64,
}

#[derive(Serialize)]
pub(super) struct StoreStatus {
    pub(super) root: String,
    pub(super) blobs: u64,
    pub(super) bytes: u64,
    pub(super) bytes_max: u64,
    pub(super) reserved_bytes: u64,
    pub(super) kept_bytes: u64,
    pub(super) pinned: u64,
    pub(super) is_keeper: bool,
    pub(super) trouble: Option<Trouble>,
}

#[derive(Serialize)]
pub(super) struct Trouble {
    pub(super) kind: &'static str,
    pub(super) message: String,
}

#[derive(Serialize)]
pub(super) struct FillsStatus {
    pub(super) running: usize,
    /// Those that ended, by outcome.
    pub(super) ended: BTreeMap<String, u64>,
}

#[derive(Serialize)]
pub(super) struct UpstreamsStatus {
    pub(super) up: usize,
    pub(super) down: usize,
    pub(super) throttled: usize,
}

#[derive(Serialize)]
pub(super) struct Blobs {
    pub(super) blobs: Vec<Blob>,
    /// To be given as `after` for the page behind this one; none is the last page.
    pub(super) next: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) kind: &'static str,
    pub(super) size_bytes: u64,
    pub(super) last_use: u64,
    pub(super) hits: u32,
    pub(super) is_pinned: bool,
}

impl From<&Row> for Blob {
    fn from(row: &Row) -> Self {
        Self {
            digest: row.digest.to_string(),
            kind: row.kind.noun(),
            size_bytes: row.size_bytes,
            last_use: row.last_use.into(),
            hits: row.hits,
            is_pinned: row.is_pinned,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Explained {
    pub(super) digest: String,
    pub(super) state: &'static str,
    /// One a kind.
    pub(super) stored: Vec<Stored>,
    pub(super) is_pinned: bool,
    pub(super) pinned_by: Vec<String>,
    pub(super) repositories: Vec<String>,
    pub(super) quarantined: Vec<String>,
    /// What an earlier fill has left for the next one to go on with.
    pub(super) kept_bytes: Option<u64>,
    pub(super) fill: Option<Fill>,
    pub(super) last_fill: Option<LastFill>,
}

#[derive(Serialize)]
pub(super) struct Stored {
    #[serde(flatten)]
    pub(super) blob: Blob,
    pub(super) stored_at: Option<u64>,
    pub(super) expires_at: Option<u64>,
}

impl From<&Shown> for Stored {
    fn from(shown: &Shown) -> Self {
        Self {
            blob: Blob::from(&shown.row),
            stored_at: shown.stored_at.map(seconds),
            expires_at: shown.expires_at.map(seconds),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Fill {
    pub(super) digest: String,
    pub(super) repository: String,
    pub(super) upstream: Option<String>,
    pub(super) size_bytes: Option<u64>,
    pub(super) filled_bytes: u64,
    pub(super) received_bytes: u64,
    pub(super) bytes_per_second: u64,
    pub(super) followers: usize,
    pub(super) streams: usize,
    pub(super) age_seconds: f64,
}

impl From<&Running> for Fill {
    fn from(fill: &Running) -> Self {
        Self {
            digest: fill.digest.to_string(),
            repository: fill.repository.clone(),
            upstream: fill.upstream.as_deref().map(str::to_owned),
            size_bytes: fill.size_bytes,
            filled_bytes: fill.filled_bytes,
            received_bytes: fill.received_bytes,
            bytes_per_second: rate(fill.received_bytes, fill.age),
            followers: fill.followers,
            streams: fill.streams,
            age_seconds: fill.age.as_secs_f64(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct LastFill {
    pub(super) repository: String,
    pub(super) upstream: Option<String>,
    pub(super) ended_at: u64,
    pub(super) took_seconds: f64,
    pub(super) received_bytes: u64,
    pub(super) bytes_per_second: u64,
    pub(super) outcome: &'static str,
    pub(super) failure: Option<String>,
}

impl From<&Ended> for LastFill {
    fn from(ended: &Ended) -> Self {
        Self {
            repository: ended.repository.clone(),
            upstream: ended.upstream.as_deref().map(str::to_owned),
            ended_at: seconds(ended.at),
            took_seconds: ended.took.as_secs_f64(),
            received_bytes: ended.received_bytes,
            bytes_per_second: rate(ended.received_bytes, ended.took),
            outcome: ended.outcome.label(),
            failure: ended.failure.clone(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Purged {
    pub(super) digest: String,
    pub(super) bytes: u64,
    /// A fill of it runs, and will store it again.
    pub(super) is_filling: bool,
}

#[derive(Serialize)]
pub(super) struct Fills {
    pub(super) fills: Vec<Fill>,
}

#[derive(Serialize)]
pub(super) struct Upstreams {
    pub(super) upstreams: Vec<Hop>,
}

#[derive(Serialize)]
pub(super) struct Hop {
    pub(super) url: String,
    pub(super) name: String,
    pub(super) is_up: bool,
    pub(super) down_seconds: Option<f64>,
    pub(super) asked_again_in_seconds: Option<f64>,
    /// Why it failed last.
    pub(super) why: Option<String>,
    pub(super) is_throttled: bool,
    pub(super) requests: BTreeMap<&'static str, u64>,
    pub(super) bytes: u64,
}

impl From<&HopState> for Hop {
    fn from(state: &HopState) -> Self {
        let requests = state.requests.iter();
        Self {
            url: state.url.clone(),
            name: state.name.clone(),
            is_up: state.is_up,
            down_seconds: state.down_for.map(|down| down.as_secs_f64()),
            asked_again_in_seconds: state.asked_again_in.map(|wait| wait.as_secs_f64()),
            why: Some(state.why.clone()).filter(|why| !why.is_empty()),
            is_throttled: state.is_throttled,
            requests: requests
                .map(|(outcome, count)| (outcome.label(), *count))
                .collect(),
            bytes: state.bytes,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Pins {
    pub(super) pins: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Changed {
    /// How many references were pinned, or released.
    pub(super) changed: usize,
}

#[derive(Serialize)]
pub(super) struct Accepted {
    pub(super) accepted: &'static str,
}

/// What came of a reload; with an error, nothing has changed.
#[derive(Serialize)]
pub(super) struct Reloaded {
    applied: Vec<String>,
    needs_restart: Vec<String>,
    problems: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Words>,
}

#[derive(Serialize)]
pub(super) struct Words {
    code: &'static str,
    message: String,
}

impl From<super::Reloaded> for Reloaded {
    fn from(reloaded: super::Reloaded) -> Self {
        let problems = reloaded.problems;
        let error = (!problems.is_empty()).then(|| Words {
            code: "CONFIGURATION",
            message: format!("nothing has changed: {}", problems.join("; ")),
        });
        Self {
            applied: reloaded.applied,
            needs_restart: reloaded.needs_restart,
            problems,
            error,
        }
    }
}

#[derive(Serialize)]
pub(super) struct LogLevel {
    pub(super) level: &'static str,
}

/// Returns whole seconds since the epoch.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn rate(bytes: u64, time: Duration) -> u64 {
    let milliseconds = time.as_millis().max(1);
    u64::try_from(u128::from(bytes) * 1000 / milliseconds).unwrap_or(u64::MAX)
}

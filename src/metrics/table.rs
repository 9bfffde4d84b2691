//! The one table of metrics: what each is called, what it counts, and what to do when it moves.
//!
//! Names are an interface to dashboards and alerts: a new one may come, none may change its meaning. They follow
//! Prometheus' conventions: base units, the unit last, `_total` on counters, and no gauge that is called as a
//! counter without its `_total`.

use super::Sample;

/// What kind of metric a name is, after Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes both ways.
    Gauge,
    /// How many lie within each of several bounds.
    Histogram,
}

/// What a metric is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// 1 for yes, 0 for no.
    Flag,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Seconds, of which the sample holds thousandths.
    Milliseconds,
    /// Seconds since the epoch.
    Timestamp,
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name after Prometheus' conventions.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// What it is counted in.
    pub unit: Unit,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it is, in one sentence.
    pub help: &'static str,
    /// What to do when it moves.
    pub action: &'static str,
}

impl Metric {
    /// Returns a sample with the values of the labels in the order of the row.
    pub fn sample<const N: usize>(
        &'static self,
        labels: [impl Into<String>; N],
        value: u64,
    ) -> Sample {
        debug_assert_eq!(N, self.labels.len(), "{}", self.name);
        let names = self.labels.iter().copied();
        Sample {
            name: self.name,
            labels: names.zip(labels.map(Into::into)).collect(),
            value,
        }
    }

    /// Returns a sample without labels.
    pub(super) const fn alone(&'static self, value: u64) -> Sample {
        Sample {
            name: self.name,
            labels: Vec::new(),
            value,
        }
    }
}

/// Declares the rows, each with a name of its own for the code that counts.
macro_rules! table {
    ($($area:literal { $($row:ident = $kind:ident $name:literal $unit:ident [$($label:literal),*] $help:literal => $action:literal;)+ })+) => {
        $($(
            #[doc = $help]
            pub static $row: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: Unit::$unit,
                labels: &[$($label),*],
                help: $help,
                action: $action,
            };
        )+)+

        /// Every row, by area.
        pub static TABLE: &[(&str, &[&Metric])] = &[$(($area, &[$(&$row),+])),+];
    };
}

/// Returns every row.
pub fn rows() -> impl Iterator<Item = &'static Metric> {
    TABLE.iter().flat_map(|(_, rows)| rows.iter().copied())
}

table! {
    "Requests" {
        REQUESTS = Counter "transship_requests_total" Count ["cache", "status"]
            "Requests answered, by use of the cache and by status (0: any other)."
            => "More `miss` than usual: new images, or a store too small (`transship_store_evicted_age_seconds`). More 5xx: see `transship_errors_total` for whose fault.";
        ERRORS = Counter "transship_errors_total" Count ["fault"]
            "Responses that failed or ended short of their length, each once, by whose fault. 401, 403 and 404 are answers, not errors."
            => "`client`: look at `transship_requests_refused_total` and `transship_deadlines_passed_total`; `upstream`: at the upstream's metrics and the log; `disk`: at `transship_store_trouble` and the kernel's log; `us`: at the log, and tell us if it says nothing.";
        FIRST_BYTE = Histogram "transship_first_byte_seconds" Seconds ["cache"]
            "Time from the last byte of a request's head to the first of the response that the system took, by use of the cache."
            => "`hit` slower than before: disk or cores (`transship_core_busy_seconds_total`); `miss`: the upstream (`transship_upstream_head_seconds`).";
        RESPONSE = Histogram "transship_response_seconds" Seconds ["cache"]
            "Time from the last byte of a request's head to the last of the response that the system took, by use of the cache."
            => "Mostly the clients' own speed; beside a first byte that is as fast as ever, look at the network to them.";
        ACCESS_LOG_DROPPED = Counter "transship_access_log_dropped_total" Count ["reason"]
            "Lines of the access log that were left out: `full`, it was not written as fast as they came; `write`, writing failed."
            => "`full`: a slow disk or a reader that stands still; `write`: no room, or no right to write: the log has the reason.";
        REQUESTS_REFUSED = Counter "transship_requests_refused_total" Count ["reason"]
            "Requests refused for their form, by reason."
            => "One client that is broken, or somebody who tries things: `docs/limits.md` explains each reason. `line_end` is mostly clients that speak TLS to a port that does not.";
        DEADLINES_PASSED = Counter "transship_deadlines_passed_total" Count ["kind"]
            "Client connections closed because a deadline passed, by its kind."
            => "`idle` is normal. `send`: clients or the network to them are stuck. `head`, `body`, `handshake`: slow attacks or a broken load balancer.";
        RESPONSES_ABORTED = Counter "transship_responses_aborted_total" Count []
            "Blob responses that ended short of their length."
            => "Clients try again by themselves; if it goes on, `transship_errors_total` says whose fault it is.";
        CLIENT_BYTES = Counter "transship_client_bytes_total" Bytes []
            "Body bytes sent to clients."
            => "Nothing by itself. Less `transship_upstream_bytes_total` it is what was saved on the way to the registry.";
        HIT_BYTES = Counter "transship_hit_bytes_total" Bytes []
            "Body bytes sent to clients of what was stored when they asked."
            => "Its part in `transship_client_bytes_total` is the byte-hit ratio; if that falls, see `transship_store_evicted_age_seconds`.";
        UPSTREAM_BYTES = Counter "transship_upstream_bytes_total" Bytes []
            "Body bytes received from next hops."
            => "If it grows as fast as `transship_client_bytes_total`, little is shared: new images, or blobs that are evicted before they are pulled again.";
    }
    "Connections" {
        CONNECTIONS = Gauge "transship_connections" Count []
            "Client connections open."
            => "Near `transship.server.connections_max` new clients are refused: raise it, with `LimitNOFILE`, or add a cache.";
        CONNECTIONS_ACCEPTED = Counter "transship_connections_accepted_total" Count []
            "Client connections accepted."
            => "Much more than before at the same requests: clients do not keep connections; look at the proxy between.";
        CONNECTIONS_REFUSED = Counter "transship_connections_refused_total" Count ["reason"]
            "Client connections closed at once: too many in total or from one address."
            => "`address`: a NAT or load balancer hides many clients, raise `transship.server.connections_per_address_max`; `total`: raise `transship.server.connections_max`.";
        CERTIFICATE_EXPIRY = Gauge "transship_tls_certificate_expiry_timestamp_seconds" Timestamp []
            "When the certificate shown to clients expires. Only where clients are served over TLS."
            => "Renew it in time: the files are read again by themselves.";
        CERTIFICATE_RELOADS = Counter "transship_tls_reloads_total" Count ["outcome"]
            "Times that changed certificate files were read, by outcome. Only where clients are served over TLS."
            => "`refused`: the new files do not hold and the old certificate stays in use; the log says why.";
    }
    "Fills" {
        FILLS_RUNNING = Gauge "transship_fills_running" Count []
            "Blobs that are being fetched."
            => "If it stays high while `transship_upstream_bytes_total` hardly grows, the upstream is slow: look at its metrics.";
        FILL_FOLLOWERS = Gauge "transship_fill_followers" Count []
            "Responses that are being sent from blobs that are being fetched."
            => "Many followers of few fills are a cold start of many nodes, and what this cache is for.";
        FILLS = Counter "transship_fills_total" Count ["outcome"]
            "Fills that ended, by outcome."
            => "`upstream_failed`: see the upstream's metrics; `corrupt`: the registry or a proxy before it sends wrong bytes, the log names the digest; `disk_failed`, `passed_through`: see `transship_store_trouble`, and whether blobs are larger than there is room for; `refused`: clients ask for what is not there or not theirs.";
        FILL_STREAMS = Counter "transship_fill_streams_total" Count ["kind"]
            "Requests of fills to next hops, by what for: the first of a fill, one beside others, a part that a client waits for, the rest of one that ended early."
            => "Many `resumed`: the upstream breaks off often.";
        FILL_BREAKS = Counter "transship_fill_breaks_total" Count []
            "How often a next hop broke off in the midst of a blob, and the fill went on."
            => "Clients notice nothing. If it goes on, look for a proxy or firewall that cuts long transfers.";
        FILL_CHUNKS_WAITING = Gauge "transship_fill_chunks_waiting" Count []
            "Chunks of fills that have been received and not been written."
            => "Near four for each running fill: the disk, or hashing, is slower than the upstream.";
    }
    "Warming" {
        WARM_JOBS = Counter "transship_warm_jobs_total" Count ["outcome"]
            "Jobs that warm the store which have ended, by outcome."
            => "`failed`: ask `GET /v1/warm`, or the log, which images could not be had and why.";
        WARM_BYTES = Counter "transship_warm_bytes_total" Bytes []
            "Bytes of blobs that were fetched to warm the store, before any client asked."
            => "Set against `transship_hit_bytes_total`: what is warmed and never pulled only takes room.";
    }
    "Upstreams" {
        UPSTREAM_UP = Gauge "transship_upstream_up" Flag ["upstream"]
            "1 while the next hop is asked in its turn, 0 while it counts as down."
            => "0: what is stored is served, the rest fails or goes to another upstream; see whether it is up, and the log for why it counts as down.";
        UPSTREAM_REQUESTS = Counter "transship_upstream_requests_total" Count ["upstream", "outcome"]
            "Requests to a next hop by outcome; `not_asked` failed since every next hop was down, to be left alone, or full."
            => "`unreachable`: network or firewall; `tls`: its certificate or `cas`; `timed_out`: it is overloaded; `failed`: it answers 5xx; `not_asked`: raise `transship.upstream.connections_max` or wait for it to be back.";
        UPSTREAM_HEAD = Histogram "transship_upstream_head_seconds" Seconds ["upstream"]
            "Time from the beginning of a request to the first response head of a next hop."
            => "Slower than before: the registry, its storage or the way to it; each miss waits for it.";
        UPSTREAM_THROTTLED = Gauge "transship_upstream_throttled" Flag ["upstream"]
            "1 while a next hop that asked to slow down is left alone."
            => "For long: the registry's limit is reached; log in for a higher one, or bound what is asked by `transship.upstream.connections_max`.";
        UPSTREAM_SLOW_DOWNS = Counter "transship_upstream_slow_downs_total" Count ["upstream"]
            "Answers of a next hop that asked to slow down (429, or 503 with `Retry-After`)."
            => "As for `transship_upstream_throttled`.";
        UPSTREAM_BROKEN_BODIES = Counter "transship_upstream_broken_bodies_total" Count ["upstream"]
            "Response bodies that broke off."
            => "Three in a row count as down. Look for what cuts long transfers between here and there.";
        UPSTREAM_HOP_BYTES = Counter "transship_upstream_hop_bytes_total" Bytes ["upstream"]
            "Body bytes received by way of a next hop."
            => "If one of several gets all: the others are down, or the policy is `failover`.";
        UPSTREAM_REQUESTS_WAITING = Gauge "transship_upstream_requests_waiting" Count []
            "Requests that wait for a next hop with room, or for one that asked to slow down."
            => "For long above 0: raise `transship.upstream.connections_max`, or see `transship_upstream_throttled`.";
        UPSTREAM_PAYMENTS_WAITING = Gauge "transship_upstream_payments_waiting" Count []
            "Streams that wait for their turn within `transship.upstream.bandwidth`."
            => "The bound is reached: that is what it is for, or it is too low.";
    }
    "Access" {
        ACCESS_REFUSED = Counter "transship_access_refused_total" Count ["reason"]
            "Requests for content that were refused, by reason."
            => "`token_expired`, `token_not_yet_valid`: compare clocks; `token_key`, `token_signature`: keys are not those of the registry; `origin`: clients without rights; `away`: see the upstream.";
        ACCESS_CHECKS = Counter "transship_access_checks_total" Count ["outcome"]
            "Questions to the origin about a client's right, by outcome; `graced` counts requests that an earlier answer let through."
            => "`away` or `graced` that grow: the registry or its token service does not answer.";
    }
    "Store" {
        STORE_BLOBS = Gauge "transship_store_blobs" Count []
            "Blobs and manifests stored."
            => "A sudden fall: an eviction storm, or somebody deleted files.";
        STORE_BYTES = Gauge "transship_store_bytes" Bytes []
            "Bytes of all that is stored."
            => "Near `transship_store_max_bytes` what is used least makes room; that is normal.";
        STORE_MAX_BYTES = Gauge "transship_store_max_bytes" Bytes []
            "Most bytes that may be stored."
            => "Set by `transship.store.bytes_max`.";
        STORE_PINNED = Gauge "transship_store_pinned" Count []
            "Digests that are pinned, with all that pinned images name."
            => "What is pinned is never evicted: keep it well below what there is room for.";
        STORE_RESERVED_BYTES = Gauge "transship_store_reserved_bytes" Bytes []
            "Bytes promised to fills that run."
            => "Nothing: it falls when they end.";
        STORE_LINGERING_BYTES = Gauge "transship_store_lingering_bytes" Bytes []
            "Bytes of deleted files that somebody is still being sent."
            => "For long: clients that hardly take anything hold what was evicted.";
        STORE_EVICTED_AGE = Gauge "transship_store_evicted_age_seconds" Seconds []
            "How long what was evicted for room last had not been used: how far back the store reaches. 0 before the first."
            => "Below a day or two blobs go before the next pull comes: give the store more room.";
        STORE_EVICTIONS = Counter "transship_store_evictions_total" Count ["reason"]
            "Blobs and manifests that left the store, by reason."
            => "`damaged`: check the disk; `vanished`: somebody else deletes files; `room`: see `transship_store_evicted_age_seconds`.";
        STORE_TROUBLE = Gauge "transship_store_trouble" Flag ["kind"]
            "1 while nothing can be stored, for this reason; pulls pass through."
            => "`full`: make room on the file system; `read_only`, `failing`: the kernel's log and the disk; `missing`: mount it. Storing resumes by itself.";
        STORE_HOUSEKEEPER = Gauge "transship_store_housekeeper" Flag []
            "1 in the one process that evicts and scrubs in its storage directory."
            => "Of all that share a directory exactly one should say 1; none for long: nothing is evicted. Look at `lease` in the directory and whether it can be written.";
        STORE_KEPT_PARTIALS = Gauge "transship_store_kept_partials" Count []
            "Unfinished files that are kept for another fill to go on with."
            => "Many: fills break off and nobody asks again; they go by themselves.";
        STORE_KEPT_BYTES = Gauge "transship_store_kept_bytes" Bytes []
            "Bytes of unfinished files that are kept."
            => "As for `transship_store_kept_partials`.";
        STORE_RESUMED_BYTES = Counter "transship_store_resumed_bytes_total" Bytes []
            "Bytes of kept unfinished files that fills went on from instead of fetching them again."
            => "Nothing: it is what keeping them saved.";
        STORE_REJECTED_PARTIALS = Counter "transship_store_rejected_partials_total" Count []
            "Kept unfinished files that were found damaged, and removed."
            => "Now and then after a power cut; else check the disk.";
        STORE_QUARANTINED = Counter "transship_store_quarantined_total" Count []
            "Damaged files put into quarantine."
            => "Any: the disk, its memory or somebody else changed files; they are in `quarantine/`, and are fetched anew.";
        STORE_SCRUBBED_BYTES = Counter "transship_store_scrubbed_bytes_total" Bytes []
            "Stored bytes that were hashed again."
            => "If it does not move for days, scrubbing is off or the disk is always busy.";
        STORE_JOURNAL_FAILURES = Counter "transship_store_journal_failures_total" Count []
            "Times that the index could not be written to disk."
            => "A restart then scans the directory; see `transship_store_trouble`.";
    }
    "Process" {
        CORE_BUSY = Counter "transship_core_busy_seconds_total" Milliseconds ["core"]
            "Processor time of each core's thread: what it does not spend waiting for its ring."
            => "Its rate is the load: near 1 a core is saturated; give it more cores (`transship.cores`), or add a cache.";
        SINK_JOBS_WAITING = Gauge "transship_sink_jobs_waiting" Count []
            "Fills that wait for a thread to write and hash."
            => "For long above 0: the disk, or hashing, is slower than the upstreams.";
        HELPER_JOBS_WAITING = Gauge "transship_helper_jobs_waiting" Count []
            "Calls that wait for a thread: files to open, cold pages to read, names to resolve."
            => "For long above 0: the disk is slow to read from, or a name server does not answer.";
        BUILD_INFO = Gauge "transship_build_info" Flag ["version"]
            "Always 1; tells the version."
            => "Two versions for long: an upgrade that was not finished.";
        PROCESS_MEMORY = Gauge "process_resident_memory_bytes" Bytes []
            "Memory of the process that is in RAM, without the page cache."
            => "It grows with connections, and with blobs known; growth that never ends is a leak: tell us.";
        PROCESS_FDS = Gauge "process_open_fds" Count []
            "Open file descriptors."
            => "Near `process_max_fds`: raise `LimitNOFILE`.";
        PROCESS_MAX_FDS = Gauge "process_max_fds" Count []
            "Most file descriptors that the process may have."
            => "Set by `LimitNOFILE`.";
        PROCESS_CPU = Counter "process_cpu_seconds_total" Milliseconds []
            "Processor time of all threads, in user and kernel mode."
            => "See `transship_core_busy_seconds_total` for where it goes; the rest is hashing, TLS and housekeeping.";
        PROCESS_START = Gauge "process_start_time_seconds" Timestamp []
            "When the process started."
            => "A start that nobody ordered: the log before it says why.";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_what_prometheus_expects() {
        let mut families = HashSet::new();
        for row in rows() {
            let name = row.name;
            let is_ours = name.starts_with("transship_") || name.starts_with("process_");
            assert!(is_ours, "{name}");
            assert_eq!(
                row.kind == Kind::Counter,
                name.ends_with("_total"),
                "{name}"
            );
            // OpenMetrics drops `_total`: a gauge of the rest would be the same family.
            let family = name.trim_end_matches("_total");
            assert!(families.insert(family), "{family} twice");
            let unit = match row.unit {
                Unit::Count | Unit::Flag => "",
                Unit::Bytes => "_bytes",
                Unit::Seconds | Unit::Milliseconds => "_seconds",
                Unit::Timestamp if name == PROCESS_START.name => "_time_seconds",
                Unit::Timestamp => "_timestamp_seconds",
            };
            assert!(family.ends_with(unit), "{name} ends with its unit");
            let has_unit = family.ends_with("_bytes") || family.ends_with("_seconds");
            assert_eq!(has_unit, !unit.is_empty(), "{name}");
            for text in [row.help, row.action] {
                assert!(text.ends_with('.'), "{name}: {text}");
            }
        }
    }
}

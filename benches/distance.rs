//! What distance costs: a next hop whose every connection is slow, and chains of caches.
//!
//! The question: how much faster is a blob by several connections than by one, how long does whoever wants the
//! end of a blob wait, what does each cache of a chain add, and what do containerd's ranges cost the origin?
//!
//! The floor: n connections cannot be faster than n times one; a range at the end cannot come faster than from
//! the origin itself; a chain cannot cost the origin less than one blob.
//!
//! Goals: the same pipe for all, a proxy that holds each connection to a rate and lets each answer wait for a
//! round trip; figures from runs in turns, with their spread.
//! Not goals: loss, congestion, absolute figures: client, proxy, caches and origin share one machine.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints and fails loudly; it uses only a part of what the tests share"
)]

#[path = "distance/chain.rs"]
mod chain;
#[path = "distance/end.rs"]
mod end;
#[path = "parts/figures.rs"]
mod figures;
#[path = "parts/parties.rs"]
mod parties;
#[path = "distance/ranges.rs"]
mod ranges;
#[path = "distance/streams.rs"]
mod streams;
#[path = "../tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use figures::{max, median, ms, size, spread, verdict};
use parties::{Nginx, Peer, Www};
use support::process::cpu_seconds;
use support::{Blob, Client, FaultProxy, Transship};

/// What each connection of the far hop brings.
const RATE: u64 = 20_000_000;
/// A round trip to it.
const LAG: Duration = Duration::from_millis(50);

/// Sizes of a run.
struct Scale {
    runs: usize,
    streams_bytes: usize,
    end_bytes: usize,
    chain_bytes: usize,
    ranges_bytes: usize,
    chunk_bytes: usize,
}

impl Scale {
    fn full(runs: usize) -> Self {
        Self {
            runs,
            streams_bytes: 1 << 30,
            end_bytes: 2 << 30,
            chain_bytes: 256 << 20,
            ranges_bytes: 256 << 20,
            chunk_bytes: 8 << 20,
        }
    }

    fn smoke() -> Self {
        Self {
            runs: 1,
            streams_bytes: 8 << 20,
            end_bytes: 8 << 20,
            chain_bytes: 4 << 20,
            ranges_bytes: 4 << 20,
            chunk_bytes: 1 << 20,
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo says `--bench` when it benches and nothing when it tests.
    let measures =
        arguments.iter().any(|a| a == "--bench") && !arguments.contains(&"--test".into());
    let runs = arguments.iter().position(|argument| argument == "--runs");
    let runs = runs.map_or(3, |at| {
        arguments[at + 1].parse().expect("--runs takes a number")
    });
    let scale = match measures {
        true => Scale::full(runs),
        false => Scale::smoke(),
    };
    if !measures {
        println!("smoke run: the sizes are tiny and the figures mean nothing");
    }
    let lines = ["streams", "end", "chain", "ranges"].into_iter();
    let chosen: Vec<&str> = lines
        .filter(|name| arguments.iter().any(|a| a == name))
        .collect();
    let wants = |name| chosen.is_empty() || chosen.contains(&name);
    if wants("streams") {
        streams::streams(&scale);
    }
    if wants("end") {
        end::end(&scale);
    }
    if wants("chain") {
        chain::chain(&scale);
    }
    if wants("ranges") {
        ranges::ranges(&scale);
    }
}

/// An origin of files that holds one blob, and a proxy before it.
struct Far {
    hop: FaultProxy,
    blob: Blob,
    bytes: usize,
    _origin: Nginx,
    _www: Www,
}

impl Far {
    fn with(bytes: usize) -> Self {
        let www = Www::new();
        let origin = Nginx::origin(&www);
        let mut blob = Blob::seeded(bytes as u64, bytes);
        www.add(&blob);
        // It is in a file now; here it would only take room.
        blob.bytes = Vec::new().into();
        Self {
            hop: FaultProxy::before(origin.addr),
            blob,
            bytes,
            _origin: origin,
            _www: www,
        }
    }

    /// Makes the way long.
    fn shaped(bytes: usize) -> Self {
        let far = Self::with(bytes);
        far.hop.shape(RATE);
        far.hop.lag(LAG);
        far
    }
}

/// What one pull took.
struct Took {
    first_ms: f64,
    total_ms: f64,
}

/// Pulls a blob, or a range of it, and throws it away.
fn pull(addr: SocketAddr, blob: &Blob, range: Option<&str>) -> Took {
    let start = Instant::now();
    let mut client = Client::connect(addr);
    let fields: Vec<_> = range.map(|range| ("Range", range)).into_iter().collect();
    client.ask("GET", &blob.path(), &fields);
    let head = client.head();
    assert!(matches!(head.status, 200 | 206), "{head:?}");
    client.wait_for_byte();
    let first_ms = ms(start);
    assert!(client.discard(&head), "the body ended early");
    Took {
        first_ms,
        total_ms: ms(start),
    }
}

/// Prints what one party showed: `min / median / max`.
fn row(name: &str, what: &str, figures: &[f64]) {
    println!("  {name:26} {what:26} {}", spread(figures));
}

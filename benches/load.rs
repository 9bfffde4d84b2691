//! transship beside its peers under the same load, on the same machine, in the same minute.
//!
//! The question: what does a hot blob cost in processor time against nginx, what does a herd cost
//! the origin, and how long do a cold and a hot image take against docker-registry as a proxy?
//!
//! The floor: a hot blob cannot cost less than its `sendfile`, which nginx does too; a herd cannot
//! cost the origin less than one blob (1.00); a cold image cannot be faster than one SHA-256 of its
//! bytes over the cores at hand.
//!
//! Goals: ratios from one interleaved run (A B A B), with their spread; every figure of README and
//! of the issues from here; no rot, for `cargo test --bench load` runs it all with tiny sizes.
//! Not goals: absolute figures (the client shares the machine), a network.

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

#[path = "lines/cold.rs"]
mod cold;
#[path = "parts/figures.rs"]
mod figures;
#[path = "lines/herd.rs"]
mod herd;
#[path = "lines/log.rs"]
mod log;
#[path = "parts/parties.rs"]
mod parties;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "lines/tls.rs"]
mod tls;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use figures::{Pair, max, median, ms, size, spread, verdict};
use parties::{Nginx, Peer, Www, fetch, settle, start};
use support::blob::Blob;
use support::process::{Process, cpu_seconds, run, until};
use support::transship::{Options, Transship};
use support::{Client, DockerRegistry};
use tempfile::TempDir;

/// Sizes and durations of a run.
struct Scale {
    runs: usize,
    hot: Vec<Hot>,
    tls: Vec<Hot>,
    handshake_seconds: u64,
    herd_clients: usize,
    herd_bytes: usize,
    image: Vec<usize>,
    image_connections: usize,
}

/// One size of the hot bench, and the ratio to nginx that is asked of it.
struct Hot {
    bytes: usize,
    seconds: u64,
    wanted: f64,
}

impl Scale {
    fn full(runs: usize) -> Self {
        let hot = |bytes, seconds, wanted| Hot {
            bytes,
            seconds,
            wanted,
        };
        Self {
            runs,
            hot: vec![
                hot(1 << 10, 3, 1.4),
                hot(16 << 10, 3, 1.0),
                hot(64 << 10, 3, 1.2),
                hot(1 << 20, 3, 1.0),
                hot(128 << 20, 6, 1.0),
            ],
            tls: vec![hot(1 << 10, 3, 1.1), hot(1 << 20, 3, 1.0)],
            handshake_seconds: 3,
            herd_clients: 32,
            herd_bytes: 512 << 20,
            image: vec![16 << 20; 64],
            image_connections: 8,
        }
    }

    fn smoke() -> Self {
        let hot = || Hot {
            bytes: 1 << 10,
            seconds: 1,
            wanted: 0.0,
        };
        Self {
            runs: 1,
            hot: vec![hot()],
            tls: vec![hot()],
            handshake_seconds: 1,
            herd_clients: 4,
            herd_bytes: 4 << 20,
            image: vec![1 << 20; 4],
            image_connections: 2,
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo says `--bench` when it benches and nothing when it tests.
    let measures =
        arguments.iter().any(|a| a == "--bench") && !arguments.contains(&"--test".into());
    let runs = arguments.iter().position(|argument| argument == "--runs");
    let runs = runs.map_or(5, |at| {
        arguments[at + 1].parse().expect("--runs takes a number")
    });
    let scale = if measures {
        Scale::full(runs)
    } else {
        Scale::smoke()
    };
    let chosen = ["hot", "log", "tls", "herd", "cold"].into_iter();
    let chosen: Vec<&str> = chosen
        .filter(|name| arguments.iter().any(|a| a == name))
        .collect();
    let wants = |name| chosen.is_empty() || chosen.contains(&name);
    if !measures {
        println!("smoke run: the sizes are tiny and the figures mean nothing");
    }
    if wants("hot") {
        hot(&scale);
    }
    if wants("log") {
        log::log(&scale);
    }
    if wants("tls") {
        tls::tls(&scale);
    }
    if wants("herd") {
        herd::herd(&scale);
    }
    if wants("cold") {
        cold::cold(&scale);
    }
}

// ---- hot: one blob, again and again ----

/// Requests per CPU second of transship with one core, against nginx with one worker.
fn hot(scale: &Scale) {
    println!(
        "\nhot: 64 keep-alive connections, server on core 0, wrk on core 1, {} runs",
        scale.runs
    );
    let www = Www::new();
    let origin = Nginx::origin(&www);
    let peer = Nginx::peer(&www);
    let ours = start(
        Transship::options().cores(1).under(&["taskset", "-c", "0"]),
        &origin.url(),
    );
    for (index, hot) in scale.hot.iter().enumerate() {
        let path = www.add(&Blob::seeded(hot.bytes as u64, hot.bytes));
        fetch(ours.addr, &path, hot.bytes);
        settle(&ours, index + 1);
        let mut figures = Pair::default();
        let mut p99 = Pair::default();
        for _ in 0..scale.runs {
            let (rate, latency) = wrk(ours.addr, &path, hot, ours.process.id());
            figures.ours.push(rate);
            p99.ours.push(latency);
            let (rate, latency) = wrk(peer.addr, &path, hot, peer.process.id());
            figures.theirs.push(rate);
            p99.theirs.push(latency);
        }
        let title = format!("{} requests per CPU second", size(hot.bytes));
        figures.print_ratio(&title, "nginx", hot.wanted);
        p99.print("  p99 latency, ms", "nginx");
    }
}

/// Runs wrk; returns requests per CPU second of the server, and the 99th percentile in ms.
fn wrk(addr: SocketAddr, path: &str, hot: &Hot, server: u32) -> (f64, f64) {
    let shown = wrk_on(&format!("http://{addr}{path}"), hot, server, &[]);
    (shown.per_cpu_second, shown.p99_ms)
}

/// What one run of wrk shows.
struct Shown {
    per_cpu_second: f64,
    per_second: f64,
    p99_ms: f64,
}

fn wrk_on(url: &str, hot: &Hot, server: u32, env: &[(&str, &Path)]) -> Shown {
    let before = cpu_seconds(server);
    let start = Instant::now();
    let said = run(Command::new("taskset")
        .args([
            "-c",
            "1",
            "wrk",
            "-t1",
            "-c64",
            "--latency",
            "--timeout",
            "60s",
        ])
        .args(["-d", &format!("{}s", hot.seconds)])
        .arg(url)
        .envs(env.iter().copied()));
    let wall = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds(server) - before;
    assert!(
        !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "{said}"
    );
    let word = |before: &str| {
        let line = said.lines().find(|line| line.contains(before));
        line.unwrap_or_else(|| panic!("no {before:?} in {said}"))
    };
    let line = word(" requests in ");
    // Of large blobs few requests end within a run: the bytes are the finer count.
    let requests = if hot.bytes >= 1 << 20 {
        let read = line.split(", ").nth(1).unwrap().trim_end_matches(" read");
        with_unit(read) / hot.bytes as f64
    } else {
        line.trim().split(' ').next().unwrap().parse().unwrap()
    };
    // A run without one answer is a stall to look into, not a figure.
    assert!(requests > 0.0, "{said}");
    // Not any line with these signs in it: a spread of 91.99% has them too.
    let mut lines = said.lines().map(str::trim);
    let latency = lines.find_map(|line| line.strip_prefix("99%")).unwrap();
    Shown {
        per_cpu_second: requests / cpu.max(0.01),
        per_second: requests / wall,
        p99_ms: with_unit(latency.trim()),
    }
}

/// Reads `1.5GB` as bytes and `1.5ms` as milliseconds.
fn with_unit(text: &str) -> f64 {
    let at = text.find(char::is_alphabetic).unwrap();
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "us" => 0.001,
        "ms" | "B" => 1.0,
        "s" => 1000.0,
        "m" => 60_000.0,
        "KB" => 1024.0,
        "MB" => 1024.0 * 1024.0,
        "GB" => 1024.0 * 1024.0 * 1024.0,
        "TB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => panic!("unit of {text}"),
    };
    number.parse::<f64>().unwrap() * factor
}

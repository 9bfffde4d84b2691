//! What a signed URL costs on a hit.
//!
//! The question: how many hits of 1 KiB a second does one core serve when each comes with a token that it
//! has not seen, and what does a token cost that it has?
//!
//! The floor: a fresh token cannot cost less than one Ed25519 verification (41 µs here), a remembered one
//! not less than comparing it.
//!
//! CPU seconds of the server are counted: one core is one CPU second a second, and whatever else the machine
//! does stays out of it.
//!
//! Goals: three loads on one process, in turns, so that drifts of the machine fall out of the ratio.
//! Not goals: absolute figures, TLS, a network.

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

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use support::process::{cpu_seconds, run};
use support::signer::{claims, key_set, now, signed};
use support::{Blob, Origin, Signer, Transship};
use tempfile::TempDir;

/// Sends the request lines of a file in turn: `wrk -s … -- FILE`.
const SCRIPT: &str = "
local paths, at = {}, 0
function init(arguments)
    for line in io.lines(arguments[1]) do paths[#paths + 1] = wrk.format('GET', line) end
end
function request()
    at = at % #paths + 1
    return paths[at]
end
";

/// Sizes of a run.
struct Scale {
    runs: usize,
    seconds: usize,
    /// More than a core remembers, and more than it serves in a run.
    tokens: usize,
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
    let (seconds, tokens) = if measures { (3, 100_000) } else { (1, 100) };
    let runs = if measures { runs } else { 1 };
    if !measures {
        println!("smoke run: the sizes are tiny and the figures mean nothing");
    }
    compare(&Scale {
        runs,
        seconds,
        tokens,
    });
}

fn compare(scale: &Scale) {
    let (origin, signer, dir) = (
        Origin::start(),
        Signer::ed25519("bench"),
        TempDir::new().unwrap(),
    );
    origin.hold_file("/.well-known/jwks.json", &key_set(&[&signer]));
    let blob = origin.make(1, 1024);
    let ours = Transship::options()
        .cores(1)
        .under(&["taskset", "-c", "0"])
        .upstream(origin.url())
        .start();
    assert_eq!(ours.get(&blob.path()).status(), 200);
    ours.until_metric("transship_fills_total", &[("outcome", "committed")], 1);
    let script = dir.path().join("paths.lua");
    std::fs::write(&script, SCRIPT).unwrap();
    let file = |name: &str, paths: Vec<String>| {
        let path = dir.path().join(name);
        std::fs::write(&path, paths.join("\n")).unwrap();
        path
    };
    let unsigned = file("unsigned", vec![blob.path()]);
    let remembered = file("remembered", vec![signer.url(&blob)]);
    let fresh = file("fresh", tokens(&signer, &blob, scale.tokens));
    println!(
        "\nsigned: 1 KiB hits, 64 keep-alive connections, server on core 0, wrk on core 1, {} runs",
        scale.runs
    );
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..scale.runs {
        let load = |paths: &Path| wrk(&ours, &script, paths, scale.seconds);
        let (plain, with_token) = (load(&unsigned), load(&remembered));
        ratios.push(with_token / plain);
        rates.push(load(&fresh));
    }
    print(
        "hits per CPU second, a fresh token each",
        &mut rates,
        10_000.0,
    );
    print("remembered token / unsigned", &mut ratios, 0.95);
}

/// As many tokens for the blob, all different.
fn tokens(signer: &Signer, blob: &Blob, count: usize) -> Vec<String> {
    let mut claims = claims("test/image", &blob.digest);
    claims["exp"] = json!(now() + 3600);
    (0..count)
        .map(|index| {
            claims["jti"] = json!(index.to_string());
            signed(blob, &signer.sign(&claims))
        })
        .collect()
}

/// Runs wrk over the paths; returns requests per CPU second of the server.
fn wrk(ours: &Transship, script: &Path, paths: &Path, seconds: usize) -> f64 {
    let before = cpu_seconds(ours.process.id());
    let said = run(Command::new("taskset")
        .args(["-c", "1", "wrk", "-t1", "-c64", "--timeout", "60s"])
        .args(["-d", &format!("{seconds}s"), "-s"])
        .arg(script)
        .arg(format!("http://{}", ours.addr))
        .arg("--")
        .arg(paths));
    assert!(
        !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "{said}"
    );
    let cpu = cpu_seconds(ours.process.id()) - before;
    let line = said.lines().find(|line| line.contains(" requests in "));
    let line = line.unwrap_or_else(|| panic!("no requests in {said}"));
    let requests: f64 = line.trim().split(' ').next().unwrap().parse().unwrap();
    requests / cpu.max(0.01)
}

fn print(title: &str, figures: &mut [f64], wanted: f64) {
    figures.sort_by(f64::total_cmp);
    let median = figures[figures.len() / 2];
    let mut spread = String::new();
    for figure in [figures[0], median, figures[figures.len() - 1]] {
        let _ = write!(spread, "{figure:>12.2}");
    }
    let verdict = if median >= wanted {
        "reached"
    } else {
        "MISSED"
    };
    println!("  {title:44}{spread}  wanted {wanted}: {verdict}");
}

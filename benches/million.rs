//! A store of a million blobs: how long until it serves, what it takes of memory, who has to wait for its upkeep.
//!
//! The question: with N blobs stored (files without blocks under names of random digests), how long does a start
//! take with an index, without one, and with one that was not ended; how many bytes of memory is a blob; and does
//! any core pause while a tenth of all is evicted, TTLs are walked and the index is rewritten?
//!
//! The floor: an entry's digest, size, time and counters are 56 bytes; the kernel needs a few microseconds to name
//! and to stat a file, and as many to unlink it.
//!
//! Beside every latency stands what a thread sees that asks for nothing and sleeps for a millisecond again and
//! again, at the same time on the same processors: what it has to wait is the machine's doing.
//!
//! Goals: one run shows every figure, with what is wanted of it; nothing is left on disk.
//! Not goals: the bytes of blobs, a cold page cache, a network.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a bench prints and fails loudly; it uses only a part of what the tests and other benches share"
)]

#[path = "million/clients.rs"]
mod clients;
#[path = "million/phases.rs"]
mod phases;
#[path = "million/proc.rs"]
mod proc;
#[path = "replay/registry.rs"]
mod registry;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "replay/trace.rs"]
mod trace;
#[path = "million/tree.rs"]
mod tree;

use std::path::PathBuf;

use phases::Bench;
use tree::Tree;

/// Sizes of a run.
pub struct Scale {
    pub files: usize,
    /// Seconds of load at least, where something is watched.
    pub seconds: u64,
    /// Blobs that can be pulled.
    pub real: usize,
    /// Figures are held against what is wanted.
    pub measures: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo says `--bench` when it benches and nothing when it tests.
    let measures =
        arguments.iter().any(|a| a == "--bench") && !arguments.contains(&"--test".into());
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1).expect("an option has a value"))
    };
    let number = |name: &str| value(name).map(|text| text.parse().expect("a number"));
    let (files, seconds) = if measures { (1_000_000, 60) } else { (2000, 2) };
    let scale = Scale {
        files: number("--blobs").unwrap_or(files),
        seconds: number("--seconds").map_or(seconds, |seconds| seconds as u64),
        real: if measures { 256 } else { 80 },
        measures,
    };
    // The folder for temporary files is often all memory, and no store.
    let dir =
        value("--dir").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    if !measures {
        println!("smoke run: the sizes are tiny and the figures mean nothing");
    }
    let tree = Tree::new(&dir);
    Bench::new(&scale, &tree).run();
}

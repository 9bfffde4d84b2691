//! The store's eviction policy beside others, on the same requests.
//!
//! The question: of all requests and of all bytes that are asked for, which share does a cache of a given room
//! answer by itself, and what does deciding it cost?
//!
//! The floor and the ceiling: `fifo` decides nothing; `infinite` misses only what was never asked for before, and
//! `belady` knows the future.
//!
//! Goals: the production code of `store::policy` decides, not a copy; one seed gives the same requests
//! everywhere; a trace of your own (`--trace`) is replayed the same way.
//! Not goals: the disk, TTLs, a network.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a bench prints and fails loudly; its numbers are small"
)]

#[path = "replay/caches.rs"]
mod caches;
#[path = "replay/list.rs"]
mod list;
#[path = "replay/registry.rs"]
mod registry;
#[path = "replay/shape.rs"]
mod shape;
#[path = "replay/tinylfu.rs"]
mod tinylfu;
#[path = "replay/trace.rs"]
mod trace;

use std::fmt::Write as _;
use std::fs;

use caches::{ByWorth, Cache, Infinite, OneQueue, Ours, Queue, Worth};
use registry::Shape;
use tinylfu::TinyLfu;
use trace::Trace;
use transship::store::policy::Tuning;

/// S3-FIFO as its authors set it (Yang et al., SOSP 2023), but in bytes.
const PUBLISHED: Tuning = Tuning {
    small_percent: 10,
    uses_to_stay: 2,
    ghost_percent: 90,
    tiny_part: 0,
};

/// What is compared: a name, and how it is made for a trace and a room.
type Peer = (String, Make);
type Make = Box<dyn Fn(&Trace, u64) -> Box<dyn Cache>>;

/// What the command line says.
struct Options {
    /// Parts of the footprint, in per cent.
    rooms: Vec<f64>,
    runs: usize,
    traces: Vec<Trace>,
    /// Compare settings of ours instead of peers.
    tunes: bool,
    /// A folder for the table.
    out: Option<String>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo says `--bench` when it benches and nothing when it tests.
    let measures =
        arguments.iter().any(|a| a == "--bench") && !arguments.contains(&"--test".into());
    if !measures {
        println!("smoke run: the sizes are tiny and the figures mean nothing");
        shape::check();
    }
    let options = options(&arguments, measures);
    let peers = if options.tunes { settings() } else { peers() };
    let mut report = String::new();
    for trace in &options.traces {
        report.push_str(&compare(trace, &peers, &options));
    }
    if let Some(folder) = &options.out {
        let path = format!("{folder}/replay.md");
        fs::create_dir_all(folder).expect("the folder can be made");
        fs::write(&path, report).expect("the report can be written");
        println!("written to {path}");
    }
}

fn options(arguments: &[String], measures: bool) -> Options {
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(
            arguments
                .get(at + 1)
                .unwrap_or_else(|| panic!("{name} takes a value"))
                .clone(),
        )
    };
    let number = |name: &str, default: usize| {
        value(name).map_or(default, |v| {
            v.parse()
                .unwrap_or_else(|_| panic!("{name} takes a number"))
        })
    };
    let rooms = value("--room").unwrap_or_else(|| "1%,5%,10%,20%".into());
    let rooms = rooms.split(',').map(|room| {
        let room = room.trim_end_matches('%').parse();
        room.expect("--room takes per cents of what the trace asks for: 1%,5%")
    });
    let traces = match value("--trace") {
        Some(path) => {
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
            vec![Trace::read(&path, &text)]
        }
        None => synthetic(measures, number("--seed", 1) as u64),
    };
    Options {
        rooms: rooms.collect(),
        runs: number("--runs", if measures { 3 } else { 1 }),
        traces,
        tunes: arguments.iter().any(|a| a == "--tune"),
        out: value("--out"),
    }
}

/// The same registry without and with a nightly scan.
fn synthetic(measures: bool, seed: u64) -> Vec<Trace> {
    let (days, repositories, pulls_a_day) = if measures {
        (14, 2000, 20_000)
    } else {
        (3, 50, 300)
    };
    [false, true]
        .map(|is_scanned| {
            registry::registry(&Shape {
                seed,
                days,
                repositories,
                pulls_a_day,
                is_scanned,
            })
        })
        .into()
}

fn peers() -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
    let mut add = |name: &str, make: Make| {
        peers.push((name.to_owned(), make));
    };
    for (name, kind) in [
        ("fifo", Queue::Fifo),
        ("lru", Queue::Lru),
        ("sieve", Queue::Sieve),
    ] {
        add(
            name,
            Box::new(move |trace, room| Box::new(OneQueue::new(trace, room, kind))),
        );
    }
    for (name, worth) in [("gdsf", Worth::UsesPerByte), ("lfu-da", Worth::Uses)] {
        add(
            name,
            Box::new(move |trace, room| Box::new(ByWorth::new(trace, room, worth))),
        );
    }
    add(
        "w-tinylfu",
        Box::new(|trace, room| Box::new(TinyLfu::new(trace, room))),
    );
    add(
        "s3-fifo",
        Box::new(|trace, room| Box::new(Ours::new(trace, room, PUBLISHED))),
    );
    add(
        "ours",
        Box::new(|trace, room| Box::new(Ours::new(trace, room, Tuning::default()))),
    );
    add(
        "belady",
        Box::new(|trace, room| Box::new(ByWorth::new(trace, room, Worth::Next))),
    );
    add(
        "infinite",
        Box::new(|trace, _| Box::new(Infinite::new(trace))),
    );
    peers
}

/// Ours, set in other ways, one thing at a time.
fn settings() -> Vec<Peer> {
    let default = Tuning::default();
    let mut settings = vec![("as it is".to_owned(), default)];
    for small_percent in [1, 2, 5, 10, 20, 30] {
        let tuning = Tuning {
            small_percent,
            ..default
        };
        settings.push((format!("probation {small_percent} %"), tuning));
    }
    for uses_to_stay in [1, 2, 3] {
        let tuning = Tuning {
            uses_to_stay,
            ..default
        };
        settings.push((format!("stays after {uses_to_stay}"), tuning));
    }
    for ghost_percent in [0, 10, 25, 50, 90, 200] {
        let tuning = Tuning {
            ghost_percent,
            ..default
        };
        settings.push((format!("ghosts for {ghost_percent} %"), tuning));
    }
    for tiny_part in [0, 2, 4, 8, 16, 64] {
        let name = if tiny_part == 0 {
            "nothing is tiny".into()
        } else {
            format!("tiny below 1/{tiny_part}")
        };
        settings.push((
            name,
            Tuning {
                tiny_part,
                ..default
            },
        ));
    }
    let peer = |(name, tuning): (String, Tuning)| -> Peer {
        (
            name,
            Box::new(move |trace, room| Box::new(Ours::new(trace, room, tuning))),
        )
    };
    settings.into_iter().map(peer).collect()
}

/// What one cache did with one trace.
struct Figures {
    hits: f64,
    byte_hits: f64,
    cpu_ns: f64,
    memory_each: Option<f64>,
}

fn compare(trace: &Trace, peers: &[Peer], options: &Options) -> String {
    let mut table = format!("\n{}\n\n| room |", trace.describe());
    for room in &options.rooms {
        write!(table, " {room} % |").unwrap();
    }
    table.push_str(" CPU a request | state a resident |\n|---|");
    table.push_str(&"---|".repeat(options.rooms.len() + 2));
    print!("{table}");
    let footprint = trace.footprint();
    for (name, make) in peers {
        let mut row = format!("\n| {name} |");
        let (mut cpu, mut memory) = (Vec::new(), None);
        for room in &options.rooms {
            let room = (footprint as f64 * room / 100.0) as u64;
            let runs = (0..options.runs).map(|_| replay(trace, &mut *make(trace, room)));
            let runs: Vec<Figures> = runs.collect();
            write!(
                row,
                " {:.1} / {:.1} |",
                100.0 * runs[0].hits,
                100.0 * runs[0].byte_hits
            )
            .unwrap();
            cpu.extend(runs.iter().map(|run| run.cpu_ns));
            memory = runs[0].memory_each;
        }
        cpu.sort_by(f64::total_cmp);
        let memory = memory.map_or("".into(), |bytes| format!("{bytes:.0} B"));
        write!(row, " {:.0} ns | {memory} |", cpu[cpu.len() / 2]).unwrap();
        print!("{row}");
        table.push_str(&row);
    }
    println!();
    table + "\n"
}

fn replay(trace: &Trace, cache: &mut dyn Cache) -> Figures {
    let (mut hits, mut byte_hits) = (0u64, 0u64);
    let before = cpu_ns();
    for (at, request) in trace.requests.iter().enumerate() {
        if cache.ask(at, request) {
            hits += 1;
            byte_hits += request.bytes;
        }
    }
    let cpu_ns = (cpu_ns() - before) as f64;
    let count = trace.requests.len().max(1) as f64;
    Figures {
        hits: hits as f64 / count,
        byte_hits: byte_hits as f64 / trace.bytes().max(1) as f64,
        cpu_ns: cpu_ns / count,
        memory_each: cache.memory_each(),
    }
}

/// Nanoseconds that this thread has run: what others do on the machine does not count.
fn cpu_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

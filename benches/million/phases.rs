//! What is done to the store, one after the other, and the lines of the table.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Scale;
use crate::clients::{Seen, Times, ask_while};
use crate::proc::{child, futex_waits, load, memory_bytes, scheduled, threads};
use crate::support::process::{cpu_seconds, until};
use crate::support::transship::Options;
use crate::support::{Blob, Origin, Transship};
use crate::tree::{STALE_EVERY, Tree};

/// Bytes of a blob that can be pulled.
const REAL_BYTES: usize = 1024;
/// Open files that the program may have: an eighth are blobs that a core keeps open, fewer than can be pulled.
const OPEN_FILES: &str = "--nofile=512:512";
/// How the names of the threads that are cores begin.
const CORES: &str = "core-";
/// A walk over everything each second.
const TTL: &str = "4s";
/// Bytes of an entry in the index on disk.
const SLOT_BYTES: u64 = 64;
/// More than the files seem to have.
const PLENTY: &str = "100000TiB";

/// What is wanted of a figure: at most so much.
type Wanted = Option<f64>;

/// One store and what it is asked for.
pub struct Bench<'a> {
    scale: &'a Scale,
    tree: &'a Tree,
    origin: Origin,
    blobs: Vec<Blob>,
}

impl<'a> Bench<'a> {
    pub fn new(scale: &'a Scale, tree: &'a Tree) -> Self {
        let origin = Origin::start();
        let seeds = 1..=scale.real as u64;
        let blobs = seeds.map(|seed| origin.make(seed, REAL_BYTES)).collect();
        Self {
            scale,
            tree,
            origin,
            blobs,
        }
    }

    pub fn run(&self) {
        println!(
            "\nmillion: {} blobs, load of the machine {:.1}",
            self.scale.files,
            load()
        );
        let empty_bytes = self.empty();
        title("a store of a few blobs, traced");
        self.traced(self.plenty(), |_| thread::sleep(self.seconds()));
        let begun = Instant::now();
        let bytes = self.tree.fill(self.scale.files);
        fs::remove_file(self.tree.storage().join("index")).unwrap();
        println!(
            "  {} files of {:.1} TiB made in {:.0} s",
            self.scale.files,
            bytes as f64 / (1u64 << 40) as f64,
            begun.elapsed().as_secs_f64()
        );
        self.without_index(empty_bytes);
        self.with_index(empty_bytes);
        self.after_a_kill();
        let bytes = self.upkeep(bytes);
        title("the same again, traced");
        self.traced(self.upkeeping(bytes), |transship| {
            self.upkeep_is_done(transship, bytes);
        });
    }

    /// How long something is watched at least.
    fn seconds(&self) -> Duration {
        Duration::from_secs(self.scale.seconds)
    }

    fn options(&self, store: &str, ttl: &str) -> Options {
        let upstream = self.origin.url();
        // No scrub: it would find every sparse file damaged.
        let config = format!(
            "version: 0.1\n\
             storage: {{delete: {{enabled: true}}, filesystem: {{rootdirectory: /unused}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\n\
             middleware: {{registry: [{{name: downstream, options: {{{ttl}upstreams: ['{upstream}']}}}}]}}\n\
             transship: {{access: {{public: true}}, store: {{scrub: 0s, {store}}}}}\n"
        );
        let options = Transship::options().config(config).cores(processors());
        options
            .storage(&self.tree.storage())
            .under(&["prlimit", OPEN_FILES])
    }

    fn plenty(&self) -> Options {
        self.options(&format!("bytes_max: {PLENTY}"), "")
    }

    /// The program with next to nothing stored: what it takes of memory, and what its clients see.
    fn empty(&self) -> u64 {
        let transship = self.plenty().start();
        for blob in &self.blobs {
            assert_eq!(transship.get(&blob.path()).status(), 200);
        }
        let committed = [("outcome", "committed")];
        let blobs = self.blobs.len();
        transship.until_metric("transship_fills_total", &committed, blobs as u64);
        let pid = transship.process.id();
        title("a store of a few blobs");
        self.watch(&transship, pid, || thread::sleep(self.seconds()));
        let bytes = memory_bytes(pid, "VmRSS");
        line("memory (VmRSS)", bytes as f64 / MIB, "MiB", None);
        transship.stop();
        bytes
    }

    /// The first start after the index was lost.
    fn without_index(&self, empty_bytes: u64) {
        title("start without an index");
        let asked = self.origin.seen().len();
        let (transship, begun) = self.ready();
        let pid = transship.process.id();
        let mut scanned = Duration::ZERO;
        let seen = ask_while(transship.addr, &self.blobs, || {
            until_scanned(&transship);
            scanned = begun.elapsed();
        });
        self.wanted("everything scanned", scanned.as_secs_f64(), "s", 30.0);
        show_scanner(pid);
        show(&seen);
        let misses = seen.open.misses + seen.opened.misses;
        let asked = self.origin.seen().len() - asked;
        assert_eq!(
            (misses, asked),
            (0, 0),
            "what is stored is a hit during the scan"
        );
        self.until_noted();
        self.memory(pid, empty_bytes);
        let begun = Instant::now();
        transship.stop();
        line(
            "SIGTERM until the end",
            begun.elapsed().as_secs_f64(),
            "s",
            None,
        );
    }

    /// Starts the program on what is stored; returns since when it runs, too.
    fn ready(&self) -> (Transship, Instant) {
        let begun = Instant::now();
        let transship = self.plenty().start();
        self.wanted("ready", begun.elapsed().as_secs_f64(), "s", 2.0);
        // The first thread gets it ready, and waits from then on.
        let pid = transship.process.id();
        show_scheduled("  its thread", pid, &[pid]);
        (transship, begun)
    }

    fn with_index(&self, empty_bytes: u64) {
        title("start from the index");
        let (transship, _) = self.ready();
        let pid = transship.process.id();
        ask_while(transship.addr, &self.blobs, || {
            thread::sleep(Duration::from_secs(2));
        });
        self.memory(pid, empty_bytes);
        drop(transship.kill());
    }

    fn after_a_kill(&self) {
        title("start after SIGKILL");
        let (transship, begun) = self.ready();
        until_scanned(&transship);
        self.wanted(
            "everything compared",
            begun.elapsed().as_secs_f64(),
            "s",
            30.0,
        );
        show_scanner(transship.process.id());
        transship.stop();
    }

    /// A tenth of everything goes, TTLs are walked, the index is lost and written anew. Returns the bytes left.
    fn upkeep(&self, bytes: u64) -> u64 {
        title("upkeep: a tenth evicted, a TTL walked each second, the index written anew");
        let transship = self.upkeeping(bytes).start();
        let pid = transship.process.id();
        let begun = Instant::now();
        self.watch(&transship, pid, || {
            self.upkeep_is_done(&transship, bytes);
            thread::sleep(self.seconds().saturating_sub(begun.elapsed()));
        });
        let stored = transship.metrics().sum("transship_store_bytes", &[]);
        transship.stop();
        stored
    }

    fn upkeeping(&self, bytes: u64) -> Options {
        // Above the high watermark of 95 %, down to the low one of 90 %.
        self.options(
            &format!("bytes_max: {}KiB", bytes / 1024),
            &format!("blobttl: {TTL}, "),
        )
    }

    fn upkeep_is_done(&self, transship: &Transship, bytes: u64) {
        let begun = Instant::now();
        until("a tenth is evicted", || {
            transship.metrics().sum("transship_store_bytes", &[]) <= bytes / 100 * 91
        });
        line("  evicted within", begun.elapsed().as_secs_f64(), "s", None);
        fs::remove_file(self.tree.storage().join("index")).unwrap();
        let begun = Instant::now();
        self.until_noted();
        line(
            "  index written anew within",
            begun.elapsed().as_secs_f64(),
            "s",
            None,
        );
        let evicted = |reason| {
            let labels = [("reason", reason)];
            transship
                .metrics()
                .sum("transship_store_evictions_total", &labels)
        };
        line("  evicted for room", evicted("room") as f64, "blobs", None);
        line("  expired", evicted("ttl") as f64, "blobs", None);
    }

    /// Runs it under strace, which tells how long each core waited for a lock: of the store or any other. The
    /// tracer's own time is in it, so the figure is for comparing with that of a few blobs.
    fn traced(&self, options: Options, work: impl FnOnce(&Transship)) {
        let prefix = self.tree.beside("trace");
        let output = prefix.to_str().unwrap();
        let mut strace = vec!["strace", "-ff", "--seccomp-bpf", "-qq", "-T"];
        strace.extend(["-e", "trace=futex", "-o", output, "prlimit", OPEN_FILES]);
        let mut transship = options.under(&strace).start();
        let pid = child(transship.process.id());
        // A thread names itself, which takes its time here.
        until("the cores have their names", || {
            threads(pid, CORES).len() >= processors()
        });
        let cores = threads(pid, CORES);
        self.watch(&transship, pid, || work(&transship));
        // The tracer would only let go of it.
        kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::TERM).unwrap();
        transship.process.exit();
        let waits = futex_waits(&prefix, &cores);
        line("waits of a core for a lock", waits.count as f64, "", None);
        line("the longest of them", waits.longest_ms, "ms", None);
    }

    /// Shows what clients see and how the cores run while `work` goes on.
    fn watch(&self, transship: &Transship, pid: u32, work: impl FnOnce()) {
        let threads = threads(pid, CORES);
        let (before, begun) = (scheduled(pid, &threads), Instant::now());
        let seen = ask_while(transship.addr, &self.blobs, work);
        let (after, seconds) = (scheduled(pid, &threads), begun.elapsed().as_secs_f64());
        show(&seen);
        let share =
            |seconds_of_cores: f64| 100.0 * seconds_of_cores / seconds / threads.len() as f64;
        line("cores run", share(after.ran - before.ran), "%", None);
        line(
            "cores wait for a processor",
            share(after.waited - before.waited),
            "%",
            None,
        );
        line("load of the machine", load(), "", None);
    }

    /// Waits until the index on disk has everything that is stored.
    fn until_noted(&self) {
        let index = self.tree.storage().join("index");
        // A tenth was evicted and some have expired.
        let least = self.scale.files as u64 / 4 * 3 * SLOT_BYTES;
        until("the index on disk is whole", || {
            fs::metadata(&index).is_ok_and(|metadata| metadata.len() >= least)
        });
    }

    fn memory(&self, pid: u32, empty_bytes: u64) {
        let per_blob = |name| {
            let bytes = memory_bytes(pid, name);
            bytes.saturating_sub(empty_bytes) as f64 / self.scale.files as f64
        };
        self.wanted("memory (VmRSS)", per_blob("VmRSS"), "bytes a blob", 150.0);
        line(
            "memory at its peak (VmHWM)",
            per_blob("VmHWM"),
            "bytes a blob",
            None,
        );
    }

    /// A line with a figure that is to be no larger than `most`.
    fn wanted(&self, name: &str, figure: f64, unit: &str, most: f64) {
        line(name, figure, unit, self.scale.measures.then_some(most));
    }
}

fn processors() -> usize {
    thread::available_parallelism().unwrap().get()
}

const MIB: f64 = (1u64 << 20) as f64;

fn until_scanned(transship: &Transship) {
    let line = transship
        .process
        .line(|line| line.contains("directory was scanned"));
    line.unwrap_or_else(|log| panic!("no scan in\n{log}"));
}

/// Shows what the scan has cost: whether it was slow, or others had the processors.
fn show_scanner(pid: u32) {
    show_scheduled("  its thread", pid, &threads(pid, "scan"));
    line("CPU of all until then", cpu_seconds(pid), "s", None);
}

fn show_scheduled(name: &str, pid: u32, threads: &[u32]) {
    let scheduled = scheduled(pid, threads);
    line(&format!("{name} ran"), scheduled.ran, "s", None);
    line(
        &format!("{name} waited for a processor"),
        scheduled.waited,
        "s",
        None,
    );
}

fn title(text: &str) {
    println!("  {text}");
}

fn line(name: &str, figure: f64, unit: &str, wanted: Wanted) {
    let verdict = match wanted {
        Some(most) if figure <= most => format!("at most {most}: reached"),
        Some(most) => format!("at most {most}: MISSED"),
        None => String::new(),
    };
    println!("    {name:34}{figure:>12.2} {unit:14}{verdict}");
}

/// A line for each kind of times.
fn show(seen: &Seen) {
    println!(
        "    {:34}{:>12}{:>9}{:>9}{:>9}{:>8}{:>8}{:>8}",
        "latency of hits, ms", "count", "median", "99.9 %", "max", "> 1", "> 5", "misses"
    );
    let kinds = [
        ("  open already", &seen.open),
        ("  opened for it", &seen.opened),
        ("  (a thread that only sleeps)", &seen.idle),
    ];
    for (name, times) in kinds {
        println!(
            "    {name:34}{:>12}{:>9.2}{:>9.2}{:>9.2}{:>8}{:>8}{:>8}",
            times.len(),
            times.quantile(0.5),
            times.quantile(0.999),
            times.max(),
            times.above(1.0),
            times.above(5.0),
            times.misses
        );
    }
}

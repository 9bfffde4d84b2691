//! Is the made-up registry shaped as its sources say, and does the replayer count right? Run by the smoke run.

use super::caches::{Cache, OneQueue, Queue};
use super::registry::{Shape, registry};
use super::trace::Trace;

/// Panics if anything is not as it should be.
pub fn check() {
    sizes_are_those_of_docker_hub();
    popularity_is_skewed_and_half_is_asked_for_once();
    one_seed_makes_one_trace_in_the_order_of_time();
    a_scan_asks_for_everything_each_night();
    a_trace_is_read_with_its_header_and_first_sizes();
    lru_and_fifo_differ_by_the_hit();
    sieve_spares_what_was_used();
}

const SHAPE: Shape = Shape {
    seed: 7,
    days: 7,
    repositories: 300,
    pulls_a_day: 2000,
    is_scanned: false,
};

/// Manifests and configs have at most 20 kB, and are more than the layers that are as small.
fn layers(trace: &Trace) -> Vec<u64> {
    let mut sizes: Vec<u64> = trace
        .sizes
        .iter()
        .copied()
        .filter(|size| *size > 20_000)
        .collect();
    sizes.sort_unstable();
    sizes
}

fn sizes_are_those_of_docker_hub() {
    let sizes = layers(&registry(&SHAPE));
    let (median, ninetieth) = (sizes[sizes.len() / 2], sizes[sizes.len() * 9 / 10]);
    assert!((3_600_000..4_800_000).contains(&median), "median {median}");
    assert!(
        (54_000_000..76_000_000).contains(&ninetieth),
        "90th percentile {ninetieth}"
    );
    assert!(
        sizes[sizes.len() - 1] > 1 << 30,
        "the tail reaches gigabytes"
    );
}

fn popularity_is_skewed_and_half_is_asked_for_once() {
    let trace = registry(&SHAPE);
    let mut counts: Vec<u32> = trace
        .counts()
        .into_iter()
        .filter(|count| *count > 0)
        .collect();
    let once = counts.iter().filter(|count| **count == 1).count() as f64 / counts.len() as f64;
    assert!((0.4..0.6).contains(&once), "asked for once: {once}");
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let top: u32 = counts[..counts.len() / 100].iter().sum();
    let share = f64::from(top) / trace.requests.len() as f64;
    assert!(
        (0.3..0.7).contains(&share),
        "share of the first hundredth: {share}"
    );
}

fn one_seed_makes_one_trace_in_the_order_of_time() {
    let trace = registry(&SHAPE);
    assert_eq!(trace.requests, registry(&SHAPE).requests);
    assert_ne!(
        trace.requests,
        registry(&Shape { seed: 8, ..SHAPE }).requests
    );
    assert!(trace.requests.is_sorted_by_key(|request| request.time));
}

fn a_scan_asks_for_everything_each_night() {
    let quiet = registry(&SHAPE).requests.len();
    let scanned = registry(&Shape {
        is_scanned: true,
        ..SHAPE
    })
    .requests
    .len();
    // Two documents and two to eight layers of each repository, and bases.
    let least = 7 * SHAPE.repositories * 4;
    assert!(scanned > quiet + least * 9 / 10, "{quiet} and {scanned}");
}

fn a_trace_is_read_with_its_header_and_first_sizes() {
    let trace = Trace::read(
        "t",
        "time,id,size\n1,a,10\n2 b 20\n\n3,a,99\n4,c,0\n5.5,\tb,20\n",
    );
    let read: Vec<_> = trace
        .requests
        .iter()
        .map(|r| (r.time, r.id, r.bytes))
        .collect();
    assert_eq!(read, [(1, 0, 10), (2, 1, 20), (3, 0, 10), (5, 1, 20)]);
    assert_eq!((trace.footprint(), trace.next_uses()[0]), (30, 2));
}

/// Asks for things of size 1, named by letters, in a room of 3; returns `h` for each hit.
fn played(kind: Queue, asked: &str) -> String {
    let lines: Vec<String> = asked.chars().map(|c| format!("0,{c},1")).collect();
    let trace = Trace::read("t", &lines.join("\n"));
    let mut cache = OneQueue::new(&trace, 3, kind);
    let asked = trace.requests.iter().enumerate();
    asked
        .map(|(at, request)| if cache.ask(at, request) { 'h' } else { '.' })
        .collect()
}

fn lru_and_fifo_differ_by_the_hit() {
    assert_eq!(played(Queue::Lru, "abcadab"), "...h.h.");
    assert_eq!(played(Queue::Fifo, "abcadab"), "...h...");
}

fn sieve_spares_what_was_used() {
    // The hand passes a, takes b, then c.
    assert_eq!(played(Queue::Sieve, "abcadeab"), "...h..h.");
}

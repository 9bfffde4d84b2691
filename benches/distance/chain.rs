//! The line `chain`: one, two and three caches in a row.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

/// First byte and total time at the last client, each cache's CPU seconds, and when it had its bytes.
pub(super) fn chain(scale: &Scale) {
    println!(
        "\nchain: a cold blob of {} through one, two and three caches, {} runs",
        size(scale.chain_bytes),
        scale.runs
    );
    let far = Far::with(scale.chain_bytes);
    let mut chains = [1, 2, 3].map(|length| Chain {
        length,
        first: Vec::new(),
        total: Vec::new(),
        cpu: Vec::new(),
    });
    for _ in 0..scale.runs {
        for chain in &mut chains {
            chain.run(&far, scale.chain_bytes);
        }
    }
    for chain in &chains {
        let name = format!("{} in a row", chain.length);
        row(&name, "first byte, ms", &chain.first);
        row("", "all, ms", &chain.total);
        row("", "CPU seconds of a cache", &chain.cpu);
    }
    let [one, _, three] = &chains;
    let bound = 3.0 * median(&one.first) + 5.0;
    verdict(
        "first byte through three within three times one and 5 ms",
        median(&three.first) <= bound,
    );
    verdict(
        "a cache of three costs at most 1.1 times a single one",
        median(&three.cpu) <= 1.1 * median(&one.cpu),
    );
}

struct Chain {
    length: usize,
    first: Vec<f64>,
    total: Vec<f64>,
    /// Of the dearest cache of each run.
    cpu: Vec<f64>,
}

impl Chain {
    fn caches(&self, far: &Far) -> Vec<Transship> {
        let mut caches: Vec<Transship> = Vec::new();
        for _ in 0..self.length {
            let next = caches
                .last()
                .map_or(far.hop.url(), |cache| format!("http://{}", cache.addr));
            caches.push(Transship::behind(&[next], "").start());
        }
        caches
    }

    fn run(&mut self, far: &Far, bytes: usize) {
        let caches = self.caches(far);
        let before: Vec<f64> = caches
            .iter()
            .map(|cache| cpu_seconds(cache.process.id()))
            .collect();
        let last = caches.last().unwrap();
        let took = pull(last.addr, &far.blob, None);
        self.first.push(took.first_ms);
        self.total.push(took.total_ms);
        for cache in &caches {
            cache.until_metric("transship_fills_total", &[("outcome", "committed")], 1);
        }
        let spent = caches.iter().zip(before);
        let spent: Vec<f64> = spent
            .map(|(cache, before)| cpu_seconds(cache.process.id()) - before)
            .collect();
        self.cpu.push(max(&spent));
        drop(caches);
        if self.first.len() == 1 {
            self.show_overlap(far, bytes);
        }
    }

    /// Once more, watched: the readings cost what the figures above must not contain.
    fn show_overlap(&self, far: &Far, bytes: usize) {
        let caches = self.caches(far);
        let start = Instant::now();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let watches: Vec<_> = caches
                .iter()
                .map(|cache| scope.spawn(|| watch(cache, bytes as u64, start, &is_over)))
                .collect();
            pull(caches.last().unwrap().addr, &far.blob, None);
            is_over.store(true, Ordering::SeqCst);
            for (number, watch) in (1..).zip(watches) {
                let (first, last) = watch.join().unwrap();
                println!(
                    "    {} in a row, cache {number}: bytes from {first:.0} ms to {last:.0} ms",
                    self.length
                );
            }
        });
    }
}

/// When a cache had its first byte and its last, as far as one reading in ten milliseconds tells.
fn watch(cache: &Transship, bytes: u64, start: Instant, is_over: &AtomicBool) -> (f64, f64) {
    let mut first = None;
    loop {
        let came = cache.metrics().sum("transship_upstream_bytes_total", &[]);
        if came > 0 {
            first.get_or_insert_with(|| ms(start));
        }
        if came >= bytes || is_over.load(Ordering::SeqCst) {
            return (first.unwrap_or_default(), ms(start));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

//! Clients that ask for hits all the time and look at their watches, and a thread that asks for nothing: what
//! happens to both is the machine's doing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::support::{Blob, Client, assert_same};

/// How long a client waits before it asks again.
pub const PACE: Duration = Duration::from_millis(1);

/// Times in milliseconds.
#[derive(Default)]
pub struct Times {
    sorted: Vec<f64>,
    /// Answers that were no hits: the blob had been evicted or had expired, and is not timed.
    pub misses: usize,
}

impl Times {
    fn of(mut self) -> Self {
        self.sorted.sort_by(f64::total_cmp);
        self
    }

    fn join(mut self, other: Self) -> Self {
        self.sorted.extend(other.sorted);
        self.misses += other.misses;
        self.of()
    }

    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// - `share`: of all of them, how many were no longer.
    pub fn quantile(&self, share: f64) -> f64 {
        let at = (share * (self.len() as f64 - 1.0)).ceil() as usize;
        self.sorted.get(at).copied().unwrap_or(f64::NAN)
    }

    pub fn max(&self) -> f64 {
        self.sorted.last().copied().unwrap_or(f64::NAN)
    }

    pub fn above(&self, milliseconds: f64) -> usize {
        self.len() - self.sorted.partition_point(|time| *time <= milliseconds)
    }
}

/// What was seen while something went on.
pub struct Seen {
    /// Of one blob that every core has open.
    pub open: Times,
    /// Of blobs in turn, more than a core keeps open: each is looked up and opened.
    pub opened: Times,
    /// How much later than it wished a thread woke up that sleeps for [`PACE`]; on each processor one.
    pub idle: Times,
}

/// Asks for hits while `work` runs.
pub fn ask_while(addr: SocketAddr, blobs: &[Blob], work: impl FnOnce()) -> Seen {
    let done = &AtomicBool::new(false);
    let processors = thread::available_parallelism().unwrap().get();
    thread::scope(|scope| {
        // More than cores: the kernel spreads connections by chance.
        let start = |blobs| scope.spawn(move || ask(addr, blobs, done));
        let open: Vec<_> = (0..2 * processors).map(|_| start(&blobs[..1])).collect();
        let opened: Vec<_> = (0..2 * processors).map(|_| start(blobs)).collect();
        let idle = (0..processors).map(|processor| scope.spawn(move || sleep(processor, done)));
        let idle = idle.collect();
        // Also when it fails: the scope waits for the clients before it lets a panic through.
        let ends = Ends(done);
        work();
        drop(ends);
        Seen {
            open: joined(open),
            opened: joined(opened),
            idle: joined(idle),
        }
    })
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn joined(threads: Vec<ScopedJoinHandle<'_, Times>>) -> Times {
    let times = threads.into_iter().map(|thread| thread.join().unwrap());
    times.fold(Times::default(), Times::join)
}

fn ask(addr: SocketAddr, blobs: &[Blob], done: &AtomicBool) -> Times {
    let mut client = Client::connect(addr);
    let mut times = Times::default();
    for blob in blobs.iter().cycle() {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        let reply = client.get(&blob.path());
        let took = begun.elapsed();
        assert!(reply.whole && reply.status() == 200, "{:?}", reply.head);
        assert_same(&reply.body, &blob.bytes);
        if reply.cache() == "hit" {
            times.sorted.push(took.as_secs_f64() * 1000.0);
        } else {
            times.misses += 1;
        }
        thread::sleep(PACE);
    }
    times.of()
}

fn sleep(processor: usize, done: &AtomicBool) -> Times {
    let mut set = CpuSet::new();
    set.set(processor);
    // Where that is not allowed it still sleeps, wherever it is.
    let _ = sched_setaffinity(None, &set);
    let mut times = Times::default();
    while !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        thread::sleep(PACE);
        let late = begun.elapsed().saturating_sub(PACE);
        times.sorted.push(late.as_secs_f64() * 1000.0);
    }
    times.of()
}

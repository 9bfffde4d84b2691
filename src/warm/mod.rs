//! Images that are fetched before anybody asks for them: jobs, by reference, in the background.
//!
//! ```text
//!  submit ─▶ queue ─▶ job ─▶ image after image: manifests ─▶ blobs, a few at once ─▶ fills
//!              │                    ╰─ cannot be had just now: again in a while
//!              ╰ few run, some wait, the last ones are remembered
//! ```
//!
//! It asks as a client does, for what a client of those platforms would, by the same modules: what is here costs
//! nothing, what comes is proved and kept, whose right it was is remembered. But it comes last: every request and
//! every byte of its own gives way to clients', and a client that comes to one of its fills makes it urgent.
//!
//! Jobs are in memory. One that was broken off, asked for again, goes on where it was.
//!
//! Invariants
//! - A login is in no log, no answer and no error.
//! - Everything is bounded that an image's manifests or an operator could make large: see `limits`.

mod contents;
mod failure;
mod fetch;
mod image;
mod job;
mod platform;
mod progress;
mod queue;
mod retry;
mod view;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

pub use image::{Image, ImageError, lines};
pub use job::Order;
pub use platform::{Platform, PlatformError};
pub use view::{ImageView, Numbers, Shown, Summary, Trouble};

use crate::access::Access;
use crate::fill::Fills;
use crate::manifests::Manifests;
use crate::metrics::Counters;
use crate::rt::{self, Cores, Notify, Tier};
use crate::store::Store;
use crate::upstream::Upstream;
use fetch::Fetch;
use job::{Job, Phase};
use queue::Queue;

/// What jobs are done with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The disk.
    pub store: Arc<Store>,
    /// The fills.
    pub fills: Arc<Fills>,
    /// The next hops.
    pub upstream: Arc<Upstream>,
    /// Who may have what.
    pub access: Arc<Access>,
    /// Numbers that nobody else writes.
    pub counters: Arc<Counters>,
}

/// What was asked of a job that is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// It ends.
    Cancelled,
    /// It had ended.
    Ended,
    /// There is none of that number, any more.
    Unknown,
}

/// The jobs that warm the store.
#[derive(Debug)]
pub struct Warm {
    parts: Parts,
    manifests: Manifests,
    queue: Mutex<Queue>,
    is_ending: AtomicBool,
    changed: Notify,
    thread: Mutex<Option<Cores>>,
}

/// What the thread does next.
enum Step {
    Begin(Arc<Job>),
    End,
}

impl Warm {
    /// Starts the thread on which jobs are done.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(parts: Parts, tier: &Tier) -> io::Result<Arc<Self>> {
        let (store, upstream) = (Arc::clone(&parts.store), Arc::clone(&parts.upstream));
        let warm = Arc::new(Self {
            manifests: Manifests::new(store, upstream, Arc::clone(&parts.access)),
            parts,
            queue: Mutex::new(Queue::begun(now())),
            is_ending: AtomicBool::new(false),
            changed: Notify::default(),
            thread: Mutex::new(None),
        });
        let ours = Arc::clone(&warm);
        let thread = Cores::start_unpinned("warm", tier, move |_| async move { ours.run().await })?;
        *warm.thread.lock() = Some(thread);
        Ok(warm)
    }

    /// Begins no more jobs and breaks off those that run; what has come is kept. Does not wait for them.
    pub fn stop(&self) {
        self.is_ending.store(true, Ordering::Release);
        let stopped = self.queue.lock().stop(now());
        if stopped > 0 {
            tracing::info!(jobs = stopped, "jobs to warm the store are broken off");
        }
        self.changed.wake_all();
    }

    /// As [`Warm::stop`], and waits for the thread to end.
    pub fn end(&self) {
        self.stop();
        let thread = self.thread.lock().take();
        if let Some(Err(error)) = thread.map(Cores::join) {
            tracing::warn!(%error, "the thread that warms the store did not end well");
        }
    }

    /// Adds a job; `None` if too many wait, or none is begun any more.
    pub fn submit(&self, order: Order) -> Option<Summary> {
        let mut queue = self.queue.lock();
        // Looked at under the lock: either this sees that it ends, or `stop` sees the job.
        if self.is_ending.load(Ordering::Acquire) {
            return None;
        }
        let job = queue.add(order, now())?;
        drop(queue);
        let images = job.order.images.len();
        tracing::info!(job = job.id, images, "a job to warm the store was added");
        self.changed.wake_all();
        Some(view::summary(&job))
    }

    /// Returns all jobs: those that run, those that wait, and the last ones that have ended.
    #[must_use]
    pub fn jobs(&self) -> Vec<Summary> {
        let jobs: Vec<_> = self.queue.lock().all().map(Arc::clone).collect();
        jobs.iter().map(|job| view::summary(job)).collect()
    }

    /// Returns a job, image by image.
    #[must_use]
    pub fn job(&self, id: u64) -> Option<Shown> {
        let job = self.queue.lock().find(id)?;
        Some(view::shown(&job))
    }

    /// Breaks a job off. Fills that nobody else wants end, and what has come is kept.
    pub fn cancel(&self, id: u64) -> Cancel {
        let mut queue = self.queue.lock();
        let Some(job) = queue.find(id) else {
            return Cancel::Unknown;
        };
        if matches!(job.phase(), Phase::Ended(_)) {
            return Cancel::Ended;
        }
        job.cancel();
        if queue.is_waiting(&job) {
            // Nobody has begun it who could end it.
            job.end(now());
            queue.end(&job);
        }
        drop(queue);
        tracing::info!(job = id, "a job to warm the store was cancelled");
        Cancel::Cancelled
    }

    async fn run(self: Arc<Self>) {
        loop {
            let step = self.changed.wait(|| {
                let mut queue = self.queue.lock();
                if self.is_ending.load(Ordering::Acquire) {
                    // Those that were broken off say so first.
                    return queue.is_idle().then_some(Step::End);
                }
                queue.next(now()).map(Step::Begin)
            });
            match step.await {
                Step::End => return,
                Step::Begin(job) => {
                    let warm = Arc::clone(&self);
                    rt::spawn(async move { warm.work(job).await });
                }
            }
        }
    }

    /// Does one job.
    async fn work(&self, job: Arc<Job>) {
        let cancelled = pin!(job.until_cancelled());
        // What is dropped gives up its fills, unless others want them.
        let _ = rt::unless(cancelled, self.images(&job)).await;
        let outcome = job.end(now());
        self.parts.counters.count_warm(outcome);
        tracing::info!(
            job = job.id,
            outcome = outcome.label(),
            "a job to warm the store has ended"
        );
        self.queue.lock().end(&job);
        self.changed.wake_all();
    }

    async fn images(&self, job: &Job) {
        let visit = self.parts.access.operators_visit(job.authority());
        for (index, image) in job.order.images.iter().enumerate() {
            let Some(name) = image.name() else { continue };
            let fetch = Fetch {
                parts: &self.parts,
                manifests: &self.manifests,
                job,
                visit: &visit,
                name,
                image: index,
            };
            fetch.run().await;
        }
    }
}

/// Returns the seconds since the epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

//! Helper threads for what may block: file calls, name resolution, hashing.

use std::any::Any;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Sender, unbounded};
use parking_lot::Mutex;

use super::Notify;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that run jobs in the order they come.
#[derive(Clone, Debug)]
pub struct Pool {
    jobs: Sender<Job>,
}

impl Pool {
    /// Starts `count` threads named `name`. They end when the last handle of the pool is dropped.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(name: &str, count: usize) -> io::Result<Self> {
        let (jobs, inbox) = unbounded::<Job>();
        for index in 0..count {
            let inbox = inbox.clone();
            std::thread::Builder::new()
                .name(format!("{name}-{index}"))
                .spawn(move || {
                    for job in inbox {
                        // A job that panics is a bug; its waiter is told, the thread lives on.
                        drop(catch_unwind(AssertUnwindSafe(job)));
                    }
                })?;
        }
        Ok(Self { jobs })
    }

    /// Returns how many jobs wait for a thread.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.len()
    }

    /// Hands `job` to the threads and returns at once.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        // The threads hold the receiver for as long as a sender exists.
        drop(self.jobs.send(Box::new(job)));
    }

    /// Runs `job` on a helper thread and returns what it returned.
    ///
    /// # Errors
    /// `Other` when the job panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let slot = Arc::new(Slot {
            outcome: Mutex::new(None),
            done: Notify::default(),
        });
        let theirs = Arc::clone(&slot);
        self.submit(move || {
            let outcome = catch_unwind(AssertUnwindSafe(job));
            *theirs.outcome.lock() = Some(outcome);
            theirs.done.wake_all();
        });
        let outcome = slot.done.wait(|| slot.outcome.lock().take()).await;
        outcome.map_err(|panic| io::Error::other(describe(&*panic)))
    }
}

/// Where a job leaves its outcome for the task that waits for it.
struct Slot<T> {
    outcome: Mutex<Option<std::thread::Result<T>>>,
    done: Notify,
}

fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("a helper thread panicked: {text}")
}

/// Threads of the pool that serves [`blocking`]: enough that slow disks and name servers overlap.
const BLOCKING_THREADS: usize = 16;

/// How often it is looked whether a file's other user has let go of it.
const CLOSE_LOOKS: usize = 1000;

static HELPERS: OnceLock<io::Result<Pool>> = OnceLock::new();

/// Returns how many calls of [`blocking`] wait for a thread.
pub fn helper_jobs_waiting() -> usize {
    let pool = HELPERS.get().and_then(|pool| pool.as_ref().ok());
    pool.map_or(0, Pool::waiting)
}

fn helpers() -> io::Result<&'static Pool> {
    match HELPERS.get_or_init(|| Pool::start("helper", BLOCKING_THREADS)) {
        Ok(pool) => Ok(pool),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// Runs a call that may block on the process-wide helper pool.
///
/// # Errors
/// `Other` when the call panicked or the pool could not be started.
pub async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    helpers()?.run(job).await
}

/// Closes a file on a helper thread, where this is its last user: to close one that was deleted frees its
/// pages and blocks, which takes a second for some gigabytes.
///
/// To be called by who is about to drop its own handle.
pub fn close_later(file: &Arc<File>) {
    let file = Arc::clone(file);
    let job = move || {
        // The caller's own handle goes within a moment. Another user's may stay: then that one closes.
        for _ in 0..CLOSE_LOOKS {
            if Arc::strong_count(&file) == 1 {
                break;
            }
            std::thread::yield_now();
        }
        drop(file);
    };
    if let Ok(pool) = helpers() {
        pool.submit(job);
    }
}

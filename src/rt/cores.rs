//! Cores: one pinned thread each, with a ring of its own.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use super::deadline;
use super::tier::{RING_ENTRIES, Tier};
use super::turn;

/// Which core a thread is, handed to what runs on it.
#[derive(Clone, Debug)]
pub struct Core {
    /// Position among the cores, from 0.
    pub index: usize,
    /// What it runs on.
    pub tier: Tier,
}

/// The running cores.
#[derive(Debug)]
pub struct Cores {
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Cores {
    /// Starts `count` threads, pins each to a processor that this process may use, and runs
    /// `main(core)` on each until it ends.
    ///
    /// # Errors
    /// When a thread cannot be started. A ring that cannot be built is told by [`Cores::join`].
    pub fn start<M, F>(count: usize, tier: &Tier, main: M) -> io::Result<Self>
    where
        M: Fn(Core) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let processors = allowed_processors();
        let threads = (0..count)
            .map(|index| {
                let processor = processors.get(index % processors.len().max(1)).copied();
                let core = Core {
                    index,
                    tier: tier.clone(),
                };
                let main = main.clone();
                std::thread::Builder::new()
                    .name(format!("core-{index}"))
                    .spawn(move || {
                        if let Some(processor) = processor {
                            pin(processor);
                        }
                        run_or_end(core.tier.clone(), async move { main(core).await })
                    })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { threads })
    }

    /// Starts one thread that is not pinned, for what is not worth a core.
    ///
    /// # Errors
    /// As [`Cores::start`].
    pub fn start_unpinned<M, F>(name: &str, tier: &Tier, main: M) -> io::Result<Self>
    where
        M: FnOnce(Core) -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let core = Core {
            index: 0,
            tier: tier.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run_or_end(core.tier.clone(), async move { main(core).await }))?;
        Ok(Self {
            threads: vec![thread],
        })
    }

    /// Waits until every core has ended.
    ///
    /// # Errors
    /// The first core's error, or `Other` when a core panicked.
    pub fn join(self) -> io::Result<()> {
        self.threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a core panicked")))
        })
    }
}

/// Exit status of a process that met a bug (`EX_SOFTWARE` of sysexits.h).
const EXIT_BUG: i32 = 70;

/// As [`run`], but a panic or a ring that cannot be built ends the process: a core that is gone while
/// the others go on would leave a part of the clients without service, and nobody would know.
fn run_or_end(tier: Tier, main: impl Future<Output = ()>) -> io::Result<()> {
    match catch_unwind(AssertUnwindSafe(|| run(tier, main))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::error!(%error, "a core cannot run");
            std::process::exit(1)
        }
        Err(_) => {
            tracing::error!("a core panicked: this is a bug; ending, to be started again");
            std::process::exit(EXIT_BUG)
        }
    }
}

/// Runs `main` on this thread's own runtime, with the deadline sweeper beside it.
pub(super) fn run(tier: Tier, main: impl Future<Output = ()>) -> io::Result<()> {
    let main = async move {
        monoio::spawn(deadline::sweep());
        main.await;
    };
    if matches!(tier, Tier::Epoll { .. }) {
        turn::on_epoll();
    }
    match tier {
        Tier::Uring { flags } => RuntimeBuilder::<TimeDriver<IoUringDriver>>::new()
            .with_entries(RING_ENTRIES)
            .uring_builder(flags.builder())
            .build()?
            .block_on(main),
        Tier::Epoll { .. } => RuntimeBuilder::<TimeDriver<LegacyDriver>>::new()
            .with_entries(RING_ENTRIES)
            .build()?
            .block_on(main),
    }
    Ok(())
}

/// Starts a task on this core; it runs on when its starter has gone.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    drop(monoio::spawn(task));
}

/// Returns the processors that this process may run on, in order.
fn allowed_processors() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else {
        return Vec::new();
    };
    (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&processor| set.is_set(processor))
        .collect()
}

/// Pins this thread. A refusal only costs speed, so it is logged, not returned.
fn pin(processor: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(processor);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(processor, %error, "a core could not be pinned");
    }
}

//! The upgrade without a gap, from the side of the process that runs: SIGUSR2 starts the program again, and this
//! process leaves when the new one serves. What passes between the two: see `handover`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::handover::{Bound, Giving, Heir};
use crate::rt::Flag;
use crate::server::{Leaving, Service, Succession};

/// How long the cores have for their last accepts: a turn of their loops.
const LEAVING_MAX: Duration = Duration::from_secs(5);

/// How many processes before it the next one asks: more than that, each with its fills, means that upgrades follow
/// each other faster than any fill ends.
const PREDECESSORS_MAX: usize = 4;

/// The process that runs, as far as another one can take over from it.
pub(super) struct Upgrade {
    service: Arc<Service>,
    cores: usize,
    stage: Mutex<Stage>,
    /// Raised when another process has taken over.
    succeeded: Arc<Flag>,
    /// Where those before this process are asked; who has left does not answer.
    before_us: Vec<String>,
}

/// How far it is.
enum Stage {
    /// Nobody has been started.
    Idle(Giving),
    /// One has been started, and is not ready yet.
    Starting,
    /// It has taken over. Kept, since the end of its channel tells it that this process has ended.
    Succeeded {
        #[expect(dead_code, reason = "it is there to be open")]
        heir: Heir,
    },
    /// This process takes no more connections; nobody will take over.
    Leaving,
}

impl Upgrade {
    /// Returns the way to hand over `bound`, the sockets that this process listens on.
    ///
    /// # Errors
    /// When the kernel does not tell where this program lies.
    pub(super) fn new(
        service: Arc<Service>,
        cores: usize,
        bound: Bound,
        succeeded: Arc<Flag>,
        before_us: &[String],
    ) -> io::Result<Self> {
        Ok(Self {
            service,
            cores,
            stage: Mutex::new(Stage::Idle(Giving::new(bound)?)),
            succeeded,
            before_us: before_us.to_vec(),
        })
    }

    /// Starts the next process, on a thread of its own; this one goes on as it is until that one is ready.
    pub(super) fn begin(self: &Arc<Self>) {
        let giving = {
            let mut stage = self.stage.lock();
            match std::mem::replace(&mut *stage, Stage::Starting) {
                Stage::Idle(giving) => giving,
                other => {
                    *stage = other;
                    tracing::warn!(
                        "SIGUSR2: another process is taking over, or this one is ending"
                    );
                    return;
                }
            }
        };
        tracing::info!("SIGUSR2: starting the program again, to take over");
        let upgrade = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name("upgrade".to_owned())
            .spawn(move || upgrade.run(giving));
        if let Err(error) = spawned {
            // The sockets to give went with the thread that was not.
            *self.stage.lock() = Stage::Leaving;
            tracing::error!(%error, "no thread for the upgrade: this process serves on, until it is restarted");
        }
    }

    fn run(&self, giving: Giving) {
        let started = Succession::open(self.cores).and_then(|(succession, leaving)| {
            let before_us = self.before_us.iter().take(PREDECESSORS_MAX - 1);
            let ask_at = std::iter::once(succession.url()).chain(before_us.cloned());
            Ok((giving.start(ask_at.collect())?, succession, leaving))
        });
        match started {
            Ok((heir, succession, leaving)) => self.hand_over(heir, succession, &leaving),
            Err(error) => {
                tracing::error!(%error, "the new process did not take over: this one serves on");
                let mut stage = self.stage.lock();
                // Unless it was drained meanwhile: then the sockets are to close.
                if matches!(*stage, Stage::Starting) {
                    *stage = Stage::Idle(giving);
                }
            }
        }
    }

    fn hand_over(&self, heir: Heir, succession: Succession, leaving: &Leaving) {
        // Before the first of its own words: systemd heeds the main process alone.
        super::serve::notify(&[
            sd_notify::NotifyState::MainPid(heir.id),
            sd_notify::NotifyState::Ready,
        ]);
        self.succeeded.raise();
        self.service.hand_over(succession);
        if !leaving.wait(LEAVING_MAX) {
            tracing::warn!("a core did not stop taking connections: both processes take them");
        }
        heir.let_go();
        tracing::info!(
            successor = heir.id,
            "another process has taken over: finishing what is in flight"
        );
        *self.stage.lock() = Stage::Succeeded { heir };
    }

    /// Lets go of the sockets: nobody will take over. Says whether somebody has.
    pub(super) fn leave(&self) -> bool {
        let mut stage = self.stage.lock();
        if matches!(*stage, Stage::Succeeded { .. }) {
            return true;
        }
        *stage = Stage::Leaving;
        false
    }
}

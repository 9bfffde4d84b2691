//! The upgrade without a gap, from the side of the process that runs: SIGUSR2 starts the program again, and this
//! process leaves when the new one serves. What passes between the two: see `handover`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::handover::{Bound, Giving, Heir, Way};
use crate::rt::Flag;
use crate::server::{Service, Succession};

/// How long the cores have for their last accepts: a turn of their loops.
const LEAVING_MAX: Duration = Duration::from_secs(5);

/// The process that runs, as far as another one can take over from it.
pub(super) struct Upgrade {
    service: Arc<Service>,
    cores: usize,
    stage: Mutex<Stage>,
    /// Raised when another process has taken over.
    succeeded: Arc<Flag>,
    /// Raised when the process before this one has ended.
    before_us_left: Arc<Flag>,
}

/// How far it is.
enum Stage {
    /// Nobody has been started.
    Idle(Giving),
    /// One has been started, and is not ready yet.
    Starting,
    /// It has taken over.
    Succeeded,
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
        before_us_left: Arc<Flag>,
    ) -> io::Result<Self> {
        Ok(Self {
            service,
            cores,
            stage: Mutex::new(Stage::Idle(Giving::new(bound)?)),
            succeeded,
            before_us_left,
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
        let started = giving.start();
        let mut stage = self.stage.lock();
        if !matches!(*stage, Stage::Starting) {
            // Stopped meanwhile: the other one was never told to go on, and hears now that it shall not.
            drop(started);
            return;
        }
        match started {
            Ok(heir) => {
                *stage = Stage::Succeeded;
                drop(stage);
                // Our hold on the sockets, before they are the other's alone.
                drop(giving);
                self.hand_over(&heir);
                self.serve(&heir);
            }
            Err(error) => {
                *stage = Stage::Idle(giving);
                tracing::error!(%error, "the new process did not take over: this one serves on");
            }
        }
    }

    fn hand_over(&self, heir: &Heir) {
        let (succession, leaving) = Succession::new(self.cores, Arc::clone(&self.before_us_left));
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
    }

    /// Has what the other process passes served, here or by the process before this one, until one of them ends.
    fn serve(&self, heir: &Heir) {
        while let Some((back, connection)) = heir.next() {
            match back.checked_sub(1) {
                None => self.service.serve_successor(connection),
                // Whoever asks finds the connection closed if there is nobody.
                Some(back) if !self.before_us_left.is_raised() => {
                    drop(Way::back(back, &connection));
                }
                Some(_) => {}
            }
        }
    }

    /// Lets go of the sockets: nobody will take over. Says whether somebody has.
    pub(super) fn leave(&self) -> bool {
        let mut stage = self.stage.lock();
        if matches!(*stage, Stage::Succeeded) {
            return true;
        }
        *stage = Stage::Leaving;
        false
    }
}

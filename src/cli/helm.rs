//! What steers a running server: signals, and what the admin API asks for, which are signals too.

use std::io;
use std::sync::Arc;

use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use super::reload::Reloader;
use super::upgrade::Upgrade;
use crate::admin::{Reloaded, Steering, tell_check};
use crate::config::LogLevel;
use crate::server::Service;
use crate::store::Store;
use crate::warm::Warm;

/// What the admin API does to the server.
pub(super) struct Helm {
    service: Arc<Service>,
    store: Arc<Store>,
    reloader: Arc<Reloader>,
}

impl Helm {
    pub(super) fn new(reloader: &Arc<Reloader>) -> Self {
        Self {
            service: Arc::clone(&reloader.parts.service),
            store: Arc::clone(&reloader.parts.store),
            reloader: Arc::clone(reloader),
        }
    }
}

impl Steering for Helm {
    fn reasons(&self) -> Vec<String> {
        let draining = self.is_draining().then(|| "draining".to_owned());
        let trouble = self.store.trouble();
        let trouble = trouble.map(|(kind, error)| format!("storage {}: {error}", kind.label()));
        let checks = self.failing_checks().into_iter();
        let checks = checks.map(|(name, why)| tell_check(&name, &why));
        draining.into_iter().chain(trouble).chain(checks).collect()
    }

    fn failing_checks(&self) -> Vec<(String, String)> {
        self.reloader.failing_checks()
    }

    fn is_draining(&self) -> bool {
        self.service.is_draining()
    }

    fn drain(&self) {
        // A second signal would end it at once.
        if !self.is_draining() {
            raise(Signal::TERM);
        }
    }

    fn upgrade(&self) {
        raise(Signal::USR2);
    }

    fn reload(&self) -> Reloaded {
        self.reloader.reload()
    }

    fn log_level(&self) -> &'static str {
        self.reloader.log.level().name()
    }

    fn set_log_level(&self, name: &str) -> bool {
        let level = LogLevel::of_name(name);
        if let Some(level) = level {
            tracing::info!(level = name, "the log level was changed by an operator");
            self.reloader.log.set_level(level);
        }
        level.is_some()
    }
}

/// Signals this process: what an operator asks for is then just what a signal does, and happens in one place.
fn raise(signal: Signal) {
    if let Err(error) = rustix::process::kill_process(rustix::process::getpid(), signal) {
        tracing::warn!(%error, "this process could not signal itself");
    }
}

/// SIGHUP reads the configuration again, see [`Reloader`]; SIGUSR2 has another process take over. Of the others the
/// first drains, the second ends at once.
pub(super) fn heed_signals(
    service: Arc<Service>,
    reloader: Arc<Reloader>,
    upgrade: Arc<Upgrade>,
    warm: Arc<Warm>,
) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR2])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut is_leaving = false;
            for signal in signals.forever() {
                match signal {
                    SIGHUP => drop(reloader.reload()),
                    SIGUSR2 => upgrade.begin(),
                    _ if is_leaving => {
                        tracing::warn!("second signal: ending at once");
                        std::process::exit(128 + signal);
                    }
                    _ => {
                        is_leaving = true;
                        leave(&service, &upgrade, &warm, signal);
                    }
                }
            }
        })?;
    Ok(())
}

fn leave(service: &Service, upgrade: &Upgrade, warm: &Warm, signal: i32) {
    if upgrade.leave() {
        // A service manager that stops us all tells each of us.
        tracing::info!(
            signal,
            "another process has taken over: finishing what is in flight as before"
        );
        return;
    }
    tracing::info!(signal, "draining");
    super::serve::notify(&[sd_notify::NotifyState::Stopping]);
    // What nobody waits for is not waited for.
    warm.stop();
    service.drain();
}

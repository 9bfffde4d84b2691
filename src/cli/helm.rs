//! What steers a running server: signals, and what the admin API asks for, which are signals too.

use std::io;
use std::sync::Arc;

use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::reload::Reloader;
use crate::admin::{Reloaded, Steering, tell_check};
use crate::config::LogLevel;
use crate::server::Service;
use crate::store::Store;

/// What the admin API does to the server.
pub(super) struct Helm {
    pub(super) service: Arc<Service>,
    pub(super) store: Arc<Store>,
    pub(super) reloader: Arc<Reloader>,
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

/// SIGHUP reads the configuration again, see [`Reloader`]. Of the others the first drains, the second ends at once.
pub(super) fn heed_signals(service: Arc<Service>, reloader: Arc<Reloader>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    reloader.reload();
                    continue;
                }
                if service.is_draining() {
                    tracing::warn!("second signal: ending at once");
                    std::process::exit(128 + signal);
                }
                tracing::info!(signal, "draining");
                super::serve::notify(&[sd_notify::NotifyState::Stopping]);
                service.drain();
            }
        })?;
    Ok(())
}

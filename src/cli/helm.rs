//! What steers a running server: signals, and what the admin API asks for, which are signals too.

use std::io;
use std::sync::Arc;

use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use super::upgrade::Upgrade;
use crate::access_log::AccessLog;
use crate::admin::Steering;
use crate::server::Service;
use crate::store::Store;

/// What the admin API does to the server.
pub(super) struct Helm {
    pub(super) service: Arc<Service>,
    pub(super) store: Arc<Store>,
}

impl Steering for Helm {
    fn reasons(&self) -> Vec<String> {
        let draining = self.is_draining().then(|| "draining".to_owned());
        let trouble = self.store.trouble();
        let trouble = trouble.map(|(kind, error)| format!("storage {}: {error}", kind.label()));
        draining.into_iter().chain(trouble).collect()
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

    fn reload(&self) {
        raise(Signal::HUP);
    }
}

/// Signals this process: what an operator asks for is then just what a signal does, and happens in one place.
fn raise(signal: Signal) {
    if let Err(error) = rustix::process::kill_process(rustix::process::getpid(), signal) {
        tracing::warn!(%error, "this process could not signal itself");
    }
}

/// SIGHUP reads the certificates again, and opens the access log again; SIGUSR2 has another process take over. Of the
/// others the first drains, the second ends at once.
pub(super) fn heed_signals(
    service: Arc<Service>,
    access_log: Option<Arc<AccessLog>>,
    upgrade: Arc<Upgrade>,
) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR2])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut is_leaving = false;
            for signal in signals.forever() {
                match signal {
                    SIGHUP => reload(&service, access_log.as_deref()),
                    SIGUSR2 => upgrade.begin(),
                    _ if is_leaving => {
                        tracing::warn!("second signal: ending at once");
                        std::process::exit(128 + signal);
                    }
                    _ => {
                        is_leaving = true;
                        leave(&service, &upgrade, signal);
                    }
                }
            }
        })?;
    Ok(())
}

fn reload(service: &Service, access_log: Option<&AccessLog>) {
    tracing::info!(
        "SIGHUP: reading the certificates and opening the access log again, and nothing else"
    );
    if let Some(log) = access_log {
        log.reopen();
    }
    if !service.reread_certificates() {
        tracing::info!("there are none: clients are served without TLS");
    }
}

fn leave(service: &Service, upgrade: &Upgrade, signal: i32) {
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
    service.drain();
}

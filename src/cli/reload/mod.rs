//! Reading the configuration again: SIGHUP, and whoever asks for it at the admin API.
//!
//! ```text
//!  recipe ─▶ sources ─▶ load, lint ─┬─ problems: told, nothing changes
//!                                   ╰─ holds ─▶ open what can fail ─▶ each part's reload ─▶ told by key
//! ```
//!
//! Invariants
//! - All that can fail is done before anything is applied.
//! - One at a time, whoever asks.
//! - Keys are told, values never.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sd_notify::NotifyState;

use super::args;
use super::log::LogHandle;
use super::serve::{bound_connections, notify};
use crate::access::Access;
use crate::access_log::{self, AccessLog};
use crate::admin::{Reloaded, Token};
use crate::config::{Effective, Failure, Running, Sources};
use crate::fill::Fills;
use crate::health::Health;
use crate::server::Service;
use crate::store::Store;
use crate::upstream::Upstream;

/// How the configuration was made at the start, and is made again: the same command line and environment, the
/// file as it is then.
pub(super) struct Recipe {
    options: args::Options,
    env: BTreeMap<String, String>,
}

impl Recipe {
    pub(super) const fn new(options: args::Options, env: BTreeMap<String, String>) -> Self {
        Self { options, env }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// One line for the operator when it cannot be read.
    pub(super) fn sources(&self) -> Result<Sources, String> {
        super::sources(self.options.clone(), self.env.clone())
    }
}

/// What is read, what it is held against, and the log, which is there first.
pub(super) struct Reading {
    pub(super) recipe: Recipe,
    pub(super) running: Running,
    pub(super) log: LogHandle,
}

/// The parts that take up a change.
#[derive(Clone)]
pub(super) struct Reloads {
    pub(super) service: Arc<Service>,
    pub(super) store: Arc<Store>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) fills: Arc<Fills>,
    pub(super) access: Arc<Access>,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) token: Arc<Token>,
    pub(super) health: Arc<Health>,
    /// Most files that may be open, which bounds connections.
    pub(super) open_files: usize,
}

/// Reads the configuration again and applies it.
pub(super) struct Reloader {
    recipe: Recipe,
    pub(super) log: LogHandle,
    pub(super) parts: Reloads,
    state: Mutex<State>,
}

struct State {
    running: Running,
    access_log: Option<access_log::Options>,
}

impl Reloader {
    pub(super) fn new(
        reading: Reading,
        parts: Reloads,
        access_log: Option<access_log::Options>,
    ) -> Self {
        let Reading {
            recipe,
            running,
            log,
        } = reading;
        Self {
            recipe,
            log,
            parts,
            state: Mutex::new(State {
                running,
                access_log,
            }),
        }
    }

    /// Reads, applies and tells what came of it, to the log as well. Blocks until it is done.
    pub(super) fn reload(&self) -> Reloaded {
        let mut state = self.state.lock();
        self.notify_begun();
        tracing::info!("reading the configuration again");
        let reloaded = self.read().and_then(|read| self.apply(&mut state, read));
        let reloaded = reloaded.unwrap_or_else(|problems| Reloaded {
            problems,
            ..Reloaded::default()
        });
        tell(&reloaded);
        if !self.parts.service.is_draining() {
            notify(&[NotifyState::Ready]);
        }
        reloaded
    }

    /// Tells the service manager, which then waits for `READY=1` (`Type=notify-reload`). It takes no such word
    /// from a service that is stopping.
    fn notify_begun(&self) {
        if self.parts.service.is_draining() {
            return;
        }
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "no monotonic clock"),
        }
    }

    /// Returns the operator's own checks that fail, by name, each with its reason.
    pub(super) fn failing_checks(&self) -> Vec<(String, String)> {
        self.parts.health.failing()
    }

    fn read(&self) -> Result<Effective, Vec<String>> {
        let sources = self.recipe.sources().map_err(|error| vec![error])?;
        let told = |failure: Failure| failure.problems.iter().map(ToString::to_string).collect();
        super::effective(&sources).map_err(told)
    }

    fn apply(&self, state: &mut State, read: Effective) -> Result<Reloaded, Vec<String>> {
        let Effective {
            mut settings,
            warnings,
            values,
            ..
        } = read;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        bound_connections(&mut settings, self.parts.open_files);
        let parts = &self.parts;
        let has_new_log = settings.access_log != state.access_log;
        let new_log = has_new_log.then(|| AccessLog::open(settings.access_log.as_ref()));
        let told = |error: std::io::Error| vec![format!("transship.access_log.output: {error}")];
        let new_log = new_log.transpose().map_err(told)?;
        let stored = parts.store.reload(&settings.store);
        stored.map_err(|error| vec![format!("the storage: {error}")])?;
        // From here on nothing fails.
        match new_log {
            Some(log) => parts.access_log.turn_to(log),
            None => parts.access_log.reopen(),
        }
        state.access_log = settings.access_log;
        self.log.reload(&settings.log);
        parts.service.reload(&settings.server);
        parts.upstream.reload(&settings.upstream);
        parts.fills.reload(settings.fill);
        parts.access.reload(&settings.access);
        parts.health.reload(&settings.health);
        parts.token.store(settings.admin.token.map(Arc::new));
        if !parts.service.reread_certificates() {
            tracing::info!("there are no certificates: clients are served without TLS");
        }
        let changes = state.running.take_up(&values);
        Ok(Reloaded {
            applied: changes.applied,
            needs_restart: changes.needs_restart,
            problems: Vec::new(),
        })
    }
}

/// Logs what came of it.
fn tell(reloaded: &Reloaded) {
    let Reloaded {
        applied,
        needs_restart,
        problems,
    } = reloaded;
    for problem in problems {
        tracing::error!("the configuration does not hold: {problem}");
    }
    if !problems.is_empty() {
        tracing::error!(
            problems = problems.len(),
            "reload: nothing has changed, the old configuration stays in force"
        );
        return;
    }
    if !applied.is_empty() {
        tracing::info!(keys = applied.join(" "), "reload: changed and applied");
    }
    if !needs_restart.is_empty() {
        tracing::warn!(
            keys = needs_restart.join(" "),
            "reload: changed, and needs a restart, or an upgrade (SIGUSR2), which no client notices"
        );
    }
    if applied.is_empty() && needs_restart.is_empty() {
        tracing::info!("reload: nothing has changed in the configuration");
    }
}

//! The health checks that an operator asks for (`health` of the registry's configuration).
//!
//! ```text
//!  health thread: due? ─▶ probe (file, HTTP, TCP) ─▶ count ─ threshold ─▶ reasons ─▶ /readyz, /debug/health
//!                                                                     ╰─▶ on_change ─▶ 503 to clients
//! ```
//!
//! As in the registry: a check is first made when its interval has passed, and fails when it has failed
//! `threshold` times in a row. A file that is there fails, so that whoever makes it takes the cache out of
//! service.
//!
//! Invariants
//! - Checks are made one after the other on one thread, each within its timeout: none holds up a core.
//! - What a reload takes away is forgotten, and no reason any more.

mod probe;
mod tally;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use url::Url;

use tally::Tally;

/// What an operator wants to be checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Each check, in the order of the file.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is looked at.
    pub target: Target,
    /// How often (`interval`).
    pub interval: Duration,
    /// How long it may take (`timeout`).
    pub timeout: Duration,
    /// How often it has to fail in a row (`threshold`); at least once.
    pub threshold: u32,
}

/// What a check looks at. `Debug` hides what is sent.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// A file that must not be there (`health.file`).
    File(PathBuf),
    /// An address that must answer a HEAD (`health.http`).
    Http {
        /// Where.
        uri: Url,
        /// Fields that are sent.
        headers: Vec<(String, String)>,
        /// The status that is well.
        status: u16,
    },
    /// A port that must take a connection (`health.tcp`): `host:port`.
    Tcp(String),
}

impl Target {
    /// Returns the check's name, which is the registry's but for what may be secret: it stands on pages that
    /// everybody may see, and in the log.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Http { uri, .. } => {
                let mut uri = uri.clone();
                uri.set_query(None);
                uri.set_fragment(None);
                // An address that cannot have them has none.
                let _ = uri.set_password(None);
                let _ = uri.set_username("");
                uri.to_string()
            }
            Self::Tcp(addr) => addr.clone(),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        if let Self::Http {
            headers, status, ..
        } = self
        {
            let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
            write!(f, " {names:?} {status}")?;
        }
        Ok(())
    }
}

/// The checks of a running server.
pub struct Health {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    on_change: Box<dyn Fn(bool) + Send + Sync>,
}

struct State {
    tally: Tally,
    /// Counts reloads, so that what a check of an older one has found is forgotten.
    generation: u64,
}

impl Health {
    /// Starts the thread; it waits where there is nothing to check.
    ///
    /// - `on_change`: told whether any check fails, whenever that changes.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        options: &Options,
        on_change: impl Fn(bool) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                tally: Tally::new(options, Instant::now()),
                generation: 0,
            }),
            changed: Condvar::new(),
            on_change: Box::new(on_change),
        });
        let ours = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("health".to_owned())
            .spawn(move || ours.run())?;
        Ok(Self { shared })
    }

    /// Makes the checks of `options` from now on. What stays as it was keeps what is known of it.
    pub fn reload(&self, options: &Options) {
        let mut state = self.shared.state.lock();
        if state.tally.take_up(options, Instant::now()) {
            state.generation += 1;
            self.shared.tell(&state);
            self.shared.changed.notify_all();
        }
    }

    /// Returns the checks that fail, by name, each with the reason.
    #[must_use]
    pub fn failing(&self) -> Vec<(String, String)> {
        self.shared.state.lock().tally.failing()
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.state.lock().tally.fmt(f)
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            match state.tally.next(Instant::now()) {
                tally::Next::Nothing => self.changed.wait(&mut state),
                tally::Next::At(due) => drop(self.changed.wait_until(&mut state, due)),
                tally::Next::Check(index, check) => {
                    let generation = state.generation;
                    drop(state);
                    let outcome = probe::probe(&check);
                    state = self.state.lock();
                    if state.generation == generation {
                        self.note(&mut state, index, outcome);
                    }
                }
            }
        }
    }

    fn note(&self, state: &mut State, index: usize, outcome: Result<(), String>) {
        match state.tally.note(index, outcome, Instant::now()) {
            Some(tally::Change::Fails(name, why)) => {
                tracing::warn!(check = name, why, "a health check fails");
            }
            Some(tally::Change::IsWell(name)) => {
                tracing::info!(check = name, "a health check is well again");
            }
            None => return,
        }
        self.tell(state);
    }

    fn tell(&self, state: &State) {
        (self.on_change)(!state.tally.failing().is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_named_without_what_may_be_secret() {
        let target = Target::Http {
            uri: Url::parse("https://u:pass@h.example:1/a?key=s3cret#x").unwrap(),
            headers: vec![("X-A".to_owned(), "s3cret".to_owned())],
            status: 200,
        };
        assert_eq!(target.name(), "https://h.example:1/a");
        assert_eq!(format!("{target:?}"), "https://h.example:1/a [\"X-A\"] 200");
    }
}

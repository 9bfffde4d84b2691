//! What is done when something was pushed, or by a schedule: caches are warmed, images are copied to other registries.
//!
//! ```text
//!  push, time ─▶ matching ─▶ table (SQL) ─▶ work ─┬─ warm      a cache's admin API
//!                                                 ├─ schedule  the backend's tags ─▶ table
//!                                                 ╰─ mirror    blobs, manifests ─▶ other registry
//! ```
//!
//! Invariants
//! - A push is never failed by a rule.
//! - What was noted is done in the end, or is said to have failed: it survives the process, and any of several gateways
//!   may do it, never two at a time.

mod api;
mod backoff;
mod contents;
mod matching;
mod mirror;
mod progress;
mod remote;
mod schedule;
mod table;
mod trouble;
mod warm;
mod work;

use std::sync::Arc;

use tokio::sync::Notify;

use self::matching::Compiled;
use self::mirror::Places;
use self::remote::Remote;
use self::table::{Kind, Lane, Table, Task};
use super::app::{App, now};
use super::{Failure, MirrorRule, WarmRule, options, outbound};
use crate::registry::{Name, Reference};

pub(super) use api::described;

/// A tag, or a manifest without one, that was pushed through the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    pub(super) repository: String,
    /// The tag, or the digest where it was pushed without one.
    pub(super) reference: String,
}

/// Takes what was pushed.
#[derive(Clone, Debug)]
pub(super) struct Rules(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    warm: Vec<Compiled<WarmRule>>,
    mirror: Vec<Compiled<MirrorRule>>,
    uploads: reqwest::Client,
    places: Places,
    /// Something was noted, for each lane.
    copies: Notify,
    questions: Notify,
}

impl Rules {
    /// Reads the rules.
    ///
    /// # Errors
    /// A rule that does not hold.
    pub(super) fn new(options: &options::Options) -> Result<Self, Failure> {
        for rule in &options.mirror {
            let prefix = remote::prefix(&rule.to);
            let prefix = prefix.trim_end_matches('/');
            if !prefix.is_empty() {
                let name = Name::parse(prefix);
                name.map_err(|error| Failure::new(format!("gateway.mirror: {prefix}"), error))?;
            }
        }
        Ok(Self(Arc::new(Parts {
            warm: Compiled::of(&options.warm, |rule| &rule.images)?,
            mirror: Compiled::of(&options.mirror, |rule| &rule.images)?,
            uploads: outbound::streaming(options)?,
            places: Places::default(),
            copies: Notify::new(),
            questions: Notify::new(),
        })))
    }

    /// Begins to work off what there is to do: on the runtime that this runs on.
    pub(super) fn start(&self, app: App) {
        tokio::spawn(work::run(app.clone(), Lane::Copies));
        tokio::spawn(work::run(app.clone(), Lane::Questions));
        tokio::spawn(work::sweep(app.clone()));
        tokio::spawn(schedule::run(app));
    }

    /// Takes note of a push. Waits for nothing but the database.
    pub(super) async fn pushed(&self, app: &App, pushed: Pushed) {
        let Pushed {
            repository,
            reference,
        } = &pushed;
        if Name::parse(repository).is_err() || Reference::parse(reference).is_err() {
            return;
        }
        for task in self.tasks(&pushed) {
            match Table(&app.state.pool).add(&task, now()).await {
                Ok(()) => self.wake(task.kind),
                Err(error) => tracing::error!(
                    %error, kind = task.kind.name(), repository, reference, target = task.target,
                    "a push is not noted: the database does not take it"
                ),
            }
        }
    }

    /// What a push is to bring about, each once.
    fn tasks(&self, pushed: &Pushed) -> Vec<Task> {
        let Pushed {
            repository,
            reference,
        } = pushed;
        let warm = self
            .0
            .warm
            .iter()
            .filter(|one| one.matcher.warms(repository, reference));
        let caches = warm.flat_map(|one| &one.rule.caches);
        let mirror = self
            .0
            .mirror
            .iter()
            .filter(|one| one.matcher.mirrors(repository, reference));
        let targets = mirror.map(|one| (Kind::Mirror, one.rule.to.to_string()));
        let mut tasks: Vec<Task> = Vec::new();
        for (kind, target) in caches.map(|name| (Kind::Warm, name.clone())).chain(targets) {
            let (repository, reference) = (repository.clone(), reference.clone());
            let task = Task {
                kind,
                repository,
                reference,
                target,
            };
            if !tasks.contains(&task) {
                tasks.push(task);
            }
        }
        tasks
    }

    /// Says that something of a kind was noted.
    fn wake(&self, kind: Kind) {
        self.lane(Lane::of(kind)).notify_one();
    }

    /// Waits until something was noted.
    async fn noted(&self, lane: Lane) {
        self.lane(lane).notified().await;
    }

    fn lane(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Copies => &self.0.copies,
            Lane::Questions => &self.0.questions,
        }
    }

    fn warm_rules(&self) -> &[Compiled<WarmRule>] {
        &self.0.warm
    }

    fn mirror_rules(&self) -> &[Compiled<MirrorRule>] {
        &self.0.mirror
    }

    fn places(&self) -> &Places {
        &self.0.places
    }

    fn uploads(&self) -> reqwest::Client {
        self.0.uploads.clone()
    }

    /// The backend, in the gateway's own name.
    fn backend(&self, app: &App) -> Remote {
        let (backend, login) = (&app.options.backend, app.options.backend_login.clone());
        Remote::new("backend", backend, login, app.client.clone())
    }
}

/// Says whether `text` is a glob of repositories or tags.
#[must_use]
pub fn is_glob(text: &str) -> bool {
    !text.is_empty() && matching::glob(text).is_ok()
}

/// Says whether `text` is a cron pattern.
#[must_use]
pub fn is_schedule(text: &str) -> bool {
    text.parse::<croner::Cron>().is_ok()
}

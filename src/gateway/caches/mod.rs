//! Content caches: which there are, which are up, and which one a client is sent to.
//!
//! A pull asks no database: what it needs is a copy of the tables, read again when this gateway or another one has
//! changed them. A database that goes away leaves the copy as it was.
//!
//! Invariants
//! - Nobody is sent to a cache that was not seen to be up at the address that it has now.
//! - A choice of a cache that is no more is no choice.

mod choice;
mod probe;
mod watch;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use url::Url;

pub(super) use watch::{Look, Trust};

use super::app::now;
use super::identity::Subject;
use super::state::{State, StateError};
use super::{Failure, options};
use crate::auth::Secret;
use watch::Watch;

/// How often the database is asked whether another gateway has changed something.
const READ_EVERY: Duration = Duration::from_secs(2);

/// The most caches that are looked at at a time.
///
/// Those that are dead each take the whole of `probe.timeout`, and no live one is to wait long for its turn.
const LOOKS_MAX: usize = 64;

/// A content cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cache {
    pub(super) id: String,
    pub(super) name: String,
    /// Where clients reach it: scheme, host and port.
    pub(super) host: Url,
    /// Clients of these networks are sent here when they chose nothing.
    pub(super) networks: Vec<IpNet>,
    /// Whether it is for all others who chose nothing.
    pub(super) is_default: bool,
    /// Its admin API, for warming.
    pub(super) admin: Option<(Url, Option<Secret>)>,
}

/// How a cache was when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Not looked at yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not, for this reason.
    Down(String),
}

/// All caches, watched.
#[derive(Clone, Debug)]
pub(super) struct Caches(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: State,
    client: reqwest::Client,
    probe: options::Probe,
    tables: ArcSwap<Tables>,
    /// Held while the tables are read, so that older ones never replace newer ones.
    reading: tokio::sync::Mutex<()>,
    /// Of each cache of the tables, by id.
    watches: Mutex<HashMap<String, Watch>>,
    looks: Semaphore,
}

/// A copy of what the database says.
#[derive(Debug, Default)]
struct Tables {
    revision: i64,
    /// By name.
    caches: Vec<Arc<Cache>>,
    /// The cache's id, by user.
    choices: HashMap<String, String>,
}

impl Caches {
    /// Reads the caches, and begins to watch them: on the runtime that this runs on.
    ///
    /// # Errors
    /// A database that does not answer.
    pub(super) async fn open(
        state: State,
        client: reqwest::Client,
        probe: options::Probe,
    ) -> Result<Self, Failure> {
        let caches = Self(Arc::new(Inner {
            state,
            client,
            probe,
            tables: ArcSwap::default(),
            reading: tokio::sync::Mutex::default(),
            watches: Mutex::default(),
            looks: Semaphore::new(LOOKS_MAX),
        }));
        caches.read().await?;
        tokio::spawn(caches.clone().keep_reading());
        tokio::spawn(caches.clone().keep_looking());
        Ok(caches)
    }

    /// Returns all caches with their health, by name.
    ///
    /// # Errors
    /// A database that does not answer.
    pub(super) async fn all(&self) -> Result<Vec<(Arc<Cache>, Health)>, Failure> {
        self.read_if_new().await?;
        let tables = self.0.tables.load();
        let each = tables.caches.iter();
        Ok(each
            .map(|cache| (Arc::clone(cache), self.look_of(cache).health))
            .collect())
    }

    /// Returns how a cache was when it was last looked at, at the address that it has here.
    pub(super) fn look_of(&self, cache: &Cache) -> Look {
        let watches = self.0.watches.lock();
        let watch = watches.get(&cache.id);
        let watch = watch.filter(|watch| watch.host == cache.host);
        watch.map_or_else(Look::none, |watch| watch.look.clone())
    }

    /// Returns the cache that `subject` at `client` is sent to: the one that they chose, else the one of the closest
    /// network, else the default; if that one is up.
    pub(super) async fn choose(&self, subject: &Subject, client: IpAddr) -> Option<Arc<Cache>> {
        if matches!(subject, Subject::Cache(_)) {
            return None;
        }
        let tables = self.0.tables.load();
        let chosen = subject.user().and_then(|user| tables.choices.get(user));
        let is_up = |cache: &Cache| self.look_of(cache).health == Health::Up;
        let chosen = chosen.map(String::as_str);
        choice::choose(&tables.caches, chosen, client, is_up).cloned()
    }

    /// Reads the tables, which this gateway has just changed. Where that fails they are read a little later.
    pub(super) async fn changed(&self) {
        if let Err(error) = self.read().await {
            tracing::warn!(%error, "what was changed is not seen yet");
        }
    }

    /// Looks at a cache, and returns what was seen.
    pub(super) async fn look_at(&self, cache: &Cache, trust: Trust) -> Look {
        let inner = &*self.0;
        let seen = {
            let _permit = inner.looks.acquire().await;
            probe::probe(&inner.client, &cache.host, inner.probe.timeout).await
        };
        let mut watches = inner.watches.lock();
        let watch = watches.get_mut(&cache.id);
        // It may have moved, or have been taken away, while it was looked at.
        let Some(watch) = watch.filter(|watch| watch.host == cache.host) else {
            let mut watch = Watch::new(cache.host.clone());
            watch.saw(seen, Trust::AtOnce, now());
            return watch.look;
        };
        let was = watch.look.health.clone();
        watch.saw(seen, trust, now());
        tell(cache, &was, &watch.look.health);
        watch.look.clone()
    }

    /// Reads the tables if somebody has changed them.
    async fn read_if_new(&self) -> Result<(), StateError> {
        if self.0.state.revision().await? == self.0.tables.load().revision {
            return Ok(());
        }
        self.read().await
    }

    /// Reads the tables, and begins to watch caches that are new in them.
    async fn read(&self) -> Result<(), StateError> {
        let inner = &*self.0;
        let _turn = inner.reading.lock().await;
        // First of all: what is changed while the rest is read is then read again.
        let revision = inner.state.revision().await?;
        let caches = inner.state.caches().await?;
        let caches: Vec<Arc<Cache>> = caches.into_iter().map(Arc::new).collect();
        let choices = inner.state.choices().await?;
        let new = self.watch(&caches);
        inner.tables.store(Arc::new(Tables {
            revision,
            caches,
            choices,
        }));
        for cache in new {
            let caches = self.clone();
            tokio::spawn(async move { caches.look_at(&cache, Trust::AtOnce).await });
        }
        Ok(())
    }

    /// Watches these caches and no others; returns those that were not watched at their address.
    fn watch(&self, caches: &[Arc<Cache>]) -> Vec<Arc<Cache>> {
        let mut watches = self.0.watches.lock();
        let mut before = std::mem::take(&mut *watches);
        let mut new = Vec::new();
        for cache in caches {
            let watch = before.remove(&cache.id);
            let watch = watch.filter(|watch| watch.host == cache.host);
            let watch = watch.unwrap_or_else(|| {
                new.push(Arc::clone(cache));
                Watch::new(cache.host.clone())
            });
            watches.insert(cache.id.clone(), watch);
        }
        new
    }

    async fn keep_reading(self) {
        let mut ticks = interval(READ_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_away = false;
        loop {
            ticks.tick().await;
            match self.read_if_new().await {
                Ok(()) if is_away => tracing::info!("the database is back"),
                Err(error) if !is_away => {
                    tracing::error!(%error, "caches and choices stay as they were last known");
                }
                Ok(()) | Err(_) => continue,
            }
            is_away = !is_away;
        }
    }

    async fn keep_looking(self) {
        let mut ticks = interval(self.0.probe.interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is at once; new caches have their look already.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let caches = self.0.tables.load().caches.clone();
            let looks = futures_util::stream::iter(caches);
            let look = |cache: Arc<Cache>| {
                let caches = &self;
                async move {
                    caches.look_at(&cache, Trust::InTime).await;
                }
            };
            looks.for_each_concurrent(LOOKS_MAX, look).await;
        }
    }
}

/// Tells the log that a cache is up or down where it was not before.
fn tell(cache: &Cache, was: &Health, is: &Health) {
    let (name, host) = (&cache.name, cache.host.as_str());
    match (was, is) {
        (Health::Up, Health::Up) | (Health::Down(_), Health::Down(_)) | (_, Health::Unknown) => {}
        (_, Health::Up) => tracing::info!(cache = name, host, "the content cache is up"),
        (_, Health::Down(reason)) => {
            tracing::warn!(cache = name, host, reason, "the content cache is down");
        }
    }
}

//! The keys that signed URLs are checked with: from a file, an address, or the origin itself.
//!
//! Nothing is fetched before a token or the next cache asks. After that sets are fetched on a timer and
//! whenever a token names a key that is not known, by one request at a time. A fetch that fails leaves
//! what was known; keys that a source no longer lists go with the next fetch that succeeds.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use url::Url;

use super::{Access, Denial, Item, KeySource, Options};
use crate::auth::{KeySet, KeySetError, Refusal, Secret, SignedUrl};
use crate::limits::{KEYS_REFRESH_EVERY, KEYS_REFRESH_MIN};
use crate::rt::{self, Notify, blocking};
use crate::upstream::Upstream;

/// The key sets at hand and where they come from.
#[derive(Debug)]
pub(super) struct Keys {
    sources: Vec<KeySource>,
    secret: Option<Secret>,
    /// One set a source, in their order; together they are tried as one.
    sets: Mutex<Vec<KeySet>>,
    current: ArcSwap<KeySet>,
    fetched: Mutex<Option<Instant>>,
    is_fetching: AtomicBool,
    arrived: Notify,
}

impl Keys {
    /// Reads a file of keys; fetches nothing.
    ///
    /// # Errors
    /// A file that cannot be read or holds no key.
    pub(super) fn new(options: &Options, upstream: &Upstream) -> io::Result<Self> {
        let sources = match &options.keys {
            Some(source) => vec![source.clone()],
            None => {
                let found = upstream.key_addresses().into_iter();
                found.map(KeySource::Url).collect()
            }
        };
        let keys = Self {
            sets: Mutex::new(vec![KeySet::default(); sources.len()]),
            sources,
            secret: options.secret.clone(),
            current: ArcSwap::default(),
            fetched: Mutex::default(),
            is_fetching: AtomicBool::new(false),
            arrived: Notify::default(),
        };
        for (index, source) in keys.sources.iter().enumerate() {
            if let KeySource::File(path) = source {
                keys.put(index, read(path)?);
            }
        }
        keys.publish().map_err(io::Error::other)?;
        Ok(keys)
    }

    /// Makes one set of all, for everyone to see.
    fn publish(&self) -> Result<(), KeySetError> {
        let sets = self.sets.lock().clone();
        let mut all = sets.into_iter().fold(KeySet::default(), KeySet::and);
        if let Some(secret) = &self.secret {
            all = all.with_secret(secret)?;
        }
        self.current.store(Arc::new(all));
        Ok(())
    }

    fn put(&self, index: usize, set: KeySet) {
        for skipped in set.skipped() {
            tracing::info!(%skipped, "a key of signed URLs is not used");
        }
        self.sets.lock()[index] = set;
    }

    /// Says whether the sets were fetched at least once.
    fn is_wanted(&self) -> bool {
        self.fetched.lock().is_some()
    }

    /// Returns how long to wait before a fetch may begin.
    fn pause(&self) -> std::time::Duration {
        let fetched = *self.fetched.lock();
        let since = fetched.map(|at| at.elapsed());
        since.map_or_else(Default::default, |since| {
            KEYS_REFRESH_MIN.saturating_sub(since)
        })
    }
}

fn read(path: &Path) -> io::Result<KeySet> {
    let about = |error: &dyn std::fmt::Display| {
        io::Error::other(format!(
            "transship.access.keys: {}: {error}",
            path.display()
        ))
    };
    let json = std::fs::read(path).map_err(|error| about(&error))?;
    KeySet::parse(&json).map_err(|error| about(&error))
}

impl Access {
    /// Checks a signed URL for `item`; returns until when it counts, in seconds since the epoch.
    pub(super) async fn check_signature(
        self: &Arc<Self>,
        token: &str,
        item: Item<'_>,
        now: u64,
    ) -> Result<u64, Denial> {
        match self.verify(token, item, now) {
            // It may have been signed with a key of just now.
            Err(Refusal::KeyUnknown) => {
                self.refresh_keys().await;
                self.verify(token, item, now)
            }
            outcome => outcome,
        }
        .map_err(Denial::Signature)
    }

    fn verify(&self, token: &str, item: Item<'_>, now: u64) -> Result<u64, Refusal> {
        let keys = self.keys.current.load();
        let leeway = self.options.leeway.as_secs();
        let signed = SignedUrl::check(token, &keys, now, leeway, item.repository, &item.digest)?;
        Ok(signed.until)
    }

    /// Returns the public keys as a JWK set, for the next cache; fetched first if they never were.
    /// `None` where there are none.
    pub async fn public_keys(self: &Arc<Self>) -> Option<Vec<u8>> {
        if !self.keys.is_wanted() {
            self.refresh_keys().await;
        }
        let keys = self.keys.current.load();
        (!keys.is_empty()).then(|| keys.to_json().into_bytes())
    }

    /// Fetches all sets anew, or waits for whoever does.
    ///
    /// Two fetches are at least [`KEYS_REFRESH_MIN`] apart: whoever comes sooner waits, so that no good
    /// token is refused for it and no bad one makes the origin busy.
    async fn refresh_keys(self: &Arc<Self>) {
        let keys = &self.keys;
        if !keys.is_fetching.swap(true, Ordering::AcqRel) {
            let access = Arc::clone(self);
            rt::spawn(async move {
                rt::sleep(access.keys.pause()).await;
                access.fetch_keys().await;
                *access.keys.fetched.lock() = Some(Instant::now());
                access.keys.is_fetching.store(false, Ordering::Release);
                access.keys.arrived.wake_all();
            });
        }
        let arrived = || (!keys.is_fetching.load(Ordering::Acquire)).then_some(());
        keys.arrived.wait(arrived).await;
    }

    async fn fetch_keys(&self) {
        for (index, source) in self.keys.sources.iter().enumerate() {
            let fetched = match source {
                KeySource::File(path) => {
                    let path = path.clone();
                    let read = blocking(move || read(&path)).await;
                    let read = read.and_then(std::convert::identity);
                    read.map(Some).map_err(|error| error.to_string())
                }
                KeySource::Url(url) => self.fetch_set(url).await,
            };
            match fetched {
                Ok(Some(set)) => self.keys.put(index, set),
                Ok(None) => {}
                Err(error) => tracing::warn!(error, "keys of signed URLs could not be fetched"),
            }
        }
        // The secret was good at the start.
        drop(self.keys.publish());
    }

    async fn fetch_set(&self, url: &Url) -> Result<Option<KeySet>, String> {
        let fetched = self.upstream.key_set(url).await;
        let Some(json) = fetched.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let set = KeySet::parse(&json);
        set.map(Some)
            .map_err(|error| format!("{}: {error}", url.host_str().unwrap_or_default()))
    }

    /// Fetches keys anew now and then, once somebody has needed them. Ends with its core.
    pub async fn keep_keys_fresh(self: Arc<Self>) {
        loop {
            rt::sleep(KEYS_REFRESH_EVERY).await;
            if self.keys.is_wanted() {
                self.refresh_keys().await;
            }
        }
    }
}

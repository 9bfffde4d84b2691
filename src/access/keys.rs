//! The keys that signed URLs are checked with: from a file, an address, or the origin itself.
//!
//! A file is read again when it changes. Addresses are not asked before a token or the next cache needs
//! them; after that on a timer, and whenever a token names a key that is not known, one fetch at a time. A
//! fetch that fails leaves what was known; a source that answers without keys has taken them back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use url::Url;

use super::watched::Watched;
use super::{Access, Denial, Item, KeySource, Options};
use crate::auth::{KeySet, KeySetError, Refusal, Secret, SignedUrl};
use crate::limits::{KEYS_REFRESH_EVERY, KEYS_REFRESH_MIN};
use crate::rt::{self, Notify};
use crate::upstream::{Trail, Upstream};

/// The keys at hand and where they come from.
#[derive(Debug)]
pub(super) enum Keys {
    /// A file's, the secret among them.
    Filed(Watched<KeySet>),
    Fetched(Fetched),
}

/// Keys of one or several addresses; together they are one set.
#[derive(Debug)]
pub(super) struct Fetched {
    addresses: Vec<Url>,
    secret: Option<Secret>,
    /// By address, in their order.
    sets: Mutex<Vec<KeySet>>,
    current: ArcSwap<KeySet>,
    turns: Mutex<Turns>,
    fetched: Notify,
}

/// Which fetch runs, and which have ended.
#[derive(Debug, Default)]
struct Turns {
    /// Fetches that were begun.
    begun: u64,
    /// Fetches that have ended.
    ended: u64,
    last: Option<Instant>,
}

impl Keys {
    /// Reads a file of keys; fetches nothing.
    ///
    /// # Errors
    /// A file that cannot be read or holds no key.
    pub(super) fn new(options: &Options, upstream: &Upstream) -> io::Result<Self> {
        let secret = options.secret.clone();
        let addresses = match &options.keys {
            Some(KeySource::File(path)) => {
                let read = move |paths: &[PathBuf]| read(&paths[0], secret.as_ref());
                return Watched::new(vec![path.clone()], read).map(Self::Filed);
            }
            Some(KeySource::Url(url)) => vec![url.clone()],
            None => upstream.key_addresses(),
        };
        let none = join(Vec::new(), secret.as_ref()).map_err(io::Error::other)?;
        Ok(Self::Fetched(Fetched {
            sets: Mutex::new(vec![KeySet::default(); addresses.len()]),
            addresses,
            secret,
            current: ArcSwap::from_pointee(none),
            turns: Mutex::default(),
            fetched: Notify::default(),
        }))
    }

    fn current(&self) -> Arc<KeySet> {
        match self {
            Self::Filed(file) => Arc::clone(&file.current()),
            Self::Fetched(fetched) => fetched.current.load_full(),
        }
    }
}

impl Fetched {
    /// Says whether anybody has needed the keys yet.
    fn is_wanted(&self) -> bool {
        self.turns.lock().ended > 0
    }

    /// Puts one address's set in place of what it gave before.
    fn put(&self, index: usize, set: KeySet) {
        let mut sets = self.sets.lock();
        if set.skipped() != sets[index].skipped() {
            for skipped in set.skipped() {
                tracing::warn!(%skipped, "a key of signed URLs is not used");
            }
        }
        sets[index] = set;
        // The secret was good at the start.
        if let Ok(all) = join(sets.clone(), self.secret.as_ref()) {
            self.current.store(Arc::new(all));
        }
    }

    /// Begins a fetch unless one runs; returns how long it has to wait first.
    fn begin(&self) -> Option<Duration> {
        let mut turns = self.turns.lock();
        if turns.begun > turns.ended {
            return None;
        }
        turns.begun += 1;
        let since = turns.last.map(|last| last.elapsed());
        Some(since.map_or(Duration::ZERO, |since| {
            KEYS_REFRESH_MIN.saturating_sub(since)
        }))
    }
}

/// The duty to say that a fetch has ended; kept even if its task is dropped.
struct Fetching<'f>(&'f Fetched);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        {
            let mut turns = self.0.turns.lock();
            turns.ended = turns.begun;
            turns.last = Some(Instant::now());
        }
        self.0.fetched.wake_all();
    }
}

/// Makes one set of several and the secret.
fn join(sets: Vec<KeySet>, secret: Option<&Secret>) -> Result<KeySet, KeySetError> {
    let all = sets.into_iter().fold(KeySet::default(), KeySet::and);
    match secret {
        Some(secret) => all.with_secret(secret),
        None => Ok(all),
    }
}

fn read(path: &Path, secret: Option<&Secret>) -> io::Result<KeySet> {
    let about = |kind, error: &dyn std::fmt::Display| {
        let text = format!("transship.access.keys: {}: {error}", path.display());
        io::Error::new(kind, text)
    };
    let json = std::fs::read(path).map_err(|error| about(error.kind(), &error))?;
    let useless = |error| about(io::ErrorKind::InvalidData, &error);
    let set = KeySet::parse(&json).map_err(useless)?;
    for skipped in set.skipped() {
        tracing::warn!(%skipped, "a key of signed URLs is not used");
    }
    join(vec![set], secret).map_err(useless)
}

impl Access {
    /// Checks a signed URL for `item`; returns until when it counts, in seconds since the epoch.
    pub(super) async fn check_signature(
        self: &Arc<Self>,
        token: &str,
        item: Item<'_>,
        now: u64,
        trail: Trail,
    ) -> Result<u64, Denial> {
        if let Keys::Filed(file) = &self.keys {
            file.look().await;
        }
        match self.verify(token, item, now) {
            // It may have been signed with a key of just now.
            Err(Refusal::KeyUnknown) => {
                self.refresh_keys(trail).await;
                self.verify(token, item, now)
            }
            outcome => outcome,
        }
        .map_err(Denial::Signature)
    }

    fn verify(&self, token: &str, item: Item<'_>, now: u64) -> Result<u64, Refusal> {
        let keys = self.keys.current();
        let leeway = self.times.leeway.get().as_secs();
        let signed = SignedUrl::check(token, &keys, now, leeway, item.repository, &item.digest)?;
        Ok(signed.until)
    }

    /// Returns the public keys as a JWK set, for the next cache; fetched first if they never were.
    ///
    /// - `trail`: what the request for them passed before it came here.
    pub async fn public_keys(self: &Arc<Self>, trail: Trail) -> String {
        let is_wanted = match &self.keys {
            Keys::Filed(_) => false,
            Keys::Fetched(fetched) => fetched.is_wanted(),
        };
        if !is_wanted {
            self.refresh_keys(trail).await;
        }
        self.keys.current().to_json()
    }

    /// Looks at the file, or waits for a fetch that begins from here on.
    ///
    /// Two fetches are at least [`KEYS_REFRESH_MIN`] apart: whoever comes sooner waits, so that no good
    /// token is refused for it and no bad one makes the origin busy.
    async fn refresh_keys(self: &Arc<Self>, trail: Trail) {
        let fetched = match &self.keys {
            Keys::Filed(file) => return file.look_now().await,
            Keys::Fetched(fetched) => fetched,
        };
        // One that runs may have been answered already.
        let wanted = fetched.turns.lock().begun + 1;
        loop {
            if let Some(pause) = fetched.begin() {
                let access = Arc::clone(self);
                let trail = trail.clone();
                rt::spawn(async move { access.fetch_keys(pause, trail).await });
            }
            let reached = fetched.fetched.wait(|| {
                let turns = fetched.turns.lock();
                (turns.begun == turns.ended || turns.ended >= wanted).then_some(turns.ended)
            });
            if reached.await >= wanted {
                return;
            }
        }
    }

    async fn fetch_keys(&self, pause: Duration, trail: Trail) {
        let Keys::Fetched(fetched) = &self.keys else {
            return;
        };
        let _fetching = Fetching(fetched);
        rt::sleep(pause).await;
        for (index, url) in fetched.addresses.iter().enumerate() {
            match self.fetch_set(url, trail.clone()).await {
                Ok(set) => fetched.put(index, set),
                Err(error) => tracing::warn!(error, "keys of signed URLs could not be fetched"),
            }
        }
    }

    /// Fetches one set; empty where the address says that there is none.
    async fn fetch_set(&self, url: &Url, trail: Trail) -> Result<KeySet, String> {
        let fetched = self.upstream.key_set(url, trail).await;
        let Some(json) = fetched.map_err(|error| error.to_string())? else {
            return Ok(KeySet::default());
        };
        match KeySet::parse(&json) {
            Ok(set) => Ok(set),
            Err(KeySetError::NothingUsable(skipped)) if skipped.is_empty() => Ok(KeySet::default()),
            Err(error) => Err(format!("{}: {error}", url.host_str().unwrap_or_default())),
        }
    }

    /// Keeps keys fresh, once somebody has needed them. Ends with its core.
    pub async fn keep_keys_fresh(self: Arc<Self>) {
        loop {
            rt::sleep(KEYS_REFRESH_EVERY).await;
            let is_wanted = match &self.keys {
                Keys::Filed(_) => true,
                Keys::Fetched(fetched) => fetched.is_wanted(),
            };
            if is_wanted {
                self.refresh_keys(Trail::default()).await;
            }
        }
    }
}

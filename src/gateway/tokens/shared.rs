//! The keys of this gateway, in its files, and those of all that share the database.
//!
//! Nothing of the database is trusted to be a key: each row is read on its own, and one that is none is left out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sqlx::Row as _;

use super::keys::{Folder, Key};
use super::ring::{Due, Ring, Timed};
use crate::auth::KeySet;
use crate::gateway::Failure;
use crate::gateway::app::now;
use crate::gateway::options::{Algorithm, Options};
use crate::gateway::state::Pool;
use crate::limits::{KEY_SET_KEYS_MAX, KEYS_REFRESH_MIN};

/// How often keys are looked after, and other gateways' keys read.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Longest time that the database may take: who waits for keys that another gateway made has those that are known.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest public key that is read from the database, in bytes.
const JWK_BYTES_MAX: usize = 4096;

/// Keys.
pub(super) struct Shared {
    folder: Folder,
    algorithm: Algorithm,
    pool: Pool,
    ring: ArcSwap<Ring>,
    published: ArcSwap<KeySet>,
    learned: tokio::sync::Mutex<Option<Instant>>,
    /// The last thing that went wrong, so that it is said once.
    told: Mutex<Option<String>>,
}

impl Shared {
    /// Reads the keys, and makes one of `options`' algorithm if there is none.
    ///
    /// # Errors
    /// A key that is of no use or readable by others, or a database that does not answer.
    pub(super) async fn open(
        options: &Options,
        pool: Pool,
        life_seconds: u64,
    ) -> Result<Arc<Self>, Failure> {
        let folder = Folder::open(options.state.join("keys"))?;
        let rows = times(&pool).await.map_err(database)?;
        let now = now();
        let timed = folder.read()?.into_iter().map(|key| {
            let (made, ends) = rows.get(&key.kid).copied().unwrap_or((now, 0));
            Timed { key, made, ends }
        });
        let rotate_seconds = options.tokens.rotate.as_secs();
        let rotate_seconds = rotate_seconds.max(u64::from(!options.tokens.rotate.is_zero()));
        let ring = Ring::new(timed.collect(), rotate_seconds, life_seconds);
        let newest = ring.keys().last().map(|timed| timed.key.algorithm);
        let shared = Arc::new(Self {
            folder,
            algorithm: options.tokens.algorithm,
            pool,
            ring: ArcSwap::from_pointee(ring),
            published: ArcSwap::default(),
            learned: tokio::sync::Mutex::default(),
            told: Mutex::default(),
        });
        if newest.is_some_and(|algorithm| algorithm != shared.algorithm) {
            shared.make(now).await?;
        }
        shared.look_after(now).await?;
        shared.read_all(now).await.map_err(database)?;
        Ok(shared)
    }

    /// Looks after the keys until nobody needs them.
    pub(super) fn follow(shared: &Arc<Self>) {
        let shared = Arc::downgrade(shared);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                let looked = shared.look_after(now()).await;
                shared.tell(looked.err());
                shared.learn().await;
            }
        });
    }

    /// Returns the key that signs at `now`.
    pub(super) fn signing(&self, now: u64) -> Option<Key> {
        self.ring.load().signing(now).map(|timed| timed.key.clone())
    }

    /// Returns all public keys.
    pub(super) fn published(&self) -> Arc<KeySet> {
        self.published.load_full()
    }

    /// Reads other gateways' keys, unless that was done within [`KEYS_REFRESH_MIN`].
    pub(super) async fn learn(&self) {
        let mut learned = self.learned.lock().await;
        if learned.is_some_and(|learned| learned.elapsed() < KEYS_REFRESH_MIN) {
            return;
        }
        let read = self.read_all(now()).await;
        // Taken afterwards, so that a slow database is not asked without a pause.
        *learned = Some(Instant::now());
        if let Err(error) = read {
            self.tell(Some(database(error)));
        }
    }

    /// Does all that is due.
    async fn look_after(&self, now: u64) -> Result<(), Failure> {
        // Copied, so that what fails has changed nothing. Each step makes the next one another.
        while let Some(due) = { self.ring.load().due(now) } {
            match due {
                Due::Make => self.make(now).await?,
                Due::Renew(index, ends) => {
                    let mut ring = Ring::clone(&self.ring.load());
                    ring.renew(index, ends);
                    if let Some(timed) = ring.keys().get(index) {
                        self.write(timed).await.map_err(database)?;
                    }
                    self.ring.store(Arc::new(ring));
                }
                Due::Remove(index) => {
                    let mut ring = Ring::clone(&self.ring.load());
                    if let Some(timed) = ring.keys().get(index) {
                        self.folder.remove(&timed.key.kid);
                    }
                    ring.remove(index);
                    self.ring.store(Arc::new(ring));
                    self.forget(now).await.map_err(database)?;
                    self.read_all(now).await.map_err(database)?;
                }
            }
        }
        Ok(())
    }

    /// Makes a key, and publishes it before it is among those that sign.
    async fn make(&self, now: u64) -> Result<(), Failure> {
        let (key, pkcs8) = Key::make(self.algorithm)?;
        let mut ring = Ring::clone(&self.ring.load());
        let timed = Timed {
            key,
            made: now,
            ends: ring.ends(now),
        };
        self.folder.write(&timed.key, &pkcs8)?;
        if let Err(error) = self.write(&timed).await {
            self.folder.remove(&timed.key.kid);
            return Err(database(error));
        }
        tracing::info!(kid = timed.key.kid, "a new key");
        ring.add(timed);
        self.ring.store(Arc::new(ring));
        self.read_all(now).await.map_err(database)
    }

    /// Writes a key's row, or until when it counts.
    async fn write(&self, timed: &Timed) -> Result<(), sqlx::Error> {
        let upsert = "INSERT INTO signing_keys (kid, jwk, made, ends) VALUES ($1, $2, $3, $4)
            ON CONFLICT (kid) DO UPDATE SET ends = excluded.ends";
        let upsert = sqlx::query(upsert)
            .bind(timed.key.kid.clone())
            .bind(timed.key.jwk.to_string())
            .bind(seconds(timed.made))
            .bind(seconds(timed.ends));
        patiently(upsert.execute(&self.pool)).await.map(drop)
    }

    /// Removes what counts no longer: of any gateway, as those that are gone cannot.
    async fn forget(&self, now: u64) -> Result<(), sqlx::Error> {
        let delete = "DELETE FROM signing_keys WHERE ends <= $1";
        let deleted = sqlx::query(delete).bind(seconds(now));
        patiently(deleted.execute(&self.pool)).await.map(drop)
    }

    /// Reads the keys of all gateways that count at `now`; the own ones count in any case.
    async fn read_all(&self, now: u64) -> Result<(), sqlx::Error> {
        let select =
            "SELECT kid, jwk FROM signing_keys WHERE ends > $1 ORDER BY made DESC LIMIT $2";
        let select = sqlx::query(select)
            .bind(seconds(now))
            .bind(i64::try_from(KEY_SET_KEYS_MAX).unwrap_or(i64::MAX));
        let rows = patiently(select.fetch_all(&self.pool)).await;
        let ring = self.ring.load();
        let own = ring.keys().iter().map(|timed| timed.key.jwk.clone());
        let mut jwks: Vec<Value> = own.collect();
        for row in rows.iter().flatten() {
            let (kid, jwk): (String, String) = (row.try_get("kid")?, row.try_get("jwk")?);
            if ring.keys().iter().any(|timed| timed.key.kid == kid) || jwk.len() > JWK_BYTES_MAX {
                continue;
            }
            let jwk: Option<Value> = serde_json::from_str(&jwk).ok();
            // A row speaks for the key of its own name alone.
            jwks.extend(jwk.filter(|jwk| jwk["kid"] == kid.as_str()));
        }
        jwks.truncate(KEY_SET_KEYS_MAX);
        if let Ok(keys) = KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes()) {
            self.published.store(Arc::new(keys));
        }
        rows.map(drop)
    }

    /// Logs what went wrong, unless it did the same way before.
    fn tell(&self, failure: Option<Failure>) {
        let text = failure.map(|failure| failure.to_string());
        let mut told = self.told.lock();
        if *told != text
            && let Some(text) = &text
        {
            tracing::error!(error = text, "the keys that sign cannot be looked after");
        }
        *told = text;
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Ends a question to a database that hangs.
async fn patiently<T>(
    question: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let answer = tokio::time::timeout(PATIENCE, question).await;
    answer.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Returns when each key was made and ends, by its name.
async fn times(pool: &Pool) -> Result<HashMap<String, (u64, u64)>, sqlx::Error> {
    let rows = sqlx::query("SELECT kid, made, ends FROM signing_keys");
    let rows = patiently(rows.fetch_all(pool)).await?;
    let read = |row: &sqlx::any::AnyRow| {
        let time = |name: &str| {
            row.try_get::<i64, _>(name)
                .map(|s| s.try_into().unwrap_or(0))
        };
        Ok((row.try_get("kid")?, (time("made")?, time("ends")?)))
    };
    rows.iter().map(read).collect()
}

fn seconds(time: u64) -> i64 {
    time.try_into().unwrap_or(i64::MAX)
}

fn database(error: sqlx::Error) -> Failure {
    Failure::new("gateway.database", error)
}

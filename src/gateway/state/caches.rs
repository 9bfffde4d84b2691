//! Content caches, and what users chose.

use std::collections::HashMap;

use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Row as _, Transaction};

use super::{CACHES_MAX, State, StateError, patiently};
use crate::auth::Secret;
use crate::gateway::caches::Cache;

const COLUMNS: &str = "SELECT id, name, host, networks, is_default, admin_url, admin_token FROM content_caches ORDER BY name";
const OF_ID: &str = "SELECT id, name, host, networks, is_default, admin_url, admin_token FROM content_caches WHERE id = $1";

impl State {
    /// Returns a number that is another one after each change of what is told here.
    pub(in crate::gateway) async fn revision(&self) -> Result<i64, StateError> {
        patiently(async {
            let row = sqlx::query("SELECT number FROM revision");
            let row = row.fetch_one(&self.pool).await?;
            Ok(row.try_get(0)?)
        })
        .await
    }

    /// Returns all caches, by name. A row that nobody could have written is left out, and told in the log.
    pub(in crate::gateway) async fn caches(&self) -> Result<Vec<Cache>, StateError> {
        patiently(async {
            let rows = sqlx::query(COLUMNS).fetch_all(&self.pool).await?;
            Ok(rows.iter().filter_map(|row| cache(row).ok()).collect())
        })
        .await
    }

    /// Returns the cache of this id.
    pub(in crate::gateway) async fn cache(&self, id: &str) -> Result<Option<Cache>, StateError> {
        patiently(async {
            let row = sqlx::query(OF_ID).bind(id);
            let row = row.fetch_optional(&self.pool).await?;
            row.as_ref().map(cache).transpose()
        })
        .await
    }

    /// Adds a cache.
    pub(in crate::gateway) async fn add_cache(&self, cache: &Cache) -> Result<(), StateError> {
        const ADD: &str = "INSERT INTO content_caches \
             (name, host, networks, is_default, admin_url, admin_token, id) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        patiently(async {
            let mut change = self.change().await?;
            let count = sqlx::query("SELECT COUNT(*) FROM content_caches");
            let count: i64 = count.fetch_one(&mut *change).await?.try_get(0)?;
            if count >= CACHES_MAX {
                return Err(StateError::TooManyCaches);
            }
            write(&mut change, ADD, cache).await?;
            Ok(change.commit().await?)
        })
        .await
    }

    /// Puts `cache` in the place of the one of its id. Who chose that one has chosen this one.
    pub(in crate::gateway) async fn replace_cache(&self, cache: &Cache) -> Result<(), StateError> {
        const REPLACE: &str = "UPDATE content_caches SET name = $1, host = $2, networks = $3, is_default = $4, \
             admin_url = $5, admin_token = $6 WHERE id = $7";
        patiently(async {
            let mut change = self.change().await?;
            if write(&mut change, REPLACE, cache).await? == 0 {
                return Err(StateError::NoSuchCache);
            }
            Ok(change.commit().await?)
        })
        .await
    }

    /// Takes a cache away. Who chose it has chosen none.
    pub(in crate::gateway) async fn delete_cache(&self, id: &str) -> Result<(), StateError> {
        patiently(async {
            let mut change = self.change().await?;
            let delete = sqlx::query("DELETE FROM content_caches WHERE id = $1").bind(id);
            if delete.execute(&mut *change).await?.rows_affected() == 0 {
                return Err(StateError::NoSuchCache);
            }
            Ok(change.commit().await?)
        })
        .await
    }

    /// Returns what each user chose who chose something: user and cache's id.
    pub(in crate::gateway) async fn choices(&self) -> Result<HashMap<String, String>, StateError> {
        const CHOICES: &str = "SELECT username, content_cache_id FROM user_settings WHERE content_cache_id IS NOT NULL";
        patiently(async {
            let rows = sqlx::query(CHOICES).fetch_all(&self.pool).await?;
            let pairs = rows.iter();
            let pairs = pairs.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
            pairs.collect()
        })
        .await
    }

    /// Returns the id of the cache that a user chose.
    pub(in crate::gateway) async fn choice(
        &self,
        user: &str,
    ) -> Result<Option<String>, StateError> {
        const CHOICE: &str = "SELECT content_cache_id FROM user_settings WHERE username = $1";
        patiently(async {
            let row = sqlx::query(CHOICE).bind(user);
            let row = row.fetch_optional(&self.pool).await?;
            Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
        })
        .await
    }

    /// Notes what a user chose: a cache's id, or none.
    pub(in crate::gateway) async fn choose(
        &self,
        user: &str,
        id: Option<&str>,
    ) -> Result<(), StateError> {
        const CHOOSE: &str = "INSERT INTO user_settings (username, content_cache_id) VALUES ($1, $2) \
             ON CONFLICT (username) DO UPDATE SET content_cache_id = excluded.content_cache_id";
        patiently(async {
            let mut change = self.change().await?;
            let choose = sqlx::query(CHOOSE).bind(user).bind(id);
            choose.execute(&mut *change).await?;
            Ok(change.commit().await?)
        })
        .await
    }

    /// Returns who chose the cache of this id, sorted.
    pub(in crate::gateway) async fn users_of(&self, id: &str) -> Result<Vec<String>, StateError> {
        const USERS: &str =
            "SELECT username FROM user_settings WHERE content_cache_id = $1 ORDER BY username";
        patiently(async {
            let rows = sqlx::query(USERS).bind(id).fetch_all(&self.pool).await?;
            let names = rows.iter().map(|row| Ok(row.try_get(0)?));
            names.collect()
        })
        .await
    }

    /// Begins a change. Until it ends, there is no other.
    async fn change(&self) -> Result<Transaction<'static, Any>, StateError> {
        let mut change = self.pool.begin().await?;
        let next = sqlx::query("UPDATE revision SET number = number + 1");
        next.execute(&mut *change).await?;
        Ok(change)
    }
}

/// Writes all of a cache by `sql`, and returns how many rows that made or changed. There is one default at most.
async fn write(
    connection: &mut AnyConnection,
    sql: &'static str,
    cache: &Cache,
) -> Result<u64, StateError> {
    if cache.is_default {
        let others = sqlx::query("UPDATE content_caches SET is_default = 0 WHERE id <> $1");
        others
            .bind(cache.id.as_str())
            .execute(&mut *connection)
            .await?;
    }
    let networks: Vec<String> = cache.networks.iter().map(ToString::to_string).collect();
    let (admin_url, admin_token) = match &cache.admin {
        Some((url, token)) => (
            Some(url.to_string()),
            token.as_ref().map(|token| token.expose().to_owned()),
        ),
        None => (None, None),
    };
    let written = sqlx::query(sql)
        .bind(cache.name.as_str())
        .bind(cache.host.to_string())
        .bind(serde_json::json!(networks).to_string())
        .bind(i32::from(cache.is_default))
        .bind(admin_url)
        .bind(admin_token)
        .bind(cache.id.as_str())
        .execute(connection)
        .await?;
    Ok(written.rows_affected())
}

/// Reads a row of a cache.
fn cache(row: &AnyRow) -> Result<Cache, StateError> {
    let id: String = row.try_get("id")?;
    let unread = |what: &str| {
        tracing::error!(
            cache = id,
            "the database has a content cache whose {what} does not hold"
        );
        StateError::Unavailable(format!("the {what} of a content cache does not hold"))
    };
    let host: String = row.try_get("host")?;
    let networks: String = row.try_get("networks")?;
    let networks = serde_json::from_str(&networks).map_err(|_| unread("networks"))?;
    let admin_url: Option<String> = row.try_get("admin_url")?;
    let admin_token: Option<String> = row.try_get("admin_token")?;
    let admin = match admin_url {
        Some(url) => Some((
            url.parse().map_err(|_| unread("admin_url"))?,
            admin_token.as_deref().map(Secret::new),
        )),
        None => None,
    };
    Ok(Cache {
        name: row.try_get("name")?,
        host: host.parse().map_err(|_| unread("host"))?,
        networks,
        is_default: row.try_get::<i64, _>("is_default")? != 0,
        admin,
        id,
    })
}

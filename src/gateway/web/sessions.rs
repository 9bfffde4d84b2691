//! Sessions in the database: they begin at a login, are looked at with each request, and end.
//!
//! Invariants
//! - One lives 12 hours, and 2 hours without being used; and no longer than its user's password.
//! - A user has at most [`PER_USER_MAX`]; the oldest give way. So the table has a bound.

use super::key::Key;
use crate::gateway::state::Pool;

/// How long one may live, in seconds.
const LIFE: i64 = 12 * 3600;

/// How long one may live without being used.
const IDLE: i64 = 2 * 3600;

/// How exactly its last use is known: not every request writes.
const SEEN_EVERY: i64 = 60;

/// Browsers that a user may be logged in at.
const PER_USER_MAX: i64 = 10;

/// An account, as it is in the password file.
#[derive(Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) name: &'a str,
    /// Its line's hash, which is another one with each password.
    pub(super) hash: &'a str,
}

/// Begins a session of `account`; those that have ended are swept out.
pub(super) async fn begin(
    pool: &Pool,
    key: &Key,
    account: Account<'_>,
    now: i64,
) -> Result<(), sqlx::Error> {
    let user = account.name;
    sqlx::query("DELETE FROM sessions WHERE began <= $1 OR seen <= $2")
        .bind(now - LIFE)
        .bind(now - IDLE)
        .execute(pool)
        .await?;
    let id = key.hash();
    let insert =
        "INSERT INTO sessions (id, username, account, began, seen) VALUES ($1, $2, $3, $4, $5)";
    sqlx::query(insert)
        .bind(&id)
        .bind(user)
        .bind(key.proof(account.hash))
        .bind(now)
        .bind(now)
        .execute(pool)
        .await?;
    // The new one is left out by name: others may have begun within the same second.
    let others = "DELETE FROM sessions WHERE username = $1 AND id <> $2 AND id NOT IN (\
                  SELECT id FROM sessions WHERE username = $3 AND id <> $4 \
                  ORDER BY began DESC, id LIMIT $5)";
    sqlx::query(others)
        .bind(user)
        .bind(&id)
        .bind(user)
        .bind(&id)
        .bind(PER_USER_MAX - 1)
        .execute(pool)
        .await?;
    Ok(())
}

/// Returns whose session it is, if it lives; `hash` gives what the password file has of an account. One whose account
/// is gone or has another password ends, for the old password may come back.
pub(super) async fn user(
    pool: &Pool,
    key: &Key,
    hash: impl Fn(&str) -> Option<String>,
    now: i64,
) -> Result<Option<String>, sqlx::Error> {
    let id = key.hash();
    let row: Option<(String, String, i64, i64)> =
        sqlx::query_as("SELECT username, account, began, seen FROM sessions WHERE id = $1")
            .bind(&id)
            .fetch_optional(pool)
            .await?;
    let Some((user, account, began, seen)) = row else {
        return Ok(None);
    };
    if !is_alive(began, seen, now) {
        return Ok(None);
    }
    if hash(&user).is_none_or(|hash| key.proof(&hash) != account) {
        end(pool, key).await?;
        return Ok(None);
    }
    if now - seen >= SEEN_EVERY {
        sqlx::query("UPDATE sessions SET seen = $1 WHERE id = $2")
            .bind(now)
            .bind(&id)
            .execute(pool)
            .await?;
    }
    Ok(Some(user))
}

/// Ends a session.
pub(super) async fn end(pool: &Pool, key: &Key) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM sessions WHERE id = $1")
        .bind(key.hash())
        .execute(pool)
        .await?;
    Ok(())
}

/// Says whether a session is alive at `now`; all are seconds since the epoch.
const fn is_alive(began: i64, seen: i64, now: i64) -> bool {
    now < began.saturating_add(LIFE) && now < seen.saturating_add(IDLE)
}

#[cfg(test)]
mod tests {
    use sqlx::any::AnyPoolOptions;

    use super::*;

    async fn pool() -> Pool {
        sqlx::any::install_default_drivers();
        let options = AnyPoolOptions::new().max_connections(1);
        let pool = options.connect("sqlite::memory:").await.unwrap();
        let migrations = sqlx::migrate!("src/gateway/state/migrations");
        migrations.run(&pool).await.unwrap();
        pool.into()
    }

    async fn count(pool: &Pool) -> i64 {
        let query = sqlx::query_scalar("SELECT COUNT(*) FROM sessions");
        query.fetch_one(pool).await.unwrap()
    }

    const fn account(name: &str) -> Account<'_> {
        Account { name, hash: "$2y$" }
    }

    const ALICE: Account<'_> = account("alice");

    #[expect(clippy::unnecessary_wraps, reason = "one that is gone has none")]
    fn same(_: &str) -> Option<String> {
        Some(ALICE.hash.to_owned())
    }

    #[tokio::test]
    async fn another_password_and_an_account_that_is_gone_end_a_session_for_good() {
        let other: fn(&str) -> Option<String> = |_| Some("$2y$other".to_owned());
        for changed in [other, |_| None] {
            let (pool, key) = (pool().await, Key::new().unwrap());
            begin(&pool, &key, ALICE, 0).await.unwrap();
            let found = user(&pool, &key, same, 0).await.unwrap();
            assert_eq!(found.as_deref(), Some("alice"));
            assert_eq!(user(&pool, &key, changed, 0).await.unwrap(), None);
            assert_eq!(user(&pool, &key, same, 0).await.unwrap(), None);
            assert_eq!(count(&pool).await, 0);
        }
    }

    #[test]
    fn a_session_ends_by_age_and_by_rest() {
        assert!(is_alive(0, 0, IDLE - 1));
        assert!(!is_alive(0, 0, IDLE));
        assert!(is_alive(0, LIFE - 1, LIFE - 1));
        assert!(!is_alive(0, LIFE - 1, LIFE));
    }

    #[tokio::test]
    async fn use_keeps_a_session_until_its_age_ends_it() {
        let (pool, key) = (pool().await, Key::new().unwrap());
        begin(&pool, &key, ALICE, 0).await.unwrap();
        let mut now = 0;
        while now + IDLE - 1 < LIFE {
            now += IDLE - 1;
            let found = user(&pool, &key, same, now).await.unwrap();
            assert_eq!(found.as_deref(), Some("alice"), "{now}");
        }
        assert_eq!(user(&pool, &key, same, LIFE).await.unwrap(), None);
    }

    #[tokio::test]
    async fn another_key_and_an_ended_session_are_nobodys() {
        let (pool, key) = (pool().await, Key::new().unwrap());
        begin(&pool, &key, ALICE, 0).await.unwrap();
        let other = Key::new().unwrap();
        assert_eq!(user(&pool, &other, same, 0).await.unwrap(), None);
        end(&pool, &other).await.unwrap();
        assert_eq!(count(&pool).await, 1);
        end(&pool, &key).await.unwrap();
        assert_eq!(user(&pool, &key, same, 0).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_user_has_so_many_and_no_more_and_the_ended_are_swept() {
        let pool = pool().await;
        let first = Key::new().unwrap();
        begin(&pool, &first, ALICE, 0).await.unwrap();
        let bob = Key::new().unwrap();
        begin(&pool, &bob, account("bob"), 0).await.unwrap();
        for _ in 0..PER_USER_MAX {
            let new = Key::new().unwrap();
            begin(&pool, &new, ALICE, 1).await.unwrap();
            assert!(user(&pool, &new, same, 1).await.unwrap().is_some());
        }
        assert_eq!(count(&pool).await, PER_USER_MAX + 1);
        assert_eq!(user(&pool, &first, same, 1).await.unwrap(), None);
        assert!(user(&pool, &bob, same, 1).await.unwrap().is_some());
        let next = Key::new().unwrap();
        begin(&pool, &next, account("carol"), LIFE + 1)
            .await
            .unwrap();
        assert_eq!(count(&pool).await, 1);
    }
}

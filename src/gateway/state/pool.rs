//! Connections to the database, which are never waited for without end.
//!
//! The database's own driver waits for as long as the other side is silent: behind a firewall that drops packets, or a
//! lock that somebody holds, that is for ever, and so would be the answer of whoever asked.

use std::io;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use sqlx::{Any, AnyPool, Describe, Either, Error, Execute, Executor, SqlStr, Transaction};
use tokio::time::{Instant, timeout_at};

use super::PATIENCE;

/// The connections. Each question to them ends within [`PATIENCE`].
#[derive(Clone, Debug)]
pub(in crate::gateway) struct Pool(AnyPool);

impl From<AnyPool> for Pool {
    fn from(pool: AnyPool) -> Self {
        Self(pool)
    }
}

impl Pool {
    /// Begins a transaction. The questions in it are for who asks them to bound.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, Error> {
        self.0.begin().await
    }
}

fn silent() -> Error {
    Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        "it does not answer",
    ))
}

type Step = Either<<Any as sqlx::Database>::QueryResult, <Any as sqlx::Database>::Row>;

impl<'p> Executor<'p> for &'p Pool {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let ends = Instant::now() + PATIENCE;
        let steps = self.0.fetch_many(query);
        let bounded = stream::unfold(Some(steps), move |steps| async move {
            let mut steps = steps?;
            match timeout_at(ends, steps.next()).await {
                Ok(step) => step.map(|step| (step, Some(steps))),
                Err(_) => Some((Err(silent()), None)),
            }
        });
        bounded.boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<<Any as sqlx::Database>::Row>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let ends = Instant::now() + PATIENCE;
        let row = self.0.fetch_optional(query);
        Box::pin(async move {
            timeout_at(ends, row)
                .await
                .unwrap_or_else(|_| Err(silent()))
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [<Any as sqlx::Database>::TypeInfo],
    ) -> BoxFuture<'e, Result<<Any as sqlx::Database>::Statement, Error>>
    where
        'p: 'e,
    {
        let ends = Instant::now() + PATIENCE;
        let made = self.0.prepare_with(sql, parameters);
        Box::pin(async move {
            timeout_at(ends, made)
                .await
                .unwrap_or_else(|_| Err(silent()))
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, Error>>
    where
        'p: 'e,
    {
        self.0.describe(sql)
    }
}

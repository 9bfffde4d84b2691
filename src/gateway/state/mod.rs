//! What a gateway remembers, in SQLite or PostgreSQL: caches, users' settings, sessions, what rules have done.
//!
//! Invariants
//! - Nothing that is said of the database, in an error or in the log, has its password in it.
//! - Every question ends within [`PATIENCE`], whoever asks it: a database that hangs is one that is away. When it is back, the next
//!   question is answered; nothing has to be started again.
//! - What changes caches or choices does so in one transaction that begins with the revision, so that it is seen by
//!   every gateway that shares the database.

mod caches;
mod open;
mod pool;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use sqlx::error::ErrorKind;

pub(super) use pool::Pool;

use super::{Failure, options};

/// Longest time that a question may take, with waiting for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most content caches that there may be: each is looked at again and again.
pub(super) const CACHES_MAX: i64 = 1000;

/// The database.
#[derive(Clone)]
pub(super) struct State {
    pub(super) pool: Pool,
}

/// A pool would show the address it connects to, and that has a password in it.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// Why the database did not do what it was asked.
#[derive(Debug)]
pub(super) enum StateError {
    /// It does not answer, or not with what it should.
    Unavailable(String),
    /// Another one has that name already.
    NameTaken,
    /// There is no cache of that id.
    NoSuchCache,
    /// There are as many caches as there may be.
    TooManyCaches,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "the database is away: {why}"),
            Self::NameTaken => f.write_str("the name is taken"),
            Self::NoSuchCache => f.write_str("there is no such content cache"),
            Self::TooManyCaches => write!(f, "there are {CACHES_MAX} content caches already"),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::new("gateway.database", error)
    }
}

impl From<sqlx::Error> for StateError {
    fn from(error: sqlx::Error) -> Self {
        let kind = error.as_database_error().map(|error| error.kind());
        match kind {
            Some(ErrorKind::UniqueViolation) => Self::NameTaken,
            Some(ErrorKind::ForeignKeyViolation) => Self::NoSuchCache,
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl State {
    /// Opens the database, and brings its tables up to date.
    ///
    /// # Errors
    /// A database that cannot be reached, or is newer than this program.
    pub(super) async fn open(options: &options::Options) -> Result<Self, Failure> {
        let pool = open::pool(options).await?;
        Ok(Self { pool: pool.into() })
    }
}

/// Ends `question` after [`PATIENCE`].
async fn patiently<T>(
    question: impl Future<Output = Result<T, StateError>>,
) -> Result<T, StateError> {
    let answer = tokio::time::timeout(PATIENCE, question).await;
    answer.unwrap_or_else(|_| Err(StateError::Unavailable("it does not answer".to_owned())))
}

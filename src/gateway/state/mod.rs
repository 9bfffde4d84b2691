//! What a gateway remembers, in SQLite or PostgreSQL: caches, users' settings, sessions, what rules have done.

use sqlx::AnyPool;

use super::{Failure, options};

/// The database.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) pool: AnyPool,
}

impl State {
    /// Opens the database, and brings its tables up to date.
    ///
    /// # Errors
    /// A database that cannot be reached, or is newer than this program.
    pub(super) async fn open(options: &options::Options) -> Result<Self, Failure> {
        sqlx::any::install_default_drivers();
        let url = match &options.database {
            Some(url) => url.expose().to_owned(),
            None => format!(
                "sqlite:{}?mode=rwc",
                options.state.join("gateway.db").display()
            ),
        };
        let pool = AnyPool::connect(&url).await;
        let pool = pool.map_err(|error| Failure::new("gateway.database", error))?;
        let migrated = sqlx::migrate!("src/gateway/state/migrations")
            .run(&pool)
            .await;
        migrated.map_err(|error| Failure::new("gateway.database", error))?;
        Ok(Self { pool })
    }
}

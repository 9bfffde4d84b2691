//! The way to a database whose tables are those of this program.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AnyConnection, AnyPool, Connection as _, Executor as _};
use url::Url;

use crate::gateway::{Failure, options};

/// The tables, as they came to be.
static MIGRATIONS: Migrator = sqlx::migrate!("src/gateway/state/migrations");

/// The most connections to the database.
const CONNECTIONS_MAX: u32 = 8;

/// Longest time until there is a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// For SQLite, which forgets all of this with the connection, `journal_mode` alone excepted.
const PRAGMAS: &str =
    "PRAGMA busy_timeout = 4000; PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON";

/// What of a path is not encoded in an address.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_');

/// Where the database is.
struct Place {
    url: String,
    /// The file, of SQLite.
    file: Option<PathBuf>,
}

/// Returns connections to a database whose tables are up to date.
pub(super) async fn pool(options: &options::Options) -> Result<AnyPool, Failure> {
    sqlx::any::install_default_drivers();
    let place = place(options)?;
    let told = |error: &dyn std::fmt::Display| {
        Failure::new(
            "gateway.database",
            without_password(&error.to_string(), &place.url),
        )
    };
    // Two programs that begin at once on a new file would both make the tables. PostgreSQL has a lock for that.
    let lock = place.file.as_deref().map(lock).transpose();
    let lock = lock.map_err(|error| told(&error))?;
    // A pool says of a server that is not there only that it took too long.
    let first = tokio::time::timeout(CONNECT_TIMEOUT, AnyConnection::connect(&place.url)).await;
    let first = first.map_err(|_| told(&"it does not answer"))?;
    let first = first.map_err(|error| told(&error))?;
    let closed = first.close().await;
    closed.map_err(|error| told(&error))?;
    let is_sqlite = place.file.is_some();
    let pool = AnyPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(CONNECT_TIMEOUT)
        // One whose question was given up waits for its answer; one that nothing comes from any more would do so for
        // as long as the kernel does.
        .after_release(|connection, _| {
            Box::pin(async {
                let alive = tokio::time::timeout(CONNECT_TIMEOUT, connection.ping()).await;
                Ok(alive.is_ok_and(|alive| alive.is_ok()))
            })
        })
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if is_sqlite {
                    connection.execute(PRAGMAS).await?;
                }
                Ok(())
            })
        })
        .connect(&place.url)
        .await;
    let pool = pool.map_err(|error| told(&error))?;
    let migrated = MIGRATIONS.run(&pool).await;
    drop(lock);
    match migrated {
        Ok(()) => Ok(pool),
        Err(MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version)) => {
            let text =
                "its tables were made by another version of transship, most likely a newer one";
            Err(told(&format!("{text} (table version {version})")))
        }
        Err(error) => Err(told(&error)),
    }
}

/// Returns where the database is. A file that is not there yet is made, for this user alone.
fn place(options: &options::Options) -> Result<Place, Failure> {
    let Some(url) = options.database.as_ref().map(|url| url.expose()) else {
        let file = options.state.join("gateway.db");
        make(&file)?;
        let path = percent_encode(file.as_os_str().as_bytes(), PATH);
        return Ok(Place {
            url: format!("sqlite:{path}?mode=rwc"),
            file: Some(file),
        });
    };
    let Some(rest) = url.strip_prefix("sqlite:") else {
        return Ok(Place {
            url: url.to_owned(),
            file: None,
        });
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = path.strip_prefix("//").unwrap_or(path);
    // Each connection would have a database of its own.
    if path.is_empty() || path == ":memory:" || query.contains("mode=memory") {
        return Err(Failure::new("gateway.database", "want the path of a file"));
    }
    let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let file = PathBuf::from(path);
    make(&file)?;
    Ok(Place {
        url: url.to_owned(),
        file: Some(file),
    })
}

/// Makes the file if it is not there. What SQLite puts beside it gets the same rights.
fn make(file: &Path) -> Result<(), Failure> {
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file);
    let owned = made.and_then(|_| {
        let mode = fs::metadata(file)?.permissions().mode();
        if mode & 0o077 == 0 {
            return Ok(());
        }
        fs::set_permissions(file, Permissions::from_mode(0o600))
    });
    owned.map_err(|error| Failure::new(file.display(), error))
}

/// Waits for whoever makes the tables of this file, and keeps others waiting until what it returns is dropped.
fn lock(file: &Path) -> io::Result<File> {
    let mut name = file.as_os_str().to_owned();
    name.push(".lock");
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(name)?;
    lock.lock()?;
    Ok(lock)
}

/// Returns `text` without the password of `url`, or without all of it where that is no address.
pub(super) fn without_password(text: &str, url: &str) -> String {
    const HIDDEN: &str = "***";
    let Ok(parsed) = Url::parse(url) else {
        return text.replace(url, HIDDEN);
    };
    let of_query = parsed.query_pairs().filter(|(name, _)| name == "password");
    let of_query = of_query.map(|(_, value)| value.into_owned());
    let raw = parsed.password().map(str::to_owned);
    let decoded = raw.as_deref().map(percent_decode_str);
    let decoded = decoded.map(|text| text.decode_utf8_lossy().into_owned());
    let passwords = raw.into_iter().chain(decoded).chain(of_query);
    let passwords = passwords.filter(|password| !password.is_empty());
    passwords.fold(text.replace(url, HIDDEN), |text, password| {
        text.replace(&password, HIDDEN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_password_is_told() {
        let told = |url: &str, text: &str| without_password(text, url);
        let url = "postgres://me:s%C3%A9same%21@db.example.org/x";
        assert_eq!(told(url, "no: s%C3%A9same%21 at db"), "no: *** at db");
        assert_eq!(told(url, "no: s\u{e9}same! at db"), "no: *** at db");
        assert_eq!(told(url, &format!("no: {url}")), "no: ***");
        let url = "postgres://db.example.org/x?user=me&password=open%20it";
        assert_eq!(told(url, "it is open it"), "it is ***");
        assert_eq!(
            told("postgres://me:word@:x", "postgres://me:word@:x?"),
            "***?"
        );
        assert_eq!(
            told("postgres://db/x", "nothing to hide"),
            "nothing to hide"
        );
    }
}

//! The cache's own doors: passwords of a file, or tokens of a token server, as the registry has them.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::{Access, Denial, Door};
use crate::auth::{Algorithms, Authorization, Htpasswd, KeySet, RegistryToken};
use crate::digest::Digest;
use crate::limits::{LOGINS_MAX, LOGINS_WAITING_MAX};
use crate::registry::Name;
use crate::rt::{Pool, blocking};

/// How often a door's files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Threads that compare passwords. A bcrypt costs 50 to 250 ms by design.
const PASSWORD_THREADS: usize = 1;

/// A door with its files read.
#[derive(Debug)]
pub(super) enum Entrance {
    Passwords(Passwords),
    Tokens(Tokens),
}

impl Entrance {
    /// Reads the door's files.
    ///
    /// # Errors
    /// A file that is of no use, with its path.
    pub(super) fn new(door: &Door) -> io::Result<Self> {
        match door {
            Door::Htpasswd { realm, path } => Ok(Self::Passwords(Passwords {
                challenge: format!("Basic realm={}", quoted(realm)).into(),
                file: Watched::new(vec![path.clone()], read_passwords)?,
                known: Mutex::default(),
                threads: Pool::start("passwords", PASSWORD_THREADS)?,
                waiting: AtomicUsize::new(0),
            })),
            Door::Token {
                realm,
                service,
                issuer,
                roots,
                jwks,
                algorithms,
            } => Ok(Self::Tokens(Tokens {
                challenge: format!("Bearer realm={},service={}", quoted(realm), quoted(service)),
                service: service.clone(),
                issuer: issuer.clone(),
                allowed: match algorithms.is_empty() {
                    true => Algorithms::REGISTRY_TOKEN,
                    false => Algorithms::named(algorithms.iter().map(String::as_str)),
                },
                keys: {
                    let paths = roots.iter().chain(jwks).cloned().collect();
                    let roots = roots.clone();
                    Watched::new(paths, move |path| read_keys(path, roots.as_deref()))?
                },
            })),
        }
    }
}

/// `auth.htpasswd`.
#[derive(Debug)]
pub(super) struct Passwords {
    challenge: Arc<str>,
    file: Watched<Htpasswd>,
    /// Credentials that were right, by salted hash, and when that was found out.
    known: Mutex<HashMap<Digest, Instant>>,
    threads: Pool,
    waiting: AtomicUsize,
}

/// `auth.token`.
#[derive(Debug)]
pub(super) struct Tokens {
    challenge: String,
    service: String,
    issuer: String,
    allowed: Algorithms,
    keys: Watched<KeySet>,
}

impl Access {
    /// Lets a credential pass the door; returns until when a token vouches for `repository`, in seconds
    /// since the epoch.
    pub(super) async fn enter(
        self: &Arc<Self>,
        entrance: &Entrance,
        credential: Option<&str>,
        repository: Option<Name<'_>>,
        now: u64,
    ) -> Result<Option<u64>, Denial> {
        match entrance {
            Entrance::Passwords(passwords) => {
                passwords.file.look().await;
                self.enter_by_password(passwords, credential).await?;
                Ok(None)
            }
            Entrance::Tokens(tokens) => {
                tokens.keys.look().await;
                tokens.enter(credential, repository, now, self.options.leeway.as_secs())
            }
        }
    }

    async fn enter_by_password(
        &self,
        passwords: &Passwords,
        credential: Option<&str>,
    ) -> Result<(), Denial> {
        let refused = || Denial::LogIn(Arc::clone(&passwords.challenge));
        let credential = credential.ok_or_else(refused)?;
        let credential = credential.as_bytes();
        let Authorization::Basic { user, password } = Authorization::parse(credential) else {
            return Err(refused());
        };
        let hash = self.salt.hash(credential);
        if passwords.is_known(&hash, self.options.remember) {
            return Ok(());
        }
        let Some(_seat) = Seat::take(&passwords.waiting) else {
            return Err(Denial::Busy);
        };
        let list = passwords.file.current.load_full();
        let verify = move || list.verify(&user, password.expose());
        match passwords.threads.run(verify).await {
            Ok(true) => {
                passwords.remember(hash, self.options.remember);
                Ok(())
            }
            _ => Err(refused()),
        }
    }
}

impl Passwords {
    fn is_known(&self, hash: &Digest, remember: Duration) -> bool {
        let known = self.known.lock();
        known
            .get(hash)
            .is_some_and(|at| at.elapsed() <= remember && *at >= self.file.since())
    }

    fn remember(&self, hash: Digest, remember: Duration) {
        let mut known = self.known.lock();
        if known.len() >= LOGINS_MAX {
            known.retain(|_, at| at.elapsed() <= remember);
        }
        if known.len() < LOGINS_MAX {
            known.insert(hash, Instant::now());
        }
    }
}

impl Tokens {
    fn enter(
        &self,
        credential: Option<&str>,
        repository: Option<Name<'_>>,
        now: u64,
        leeway: u64,
    ) -> Result<Option<u64>, Denial> {
        let credential = credential.unwrap_or_default().as_bytes();
        let Authorization::Bearer(token) = Authorization::parse(credential) else {
            return Err(self.challenge(repository, None));
        };
        let keys = self.keys.current.load();
        let checked = RegistryToken::check(
            token,
            &keys,
            self.allowed,
            now,
            leeway,
            &self.issuer,
            &self.service,
        );
        let token = checked.map_err(|refusal| {
            tracing::info!(%refusal, "a token was refused at the door");
            self.challenge(repository, Some("invalid_token"))
        })?;
        match repository {
            Some(name) if !token.permits(name) => {
                Err(self.challenge(repository, Some("insufficient_scope")))
            }
            _ => Ok(Some(token.until)),
        }
    }

    /// Source: distribution, spec/auth/token.md; RFC 6750 §3.
    fn challenge(&self, repository: Option<Name<'_>>, error: Option<&str>) -> Denial {
        let mut text = self.challenge.clone();
        if let Some(name) = repository {
            text.push_str(&format!(",scope=\"repository:{name}:pull\""));
        }
        if let Some(error) = error {
            text.push_str(&format!(",error=\"{error}\""));
        }
        Denial::LogIn(text.into())
    }
}

/// A place among those whose password is being compared.
struct Seat<'p>(&'p AtomicUsize);

impl<'p> Seat<'p> {
    fn take(waiting: &'p AtomicUsize) -> Option<Self> {
        let seat = Self(waiting);
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        (before < LOGINS_WAITING_MAX).then_some(seat)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Read<T> = dyn Fn(&[PathBuf]) -> io::Result<T> + Send + Sync;

/// What some files hold, read again when one of them changes. A bad change keeps the old.
struct Watched<T> {
    paths: Vec<PathBuf>,
    read: Arc<Read<T>>,
    current: ArcSwap<T>,
    seen: Mutex<Seen>,
}

/// The files as they were when last looked at.
struct Seen {
    marks: Vec<Option<Mark>>,
    looked: Instant,
    /// When `current` was read.
    since: Instant,
}

/// What tells one state of a file from another: device, inode, size, time of change in ns.
type Mark = (u64, u64, u64, i64, i64);

impl<T: Send + Sync + 'static> Watched<T> {
    fn new(
        paths: Vec<PathBuf>,
        read: impl Fn(&[PathBuf]) -> io::Result<T> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let marks = marks(&paths);
        Ok(Self {
            current: ArcSwap::from_pointee(read(&paths)?),
            seen: Mutex::new(Seen {
                marks,
                looked: now,
                since: now,
            }),
            read: Arc::new(read),
            paths,
        })
    }

    /// Returns when what is current was read.
    fn since(&self) -> Instant {
        self.seen.lock().since
    }

    /// Reads the files again if they changed, on a helper thread; at most once in [`LOOK_EVERY`].
    async fn look(&self) {
        {
            let mut seen = self.seen.lock();
            if seen.looked.elapsed() < LOOK_EVERY {
                return;
            }
            seen.looked = Instant::now();
        }
        let (paths, read) = (self.paths.clone(), Arc::clone(&self.read));
        let known = self.seen.lock().marks.clone();
        let changed = blocking(move || {
            let marks = marks(&paths);
            (marks != known).then(|| (marks, read(&paths)))
        });
        let Ok(Some((marks, outcome))) = changed.await else {
            return;
        };
        let mut seen = self.seen.lock();
        seen.marks = marks;
        match outcome {
            Ok(value) => {
                self.current.store(Arc::new(value));
                seen.since = Instant::now();
                tracing::info!(paths = ?self.paths, "read again");
            }
            Err(error) => {
                tracing::error!(%error, "changed, and of no use: what was read before stays")
            }
        }
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

fn marks(paths: &[PathBuf]) -> Vec<Option<Mark>> {
    let mark = |data: Metadata| {
        (
            data.dev(),
            data.ino(),
            data.size(),
            data.mtime(),
            data.mtime_nsec(),
        )
    };
    let paths = paths.iter();
    paths
        .map(|path| std::fs::metadata(path).ok().map(mark))
        .collect()
}

fn read_passwords(paths: &[PathBuf]) -> io::Result<Htpasswd> {
    let path = &paths[0];
    let text = std::fs::read_to_string(path).map_err(|error| about(path, &error))?;
    Htpasswd::parse(&text).map_err(|error| about(path, &error))
}

/// Makes one set of the keys in all files; `roots` is the one that holds certificates.
fn read_keys(paths: &[PathBuf], roots: Option<&Path>) -> io::Result<KeySet> {
    let mut all = KeySet::default();
    for path in paths {
        let content = std::fs::read(path).map_err(|error| about(path, &error))?;
        let set = if Some(path.as_path()) == roots {
            KeySet::from_certificates(&content)
        } else {
            KeySet::parse(&content)
        };
        let set = set.map_err(|error| about(path, &error))?;
        for skipped in set.skipped() {
            tracing::warn!(path = %path.display(), %skipped, "a key is not used");
        }
        all = all.and(set);
    }
    Ok(all)
}

fn about(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("auth: {}: {error}", path.display()))
}

/// Writes a quoted string (RFC 9110 §5.6.4); the configuration has let no control character in.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

//! The cache's own doors: passwords of a file, or tokens of a token server, as the registry has them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::watched::Watched;
use super::{Access, Denial, Door, Wanted};
use crate::auth::{Algorithms, Authorization, Htpasswd, KeySet, RegistryToken};
use crate::digest::Digest;
use crate::limits::{LOGINS_MAX, LOGINS_WAITING_MAX};
use crate::rt::Pool;

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
    /// Credentials that are right, by salted hash, and the generation of the file that they are right by.
    known: Mutex<HashMap<Digest, u64>>,
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
        wanted: Wanted<'_>,
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
                tokens.enter(credential, wanted, now, self.times.leeway.get().as_secs())
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
        let generation = passwords.file.generation();
        if passwords.known.lock().get(&hash) == Some(&generation) {
            return Ok(());
        }
        let Some(_seat) = Seat::take(&passwords.waiting) else {
            return Err(Denial::Busy);
        };
        let list = Arc::clone(&passwords.file.current());
        let verify = move || list.verify(&user, password.expose());
        match passwords.threads.run(verify).await {
            Ok(true) => {
                passwords.remember(hash, generation);
                Ok(())
            }
            _ => Err(refused()),
        }
    }
}

impl Passwords {
    /// Remembers a credential until the file changes.
    fn remember(&self, hash: Digest, generation: u64) {
        let mut known = self.known.lock();
        if known.len() >= LOGINS_MAX {
            known.retain(|_, of| *of == generation);
        }
        if known.len() < LOGINS_MAX {
            known.insert(hash, generation);
        }
    }
}

impl Tokens {
    fn enter(
        &self,
        credential: Option<&str>,
        wanted: Wanted<'_>,
        now: u64,
        leeway: u64,
    ) -> Result<Option<u64>, Denial> {
        let credential = credential.unwrap_or_default().as_bytes();
        let Authorization::Bearer(token) = Authorization::parse(credential) else {
            return Err(self.challenge(wanted, None));
        };
        let keys = self.keys.current();
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
            tracing::debug!(%refusal, "a token was refused at the door");
            self.challenge(wanted, Some("invalid_token"))
        })?;
        let is_permitted = match wanted {
            Wanted::Base => true,
            Wanted::Catalog => token.permits_catalog(),
            Wanted::Repository(name) => token.permits(name),
        };
        if !is_permitted {
            return Err(self.challenge(wanted, Some("insufficient_scope")));
        }
        Ok(Some(token.until))
    }

    /// Source: distribution, spec/auth/token.md; RFC 6750 §3.
    fn challenge(&self, wanted: Wanted<'_>, error: Option<&str>) -> Denial {
        let mut text = self.challenge.clone();
        match wanted {
            Wanted::Base => {}
            Wanted::Catalog => text.push_str(",scope=\"registry:catalog:*\""),
            Wanted::Repository(name) => {
                text.push_str(&format!(",scope=\"repository:{name}:pull\""));
            }
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

fn read_passwords(paths: &[PathBuf]) -> io::Result<Htpasswd> {
    let path = &paths[0];
    let text = std::fs::read_to_string(path).map_err(|error| about(path, error.kind(), &error))?;
    Htpasswd::parse(&text).map_err(|error| about(path, io::ErrorKind::InvalidData, &error))
}

/// Makes one set of the keys in all files; `roots` is the one that holds certificates.
fn read_keys(paths: &[PathBuf], roots: Option<&Path>) -> io::Result<KeySet> {
    let mut all = KeySet::default();
    for path in paths {
        let content = std::fs::read(path).map_err(|error| about(path, error.kind(), &error))?;
        let set = if Some(path.as_path()) == roots {
            KeySet::from_certificates(&content)
        } else {
            KeySet::parse(&content)
        };
        let set = set.map_err(|error| about(path, io::ErrorKind::InvalidData, &error))?;
        for skipped in set.skipped() {
            tracing::warn!(path = %path.display(), %skipped, "a key is not used");
        }
        all = all.and(set);
    }
    Ok(all)
}

fn about(path: &Path, kind: io::ErrorKind, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(kind, format!("auth: {}: {error}", path.display()))
}

/// Writes a quoted string (RFC 9110 §5.6.4); the configuration has let no control character in.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

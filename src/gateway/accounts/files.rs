//! The password file and the policy file: made where nobody named one, and read again when they change.
//!
//! A file that is broken or gone leaves what was read last in force, and is told once. Both are one value, so that
//! nobody sees the users of one moment with the rights of another.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;

use super::policy::{Policy, Rules};
use crate::auth::Htpasswd;
use crate::gateway::{Failure, options};
use crate::limits::CONFIG_BYTES_MAX;

/// Longest password file: some 200,000 accounts.
const HTPASSWD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The first account, where nobody named a password file.
const ADMIN: &str = "admin";
/// The name under which caches show tickets. An account of that name would be taken for one.
pub(in crate::gateway) const CACHE_USER: &str = "cache";
/// Cost of the first account's hash: what Go's bcrypt and `htpasswd -B` come near to.
const ADMIN_COST: u32 = 10;
/// The policy, where nobody named one.
const DEFAULT_POLICY: &str = "\
# Who may do what. Read again when it changes; a file that is broken leaves the last good one in force.
#
# Rights add up; what no rule gives nobody has. `*` is within a component of a name, `**` over several.
#
#   groups: {dev: [alice, bob]}
#   rules:
#     - repository: website/**
#       users: [carol]            # and groups; `everyone: true` is each who is logged in,
#       groups: [dev]             # `anonymous: true` is all (who may then pull and nothing else)
#       allow: [pull, push, delete]

# May do everything, and administrate.
admins: [admin]

rules:
  - repository: '**'
    everyone: true
    allow: [pull]
";

/// What the files hold.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) passwords: Arc<Htpasswd>,
    pub(super) users: Arc<BTreeSet<String>>,
    pub(super) policy: Arc<Policy>,
    rules: Arc<Rules>,
    /// Grows whenever the password file was read again.
    pub(super) generation: u64,
}

/// The files, and what they held when they were last of use.
#[derive(Debug)]
pub(super) struct Files {
    htpasswd: PathBuf,
    policy: PathBuf,
    current: ArcSwap<Content>,
    seen: Mutex<Seen>,
}

/// The files as they were when last looked at, and what was said of them.
#[derive(Debug, Default)]
struct Seen {
    htpasswd: Look,
    policy: Look,
}

#[derive(Debug, Default)]
struct Look {
    stamp: Option<Stamp>,
    told: Option<String>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            size_bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Files {
    /// Reads the files; what nobody named is made in `state` if it is not there.
    ///
    /// # Errors
    /// A file that cannot be made or read, or does not hold.
    pub(super) fn open(options: &options::Accounts, state: &Path) -> Result<Arc<Self>, Failure> {
        let htpasswd = match &options.htpasswd {
            Some(path) => path.clone(),
            None => own_htpasswd(state)?,
        };
        let policy = match &options.policy {
            Some(path) => path.clone(),
            None => own_policy(state)?,
        };
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error: String| Failure::new(path, error)
        };
        // Stamps are taken before the files are read: what changes meanwhile is read again.
        let seen = Seen {
            htpasswd: Look::at(&htpasswd),
            policy: Look::at(&policy),
        };
        let passwords = read_passwords(&htpasswd).map_err(failed(&htpasswd))?;
        let rules = read_rules(&policy).map_err(failed(&policy))?;
        Ok(Arc::new(Self {
            current: ArcSwap::from_pointee(Content::new(passwords.into(), rules.into(), 0)),
            htpasswd,
            policy,
            seen: Mutex::new(seen),
        }))
    }

    /// Returns what the files held when they were last of use.
    pub(super) fn current(&self) -> Arc<Content> {
        self.current.load_full()
    }

    /// Follows the files until nobody needs them.
    pub(super) fn follow(files: &Arc<Self>) {
        let files = Arc::downgrade(files);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(files) = files.upgrade() else { return };
                let _ = tokio::task::spawn_blocking(move || files.look()).await;
            }
        });
    }

    /// Reads everything again, and tells once more what is wrong.
    pub(super) fn read_again(&self) {
        let again = || Look {
            stamp: None,
            told: Some(String::new()),
        };
        *self.seen.lock() = Seen {
            htpasswd: again(),
            policy: again(),
        };
        self.look();
    }

    /// Reads again what has changed.
    pub(super) fn look(&self) {
        let mut seen = self.seen.lock();
        let passwords = seen.htpasswd.read(&self.htpasswd, read_passwords);
        let rules = seen.policy.read(&self.policy, read_rules);
        if passwords.is_none() && rules.is_none() {
            return;
        }
        let old = self.current();
        let generation = old.generation + u64::from(passwords.is_some());
        let passwords = passwords.map_or_else(|| Arc::clone(&old.passwords), Arc::new);
        let rules = rules.map_or_else(|| Arc::clone(&old.rules), Arc::new);
        let content = Content::new(passwords, rules, generation);
        self.current.store(Arc::new(content));
    }
}

impl Content {
    fn new(passwords: Arc<Htpasswd>, rules: Arc<Rules>, generation: u64) -> Self {
        let users = passwords.users().filter(|&name| name != CACHE_USER);
        let users: Arc<BTreeSet<String>> = Arc::new(users.map(str::to_owned).collect());
        let strangers = rules.strangers(&users);
        if !strangers.is_empty() {
            tracing::warn!(
                ?strangers,
                "the policy names users whom the password file lacks"
            );
        }
        Self {
            policy: Arc::new(Policy::new(Arc::clone(&rules), Arc::clone(&users))),
            passwords,
            users,
            rules,
            generation,
        }
    }
}

impl Look {
    fn at(path: &Path) -> Self {
        Self {
            stamp: Stamp::of(path),
            told: None,
        }
    }

    /// Returns what a file holds now, if that has changed and is of use.
    fn read<T>(&mut self, path: &Path, read: impl Fn(&Path) -> Result<T, String>) -> Option<T> {
        let stamp = Stamp::of(path);
        if stamp == self.stamp && self.told.is_none() {
            return None;
        }
        match read(path) {
            Ok(value) => {
                tracing::info!(path = %path.display(), "read again");
                *self = Self { stamp, told: None };
                Some(value)
            }
            Err(error) => {
                // Looked at again all the same: what could not be read for want of descriptors, say, may be soon.
                if self.told.as_ref() != Some(&error) {
                    tracing::error!(
                        path = %path.display(),
                        error,
                        "changed, and of no use: what was read before stays"
                    );
                }
                self.told = Some(error);
                None
            }
        }
    }
}

fn read_passwords(path: &Path) -> Result<Htpasswd, String> {
    let text = read(path, HTPASSWD_BYTES_MAX)?;
    let passwords = Htpasswd::parse(&text).map_err(|error| error.to_string())?;
    if passwords.users().any(|name| name == CACHE_USER) {
        tracing::warn!(
            path = %path.display(),
            "no account may be called {CACHE_USER:?}, which is how caches log in: it is left out"
        );
    }
    Ok(passwords)
}

fn read_rules(path: &Path) -> Result<Rules, String> {
    Rules::parse(&read(path, CONFIG_BYTES_MAX)?)
}

/// Returns a file's text, if it is no longer than it may be.
fn read(path: &Path, bytes_max: usize) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut file = file.take(bytes_max as u64 + 1);
    file.read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() > bytes_max {
        return Err(format!("longer than {bytes_max} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}

/// Returns the password file in `state`, made with one account if it is not there.
fn own_htpasswd(state: &Path) -> Result<PathBuf, Failure> {
    let path = state.join("htpasswd");
    let password_path = state.join("admin-password");
    if !path.exists() {
        let mut random = [0; 18];
        aws_lc_rs::rand::fill(&mut random).map_err(|error| Failure::new("random bytes", error))?;
        let password = URL_SAFE_NO_PAD.encode(random);
        let hash = bcrypt::hash(&password, ADMIN_COST);
        let hash = hash.map_err(|error| Failure::new(path.display(), error))?;
        // The password first: without it nobody could use the account.
        write_private(&password_path, format!("{password}\n").as_bytes())?;
        write_private(&path, format!("{ADMIN}:{hash}\n").as_bytes())?;
    }
    if password_path.exists() {
        tracing::warn!(
            path = %password_path.display(),
            "holds the first password of {ADMIN}: read it, and delete the file"
        );
    }
    Ok(path)
}

/// Returns the policy file in `state`, made if it is not there.
fn own_policy(state: &Path) -> Result<PathBuf, Failure> {
    let path = state.join("policy.yml");
    if !path.exists() {
        write_private(&path, DEFAULT_POLICY.as_bytes())?;
        tracing::info!(path = %path.display(), "made: each who is logged in may pull everything");
    }
    Ok(path)
}

/// Writes a file that only its owner can read, whole or not at all.
///
/// # Errors
/// [`Failure`] with its path.
pub(in crate::gateway) fn write_private(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(io::Error::other)?;
        let name = format!(".new-{}", URL_SAFE_NO_PAD.encode(random));
        let folder = path.parent().unwrap_or(Path::new("."));
        let temporary = folder.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&temporary)?;
        let written = file.write_all(content).and_then(|()| file.sync_all());
        let placed = written.and_then(|()| fs::rename(&temporary, path));
        if placed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        placed?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| Failure::new(path.display(), error))
}

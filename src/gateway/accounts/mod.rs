//! Users and their rights: a password file and a policy file, read again when they change.

mod client;
mod failures;
mod files;
mod logins;
mod policy;

use std::path::Path;
use std::sync::Arc;

pub(super) use client::note_client;
pub(super) use files::{CACHE_USER, write_private};
pub(super) use policy::{Action, Policy};

use super::{Failure, options};
use crate::auth::Secret;
use files::Files;
use logins::Logins;

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginError {
    /// No such user, or another password: nobody is told which.
    Wrong,
    /// Too many passwords are being compared, or this client has guessed too often: ask again later.
    Busy,
}

/// Who there is.
#[derive(Debug)]
pub(super) struct Accounts {
    files: Arc<Files>,
    logins: Logins,
}

impl Accounts {
    /// Reads the files; what nobody named is made in `state` if it is not there. Follows them on the runtime that this
    /// runs on.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold, with its path.
    pub(super) fn open(options: &options::Accounts, state: &Path) -> Result<Self, Failure> {
        let files = Files::open(options, state)?;
        Files::follow(&files);
        Ok(Self {
            files,
            logins: Logins::new()?,
        })
    }

    /// Checks a password, on another thread. Costs what bcrypt costs, also for a user that there is not, unless the
    /// same was right a while ago.
    ///
    /// # Errors
    /// [`LoginError`].
    pub(super) async fn login(&self, user: &str, password: &Secret) -> Result<(), LoginError> {
        let content = self.files.current();
        let client = client::current();
        self.logins.check(&content, user, password, client).await
    }

    /// Reads the files again, whether they seem to have changed or not.
    pub(super) async fn read_again(&self) {
        let files = Arc::clone(&self.files);
        let _ = tokio::task::spawn_blocking(move || files.read_again()).await;
    }

    /// Says whether the password file has this user.
    pub(super) fn knows(&self, user: &str) -> bool {
        self.files.current().users.contains(user)
    }

    /// Returns the hash that the password file has of a user's password: another one as soon as that changes.
    pub(super) fn hash(&self, user: &str) -> Option<String> {
        let content = self.files.current();
        let is_user = content.users.contains(user);
        let hash = content.passwords.hash(user).filter(|_| is_user);
        hash.map(str::to_owned)
    }

    /// Returns the names of all users, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        self.files.current().users.iter().cloned().collect()
    }

    /// Returns who may do what, as it is now.
    pub(super) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.files.current().policy)
    }
}

#[cfg(test)]
mod tests;

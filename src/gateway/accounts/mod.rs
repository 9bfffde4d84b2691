//! Users and their rights: a password file and a policy file, read again when they change.

mod policy;

use std::path::Path;
use std::sync::Arc;

pub(super) use policy::{Action, Policy};

use super::{Failure, options};
use crate::auth::Secret;

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginError {
    /// No such user, or another password: nobody is told which.
    Wrong,
    /// Too many passwords are being compared.
    Busy,
}

/// Who there is.
#[derive(Debug)]
pub(super) struct Accounts {
    policy: Arc<Policy>,
}

impl Accounts {
    /// Reads the files; what nobody named is made in `state` if it is not there.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold, with its path.
    pub(super) fn open(options: &options::Accounts, state: &Path) -> Result<Self, Failure> {
        let _ = (options, state);
        Ok(Self {
            policy: Arc::default(),
        })
    }

    /// Checks a password, on another thread. Costs what bcrypt costs, also for a user that there is not.
    ///
    /// # Errors
    /// [`LoginError`].
    pub(super) async fn login(&self, user: &str, password: &Secret) -> Result<(), LoginError> {
        let _ = (user, password);
        Err(LoginError::Wrong)
    }

    /// Says whether the password file has this user.
    pub(super) fn knows(&self, user: &str) -> bool {
        let _ = user;
        false
    }

    /// Returns the names of all users, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns who may do what, as it is now.
    pub(super) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy)
    }
}

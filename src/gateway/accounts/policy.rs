//! Who may do what: the policy file.

use crate::gateway::identity::Subject;
use crate::registry::Name;

/// What may be done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::gateway) enum Action {
    /// Read it.
    Pull,
    /// Add to it.
    Push,
    /// Take from it.
    Delete,
}

impl Action {
    /// Each of them.
    pub(in crate::gateway) const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    /// Returns the name that scopes and tokens have.
    pub(in crate::gateway) const fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// Who may do what. The default lets nobody do anything.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Policy;

impl Policy {
    /// Says whether `subject` may do `action` to `repository`.
    pub(in crate::gateway) fn allows(
        &self,
        subject: &Subject,
        repository: Name<'_>,
        action: Action,
    ) -> bool {
        let _ = (subject, repository, action);
        false
    }

    /// Says whether `user` is an admin.
    pub(in crate::gateway) fn is_admin(&self, user: &str) -> bool {
        let _ = user;
        false
    }
}

//! Who asks, and what they may do.

use crate::auth::Access;
use crate::gateway::accounts::{Action, Policy};
use crate::registry::Name;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// Nobody in particular.
    Nobody,
    /// An account of the password file.
    User(String),
    /// A cache that was asked to warm something, by its id.
    Cache(String),
}

/// What a cache's subject begins with in a token. No account's name has a colon.
const CACHE: &str = "cache:";

impl Subject {
    /// Returns the text that stands for the subject in a token's `sub`.
    pub(super) fn to_claim(&self) -> String {
        match self {
            Self::Nobody => String::new(),
            Self::User(name) => name.clone(),
            Self::Cache(id) => format!("{CACHE}{id}"),
        }
    }

    /// Returns the subject of a token's `sub`.
    pub(super) fn of_claim(text: Option<&str>) -> Self {
        match text {
            None | Some("") => Self::Nobody,
            Some(text) => match text.strip_prefix(CACHE) {
                Some(id) => Self::Cache(id.to_owned()),
                None => Self::User(text.to_owned()),
            },
        }
    }

    /// Returns the account's name, if it is one.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::User(name) => Some(name),
            Self::Nobody | Self::Cache(_) => None,
        }
    }
}

/// Who asks, and where their rights stand.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) subject: Subject,
    pub(super) rights: Rights,
}

/// Where rights stand.
#[derive(Clone, Debug)]
pub(super) enum Rights {
    /// In a token that was checked, as they were when it was made.
    Token(Vec<Access>),
    /// In the policy, as it is now.
    Policy,
}

impl Caller {
    /// Returns somebody who shows nothing.
    pub(super) const fn nobody() -> Self {
        Self {
            subject: Subject::Nobody,
            rights: Rights::Policy,
        }
    }

    /// Says whether the caller may do `action` to `repository`.
    pub(super) fn may(&self, action: Action, repository: Name<'_>, policy: &Policy) -> bool {
        match &self.rights {
            Rights::Policy => policy.allows(&self.subject, repository, action),
            Rights::Token(access) => access.iter().any(|access| {
                access.kind == "repository"
                    && access.name == repository.as_str()
                    && access.actions.iter().any(|name| name == action.name())
            }),
        }
    }
}

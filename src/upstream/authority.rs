//! In whose name a next hop is asked.

use std::sync::Arc;

use super::Credentials;
use crate::auth::Secret;

/// Whose right a request to a next hop claims.
///
/// Two requests with equal authorities and repositories get the same answer; any others need not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The cache's own: its credentials for that hop, or nobody's. Challenges are answered.
    Cache,
    /// Nobody's: a challenge is the client's to answer.
    Nobody,
    /// A client's: its value of `Authorization`, as it came. A challenge is the client's to answer.
    Client(Secret),
    /// Of whoever has this name and password, which an operator has given for what is asked. Challenges are
    /// answered with them, as with the cache's own.
    Login(Arc<Credentials>),
    /// A signed URL's: `token` goes along in the query, and beside it the cache's own credentials.
    Signed(Secret),
}

/// Which allowance of a hop a request draws on. Registries count them apart: what one of them has used up, the
/// others need not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quota {
    /// That of the cache's own name.
    Cache,
    /// That of an address from which nobody logs in.
    Nobody,
    /// One of a client's own. There are as many as clients, so nothing is remembered of them.
    Client,
}

impl Quota {
    /// How many there are.
    pub(super) const COUNT: usize = 3;

    /// Returns who is meant, for the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cache => "the cache",
            Self::Nobody => "clients without a login",
            Self::Client => "a client's login",
        }
    }
}

impl Authority {
    /// Returns what a request with this authority draws on.
    pub(super) const fn quota(&self) -> Quota {
        match self {
            Self::Cache | Self::Signed(_) => Quota::Cache,
            Self::Nobody => Quota::Nobody,
            Self::Client(_) | Self::Login(_) => Quota::Client,
        }
    }

    /// Returns the token that goes into the query.
    pub(super) const fn token(&self) -> Option<&Secret> {
        match self {
            Self::Signed(token) => Some(token),
            Self::Cache | Self::Nobody | Self::Client(_) | Self::Login(_) => None,
        }
    }

    /// Returns the name and password that it brings along.
    pub(super) const fn login(&self) -> Option<&Arc<Credentials>> {
        match self {
            Self::Login(credentials) => Some(credentials),
            Self::Cache | Self::Nobody | Self::Client(_) | Self::Signed(_) => None,
        }
    }
}

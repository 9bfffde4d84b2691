//! In whose name a next hop is asked.

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
    /// A signed URL's: `token` goes along in the query, and beside it the cache's own credentials.
    Signed(Secret),
}

impl Authority {
    /// Returns the token that goes into the query.
    pub(super) const fn token(&self) -> Option<&Secret> {
        match self {
            Self::Signed(token) => Some(token),
            Self::Cache | Self::Nobody | Self::Client(_) => None,
        }
    }
}

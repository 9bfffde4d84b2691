//! What a request shows, and whose right it thereby claims.

use crate::auth::Secret;
use crate::upstream::{Authority, Trail};

use super::permissions::Who;

/// What a request shows of who it comes from, unchecked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    /// The parameter `token` of its query.
    pub token: Option<&'a str>,
    /// Its value of `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// What it passed before it came here; `None` is nothing.
    pub trail: Option<&'a Trail>,
}

/// A request that was let in, and whose right it claims from here on.
#[derive(Clone, Debug)]
pub struct Visit {
    /// In whose name next hops are asked for what it wants.
    pub authority: Authority,
    /// What the request passed before it came here.
    pub trail: Trail,
    pub(super) claim: Claim,
}

/// What a visit still has to show before it is given content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Nothing: everything is public.
    Public,
    /// Nothing: it was signed for this blob, until that many seconds after the epoch.
    Signed {
        /// Seconds since the epoch.
        until: u64,
    },
    /// The origin's word.
    Asking {
        /// Whose right the origin confirms.
        who: Who,
        /// The client's own credentials are what counts: challenges are for it.
        is_clients: bool,
        /// A registry token, whose signature was good, permits the repository until that many seconds
        /// after the epoch.
        vouched_until: Option<u64>,
    },
}

impl Shown<'_> {
    pub(super) fn trail(&self) -> Trail {
        self.trail.cloned().unwrap_or_default()
    }
}

impl Visit {
    pub(super) const fn public(authority: Authority, trail: Trail) -> Self {
        Self {
            authority,
            trail,
            claim: Claim::Public,
        }
    }

    pub(super) const fn signed(token: Secret, until: u64, trail: Trail) -> Self {
        Self {
            authority: Authority::Signed(token),
            trail,
            claim: Claim::Signed { until },
        }
    }

    /// Says whether a refusal of the next hop is one that the client could answer by logging in.
    #[must_use]
    pub const fn is_clients(&self) -> bool {
        matches!(
            self.claim,
            Claim::Asking {
                is_clients: true,
                ..
            }
        )
    }
}

/// How long a permission counts without being asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Seconds since the epoch.
    pub until: u64,
}

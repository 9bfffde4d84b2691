//! Signed URLs: a token in a URL that lets its bearer pull one blob from one repository for a while.
//!
//! Refuses any token that is not for this kind of cache (`aud`), this blob (`digest`), this repository and
//! `pull` (`access`), now (`exp`, `nbf`, `iat`). Names are compared whole: `a/b` gives nothing under
//! `a/b/c`, and there is no wildcard.

use super::{Algorithms, KeySet, Refusal, token};
use crate::digest::Digest;
use crate::registry::Name;

/// What stands in `aud` of a signed URL.
pub const AUDIENCE: &str = "transship";

/// A signed URL that permits what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedUrl {
    /// When it ends, leeway included, in seconds since the epoch.
    pub until: u64,
    /// Whom it was made for, if that is told.
    pub subject: Option<String>,
    /// Its name (`jti`), if it has one.
    pub id: Option<String>,
}

impl SignedUrl {
    /// Checks that a token permits pulling `digest` from `repository` at `now`, seconds since the epoch.
    ///
    /// Signed with EdDSA or ES256, or with HS256 if the set has a secret. Costs a signature, see
    /// [`verify`](super::verify).
    ///
    /// # Errors
    ///
    /// [`Refusal`]; `KeyUnknown` is worth a look for newer keys, the others are final.
    pub fn check(
        token: &str,
        keys: &KeySet,
        now: u64,
        leeway_seconds: u64,
        repository: Name<'_>,
        digest: &Digest,
    ) -> Result<Self, Refusal> {
        let claims = token::verify(token, keys, Algorithms::SIGNED_URL, now)?;
        if !claims.audience.contains(AUDIENCE) {
            return Err(Refusal::Audience);
        }
        let until = claims.valid_until(now, leeway_seconds)?;
        let named = claims.digest.as_deref().and_then(|text| text.parse().ok());
        if named != Some(*digest) {
            return Err(Refusal::Digest);
        }
        let mut here = claims
            .access
            .iter()
            .filter(|access| access.kind == "repository" && access.name == repository.as_str())
            .peekable();
        if here.peek().is_none() {
            return Err(Refusal::Repository);
        }
        if !here.any(|access| access.actions.iter().any(|action| action == "pull")) {
            return Err(Refusal::Action);
        }
        Ok(Self {
            until,
            subject: claims.subject.filter(|subject| !subject.is_empty()),
            id: claims.id,
        })
    }
}

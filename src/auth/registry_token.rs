//! Registry tokens at the cache's own door (`auth.token`): what a token server lets its bearer pull.
//!
//! Refuses tokens of another issuer or for another service. Anything that a token permits beyond pulling
//! and listing is of no use here and is not looked at.
//!
//! Source: distribution, spec/auth/jwt.md, spec/auth/scope.md; registry/auth/token.

use super::claims::Access;
use super::{Algorithms, KeySet, Refusal, token};
use crate::registry::Name;

/// A registry token that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryToken {
    /// When it ends, leeway included, in seconds since the epoch.
    pub until: u64,
    /// Whom it was made for; none for somebody who did not log in.
    pub subject: Option<String>,
    /// What it gives access to.
    pub access: Vec<Access>,
}

impl RegistryToken {
    /// Checks that a token is of `issuer`, for `service`, and counts at `now`, seconds since the epoch.
    ///
    /// - `allowed`: what it may be signed with, of [`Algorithms::REGISTRY_TOKEN`]; never a secret.
    ///
    /// Costs a signature, see [`verify`](super::verify).
    ///
    /// # Errors
    ///
    /// [`Refusal`]; `KeyUnknown` is worth a look for newer keys, the others are final.
    pub fn check(
        token: &str,
        keys: &KeySet,
        allowed: Algorithms,
        now: u64,
        leeway_seconds: u64,
        issuer: &str,
        service: &str,
    ) -> Result<Self, Refusal> {
        let allowed = allowed.and(Algorithms::REGISTRY_TOKEN);
        let claims = token::verify(token, keys, allowed, now)?;
        if claims.issuer.as_deref() != Some(issuer) {
            return Err(Refusal::Issuer);
        }
        if !claims.audience.contains(service) {
            return Err(Refusal::Audience);
        }
        Ok(Self {
            until: claims.valid_until(now, leeway_seconds)?,
            subject: claims.subject.filter(|subject| !subject.is_empty()),
            access: claims.access,
        })
    }

    /// Says whether the bearer may pull from `repository`. Names are compared whole.
    #[must_use]
    pub fn permits(&self, repository: Name<'_>) -> bool {
        self.access.iter().any(|access| {
            is_repository(&access.kind)
                && access.name == repository.as_str()
                && access
                    .actions
                    .iter()
                    .any(|action| matches!(&**action, "pull" | "*"))
        })
    }

    /// Says whether the bearer may list the repositories (`registry:catalog:*`).
    #[must_use]
    pub fn permits_catalog(&self) -> bool {
        self.access.iter().any(|access| {
            access.kind == "registry"
                && access.name == "catalog"
                && access.actions.iter().any(|action| action == "*")
        })
    }
}

/// Says whether a type is `repository`, with or without a class: `repository(plugin)`.
fn is_repository(kind: &str) -> bool {
    let class = kind.strip_prefix("repository");
    class.is_some_and(|class| class.is_empty() || (class.starts_with('(') && class.ends_with(')')))
}

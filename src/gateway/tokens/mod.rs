//! Tokens that the gateway signs: registry tokens, signed URLs, tickets for caches; and its keys.
//!
//! Private keys stay on this host, in the state directory; public ones are in the database, so that each of several
//! gateways knows what the others sign.

use axum::Router;

use super::app::App;
use super::identity::Subject;
use super::state::State;
use super::{Failure, options};
use crate::auth::{Access, Refusal, Secret};
use crate::digest::Digest;
use crate::registry::Name;

/// A registry token, as the token endpoint gives it.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) token: Secret,
    /// How long it counts, in seconds.
    pub(super) expires_in: u64,
    /// When it was made, in seconds since the epoch.
    pub(super) issued_at: u64,
}

/// Signs, and checks what was signed.
#[derive(Debug)]
pub(super) struct Signer;

impl Signer {
    /// Reads the keys of `options.state`, or makes the first one.
    ///
    /// # Errors
    /// A key that cannot be read, is readable by others, or cannot be written.
    pub(super) async fn open(options: &options::Options, state: &State) -> Result<Self, Failure> {
        let _ = (options, state);
        Ok(Self)
    }

    /// Returns a token of the registry's format that gives `subject` this access from `now` on, seconds since the
    /// epoch.
    pub(super) fn registry_token(&self, subject: &Subject, access: &[Access], now: u64) -> Issued {
        let _ = (subject, access);
        Issued {
            token: Secret::new(""),
            expires_in: 0,
            issued_at: now,
        }
    }

    /// Checks a registry token of any of the gateways that share the database.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn check(&self, token: &str, now: u64) -> Result<(Subject, Vec<Access>), Refusal> {
        let _ = (token, now);
        Err(Refusal::Malformed)
    }

    /// Returns the token of a signed URL for one blob of one repository.
    pub(super) fn url_token(
        &self,
        subject: &Subject,
        repository: Name<'_>,
        digest: &Digest,
        now: u64,
    ) -> String {
        let _ = (subject, repository, digest, now);
        String::new()
    }

    /// Checks the token of a signed URL that a cache shows.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn check_url_token(
        &self,
        token: &str,
        repository: Name<'_>,
        digest: &Digest,
        now: u64,
    ) -> Result<(), Refusal> {
        let _ = (token, repository, digest, now);
        Err(Refusal::Malformed)
    }

    /// Returns a password with which the cache `id` may get tokens to pull from `repository`, for as long as a job of
    /// warming may take.
    pub(super) fn ticket(&self, id: &str, repository: Name<'_>, now: u64) -> Secret {
        let _ = (id, repository, now);
        Secret::new("")
    }
}

/// `/auth/token` and `/.well-known/jwks.json`.
pub(super) fn routes() -> Router<App> {
    Router::new()
}

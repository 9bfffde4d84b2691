//! Tokens that the gateway signs: registry tokens, signed URLs, tickets for caches; and its keys.
//!
//! Private keys stay on this host, in the state directory; public ones are in the database, so that each of several
//! gateways knows what the others sign.
//!
//! Invariants
//! - Each kind of token has an audience of its own: none is taken for another.
//! - What checks a token is published before anything is signed with it.

mod endpoint;
mod grant;
mod keys;
mod ring;
mod shared;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(super) use endpoint::routes;

use super::identity::Subject;
use super::state::State;
use super::{Failure, options};
use crate::auth::{AUDIENCE, Access, Algorithms, Refusal, RegistryToken, Secret, SignedUrl};
use crate::digest::Digest;
use crate::registry::Name;
use shared::Shared;

/// The name of a gateway that nobody gave a host name.
const SERVICE: &str = "transship-gateway";
/// Whom tickets are for.
const TICKET_AUDIENCE: &str = "transship-ticket";
/// How long a ticket counts: longer than a job of warming takes.
const TICKET_SECONDS: u64 = 3600;
/// By how much clocks of gateways may differ.
const LEEWAY_SECONDS: u64 = 10;
/// As before, for signed URLs. A cache itself takes one for some time after it has ended (`transship.access.leeway`),
/// and shows it here only then.
const URL_LEEWAY_SECONDS: u64 = 60;
/// What those tokens are signed with that gateways make.
const ALLOWED: Algorithms = Algorithms::EDDSA.or(Algorithms::ES256);

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
pub(super) struct Signer {
    service: String,
    life_seconds: u64,
    url_life_seconds: u64,
    shared: std::sync::Arc<Shared>,
}

impl Signer {
    /// Reads the keys of `options.state`, or makes the first one; follows them on the runtime that this runs on.
    ///
    /// # Errors
    /// A key that cannot be read, is readable by others, or cannot be written.
    pub(super) async fn open(options: &options::Options, state: &State) -> Result<Self, Failure> {
        let tokens = &options.tokens;
        // No token may have ended before it is signed.
        let life_seconds = tokens.life.as_secs().max(1);
        let url_life_seconds = tokens.url_life.as_secs().max(1);
        let longest = life_seconds.max(url_life_seconds).max(TICKET_SECONDS);
        let longest = longest.saturating_add(URL_LEEWAY_SECONDS);
        let shared = Shared::open(options, state.pool.clone(), longest).await?;
        Shared::follow(&shared);
        Ok(Self {
            service: service(options.host.as_ref()),
            life_seconds,
            url_life_seconds,
            shared,
        })
    }

    /// Returns what registry tokens are for and from: `service` of the challenge.
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// Returns the public keys of all gateways as a JWK set, for caches.
    pub(super) async fn jwks(&self) -> String {
        self.learn().await;
        self.shared.published().to_json()
    }

    /// Looks for keys that another gateway has made since the last look. Asks the database at most once a second.
    pub(super) async fn learn(&self) {
        self.shared.learn().await;
    }

    /// Returns a token of the registry's format that gives `subject` this access from `now` on, seconds since the
    /// epoch.
    pub(super) fn registry_token(&self, subject: &Subject, access: &[Access], now: u64) -> Issued {
        let mut claims = self.claims(&self.service, subject, now, self.life_seconds);
        claims["access"] = json!(access);
        Issued {
            token: Secret::new(&self.sign(&claims, now)),
            expires_in: self.life_seconds,
            issued_at: now,
        }
    }

    /// Checks a registry token of any of the gateways that share the database. [`Refusal::KeyUnknown`] is worth a
    /// [`Self::learn`] and a second try.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn check(&self, token: &str, now: u64) -> Result<(Subject, Vec<Access>), Refusal> {
        self.check_for(&self.service, token, now)
    }

    /// Returns the token of a signed URL for one blob of one repository.
    pub(super) fn url_token(
        &self,
        subject: &Subject,
        repository: Name<'_>,
        digest: &Digest,
        now: u64,
    ) -> String {
        let mut claims = self.claims(AUDIENCE, subject, now, self.url_life_seconds);
        claims["access"] = pull_of(repository);
        claims["digest"] = digest.to_string().into();
        self.sign(&claims, now)
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
        let keys = self.shared.published();
        SignedUrl::check(token, &keys, now, URL_LEEWAY_SECONDS, repository, digest).map(drop)
    }

    /// Returns a password with which the cache `id` may get tokens to pull from `repository`, for as long as a job of
    /// warming may take.
    pub(super) fn ticket(&self, id: &str, repository: Name<'_>, now: u64) -> Secret {
        let cache = Subject::Cache(id.to_owned());
        let mut claims = self.claims(TICKET_AUDIENCE, &cache, now, TICKET_SECONDS);
        claims["access"] = pull_of(repository);
        Secret::new(&self.sign(&claims, now))
    }

    /// Checks a ticket.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn check_ticket(
        &self,
        ticket: &str,
        now: u64,
    ) -> Result<(Subject, Vec<Access>), Refusal> {
        match self.check_for(TICKET_AUDIENCE, ticket, now)? {
            (cache @ Subject::Cache(_), access) => Ok((cache, access)),
            (Subject::Nobody | Subject::User(_), _) => Err(Refusal::Malformed),
        }
    }

    fn check_for(
        &self,
        audience: &str,
        token: &str,
        now: u64,
    ) -> Result<(Subject, Vec<Access>), Refusal> {
        let keys = self.shared.published();
        let (issuer, leeway) = (&*self.service, LEEWAY_SECONDS);
        let checked = RegistryToken::check(token, &keys, ALLOWED, now, leeway, issuer, audience)?;
        let subject = Subject::of_claim(checked.subject.as_deref());
        Ok((subject, checked.access))
    }

    fn claims(&self, audience: &str, subject: &Subject, now: u64, life_seconds: u64) -> Value {
        let mut id = [0; 16];
        // A token without a name of its own is none the worse: nobody asks for it.
        let _ = rand::fill(&mut id);
        json!({
            "iss": self.service,
            "aud": audience,
            "sub": subject.to_claim(),
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(life_seconds),
            "jti": URL_SAFE_NO_PAD.encode(id),
        })
    }

    /// Returns a token; an empty one, which nobody takes, where signing fails.
    fn sign(&self, claims: &Value, now: u64) -> String {
        let signed = self.shared.signing(now).map(|key| key.sign(claims));
        match signed {
            Some(Ok(token)) => token,
            Some(Err(error)) => {
                tracing::error!(%error, "cannot sign");
                String::new()
            }
            None => String::new(),
        }
    }
}

fn pull_of(repository: Name<'_>) -> Value {
    json!([{"type": "repository", "name": repository.as_str(), "actions": ["pull"]}])
}

/// Returns the name that tokens are from and for: the host that clients call. Audiences of other kinds of tokens are
/// none, or a signed URL for one blob would be a token for its repository.
fn service(host: Option<&url::Url>) -> String {
    let name = host.and_then(|url| {
        let host = url.host_str()?;
        Some(match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        })
    });
    let is_free = |name: &String| ![AUDIENCE, TICKET_AUDIENCE].contains(&&**name);
    name.filter(is_free).unwrap_or_else(|| SERVICE.to_owned())
}

#[cfg(test)]
mod tests;

//! What an operator may say about the next hops.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::authorization::Authorization;
use super::policy::Policy;
use crate::auth::Secret;

/// The next hops, and how long to wait for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The next hops; never empty.
    pub hops: Vec<Hop>,
    /// How they share the work (`transship.upstream.policy`).
    pub policy: Policy,
    /// PEM files of certificate authorities trusted besides the public ones (`cas`).
    pub cas: Vec<PathBuf>,
    /// What is shown to hops that ask for a client certificate.
    pub client_certificate: Option<ClientCertificate>,
    /// Longest time for name resolution, TCP and TLS handshakes together.
    pub connect_timeout: Duration,
    /// Longest time from the request sent to the response head.
    pub head_timeout: Duration,
    /// Longest time without a byte of a response body.
    pub progress_timeout: Duration,
    /// Most bytes a second of all bodies together (`transship.upstream.bandwidth`); `None` is no bound.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Most requests at once to one hop (`transship.upstream.connections_max`); `None` is no bound.
    pub connections_max: Option<NonZeroUsize>,
    /// Hosts besides the next hop's own that credentials may be sent to when a challenge names
    /// them as token realm (`transship.upstream.realms`).
    pub realms: Vec<String>,
}

impl Options {
    /// Returns the most requests at once to one hop.
    pub(super) fn most_at_once(&self) -> usize {
        self.connections_max.map_or(usize::MAX, NonZeroUsize::get)
    }
}

/// One next hop: an origin registry or another cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// `scheme://host[:port][/path]`, scheme `http` or `https`, without user, query or fragment.
    pub url: Url,
    /// The origin behind it (`originhost` of the legacy form), where it is not the hop itself.
    pub origin: Option<Url>,
    /// Credentials of the cache's own for this hop.
    pub credentials: Option<Credentials>,
}

/// A certificate of the cache's own (`transship.upstream.client_certificate`, `client_key`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file: the certificate, then its intermediates.
    pub certificate: PathBuf,
    /// PEM file: the private key of the certificate, unencrypted.
    pub key: PathBuf,
}

/// A user name and password. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The user's password or token.
    pub password: String,
}

impl Credentials {
    /// Returns the value of `Authorization` that a client with this name and password shows (RFC 7617 §2).
    #[must_use]
    pub fn basic(&self) -> Secret {
        Secret::new(Authorization::basic(self).expose())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, …)", self.username)
    }
}

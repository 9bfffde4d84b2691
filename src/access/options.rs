//! What an operator may say about who may pull (`transship.access`, `auth`).

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::auth::Secret;
use crate::live::Live;

/// Who may pull, and how that is found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose rights count for a request without a signed URL.
    pub rights: Rights,
    /// A login of the cache's own (`auth`).
    pub door: Option<Door>,
    /// Refuse every request for content that has no signed URL (`transship.access.require_token`).
    pub require_token: bool,
    /// Where the keys of signed URLs are (`transship.access.keys`); `None` asks the origin for
    /// `/.well-known/jwks.json`.
    pub keys: Option<KeySource>,
    /// Secret of signed URLs with HS256 (`transship.access.secret`); `None` refuses the algorithm.
    pub secret: Option<Secret>,
    /// How far clocks may differ (`transship.access.leeway`).
    pub leeway: Duration,
    /// How long the origin's word on a user counts without asking again (`transship.access.remember`).
    pub remember: Duration,
    /// How long it counts while the origin cannot be asked (`transship.access.grace`).
    pub grace: Duration,
}

impl Options {
    /// Returns who may pull what, for the start-up log.
    #[must_use]
    pub const fn audience(&self) -> &'static str {
        match (self.rights, &self.door) {
            (_, _) if self.require_token => "what a signed URL is for, and nothing else",
            (Rights::Public, _) => "everything, unchecked (transship.access.public)",
            (_, Some(Door::Token { .. })) => "what each client's token of auth.token allows",
            (Rights::Cache, Some(Door::Htpasswd { .. })) => {
                "what the cache's own credentials may pull, after a login (auth.htpasswd)"
            }
            (Rights::Cache, None) => "what the cache's own credentials may pull",
            (Rights::Client, _) => "each client's own rights, asked at the origin",
        }
    }

    /// Returns how long the origin's word is of any use.
    pub(super) fn keep(&self) -> Duration {
        self.remember.max(self.grace)
    }

    /// Says whether everyone who reaches the cache may pull what it has.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.rights != Rights::Client && self.door.is_none() && !self.require_token
    }
}

/// Those of the options that may change while clients are served.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) leeway: Live<Duration>,
    pub(super) remember: Live<Duration>,
    pub(super) grace: Live<Duration>,
}

impl Times {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            leeway: Live::new(options.leeway),
            remember: Live::new(options.remember),
            grace: Live::new(options.grace),
        }
    }

    pub(super) fn set(&self, options: &Options) {
        self.leeway.set(options.leeway);
        self.remember.set(options.remember);
        self.grace.set(options.grace);
    }
}

/// Whose rights count at the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// The client's own: its `Authorization` is passed on, and the origin decides.
    Client,
    /// The cache's: what its own credentials may pull, every client may (`transship.access.shared`).
    Cache,
    /// Nobody's: everything behind this cache is public (`transship.access.public`).
    Public,
}

/// Where a JWK set is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file, read again when it changes.
    File(PathBuf),
    /// An address, asked again on a timer and before an unknown key is refused.
    Url(Url),
}

/// A login at the cache itself, as in the registry's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// User names and passwords in a file of bcrypt hashes (`auth.htpasswd`).
    Htpasswd {
        /// Shown to the user.
        realm: String,
        /// The file, read again when it changes.
        path: PathBuf,
    },
    /// Tokens of a token server (`auth.token`).
    Token {
        /// URL of the token server.
        realm: String,
        /// Name of this service, as the token server knows it: the tokens' audience.
        service: String,
        /// The tokens' issuer.
        issuer: String,
        /// PEM file of certificates whose keys sign tokens, or that signed those (`rootcertbundle`).
        roots: Option<PathBuf>,
        /// JWK set whose keys sign tokens (`jwks`).
        jwks: Option<PathBuf>,
        /// Names of the algorithms that tokens may be signed with (`signingalgorithms`); empty is all that
        /// are supported.
        algorithms: Vec<String>,
    },
}

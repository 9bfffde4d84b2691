//! What an operator may say about a gateway (`gateway`, and what it shares with a cache: `http`, `log`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::auth::Secret;

/// All of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Addresses to try to listen on, the first that can be bound counts (`http.addr`).
    pub listen: Vec<SocketAddr>,
    /// PEM files of the certificate with its intermediates, and of its key (`http.tls`); `None` is plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// What clients call the gateway (`http.host`); `None` takes each request's `Host`.
    pub host: Option<Url>,
    /// How long what is in flight may go on after SIGTERM (`http.draintimeout`).
    pub drain: Duration,
    /// The registry behind it (`gateway.backend`): scheme, host and port, no path.
    pub backend: Url,
    /// The gateway's own account there.
    pub backend_login: Option<Login>,
    /// PEM files of authorities that backend, caches and mirrors may come from, besides the public ones.
    pub cas: Vec<PathBuf>,
    /// Directory of keys, and of the database where that is SQLite (`gateway.state`).
    pub state: PathBuf,
    /// URL of the database, `sqlite:…` or `postgres://…` (`gateway.database`); `None` is a file in `state`.
    pub database: Option<Secret>,
    /// Who there is, and who may do what.
    pub accounts: Accounts,
    /// How tokens are made.
    pub tokens: Tokens,
    /// How caches are watched.
    pub probe: Probe,
    /// Networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed (`gateway.proxies`).
    pub proxies: Vec<IpNet>,
    /// What is warmed, and where (`gateway.warm`).
    pub warm: Vec<WarmRule>,
    /// What is copied to other registries (`gateway.mirror`).
    pub mirror: Vec<MirrorRule>,
}

/// A user name and a password at another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Files about users; `None` is a file in the state directory, made at the first start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Users and bcrypt hashes (`gateway.htpasswd`).
    pub htpasswd: Option<PathBuf>,
    /// Groups, rights and admins (`gateway.policy`).
    pub policy: Option<PathBuf>,
}

/// How tokens are made (`gateway.token`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// What they are signed with.
    pub algorithm: Algorithm,
    /// How long a registry token counts.
    pub life: Duration,
    /// How long a signed URL counts.
    pub url_life: Duration,
    /// How often there is a new key; zero is never.
    pub rotate: Duration,
}

/// A signature algorithm (RFC 8037, RFC 7518).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// P-256 with SHA-256.
    Es256,
}

/// How caches are watched (`gateway.probe`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Time between two looks at a cache.
    pub interval: Duration,
    /// Longest time that one may take.
    pub timeout: Duration,
}

/// Which images are warmed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmRule {
    /// Which images.
    pub images: Images,
    /// Names of caches.
    pub caches: Vec<String>,
    /// Platforms, as `linux/amd64`; empty is all.
    pub platforms: Vec<String>,
    /// When besides at each push: a cron pattern in UTC.
    pub schedule: Option<String>,
}

/// Which images are copied, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorRule {
    /// Which images.
    pub images: Images,
    /// The other registry: scheme, host and port; a path is put before repositories' names.
    pub to: Url,
    /// The account there.
    pub login: Option<Login>,
}

/// Globs of repositories and tags. `*` is within a component of a name, `**` over several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Repositories.
    pub repository: String,
    /// Tags; empty is all.
    pub tags: Vec<String>,
}

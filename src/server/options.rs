//! What an operator may say about the server that clients talk to.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use rustls::CipherSuite;

use crate::live::Live;
use crate::rt::ListenAddr;

/// The server's address, TLS, limits and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where it listens (`http.addr`).
    pub listen: ListenAddr,
    /// Path before `/v2/` (`http.prefix`); begins and ends with `/`.
    pub prefix: String,
    /// Fields added to every response (`http.headers`), checked to be valid field lines.
    pub headers: Vec<(String, String)>,
    /// TLS at the door (`http.tls`); `None` serves plain HTTP.
    pub tls: Option<Tls>,
    /// How long responses in flight may go on after SIGTERM (`http.draintimeout`).
    pub drain_timeout: Duration,
    /// Longest silence between two requests of a connection.
    pub idle_timeout: Duration,
    /// Longest time from a request's first byte to its last head byte, and for a body after it.
    pub head_timeout: Duration,
    /// Longest time in which a client takes not one byte of a response.
    pub send_timeout: Duration,
    /// How long after the origin's last word a manifest by tag may be served while no next hop answers
    /// (`transship.stale.manifests`); `None` is never.
    pub stale_manifests: Option<Duration>,
    /// Most client connections at once, over all cores.
    pub connections_max: usize,
    /// Most client connections of one address at once; `None` is no bound.
    pub connections_per_address_max: Option<NonZeroUsize>,
}

/// Those of the options that may change while clients are served.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) drain_timeout: Live<Duration>,
    pub(super) idle_timeout: Live<Duration>,
    pub(super) head_timeout: Live<Duration>,
    pub(super) send_timeout: Live<Duration>,
    pub(super) stale_manifests: Live<Option<Duration>>,
    pub(super) connections_max: Live<usize>,
}

impl Bounds {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            drain_timeout: Live::new(options.drain_timeout),
            idle_timeout: Live::new(options.idle_timeout),
            head_timeout: Live::new(options.head_timeout),
            send_timeout: Live::new(options.send_timeout),
            stale_manifests: Live::new(options.stale_manifests),
            connections_max: Live::new(options.connections_max),
        }
    }

    pub(super) fn set(&self, options: &Options) {
        self.drain_timeout.set(options.drain_timeout);
        self.idle_timeout.set(options.idle_timeout);
        self.head_timeout.set(options.head_timeout);
        self.send_timeout.set(options.send_timeout);
        self.stale_manifests.set(options.stale_manifests);
        self.connections_max.set(options.connections_max);
    }
}

/// Certificates and protocol bounds (`http.tls`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file: the server's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// PEM file: the private key of the certificate, unencrypted.
    pub key: PathBuf,
    /// PEM files of authorities that client certificates must come from; empty asks for none.
    pub client_cas: Vec<PathBuf>,
    /// What is asked of clients where there are `client_cas`.
    pub client_auth: ClientAuth,
    /// Lowest protocol version accepted.
    pub minimum: TlsVersion,
    /// TLS 1.2 suites that are offered, besides all of TLS 1.3; empty offers all of [`CIPHER_SUITES`].
    pub cipher_suites: Vec<CipherSuite>,
}

/// How strictly client certificates are asked for (`http.tls.clientauth`), as Go's `tls.ClientAuthType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Asked for; what comes, if anything, is not held against the authorities.
    Request,
    /// Any certificate will do, but one there must be.
    RequireAny,
    /// None will do, but one that comes must be vouched for.
    VerifyIfGiven,
    /// There must be one that is vouched for.
    RequireAndVerify,
}

/// The cipher suites that there are, by the registry's names (`http.tls.ciphersuites`); those of TLS 1.3
/// come last.
pub const CIPHER_SUITES: [(&str, CipherSuite); 9] = [
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_128_GCM_SHA256,
    ),
    (
        "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_256_GCM_SHA384,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
];

/// Protocol versions that rustls speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

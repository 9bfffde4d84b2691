//! What an operator may say about the server that clients talk to.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Most client connections at once, over all cores.
    pub connections_max: usize,
    /// Most client connections of one address at once; `None` is no bound.
    pub connections_per_address_max: Option<NonZeroUsize>,
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
    /// Lowest protocol version accepted.
    pub minimum: TlsVersion,
}

/// Protocol versions that rustls speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

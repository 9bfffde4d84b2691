//! Why a next hop gave no answer, sorted by whose fault it is.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::trust;

/// What was being waited for when time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Name resolution, TCP and TLS handshakes.
    Connect,
    /// The response head.
    Head,
    /// The next byte of a body.
    Body,
}

/// Why a request got no answer, or its body no end.
///
/// Hosts are named as in a URL, with their port where it is not the scheme's. No variant holds a
/// token, a password or a query.
#[derive(Debug)]
pub enum Error {
    /// The caller's request cannot be put on the wire. Our fault.
    Request(&'static str),
    /// No address took the connection, or it broke before the response head.
    Unreachable {
        /// Where to.
        host: String,
        /// What the kernel or the resolver says.
        source: io::Error,
    },
    /// The next hop took longer than the operator allows.
    TimedOut {
        /// Who.
        host: String,
        /// What was waited for.
        phase: Phase,
    },
    /// Nobody was asked: this next hop is down, as are all others, and it is not time to try again.
    Away {
        /// Who, of those that are down, would have been asked first.
        host: String,
        /// How long ago it went down.
        since: Duration,
        /// What it failed with last.
        why: Arc<str>,
        /// It failed by not answering in time.
        is_late: bool,
    },
    /// Nobody was asked, or nobody would answer yet: this next hop asks to be left alone for so long, as do
    /// all others.
    Throttled {
        /// Who could be asked again first.
        host: String,
        /// When that will be, as far as is known.
        retry_after: Duration,
    },
    /// Nobody was asked: there were as many requests to this next hop at once as the operator allows, for all
    /// of the time that this one had.
    Full {
        /// Who would have been asked.
        host: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// No TLS session: a certificate that is not trusted, or not TLS at all.
    Tls {
        /// With whom.
        host: String,
        /// What rustls says.
        source: io::Error,
    },
    /// What came is not HTTP/1.1, or could be read in two ways.
    Protocol {
        /// From whom.
        host: String,
        /// What was wrong.
        what: &'static str,
    },
    /// The body ended before its framing says.
    Truncated {
        /// From whom.
        host: String,
        /// What the socket says, where it says more than that the peer has left.
        source: Option<io::Error>,
    },
    /// The body is larger than the caller takes.
    TooLarge {
        /// From whom.
        host: String,
        /// The bound, in bytes.
        max_bytes: usize,
    },
    /// A redirect that is not followed.
    Redirect {
        /// Who sent it.
        host: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// A token realm that is not asked. The next hop's fault, or the operator's to allow.
    Realm {
        /// The next hop whose challenge names it.
        host: String,
        /// The realm, without its query.
        realm: String,
        /// Why it is not asked.
        why: &'static str,
    },
    /// A token realm that gave no usable token.
    Token {
        /// The realm, without its query.
        realm: String,
        /// What it did instead.
        why: String,
    },
}

impl Error {
    /// Says whether time ran out, which a gateway answers with 504 instead of 502 (RFC 9110 §15.6.5).
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::TimedOut { .. } | Self::Away { is_late: true, .. }
        )
    }

    /// Says whether this repeats what was said, and logged, when the next hop went down or asked to be
    /// left alone.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Throttled { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(what) => write!(f, "the request cannot be sent: {what}"),
            Self::Unreachable { host, source } => write!(f, "{host} cannot be reached: {source}"),
            Self::TimedOut { host, phase } => match phase {
                Phase::Connect => write!(f, "{host} did not take the connection in time"),
                Phase::Head => write!(f, "{host} did not answer in time"),
                Phase::Body => write!(f, "{host} stopped sending"),
            },
            Self::Away {
                host, since, why, ..
            } => write!(
                f,
                "{host} is down since {:.1} s and not asked again yet: {why}",
                since.as_secs_f64()
            ),
            Self::Throttled { host, retry_after } => write!(
                f,
                "{host} is to be left alone for {:.1} s more",
                retry_after.as_secs_f64()
            ),
            Self::Full { host, .. } => write!(
                f,
                "no room for one more request to {host} in time \
                 (transship.upstream.connections_max)"
            ),
            Self::Tls { host, source } => f.write_str(&trust::explain(host, source)),
            Self::Protocol { host, what } => write!(f, "{host} broke the protocol: {what}"),
            Self::Truncated { host, source } => match source {
                Some(source) => write!(f, "{host} broke off in the body: {source}"),
                None => write!(f, "{host} ended the body early"),
            },
            Self::TooLarge { host, max_bytes } => {
                write!(f, "{host} sent more than {max_bytes} bytes")
            }
            Self::Redirect { host, why } => write!(f, "redirect of {host} refused: {why}"),
            Self::Realm { host, realm, why } => {
                write!(f, "{host} asks for a token of {realm}: {why}")
            }
            Self::Token { realm, why } => write!(f, "no token from {realm}: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable { source, .. } | Self::Tls { source, .. } => Some(source),
            Self::Truncated { source, .. } => source.as_ref().map(|source| source as _),
            _ => None,
        }
    }
}

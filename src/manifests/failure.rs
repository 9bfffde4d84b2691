//! Why there is no manifest, and what that says of a tag.

use std::fmt;

use crate::upstream::{self, Refusal};

/// Why a next hop gave no manifest.
#[derive(Debug)]
pub enum Failure {
    /// It answered something else.
    Refused(Refusal),
    /// None gave an answer.
    Unasked(upstream::Error),
    /// Its answer broke off, or was too large.
    Broken(upstream::Error),
    /// What came is no manifest, or not the one that was asked for.
    Nonsense(&'static str),
}

impl Failure {
    /// Says whether the next hops gave no answer to what was asked, so that what the origin said before may
    /// count.
    ///
    /// An answer that says something counts, and so does everything that may hide one: a redirect or a token
    /// service that was not followed, a token that was refused. A certificate that is not trusted is no answer:
    /// whoever shows it could as well have said nothing.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        use upstream::Error;
        match self {
            Self::Refused(refusal) => is_away_status(refusal.status),
            Self::Unasked(error) => match error {
                Error::Unreachable { .. }
                | Error::TimedOut { .. }
                | Error::Away { .. }
                | Error::Throttled { .. }
                | Error::Full { .. }
                | Error::Tls { .. }
                | Error::Protocol { .. }
                | Error::Truncated { .. } => true,
                Error::Request(_)
                | Error::TooLarge { .. }
                | Error::Redirect { .. }
                | Error::Realm { .. }
                | Error::Token { .. } => false,
            },
            Self::Broken(_) | Self::Nonsense(_) => false,
        }
    }

    /// Says whether a next hop did answer, whatever it was.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        !self.is_away() && !matches!(self, Self::Unasked(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "{} answered {}", refusal.hop, refusal.status),
            Self::Unasked(error) | Self::Broken(error) => error.fmt(f),
            Self::Nonsense(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}

/// 5xx, but for what is about the request (501, 505) or the configuration (508); and 429, which says nothing
/// of the tag.
const fn is_away_status(status: u16) -> bool {
    status == 429 || (status >= 500 && !matches!(status, 501 | 505 | 508))
}

/// Says whether this status means that there is no such tag any more.
///
/// - `is_clients`: whether a client's own right was asked for. What one user may not see is there for the next
///   one all the same; what the cache may not see, nobody may see through it.
pub(super) const fn is_gone(status: u16, is_clients: bool) -> bool {
    match status {
        401 | 403 => !is_clients,
        // About time, not about the tag.
        408 | 425 | 429 => false,
        _ => status >= 400 && status < 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_of_a_tag_is_no_answer_and_does_not_end_its_memory() {
        for status in [429, 500, 502, 503, 504, 522, 599] {
            assert!(is_away_status(status), "{status}");
        }
        for status in [200, 304, 400, 401, 403, 404, 410, 501, 505, 508] {
            assert!(!is_away_status(status), "{status}");
        }
        for status in 200..600 {
            assert!(!(is_away_status(status) && is_gone(status, false)));
        }
    }

    #[test]
    fn a_deleted_tag_is_forgotten_and_one_users_refusal_is_not_the_others() {
        for is_clients in [true, false] {
            assert!(is_gone(404, is_clients) && is_gone(410, is_clients));
            assert!(!is_gone(503, is_clients) && !is_gone(304, is_clients));
            assert_eq!(is_gone(401, is_clients), !is_clients);
            assert_eq!(is_gone(403, is_clients), !is_clients);
        }
    }
}

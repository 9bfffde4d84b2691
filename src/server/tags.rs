//! What becomes of a tag's memory with each answer of the origin, and when it stands in for an answer.
//!
//! ```text
//!  the next hops say     the memory of the tag          the client gets
//!  200, 304              confirmed                      the manifest
//!  nothing: is_away      stays                          the manifest, marked stale, for so long; or 502, 504
//!  401, 403              stays, as it is for others     the refusal; and its right is forgotten, see `permit`
//!  404, any other 4xx    forgotten                      the refusal
//! ```
//!
//! Nothing here is for a client that may not have it: `access` decides, as for a manifest by digest.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::reply::detail;
use crate::limits::STALE_LOG_EVERY;
use crate::metrics::CacheUse;
use crate::upstream::{Error, Response};

/// Says whether the next hops gave no answer to what was asked, so that what the origin said before may count.
///
/// An answer that says something counts, and so does everything that may hide one: a redirect or a token
/// service that was not followed, a token that was refused. A certificate that is not trusted is no answer:
/// whoever shows it could as well have said nothing.
pub(super) const fn is_away(outcome: &Result<Response, Error>) -> bool {
    match outcome {
        Ok(response) => is_away_status(response.status()),
        Err(error) => match error {
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
    }
}

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

/// Returns `Cache-Status` of what is served although the next hops gave no answer (RFC 9211 §2.2, §2.3, §2.8).
pub(super) fn cache_status(outcome: &Result<Response, Error>) -> String {
    let used = CacheUse::Stale.cache_status();
    match outcome {
        Ok(response) => format!("{used}; fwd-status={}", response.status()),
        Err(error) => format!("{used}; {}", detail(error)),
    }
}

/// Returns how old an answer says that it is (RFC 9111 §5.1): a next hop that is itself without its origin's
/// word says since when.
pub(super) fn age(response: &Response) -> Duration {
    let age = response.field("age").and_then(|age| age.parse().ok());
    Duration::from_secs(age.unwrap_or(0))
}

/// Whether manifests are served without the origin's word, for the log.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since when, if that was told; how many manifests.
    told: Option<(Instant, u64)>,
    /// When it was last told that it begins.
    began: Option<Instant>,
}

impl Outage {
    /// Takes note of a manifest that is served without the origin's word; says whether that is to be told.
    fn note_stale(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        if let Some((_, count)) = &mut state.told {
            *count += 1;
            return false;
        }
        let rests = |at: Instant| now.saturating_duration_since(at) < STALE_LOG_EVERY;
        if state.began.is_some_and(rests) {
            return false;
        }
        state.began = Some(now);
        state.told = Some((now, 1));
        true
    }

    /// Takes note of an answer about a tag; returns for how long there was none, and how many manifests were
    /// served meanwhile, if that is to be told.
    fn note_answer(&self, now: Instant) -> Option<(Duration, u64)> {
        let (since, count) = self.0.lock().told.take()?;
        Some((now.saturating_duration_since(since), count))
    }

    /// Tells, once, that it begins.
    pub(super) fn tell_stale(&self, why: &str, longest: Duration) {
        if self.note_stale(Instant::now()) {
            let longest = longest.as_secs();
            tracing::warn!(
                why,
                longest_seconds = longest,
                "no upstream answers: tags are served as the origin last confirmed them (transship.stale.manifests)"
            );
        }
    }

    /// Tells, once, that it has ended.
    pub(super) fn tell_answer(&self) {
        if let Some((lasted, manifests)) = self.note_answer(Instant::now()) {
            let lasted = format_args!("{:.1}s", lasted.as_secs_f64());
            tracing::info!(%lasted, manifests, "an upstream answers again: tags are served by its word");
        }
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

    #[test]
    fn an_outage_is_told_once_and_its_end_once_and_one_that_comes_and_goes_is_told_once_a_minute() {
        let (outage, start) = (Outage::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(outage.note_answer(at(0)), None);
        assert!(outage.note_stale(at(1)));
        assert!(!outage.note_stale(at(2)) && !outage.note_stale(at(3)));
        assert_eq!(
            outage.note_answer(at(11)),
            Some((Duration::from_secs(10), 3))
        );
        assert_eq!(outage.note_answer(at(12)), None);
        assert!(!outage.note_stale(at(13)), "told within the minute");
        assert_eq!(outage.note_answer(at(14)), None);
        assert!(outage.note_stale(at(1) + STALE_LOG_EVERY));
    }
}

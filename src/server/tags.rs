//! When the memory of a tag stands in for an answer of the origin, and what is logged of that.
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
use crate::manifests::Failure;
use crate::metrics::CacheUse;

/// Returns `Cache-Status` of what is served although the next hops gave no answer (RFC 9211 §2.2, §2.3, §2.8).
pub(super) fn cache_status(failure: &Failure) -> String {
    let used = CacheUse::Stale.cache_status();
    match failure {
        Failure::Refused(refusal) => format!("{used}; fwd-status={}", refusal.status),
        Failure::Unasked(error) | Failure::Broken(error) => format!("{used}; {}", detail(error)),
        Failure::Nonsense(_) => used.to_owned(),
    }
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

//! Which blobs the backend was seen to have, by repository.
//!
//! Values only. Invariant: nothing is in here but what the backend has said itself, so nobody fills it with what they
//! make up.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::digest::Digest;
use crate::registry::Name;

/// How long it counts, in seconds: what was deleted meanwhile is at caches for longer than that anyway.
const LIFE: u64 = 600;

/// Most blobs that are kept: beyond it all are asked for anew.
const BLOBS_MAX: usize = 1 << 15;

/// Blobs of repositories, with when each was last seen, in seconds since the epoch.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<(String, Digest), u64>>);

impl Seen {
    /// Says whether the repository was seen to have the blob, and that counts at `now`.
    pub(super) fn has(&self, name: Name<'_>, digest: &Digest, now: u64) -> bool {
        let seen = self.0.lock().get(&(name.to_string(), *digest)).copied();
        seen.is_some_and(|seen| now < seen.saturating_add(LIFE))
    }

    /// Takes note of a blob that the repository has at `now`.
    pub(super) fn note(&self, name: Name<'_>, digest: &Digest, now: u64) {
        let mut blobs = self.0.lock();
        if blobs.len() >= BLOBS_MAX {
            blobs.retain(|_, seen| now < seen.saturating_add(LIFE));
        }
        if blobs.len() >= BLOBS_MAX {
            blobs.clear();
        }
        blobs.insert((name.to_string(), *digest), now);
    }

    /// Forgets a blob that may have gone.
    pub(super) fn forget(&self, name: Name<'_>, digest: &Digest) {
        self.0.lock().remove(&(name.to_string(), *digest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    fn digest(text: &str) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    #[test]
    fn a_blob_is_known_in_its_own_repository_until_its_time_ends() {
        let (seen, a) = (Seen::default(), Name::parse("a").unwrap());
        seen.note(a, &digest("x"), 100);
        assert!(seen.has(a, &digest("x"), 100 + LIFE - 1));
        assert!(!seen.has(a, &digest("x"), 100 + LIFE));
        assert!(!seen.has(Name::parse("b").unwrap(), &digest("x"), 100));
        assert!(!seen.has(a, &digest("y"), 100));
        seen.forget(a, &digest("x"));
        assert!(!seen.has(a, &digest("x"), 100));
    }

    #[test]
    fn no_more_are_kept_than_may_be() {
        let (seen, a) = (Seen::default(), Name::parse("a").unwrap());
        for number in 0..=BLOBS_MAX {
            seen.note(a, &digest(&number.to_string()), 100);
        }
        assert!(seen.0.lock().len() <= BLOBS_MAX);
        assert!(seen.has(a, &digest(&BLOBS_MAX.to_string()), 100));
    }
}

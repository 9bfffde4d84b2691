//! The origin's word on who may pull from which repository, for as long as it counts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::digest::{Algorithm, Digest, Hasher};
use crate::limits::PERMISSIONS_MAX;
use crate::live::Live;
use crate::rt;

/// Who asks, as far as the origin can tell: the cache itself, or the bearer of some credential.
///
/// The credential is not in it, only a salted hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// The cache itself, or anybody without a credential.
    Cache,
    /// Whoever shows the credential of this hash.
    Bearer(Digest),
}

/// Salted hashes, so that what is remembered is of no use to anyone who reads it.
pub(super) struct Salt([u8; 32]);

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(…)")
    }
}

impl Salt {
    /// Returns a salt for this process.
    pub(super) fn new() -> std::io::Result<Self> {
        rt::random().map(Self)
    }

    /// Returns the hash of `credential`. Costs 2 to 3 µs a KiB.
    pub(super) fn hash(&self, credential: &[u8]) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&self.0);
        hasher.update(credential);
        hasher.finish()
    }
}

/// What the origin has confirmed, and when.
///
/// Only what it confirmed is in here: nobody without rights can fill it. Where everybody has some, made-up
/// credentials can, so there is a bound, and the oldest go.
#[derive(Debug)]
pub(super) struct Permissions {
    confirmed: Mutex<HashMap<(Who, Box<str>), Instant>>,
    /// Age from which a permission is of no use any more.
    keep: Live<Duration>,
}

impl Permissions {
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            confirmed: Mutex::default(),
            keep: Live::new(keep),
        }
    }

    /// Keeps permissions for another time from now on.
    pub(super) fn set_keep(&self, keep: Duration) {
        self.keep.set(keep);
    }

    /// Returns how long ago the origin confirmed that `who` may pull from `repository`.
    pub(super) fn age(&self, who: Who, repository: &str, now: Instant) -> Option<Duration> {
        let confirmed = self.confirmed.lock();
        let at = confirmed.get(&(who, repository.into()))?;
        let age = now.saturating_duration_since(*at);
        (age <= self.keep.get()).then_some(age)
    }

    /// Remembers that the origin confirmed it at `now`.
    pub(super) fn confirm(&self, who: Who, repository: &str, now: Instant) {
        let mut confirmed = self.confirmed.lock();
        let key = (who, repository.into());
        if confirmed.len() >= PERMISSIONS_MAX && !confirmed.contains_key(&key) {
            make_room(&mut confirmed, self.keep.get(), now);
        }
        confirmed.insert(key, now);
    }

    /// Forgets a permission that the origin took back.
    pub(super) fn forget(&self, who: Who, repository: &str) {
        self.confirmed.lock().remove(&(who, repository.into()));
    }
}

/// Drops what is of no use any more and, if that is not enough, the older half. Costs a look at each;
/// half of them have to be confirmed anew before it happens again.
fn make_room(confirmed: &mut HashMap<(Who, Box<str>), Instant>, keep: Duration, now: Instant) {
    confirmed.retain(|_, at| now.saturating_duration_since(*at) <= keep);
    if confirmed.len() < PERMISSIONS_MAX {
        return;
    }
    let mut times: Vec<_> = confirmed.values().copied().collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    confirmed.retain(|_, at| *at > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bearer(text: &str) -> Who {
        Who::Bearer(Digest::of(Algorithm::Sha256, text.as_bytes()))
    }

    #[test]
    fn a_permission_is_for_one_bearer_and_one_repository_and_ages() {
        let permissions = Permissions::new(60 * SECOND);
        let start = Instant::now();
        permissions.confirm(bearer("alice"), "a/b", start);
        let age = |who, repository, after| permissions.age(who, repository, start + after);
        assert_eq!(age(bearer("alice"), "a/b", 2 * SECOND), Some(2 * SECOND));
        assert_eq!(age(bearer("alice"), "a/b", 60 * SECOND), Some(60 * SECOND));
        assert_eq!(age(bearer("alice"), "a/b", 61 * SECOND), None);
        assert_eq!(age(bearer("alice"), "a/bc", SECOND), None);
        assert_eq!(age(bearer("alice"), "a", SECOND), None);
        assert_eq!(age(bearer("bob"), "a/b", SECOND), None);
        assert_eq!(age(Who::Cache, "a/b", SECOND), None);
        permissions.forget(bearer("alice"), "a/b");
        assert_eq!(age(bearer("alice"), "a/b", SECOND), None);
    }

    #[test]
    fn there_is_a_bound_and_the_young_survive_it() {
        let permissions = Permissions::new(Duration::from_secs(1 << 40));
        let start = Instant::now();
        let at = |index: usize| start + Duration::from_millis(index as u64);
        for index in 0..=PERMISSIONS_MAX {
            permissions.confirm(Who::Cache, &format!("r/{index}"), at(index));
        }
        let end = at(PERMISSIONS_MAX);
        assert!(permissions.confirmed.lock().len() <= PERMISSIONS_MAX);
        assert!(permissions.age(Who::Cache, "r/0", end).is_none());
        let last = format!("r/{PERMISSIONS_MAX}");
        assert_eq!(
            permissions.age(Who::Cache, &last, end),
            Some(Duration::ZERO)
        );
        let young = format!("r/{}", PERMISSIONS_MAX - 1);
        assert!(permissions.age(Who::Cache, &young, end).is_some());
    }

    #[test]
    fn a_hash_differs_by_credential_and_by_salt() {
        let (one, other) = (Salt::new().unwrap(), Salt::new().unwrap());
        let (alice, bob) = (b"Basic YQ==", b"Basic Yg==");
        assert_eq!(one.hash(alice), one.hash(alice));
        assert_ne!(one.hash(alice), one.hash(bob));
        assert_ne!(one.hash(alice), other.hash(alice));
    }
}

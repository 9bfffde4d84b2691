//! Which of a gateway's own keys signs, when there is a new one, and when an old one may go.
//!
//! ```text
//!  made ── LEAD ──▶ signs ── until the next one signs ──▶ its last tokens count ──▶ removed
//!  ╰──────────────────── published all the time ──────────────────────────────────╯
//! ```
//!
//! `ends` is a lease: the end of the last token that a key may have signed, renewed well before it is over as long as
//! the key signs. So the keys of a gateway that is gone leave the database by themselves.

use super::keys::Key;

/// How long a new key is published before it signs. Caches look for a key that they do not know at most once a second,
/// another gateway looks every two, and what stands between may keep the set for [`JWKS_AGE_SECONDS`].
const LEAD_SECONDS: u64 = 10;
/// How long a key set may be kept by what stands between.
pub(super) const JWKS_AGE_SECONDS: u64 = 5;
/// Most keys of one gateway: with a shorter `rotate` than their tokens' life a new one waits until an old one goes.
const KEYS_MAX: usize = 8;

/// A key and its times, in seconds since the epoch.
#[derive(Clone, Debug)]
pub(super) struct Timed<K = Key> {
    pub(super) key: K,
    pub(super) made: u64,
    /// What it has signed counts no longer.
    pub(super) ends: u64,
}

/// What is to be done about the keys of a [`Ring`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Make a new key.
    Make,
    /// Let the key of this place count until then.
    Renew(usize, u64),
    /// Remove the key of this place.
    Remove(usize),
}

/// The keys of one gateway, the oldest first, and how they follow one another.
#[derive(Clone, Debug)]
pub(super) struct Ring<K = Key> {
    keys: Vec<Timed<K>>,
    /// How often there is a new key; zero is never.
    rotate_seconds: u64,
    /// The longest life of what keys sign, and some more for clocks.
    life_seconds: u64,
}

impl<K> Ring<K> {
    pub(super) fn new(mut keys: Vec<Timed<K>>, rotate_seconds: u64, life_seconds: u64) -> Self {
        keys.sort_by_key(|key| key.made);
        Self {
            keys,
            rotate_seconds,
            life_seconds,
        }
    }

    pub(super) fn keys(&self) -> &[Timed<K>] {
        &self.keys
    }

    /// Returns the key that signs at `now`: the newest that everybody had time to learn, else the oldest.
    pub(super) fn signing(&self, now: u64) -> Option<&Timed<K>> {
        self.keys.get(self.signing_index(now))
    }

    fn signing_index(&self, now: u64) -> usize {
        let is_known = |key: &Timed<K>| key.made.saturating_add(LEAD_SECONDS) <= now;
        self.keys.iter().rposition(is_known).unwrap_or(0)
    }

    /// Returns what is to be done next at `now`; `None` is nothing.
    pub(super) fn due(&self, now: u64) -> Option<Due> {
        let signing = self.signing_index(now);
        let gone = self
            .keys
            .iter()
            .take(signing)
            .position(|key| key.ends <= now);
        if let Some(index) = gone {
            return Some(Due::Remove(index));
        }
        let wanted = now.saturating_add(self.life_seconds.saturating_mul(3) / 2);
        let mut current = self.keys.iter().enumerate().skip(signing);
        if let Some((index, _)) = current.find(|(_, key)| key.ends < wanted) {
            return Some(Due::Renew(index, self.ends(now)));
        }
        match self.keys.last() {
            None => Some(Due::Make),
            Some(newest) => {
                let age = now.saturating_sub(newest.made);
                let is_old = self.rotate_seconds > 0 && age >= self.rotate_seconds;
                (is_old && self.keys.len() < KEYS_MAX).then_some(Due::Make)
            }
        }
    }

    /// Returns until when a key counts that may sign from `now` on.
    pub(super) const fn ends(&self, now: u64) -> u64 {
        now.saturating_add(self.life_seconds.saturating_mul(2))
    }

    pub(super) fn add(&mut self, key: Timed<K>) {
        self.keys.push(key);
    }

    pub(super) fn renew(&mut self, index: usize, ends: u64) {
        if let Some(key) = self.keys.get_mut(index) {
            key.ends = key.ends.max(ends);
        }
    }

    pub(super) fn remove(&mut self, index: usize) {
        if index < self.keys.len() {
            self.keys.remove(index);
        }
    }
}

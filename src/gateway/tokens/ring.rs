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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key(made: u64, ends: u64) -> Timed<u64> {
        Timed {
            key: made,
            made,
            ends,
        }
    }

    /// Does all that is due, as the keeper of the keys does.
    fn settle(ring: &mut Ring<u64>, now: u64) {
        for _ in 0..100 {
            match ring.due(now) {
                None => return,
                Some(Due::Make) => ring.add(key(now, ring.ends(now))),
                Some(Due::Renew(index, ends)) => ring.renew(index, ends),
                Some(Due::Remove(index)) => {
                    assert!(ring.keys()[index].ends <= now, "removed before its time");
                    ring.remove(index);
                }
            }
        }
        panic!("there is no end of what is due");
    }

    #[test]
    fn a_new_key_signs_when_it_could_be_learned_and_the_old_one_goes_after_its_tokens() {
        let mut ring = Ring::new(Vec::new(), 1000, 100);
        assert_eq!(ring.due(NOW), Some(Due::Make));
        settle(&mut ring, NOW);
        assert_eq!(
            ring.signing(NOW).unwrap().key,
            NOW,
            "the first signs at once"
        );
        settle(&mut ring, NOW + 999);
        assert_eq!(ring.keys().len(), 1);
        let turn = NOW + 1000;
        settle(&mut ring, turn);
        assert_eq!(ring.keys().len(), 2);
        let switch = turn + LEAD_SECONDS;
        assert_eq!(ring.signing(switch - 1).unwrap().key, NOW);
        assert_eq!(ring.signing(switch).unwrap().key, turn);
        settle(&mut ring, switch);
        let ends = ring.keys()[0].ends;
        assert!(
            ends >= switch + 100,
            "what it signed a second ago still counts"
        );
        settle(&mut ring, ends - 1);
        assert_eq!(ring.keys().len(), 2);
        settle(&mut ring, ends);
        assert_eq!(ring.keys()[0].key, turn);
    }

    #[test]
    fn keys_that_were_left_alone_for_long_are_used_again_or_replaced() {
        // A day after its gateway was stopped: its row has ended, its key has not.
        let mut ring = Ring::new(vec![key(NOW, NOW + 200)], 1000, 100);
        settle(&mut ring, NOW + 86_400);
        let keys: Vec<_> = ring.keys().iter().map(|timed| timed.key).collect();
        assert_eq!(keys, [NOW, NOW + 86_400]);
        assert_eq!(ring.signing(NOW + 86_400).unwrap().key, NOW);
        let never = Ring::new(vec![key(NOW, u64::MAX)], 0, 100);
        assert_eq!(never.due(NOW + 1_000_000_000), None);
        assert_eq!(
            Ring::<u64>::new(Vec::new(), 0, 100)
                .signing(NOW)
                .map(|timed| timed.key),
            None
        );
    }

    proptest! {
        #[test]
        fn what_is_signed_can_be_checked_as_long_as_it_counts(
            rotate in 0u64..400, life in 1u64..400, steps in prop::collection::vec(1u64..50, 1..80),
        ) {
            let mut ring = Ring::new(Vec::new(), rotate, life);
            let (mut now, mut signed) = (NOW, Vec::new());
            for step in steps {
                settle(&mut ring, now);
                prop_assert!(ring.keys().len() <= KEYS_MAX);
                let signing = ring.signing(now).unwrap();
                let is_oldest = signing.key == ring.keys()[0].key;
                prop_assert!(is_oldest || signing.made + LEAD_SECONDS <= now);
                prop_assert!(signing.ends >= now + life);
                signed.push((signing.key, now + life));
                now += step.min(life / 2 + 1);
                settle(&mut ring, now);
                let is_there = |kid: &u64| ring.keys().iter().any(|timed| timed.key == *kid);
                prop_assert!(signed.iter().all(|(kid, until)| *until <= now || is_there(kid)));
            }
        }
    }
}

//! What the next hop has just said is not there, and questions that several ask at once.
//!
//! ```text
//!  asked ─▶ just said to be absent? ─yes─▶ 404
//!             no ╰─▶ somebody asks just now? ─yes─▶ wait, and take a refusal as one's own
//!                         no ╰─▶ ask; 404 is remembered for ABSENT_TIME
//! ```
//!
//! Digests only: a tag may be made at any moment. An answer is about the repository and the authority that it
//! was given to, and a manifest's about the types that were accepted. What a signed URL was answered is not
//! remembered: the signature may have been what was wrong. Nor is what the next hop itself only remembers, so
//! that the times of a chain do not add up.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use super::reply::Reply;
use crate::access::{Item, Kind, Visit};
use crate::digest::Digest;
use crate::limits::{ABSENT_MAX, ABSENT_TIME};
use crate::metrics::CacheUse;
use crate::registry::Code;
use crate::rt::Notify;
use crate::upstream::{Authority, Refusal, Trail};

/// What is asked for, under which name, and in whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    kind: Kind,
    digest: Digest,
    repository: Box<str>,
    authority: Authority,
    /// Of the accepted types, where they matter.
    accept: Option<Digest>,
}

impl Asked {
    pub(super) fn new(item: Item<'_>, visit: &Visit, accept: Option<Digest>) -> Self {
        Self {
            kind: item.kind,
            digest: item.digest,
            repository: item.repository.as_str().into(),
            authority: visit.authority.clone(),
            accept,
        }
    }
}

/// What is not there.
#[derive(Debug, Default)]
pub(super) struct Absences {
    /// The time until which each counts, by digest: few ask for one in different names.
    known: Mutex<HashMap<Digest, Vec<(Asked, Instant)>>>,
}

impl Absences {
    /// Returns what is answered at once, if the next hop has just said that there is nothing.
    pub(super) fn answer(&self, asked: &Asked) -> Option<Reply> {
        if !self.holds(asked, Instant::now()) {
            return None;
        }
        let code = match asked.kind {
            Kind::Blob => Code::BlobUnknown,
            Kind::Manifest => Code::ManifestUnknown,
        };
        let reply = Reply::unknown(code, &asked.digest.to_string());
        Some(reply.by(CacheUse::Negative, ""))
    }

    /// Takes note of what the next hop said.
    pub(super) fn note(&self, asked: Asked, refusal: &Refusal) {
        let is_told_from_memory = refusal.cache_status.contains("detail=negative");
        let is_signed = matches!(asked.authority, Authority::Signed(_));
        if refusal.status == 404 && !is_signed && !is_told_from_memory {
            self.insert(asked, Instant::now());
        }
    }

    /// Forgets a digest: somebody was just given it.
    pub(super) fn forget(&self, digest: &Digest) {
        self.known.lock().remove(digest);
    }

    fn holds(&self, asked: &Asked, now: Instant) -> bool {
        let known = self.known.lock();
        let of_digest = known.get(&asked.digest);
        of_digest.is_some_and(|all| {
            all.iter()
                .any(|(known, until)| now < *until && known == asked)
        })
    }

    fn insert(&self, asked: Asked, now: Instant) {
        let mut known = self.known.lock();
        // Those who heard the same answer add nothing to its time.
        let of_digest = known.get(&asked.digest);
        let is_known = |all: &Vec<(Asked, Instant)>| {
            all.iter()
                .any(|(known, until)| now < *until && *known == asked)
        };
        if of_digest.is_some_and(is_known) {
            return;
        }
        let count: usize = known.values().map(Vec::len).sum();
        if count >= ABSENT_MAX {
            known.retain(|_, all| {
                all.retain(|(_, until)| now < *until);
                !all.is_empty()
            });
        }
        if known.values().map(Vec::len).sum::<usize>() < ABSENT_MAX {
            let all = known.entry(asked.digest).or_default();
            all.retain(|(_, until)| now < *until);
            all.push((asked, now + ABSENT_TIME));
        }
    }
}

/// Questions on their way to the next hop, each asked once for all who ask it meanwhile.
#[derive(Debug)]
pub(super) struct Questions<T> {
    running: Mutex<HashMap<Digest, Vec<Running<T>>>>,
}

/// Those that have passed others may go round in a cycle, and must not wait for each other.
type Running<T> = (Asked, Trail, Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    /// `None` within: whoever asked has left without an answer.
    answer: OnceLock<Option<T>>,
    answered: Notify,
}

/// What a question becomes.
pub(super) enum Turn<'q, T> {
    /// Nobody asks it: the caller has to.
    First(Asking<'q, T>),
    /// Somebody did, and heard this.
    Heard(T),
    /// Somebody did, and left.
    Again,
}

/// The duty to answer everyone who waits; kept even if the task that asks is dropped.
pub(super) struct Asking<'q, T> {
    questions: &'q Questions<T>,
    digest: Digest,
    shared: Arc<Shared<T>>,
}

impl<T> Default for Questions<T> {
    fn default() -> Self {
        Self {
            running: Mutex::default(),
        }
    }
}

impl<T: Clone> Questions<T> {
    /// Takes the place of the one who asks, or waits for what that one hears.
    pub(super) async fn join(&self, asked: &Asked, trail: &Trail) -> Turn<'_, T> {
        let shared = {
            let mut running = self.running.lock();
            let all = running.entry(asked.digest).or_default();
            let found = all.iter().find(|one| one.0 == *asked && one.1 == *trail);
            match found {
                Some((_, _, shared)) => Arc::clone(shared),
                None => {
                    let shared = Arc::new(Shared {
                        answer: OnceLock::new(),
                        answered: Notify::default(),
                    });
                    all.push((asked.clone(), trail.clone(), Arc::clone(&shared)));
                    return Turn::First(Asking {
                        questions: self,
                        digest: asked.digest,
                        shared,
                    });
                }
            }
        };
        let answer = shared.answered.wait(|| shared.answer.get().cloned()).await;
        answer.map_or(Turn::Again, Turn::Heard)
    }
}

impl<T> Asking<'_, T> {
    /// Tells everyone who waits.
    pub(super) fn answer(self, answer: T) {
        drop(self.shared.answer.set(Some(answer)));
    }
}

impl<T> Drop for Asking<'_, T> {
    fn drop(&mut self) {
        {
            // Off the list first: an answer is for those who waited, not for those who come later.
            let mut running = self.questions.running.lock();
            if let Some(all) = running.get_mut(&self.digest) {
                all.retain(|(_, _, shared)| !Arc::ptr_eq(shared, &self.shared));
                if all.is_empty() {
                    running.remove(&self.digest);
                }
            }
        }
        drop(self.shared.answer.set(None));
        self.shared.answered.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::Secret;
    use crate::digest::Algorithm;

    fn asked(number: usize, authority: Authority) -> Asked {
        Asked {
            kind: Kind::Blob,
            digest: Digest::of(Algorithm::Sha256, &number.to_le_bytes()),
            repository: "a/b".into(),
            authority,
            accept: None,
        }
    }

    fn refusal(status: u16, cache_status: &str) -> Refusal {
        Refusal {
            status,
            challenges: Vec::new(),
            cache_status: cache_status.to_owned(),
            hop: "a.example".to_owned(),
        }
    }

    #[test]
    fn an_absence_ends_by_itself_and_those_who_hear_of_it_late_do_not_prolong_it() {
        // A client that asks again and again would never see what was pushed.
        let (absences, now) = (Absences::default(), Instant::now());
        let one = asked(1, Authority::Cache);
        absences.insert(one.clone(), now);
        absences.insert(one.clone(), now + ABSENT_TIME / 2);
        let just_before = now + ABSENT_TIME.saturating_sub(Duration::from_millis(1));
        assert!(absences.holds(&one, just_before));
        assert!(!absences.holds(&one, now + ABSENT_TIME));
        let other = Asked {
            repository: "a/c".into(),
            ..one.clone()
        };
        assert!(!absences.holds(&other, now));
        let client = asked(1, Authority::Client(Secret::new("Basic YQ==")));
        assert!(!absences.holds(&client, now));
        absences.forget(&one.digest);
        assert!(!absences.holds(&one, now));
    }

    #[test]
    fn there_is_a_bound_and_what_has_ended_makes_room() {
        let (absences, now) = (Absences::default(), Instant::now());
        for number in 0..=ABSENT_MAX {
            absences.insert(asked(number, Authority::Cache), now);
        }
        let last = asked(ABSENT_MAX, Authority::Cache);
        assert!(absences.holds(&asked(0, Authority::Cache), now));
        assert!(!absences.holds(&last, now));
        absences.insert(last.clone(), now + ABSENT_TIME);
        assert!(absences.holds(&last, now + ABSENT_TIME));
        assert_eq!(absences.known.lock().len(), 1);
    }

    #[test]
    fn only_a_404_of_now_to_somebody_who_may_ask_again_is_remembered() {
        let absences = Absences::default();
        let signed = asked(1, Authority::Signed(Secret::new("token")));
        absences.note(signed.clone(), &refusal(404, ""));
        assert!(absences.answer(&signed).is_none());
        let one = asked(1, Authority::Cache);
        for status in [401, 403, 410, 429, 500, 503, 508] {
            absences.note(one.clone(), &refusal(status, ""));
        }
        // The next hop's three seconds have begun already.
        absences.note(
            one.clone(),
            &refusal(404, "transship; hit; detail=negative, "),
        );
        assert!(absences.answer(&one).is_none());
        absences.note(
            one.clone(),
            &refusal(404, "transship; fwd=miss; fwd-status=404, "),
        );
        let reply = absences.answer(&one).unwrap();
        assert_eq!(
            (reply.status.number(), reply.cache),
            (404, CacheUse::Negative)
        );
    }
}

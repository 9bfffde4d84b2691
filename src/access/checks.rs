//! Asks the origin whether somebody may have something; everyone who wants to know the same waits for
//! one answer.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use super::permissions::Who;
use super::{Access, Denial, Item, Kind, proof};
use crate::digest::Digest;
use crate::limits::{AWAY_TIME, CHECKS_MAX};
use crate::metrics::{CheckOutcome, Counters};
use crate::registry::media_type;
use crate::rt::{self, Notify};
use crate::upstream::{self, Authority, Method, Request, Response, Trail};

/// What is being asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) who: Who,
    pub(super) kind: Kind,
    pub(super) repository: Box<str>,
    pub(super) digest: Digest,
    /// What the request passed that wants to know: those that passed others may go round in a cycle.
    pub(super) trail: Trail,
    /// Length of the content, where it is known: the answer has to be about that.
    pub(super) size_bytes: Option<u64>,
}

/// One question on its way to the origin.
#[derive(Debug, Default)]
struct Check {
    answer: OnceLock<Result<(), Denial>>,
    answered: Notify,
}

/// The questions on their way.
#[derive(Debug, Default)]
pub(super) struct Checks {
    running: Mutex<HashMap<Question, Arc<Check>>>,
    /// The origin could not be reached at that moment.
    away: Mutex<Option<Instant>>,
}

/// A question's place among those on their way.
enum Join {
    /// Nobody asks it yet: the caller has to.
    First(Arc<Check>),
    Running(Arc<Check>),
    Busy,
}

impl Checks {
    /// Says whether the origin could not be reached a moment ago.
    pub(super) fn is_away(&self) -> bool {
        let away = *self.away.lock();
        away.is_some_and(|since| since.elapsed() < AWAY_TIME)
    }

    /// Takes note of whether the origin can be reached.
    pub(super) fn note(&self, is_away: bool) {
        *self.away.lock() = is_away.then(Instant::now);
    }

    fn join(&self, question: &Question) -> Join {
        let mut running = self.running.lock();
        if let Some(check) = running.get(question) {
            return Join::Running(Arc::clone(check));
        }
        if running.len() >= CHECKS_MAX {
            return Join::Busy;
        }
        let check = Arc::new(Check::default());
        running.insert(question.clone(), Arc::clone(&check));
        Join::First(check)
    }
}

/// The duty to answer everyone who waits; kept even if the task that asks is dropped.
struct Asking<'a> {
    checks: &'a Checks,
    question: &'a Question,
    check: &'a Check,
}

impl Asking<'_> {
    fn answer(&self, answer: Result<(), Denial>) {
        drop(self.check.answer.set(answer));
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        // Off the list first: an answer is for those who waited, not for those who come later.
        self.checks.running.lock().remove(self.question);
        self.answer(Err(Denial::Busy));
        self.check.answered.wake_all();
    }
}

impl Access {
    /// Asks the origin, or waits for the answer to whoever asks it just now.
    ///
    /// The question is a task of its own: a client that leaves takes nobody's answer along.
    ///
    /// # Errors
    /// What the origin said instead of yes.
    pub(super) async fn ask(
        self: &Arc<Self>,
        question: Question,
        authority: &Authority,
        counters: &Arc<Counters>,
    ) -> Result<(), Denial> {
        let check = match self.checks.join(&question) {
            Join::Running(check) => check,
            Join::Busy => return Err(Denial::Busy),
            Join::First(check) => {
                let (access, ours) = (Arc::clone(self), Arc::clone(&check));
                let (authority, counters) = (authority.clone(), Arc::clone(counters));
                rt::spawn(async move {
                    let asking = Asking {
                        checks: &access.checks,
                        question: &question,
                        check: &ours,
                    };
                    asking.answer(access.ask_origin(&question, authority, &counters).await);
                });
                check
            }
        };
        let answer = check.answered.wait(|| check.answer.get().cloned());
        answer.await
    }

    async fn ask_origin(
        &self,
        question: &Question,
        authority: Authority,
        counters: &Counters,
    ) -> Result<(), Denial> {
        let begun = Instant::now();
        let denial = match self.put(question, authority).await {
            Ok(()) => {
                counters.count_check(CheckOutcome::Granted);
                self.checks.note(false);
                let repository = &*question.repository;
                self.store.link(repository, &question.digest);
                self.permissions.confirm(question.who, repository, begun);
                return Ok(());
            }
            Err(denial) => denial,
        };
        // What one credential is told, 429 say, is not the origin's state; not being reached is.
        self.checks.note(denial.is_unreachable());
        if denial.is_undecided() {
            counters.count_check(CheckOutcome::Away);
        } else {
            counters.count_check(CheckOutcome::Refused);
            self.permissions.forget(question.who, &question.repository);
        }
        tracing::debug!(
            repository = &*question.repository,
            digest = %question.digest,
            ?denial,
            "the origin did not confirm a right"
        );
        Err(denial)
    }

    /// Puts the question: by HEAD, and where that is not the answer, by a GET of one byte.
    async fn put(&self, question: &Question, authority: Authority) -> Result<(), Denial> {
        let mut request = Request {
            method: Method::Head,
            repository: Some(question.repository.to_string()),
            digest: Some(question.digest),
            trail: question.trail.clone(),
            authority,
            // A manifest that the client could not read by its type exists all the same.
            accept: matches!(question.kind, Kind::Manifest).then(|| media_type::ACCEPT.to_owned()),
            ..Request::get(question.path())
        };
        let mut response = self.send(&request).await?;
        if proof::is_about_head_alone(&response) {
            request.method = Method::Get;
            request.range = (question.kind == Kind::Blob).then_some(upstream::Span::Within(0, 1));
            response = self.send(&request).await?;
        }
        proof::judge(&response, question, self.is_clients())
    }

    async fn send(&self, request: &Request) -> Result<Response, Denial> {
        let sent: Result<_, upstream::Error> = self.upstream.send(request).await;
        sent.map_err(|error| Denial::Upstream(Arc::new(error)))
    }
}

impl Question {
    pub(super) fn new(who: Who, item: Item<'_>, size_bytes: Option<u64>, trail: &Trail) -> Self {
        Self {
            who,
            kind: item.kind,
            repository: item.repository.as_str().into(),
            digest: item.digest,
            trail: trail.clone(),
            size_bytes,
        }
    }

    fn path(&self) -> String {
        let kind = match self.kind {
            Kind::Blob => "blobs",
            Kind::Manifest => "manifests",
        };
        format!("/v2/{}/{kind}/{}", self.repository, self.digest)
    }
}

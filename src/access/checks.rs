//! Asks the origin whether somebody may have something; everyone who wants to know the same waits for
//! one answer.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use super::permissions::Who;
use super::{Access, Denial, Item, Kind};
use crate::digest::Digest;
use crate::limits::AWAY_TIME;
use crate::metrics::{CheckOutcome, Counters};
use crate::rt::{self, Notify};
use crate::upstream::{Authority, Method, Request};

/// What is being asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) who: Who,
    pub(super) kind: Kind,
    pub(super) repository: Box<str>,
    pub(super) digest: Digest,
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
    /// The origin gave no answer at that moment.
    away: Mutex<Option<Instant>>,
}

impl Checks {
    /// Says whether the origin gave no answer a moment ago.
    pub(super) fn is_away(&self) -> bool {
        let away = *self.away.lock();
        away.is_some_and(|since| since.elapsed() < AWAY_TIME)
    }

    /// Takes note of whether the origin answers.
    pub(super) fn note(&self, is_away: bool) {
        *self.away.lock() = is_away.then(Instant::now);
    }

    /// Takes the question's place, unless it is being asked; says whether the caller has to ask.
    fn join(&self, question: &Question) -> (Arc<Check>, bool) {
        let mut running = self.running.lock();
        if let Some(check) = running.get(question) {
            return (Arc::clone(check), false);
        }
        let check = Arc::new(Check::default());
        running.insert(question.clone(), Arc::clone(&check));
        (check, true)
    }

    fn finish(&self, question: &Question, check: &Check, answer: Result<(), Denial>) {
        // Off the list first: an answer is for those who waited, not for those who come later.
        self.running.lock().remove(question);
        drop(check.answer.set(answer));
        check.answered.wake_all();
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
        let (check, is_first) = self.checks.join(&question);
        if is_first {
            let (access, check) = (Arc::clone(self), Arc::clone(&check));
            let (authority, counters) = (authority.clone(), Arc::clone(counters));
            rt::spawn(async move {
                let answer = access.ask_origin(&question, authority, &counters).await;
                access.checks.finish(&question, &check, answer);
            });
        }
        let answer = check.answered.wait(|| check.answer.get().cloned());
        answer.await
    }

    async fn ask_origin(
        &self,
        question: &Question,
        authority: Authority,
        counters: &Counters,
    ) -> Result<(), Denial> {
        let is_clients = matches!(authority, Authority::Client(_)) || self.is_clients();
        let request = Request {
            method: Method::Head,
            repository: Some(question.repository.to_string()),
            authority,
            // A manifest that the client could not read by its type exists all the same.
            accept: matches!(question.kind, Kind::Manifest)
                .then(|| crate::registry::media_type::ACCEPT.to_owned()),
            ..Request::get(question.path())
        };
        let denial = match self.upstream.send(&request).await {
            Ok(response) if response.status() == 200 => {
                counters.count_check(CheckOutcome::Granted);
                self.checks.note(false);
                let item = (&*question.repository, &question.digest);
                self.store.link(item.0, item.1);
                self.permissions
                    .confirm(question.who, item.0, Instant::now());
                return Ok(());
            }
            Ok(response) => Denial::Refused {
                refusal: Arc::new((&response).into()),
                is_clients,
            },
            Err(error) => Denial::Upstream(Arc::new(error)),
        };
        self.checks.note(denial.is_undecided());
        self.take_back(question, &denial);
        counters.count_check(match denial.is_undecided() {
            true => CheckOutcome::Away,
            false => CheckOutcome::Refused,
        });
        tracing::debug!(
            repository = &*question.repository,
            digest = %question.digest,
            ?denial,
            "the origin did not confirm a right"
        );
        Err(denial)
    }

    /// Forgets the permission that a refusal ends. A 404 is about the blob, not about the repository.
    fn take_back(&self, question: &Question, denial: &Denial) {
        if let Denial::Refused { refusal, .. } = denial
            && matches!(refusal.status, 401 | 403)
        {
            self.permissions.forget(question.who, &question.repository);
        }
    }
}

impl Question {
    pub(super) fn new(who: Who, item: Item<'_>) -> Self {
        Self {
            who,
            kind: item.kind,
            repository: item.repository.as_str().into(),
            digest: item.digest,
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

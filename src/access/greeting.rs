//! The base of the API, `/v2/`: how a client finds out whether and where to log in.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::{Access, Denial, Visit};
use crate::upstream::{Authority, Request};

/// The origin's last word to those who show no credential.
#[derive(Debug, Default)]
pub(super) struct Greeting(Mutex<Option<(Instant, Result<(), Denial>)>>);

impl Access {
    /// Says what the origin says to `visit` at the base of the API, where clients log in there.
    ///
    /// Without a credential its last word counts for `remember`, and for as long as it gives no answer;
    /// where there is none, the API is spoken here. With one the origin has to say so itself: a login
    /// with a wrong password must not succeed because the origin is away.
    ///
    /// # Errors
    /// Its refusal, with its challenge; or that it gave no answer.
    pub async fn greet(&self, visit: &Visit) -> Result<(), Denial> {
        if !visit.is_clients() || self.requires_token() {
            return Ok(());
        }
        if let Authority::Client(_) = visit.authority {
            return self.ask_base(visit, visit.authority.clone()).await;
        }
        let known = self.greeting.0.lock().clone();
        if let Some((at, word)) = &known
            && (at.elapsed() <= self.times.remember.get() || self.checks.is_away())
        {
            return word.clone();
        }
        match self.ask_base(visit, Authority::Nobody).await {
            Err(denial) if denial.is_undecided() => {
                self.checks.note(true);
                known.map_or(Ok(()), |(_, word)| word)
            }
            word => {
                *self.greeting.0.lock() = Some((Instant::now(), word.clone()));
                word
            }
        }
    }

    async fn ask_base(&self, visit: &Visit, authority: Authority) -> Result<(), Denial> {
        let request = Request {
            authority,
            trail: visit.trail.clone(),
            ..Request::get("/v2/".to_owned())
        };
        match self.upstream.send(&request).await {
            Ok(response) if response.status() == 200 => Ok(()),
            // Whoever has no such page has no challenge either.
            Ok(response) if response.status() == 404 => Ok(()),
            Ok(response) => Err(Denial::Refused {
                refusal: Arc::new((&response).into()),
                is_clients: true,
            }),
            Err(error) => Err(Denial::Upstream(Arc::new(error))),
        }
    }
}

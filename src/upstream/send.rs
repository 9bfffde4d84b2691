//! Sends one request: to the hops in the order of the policy, until one answers.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use url::Url;

use super::authorization::Authorization;
use super::board::Ticket;
use super::budget::{Kind, NoTurn, Permit, Reason};
use super::error::{Error, Phase};
use super::lease::Lease;
use super::peer::{authority, shown};
use super::round::Round;
use super::throttle;
use super::token::Purpose;
use super::verdict::{Scope, Slow, settle, slow};
use super::{Authority, Method, Request, Response, Upstream, redirect};
use crate::limits::REDIRECTS_MAX;
use crate::metrics::HopOutcome;
use crate::rt;

/// What came of asking one hop.
pub(super) enum Heard {
    /// That is the answer.
    Answer(Result<Response, Error>),
    /// Another one may do better.
    Failed(Result<Response, Error>),
    /// It, or what it leads to, asks to be left alone by this request.
    Later(Option<Duration>),
    /// The hop asks to be left alone by all of that kind.
    Throttled,
}

impl Upstream {
    /// Asks the hops in the order of the policy until one answers; returns its head.
    ///
    /// A hop that cannot be reached, breaks the protocol or says 5xx is passed over while there is
    /// another; any other status is an answer. Those that are down come last, and only if asking them
    /// costs nothing. A hop that asks to slow down (429, or 503 with `Retry-After`) is asked again when its
    /// time is over, if the request's patience lasts so long; its word is never returned. The response to a 5xx
    /// is its head alone. Runs on a core.
    ///
    /// # Errors
    /// The last hop's; `Away` at once where all are down and asking costs a timeout; `Throttled` as soon as
    /// it is known that nobody may be asked in time; `Full` once no room was found in all that time; `Request` where the request itself is at fault.
    pub async fn send(&self, request: &Request) -> Result<Response, Error> {
        // Redirects and tokens have deadlines of their own; all of them together, and all hops, have this
        // one, so that a client hears 504 before it gives up itself (containerd: 30 s).
        let patience = request.patience.unwrap_or(self.answer_timeout());
        let now = Instant::now();
        let end = now.checked_add(patience);
        let mut order = self.board.order(request.digest.as_ref());
        let first = order[0];
        order.splice(0..0, self.before_all(request));
        let avoid = request.avoid.as_deref();
        let is_avoided = |hop: usize| Some(authority(&self.hops[hop].url)) == avoid;
        let end = end.unwrap_or(now + self.answer_timeout());
        let mut round = Round::new(request, end, order, is_avoided);
        loop {
            let able = self.able(&mut round);
            let outcome = if able.is_empty() {
                self.wait(&mut round, first).await
            } else {
                self.ask_next(&mut round, &able).await
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    /// Returns the hops that the request may ask now, but for their throttles and bounds.
    fn able(&self, round: &mut Round<'_>) -> Vec<usize> {
        let now = Instant::now();
        round.rests.retain(|(_, until)| *until > now);
        let is_resting = |hop| round.rests.iter().any(|&(resting, _)| resting == hop);
        let hops = round.left.iter().copied();
        hops.filter(|&hop| !is_resting(hop) && self.board.may_be_asked(hop))
            .collect()
    }

    /// Waits while nobody may be asked; returns what comes of the request if that is in vain.
    async fn wait(&self, round: &mut Round<'_>, first: usize) -> Option<Result<Response, Error>> {
        let soonest = round.rests.iter().min_by_key(|(_, until)| *until);
        if let Some(&(hop, until)) = soonest {
            let retry_after = until.saturating_duration_since(Instant::now());
            if until <= round.by() {
                rt::sleep(retry_after).await;
                return None;
            }
            if round.turn() {
                return None;
            }
            let reason = Reason::Throttled;
            return Some(Err(self.board.no_turn(NoTurn {
                hop,
                retry_after,
                reason,
            })));
        }
        if round.turn() {
            return None;
        }
        if let Some(last) = round.last.take() {
            return Some(last);
        }
        // Whoever finds out whether a hop is back does so for all who come meanwhile.
        if !round.has_waited {
            round.has_waited = true;
            if self.board.wait_for_probe().await {
                return None;
            }
        }
        Some(Err(self.board.away(first)))
    }

    /// Asks the first of those that are `able` which has room and an ear; `None` to go on.
    async fn ask_next(
        &self,
        round: &mut Round<'_>,
        able: &[usize],
    ) -> Option<Result<Response, Error>> {
        let left = |end: Instant| end.saturating_duration_since(Instant::now());
        if left(round.by()).is_zero() {
            if round.turn() {
                return None;
            }
            let last = round.last.take();
            return Some(last.unwrap_or_else(|| Err(self.late(able[0]))));
        }
        // A hop that only this request leaves alone may be the first that can be asked.
        let by = round.rests.iter().map(|(_, until)| *until).min();
        let by = by.map_or(round.by(), |by| by.min(round.by()));
        let kind = Kind {
            urgency: round.request.urgency,
            quota: round.request.authority.quota(),
        };
        let mut permit = match self.board.enter(able, kind, by).await {
            Ok(permit) => permit,
            Err(_) if by < round.by() => {
                rt::sleep(left(by)).await;
                return None;
            }
            Err(_) if round.turn() => return None,
            Err(no_turn) => return Some(Err(self.board.no_turn(no_turn))),
        };
        let hop = permit.hop();
        let ticket = self.board.admit(hop)?;
        let mut others = round.left.iter().filter(|&&other| other != hop);
        let is_last = !round.has_avoided() && !others.any(|&other| self.board.may_be_asked(other));
        let share = round.share(is_last);
        let share = share.min(self.answer_timeout());
        let asked = rt::timeout(share, self.ask(hop, round.request, &ticket)).await;
        let outcome = asked.unwrap_or_else(|_| Err(self.late(hop)));
        match self.hear(round.request, ticket, &mut permit, outcome).await {
            Heard::Answer(outcome) => {
                return Some(outcome.map(|response| self.leased(response, permit)));
            }
            Heard::Failed(outcome) => {
                round.left.retain(|&other| other != hop);
                if self.is_predecessor(hop) {
                    return None;
                }
                // Whoever waits for room while it holds some would wait for others who do the same.
                round.last = Some(match outcome {
                    Ok(response) => Ok(response.without_body().await),
                    Err(error) => Err(error),
                });
            }
            Heard::Later(asked) => {
                let now = Instant::now();
                let wait = asked.map_or_else(|| round.backoff.next(now), throttle::bound);
                let until = now + throttle::spread_out(wait, rt::spread());
                round.rests.push((hop, until));
            }
            Heard::Throttled => {}
        }
        None
    }

    fn late(&self, hop: usize) -> Error {
        Error::TimedOut {
            host: authority(&self.hops[hop].url).to_owned(),
            phase: Phase::Head,
        }
    }

    fn leased(&self, mut response: Response, permit: Permit) -> Response {
        let lease = Lease::new(Arc::clone(&self.board), permit, response.is_own());
        response.keep(lease);
        response
    }

    /// Tells the board what came of asking a hop, and says what that means for the request.
    async fn hear(
        &self,
        request: &Request,
        ticket: Ticket<'_>,
        permit: &mut Permit,
        outcome: Result<Response, Error>,
    ) -> Heard {
        if self.is_predecessor(permit.hop()) {
            return Self::hear_predecessor(ticket, outcome);
        }
        let slow = match &outcome {
            Ok(response) => slow(response, request),
            Err(Error::Throttled { retry_after, .. }) => Some(Slow {
                scope: Scope::Behind,
                asked: Some(*retry_after),
            }),
            Err(_) => None,
        };
        let Some(slow) = slow else {
            let is_told = settle(ticket, &outcome);
            if is_told {
                self.board.not_throttled(permit);
            }
            return match &outcome {
                Ok(response) if response.status() < 500 => Heard::Answer(outcome),
                Err(Error::Request(_)) => Heard::Answer(outcome),
                _ => Heard::Failed(outcome),
            };
        };
        ticket.answered(HopOutcome::Answered);
        match slow.scope {
            Scope::Quota => self.board.throttled(permit, slow.asked),
            Scope::Behind => self.board.not_throttled(permit),
            // Were it the probe, the next one is.
            Scope::Login => {}
        }
        if let Ok(response) = outcome {
            response.discard().await;
        }
        match slow.scope {
            Scope::Quota => Heard::Throttled,
            Scope::Login | Scope::Behind => Heard::Later(slow.asked),
        }
    }

    /// Asks one hop, and once more if its challenge can be answered, or what let requests in before may
    /// have expired.
    async fn ask(
        &self,
        index: usize,
        request: &Request,
        ticket: &Ticket<'_>,
    ) -> Result<Response, Error> {
        let hop = &self.hops[index];
        if self.is_predecessor(index) {
            return self.ask_predecessor(index, request, ticket).await;
        }
        let ticket = Some(ticket);
        match &request.authority {
            Authority::Nobody => return self.follow(&hop.url, request, None, ticket).await,
            Authority::Client(value) => {
                let own = Authorization::of_client(value)
                    .ok_or(Error::Request("a field value with control characters"))?;
                return self.follow(&hop.url, request, Some(&own), ticket).await;
            }
            Authority::Cache | Authority::Login(_) | Authority::Signed(_) => {}
        }
        let scope = request.scope();
        let login = request.authority.login().cloned();
        let purpose = Purpose {
            hop: index,
            scope,
            login,
        };
        let known = self.keyring.find(&purpose, hop);
        let mut response = self
            .follow(&hop.url, request, known.as_ref(), ticket)
            .await?;
        // Whoever a redirect leads to has no claim to what the hop was trusted with.
        let is = |response: &Response, status| response.status() == status && response.is_own();
        let mut is_renewal = false;
        if let Some(known) = &known
            && is(&response, 403)
            && self.keyring.may_have_expired(&purpose, known)
        {
            is_renewal = true;
            self.keyring.forget(&purpose, known);
            response.discard().await;
            // For its challenge.
            response = self.follow(&hop.url, request, None, ticket).await?;
        }
        if !is(&response, 401) {
            return Ok(response);
        }
        if let Some(known) = &known {
            self.keyring.forget(&purpose, known);
        }
        let answer = match self.authorize(&purpose, &response, known.as_ref()).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(response),
            // A token service that asks for time will give one in time.
            Err(error @ Error::Throttled { .. }) => return Err(error),
            // Who came without credentials may still log in by itself.
            Err(error) if purpose.credentials(hop).is_none() => {
                tracing::debug!(%error, "nobody's token could not be had");
                return Ok(response);
            }
            Err(error) => return Err(error),
        };
        response.discard().await;
        let response = self
            .follow(&hop.url, request, Some(&answer), ticket)
            .await?;
        if is(&response, 401) {
            self.keyring.forget(&purpose, &answer);
        } else if is_renewal && is(&response, 403) {
            self.keyring.has_not_expired(&purpose, &answer);
        }
        Ok(response)
    }

    /// Returns the id of one more request within its trace: the ids of a process differ, and nobody outside can
    /// tell them from random ones.
    pub(super) fn next_span(&self) -> u64 {
        self.spans
            .hash_one(self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends the request to `base` and follows redirects; `ticket` hears when `base` itself answers.
    pub(super) async fn follow(
        &self,
        base: &Url,
        request: &Request,
        authorization: Option<&Authorization>,
        ticket: Option<&Ticket<'_>>,
    ) -> Result<Response, Error> {
        let mut url = request.address(base)?;
        let mut is_own = true;
        let is_head = request.method == Method::Head;
        let via = self.instance.via(&request.trail);
        for _ in 0..=REDIRECTS_MAX {
            let authorization = authorization.filter(|_| is_own);
            let span = self.next_span();
            let head = request.head(&url, authorization, Some(&via), span, authority(base));
            let response = self.exchanger.exchange(&url, &head, is_head).await?;
            if let Some(ticket) = ticket {
                ticket.hear();
            }
            if !redirect::is_redirect(response.status()) {
                return Ok(response.of_hop(authority(base), is_own));
            }
            let next = redirect::target(&url, response.field("location"));
            let next = next.map_err(|why| refused(&url, why))?;
            is_own &= redirect::keeps_credentials(&url, &next);
            tracing::debug!(from = shown(&url), to = shown(&next), "redirected");
            response.discard().await;
            url = next;
        }
        Err(refused(base, "too many in a row"))
    }
}

fn refused(url: &Url, why: &'static str) -> Error {
    let host = authority(url).to_owned();
    Error::Redirect { host, why }
}

//! Sends one request: to the hops in the order of the policy, until one answers.

use std::time::Instant;

use url::Url;

use super::authorization::Authorization;
use super::board::{self, Ticket};
use super::error::{Error, Phase};
use super::health::Failing;
use super::place::{authority, shown};
use super::token::Purpose;
use super::{Authority, Method, Request, Response, Upstream, redirect};
use crate::limits::REDIRECTS_MAX;
use crate::metrics::HopOutcome;
use crate::rt;

impl Upstream {
    /// Asks the hops in the order of the policy until one answers; returns its head.
    ///
    /// A hop that cannot be reached, breaks the protocol or says 5xx is passed over while there is
    /// another; any other status is an answer. Those that are down come last, and only if asking them
    /// costs nothing. Runs on a core.
    ///
    /// # Errors
    /// The last hop's; `Away` at once where all are down and asking costs a timeout; `Request` where the
    /// request itself is at fault.
    pub async fn send(&self, request: &Request) -> Result<Response, Error> {
        // Redirects and tokens have deadlines of their own; all of them together, and all hops, have this
        // one, so that a client hears 504 before it gives up itself (containerd: 30 s).
        let end = Instant::now() + self.answer_timeout;
        let order = self.board.order(request.digest.as_ref());
        if let Some(outcome) = self.ask_in_order(request, &order, end).await {
            return outcome;
        }
        // Whoever finds out whether a hop is back does so for all who come meanwhile.
        if self.board.wait_for_probe().await
            && let Some(outcome) = self.ask_in_order(request, &order, end).await
        {
            return outcome;
        }
        Err(self.board.away(order[0]))
    }

    /// Asks those that may be asked; `None` where that is nobody.
    async fn ask_in_order(
        &self,
        request: &Request,
        order: &[usize],
        end: Instant,
    ) -> Option<Result<Response, Error>> {
        let mut last = None;
        for (step, &index) in order.iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() && last.is_some() {
                break;
            }
            let mut others = order[step + 1..].iter();
            let is_last = !others.any(|&other| self.board.may_be_asked(other));
            let Some(ticket) = self.board.admit(index) else {
                continue;
            };
            // The first one nearly always answers; whoever comes after it must still get a chance.
            let share = if is_last { left } else { left / 2 };
            let asked = rt::timeout(share, self.ask(index, request, &ticket)).await;
            let outcome = asked.unwrap_or_else(|_| {
                Err(Error::TimedOut {
                    host: authority(&self.hops[index].url).to_owned(),
                    phase: Phase::Head,
                })
            });
            settle(ticket, &outcome);
            match &outcome {
                Ok(response) if response.status() < 500 => return Some(outcome),
                Err(Error::Request(_)) => return Some(outcome),
                _ => last = Some(outcome),
            }
        }
        last
    }

    /// Asks one hop, and once more if its challenge can be answered.
    async fn ask(
        &self,
        index: usize,
        request: &Request,
        ticket: &Ticket<'_>,
    ) -> Result<Response, Error> {
        let ticket = Some(ticket);
        let hop = &self.hops[index];
        match &request.authority {
            Authority::Nobody => return self.follow(&hop.url, request, None, ticket).await,
            Authority::Client(value) => {
                let own = Authorization::of_client(value)
                    .ok_or(Error::Request("a field value with control characters"))?;
                return self.follow(&hop.url, request, Some(&own), ticket).await;
            }
            Authority::Cache | Authority::Signed(_) => {}
        }
        let scope = request.scope();
        let purpose = Purpose { hop: index, scope };
        let known = self.keyring.find(&purpose, hop);
        let response = self
            .follow(&hop.url, request, known.as_ref(), ticket)
            .await?;
        // Whoever a redirect leads to has no claim to what the hop was trusted with.
        if response.status() != 401 || !response.is_own() {
            return Ok(response);
        }
        if let Some(known) = &known {
            self.keyring.forget(&purpose, known);
        }
        let answer = match self.authorize(&purpose, &response, known.as_ref()).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(response),
            // Who came without credentials may still log in by itself.
            Err(error) if hop.credentials.is_none() => {
                tracing::debug!(%error, "nobody's token could not be had");
                return Ok(response);
            }
            Err(error) => return Err(error),
        };
        response.discard().await;
        let response = self
            .follow(&hop.url, request, Some(&answer), ticket)
            .await?;
        if response.status() == 401 && response.is_own() {
            self.keyring.forget(&purpose, &answer);
        }
        Ok(response)
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
            let head = request.head(&url, authorization.filter(|_| is_own), Some(&via));
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

/// Tells the board what came of a request.
fn settle(ticket: Ticket<'_>, outcome: &Result<Response, Error>) {
    let error = match outcome {
        Ok(response) if is_ill(response) => {
            let why = format!("it answered {}", response.status());
            return ticket.failed(Failing::Ill, HopOutcome::Failed, &why);
        }
        Ok(_) => return ticket.answered(HopOutcome::Answered),
        // Nobody was asked.
        Err(Error::Request(_)) => return,
        Err(error) => error,
    };
    match board::sort(error) {
        Some((failing, counted)) if !ticket.is_heard() => {
            ticket.failed(failing, counted, &error.to_string());
        }
        // It was a token service, or whoever the hop redirects to.
        sorted => ticket.answered(sorted.map_or(HopOutcome::Failed, |(_, counted)| counted)),
    }
}

/// Says whether the hop itself tells that it fails. A cache that tells of a failure behind it is well, and
/// may have other things; 501, 505 and the like are about the request, 508 about the configuration.
fn is_ill(response: &Response) -> bool {
    let is_error = matches!(response.status(), 500 | 502 | 503 | 504);
    is_error && response.is_own() && response.field("cache-status").is_none()
}

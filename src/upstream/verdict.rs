//! What an answer means for the hop that gave it: whether it is well, and whether it is to be left alone.

use std::time::{Duration, SystemTime};

use super::authority::Quota;
use super::board::{self, Ticket};
use super::error::Error;
use super::health::Failing;
use super::throttle;
use super::{Request, Response};
use crate::metrics::HopOutcome;

/// Says whether a response asks to slow down: 429, or 503 with `Retry-After`.
pub(super) fn is_slow(response: &Response) -> bool {
    match response.status() {
        429 => true,
        503 => response.field("retry-after").is_some(),
        _ => false,
    }
}

/// Who is meant by a wish to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All who draw on the same quota: it is the hop's own word to them.
    Quota,
    /// This request: it was made with a client's own login, which has a quota of its own. What the hop would
    /// say to others is not known from that, and who they are cannot be remembered for each.
    Login,
    /// This request: it is the word of whoever the hop redirects to or has its tokens from, or that of a
    /// cache about what is behind it.
    Behind,
}

/// A wish to be left alone.
pub(super) struct Slow {
    pub(super) scope: Scope,
    /// For how long, if it says so.
    pub(super) asked: Option<Duration>,
}

/// Returns the wish of a response that asks to slow down.
pub(super) fn slow(response: &Response, request: &Request) -> Option<Slow> {
    if !is_slow(response) {
        return None;
    }
    let field = response.field("retry-after");
    let asked = field.and_then(|value| throttle::retry_after(value, SystemTime::now()));
    let scope = if !response.is_own() || response.field("cache-status").is_some() {
        Scope::Behind
    } else if request.authority.quota() == Quota::Client {
        Scope::Login
    } else {
        Scope::Quota
    };
    Some(Slow { scope, asked })
}

/// Tells the board what came of a request; says whether the hop answered something.
pub(super) fn settle(ticket: Ticket<'_>, outcome: &Result<Response, Error>) -> bool {
    let error = match outcome {
        Ok(response) if is_ill(response) => {
            let why = format!("it answered {}", response.status());
            ticket.failed(Failing::Ill, HopOutcome::Failed, &why);
            return true;
        }
        Ok(_) => {
            ticket.answered(HopOutcome::Answered);
            return true;
        }
        // Nobody was asked.
        Err(Error::Request(_)) => return false,
        Err(error) => error,
    };
    let is_heard = ticket.is_heard();
    match board::sort(error) {
        Some((failing, counted)) if !is_heard => {
            ticket.failed(failing, counted, &error.to_string());
        }
        // It was a token service, or whoever the hop redirects to.
        sorted => ticket.answered(sorted.map_or(HopOutcome::Failed, |(_, counted)| counted)),
    }
    is_heard
}

/// Says whether the hop itself tells that it fails. A cache that tells of a failure behind it is well, and
/// may have other things; 501, 505 and the like are about the request, 508 about the configuration.
fn is_ill(response: &Response) -> bool {
    let is_error = matches!(response.status(), 500 | 502 | 503 | 504);
    is_error && response.is_own() && response.field("cache-status").is_none()
}

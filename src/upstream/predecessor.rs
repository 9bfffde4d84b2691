//! The process that this one takes over from: asked for a blob before any next hop, until it has ended. And the one
//! before that, which may still be there, if upgrades follow each other fast.
//!
//! It has what is on its way to it. To fetch that again would cost the upstream twice, and its clients the time. Its
//! word counts only where it gives the blob: whatever else it says, the next hops are asked as if it were not there.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use url::Url;

use super::authorization::Authorization;
use super::board::Ticket;
use super::error::Error;
use super::send::Heard;
use super::{Authority, Hop, Method, Request, Response, Upstream};
use crate::metrics::HopOutcome;

/// Which hops they are, and whether they are there.
#[derive(Debug)]
pub(super) struct Predecessors {
    /// Their places behind the hops of the operator; the last process comes first.
    hops: Range<usize>,
    /// One each.
    have_left: Box<[AtomicBool]>,
}

impl Predecessors {
    pub(super) fn at(hops: Range<usize>) -> Self {
        Self {
            have_left: hops.clone().map(|_| AtomicBool::new(false)).collect(),
            hops,
        }
    }
}

/// Returns the hop that a predecessor is asked as.
pub(super) fn hop(ask_at: Url) -> Hop {
    Hop {
        url: ask_at,
        origin: None,
        credentials: None,
    }
}

impl Upstream {
    /// Says that the process before this one has ended. Those before it may still be there.
    pub fn predecessor_has_left(&self) {
        self.has_left(self.predecessors.hops.start);
    }

    /// Takes note that a predecessor is not to be asked any more.
    pub(super) fn has_left(&self, hop: usize) {
        let index = hop.checked_sub(self.predecessors.hops.start);
        if let Some(has_left) = index.and_then(|index| self.predecessors.have_left.get(index)) {
            has_left.store(true, Ordering::Release);
        }
    }

    /// Returns the hops to ask before all others.
    pub(super) fn before_all(&self, request: &Request) -> Vec<usize> {
        let Predecessors { hops, have_left } = &self.predecessors;
        if hops.is_empty() || !is_for_a_blob(request) {
            return Vec::new();
        }
        let all = hops.clone().zip(have_left);
        let there = all.filter(|(_, has_left)| !has_left.load(Ordering::Acquire));
        there.map(|(hop, _)| hop).collect()
    }

    pub(super) fn is_predecessor(&self, hop: usize) -> bool {
        self.predecessors.hops.contains(&hop)
    }

    /// Asks it in the name of whoever asks us: it decides as we do.
    pub(super) async fn ask_predecessor(
        &self,
        hop: &Hop,
        request: &Request,
        ticket: &Ticket<'_>,
    ) -> Result<Response, Error> {
        let client = match &request.authority {
            Authority::Client(value) => Authorization::of_client(value),
            // A login of a job that warms means something to the registry alone.
            Authority::Nobody | Authority::Cache | Authority::Signed(_) | Authority::Login(_) => {
                None
            }
        };
        self.follow(&hop.url, request, client.as_ref(), Some(ticket))
            .await
    }
}

impl Upstream {
    /// As `hear`, for a predecessor: nothing but a blob is an answer.
    pub(super) fn hear_predecessor(
        &self,
        ticket: Ticket<'_>,
        hop: usize,
        outcome: Result<Response, Error>,
    ) -> Heard {
        if matches!(outcome, Err(Error::Unreachable { .. })) {
            self.has_left(hop);
        }
        ticket.answered(HopOutcome::Answered);
        match outcome {
            Ok(response) if matches!(response.status(), 200 | 206) => Heard::Answer(Ok(response)),
            outcome => Heard::Failed(outcome),
        }
    }
}

fn is_for_a_blob(request: &Request) -> bool {
    request.method == Method::Get && request.digest.is_some() && request.path.contains("/blobs/")
}

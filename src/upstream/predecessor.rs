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
use super::{Authority, Hop, Method, Request, Response, Upstream};

/// Which hops they are, and whether they are there.
#[derive(Debug)]
pub(super) struct Predecessors {
    /// Their places behind the hops of the operator; the last process comes first.
    hops: Range<usize>,
    have_left: AtomicBool,
}

impl Predecessors {
    pub(super) const fn at(hops: Range<usize>) -> Self {
        Self {
            hops,
            have_left: AtomicBool::new(false),
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
    /// Says that the process before this one has ended.
    pub fn predecessor_has_left(&self) {
        self.predecessors.have_left.store(true, Ordering::Release);
    }

    /// Returns the hops to ask before all others.
    pub(super) fn before_all(&self, request: &Request) -> Range<usize> {
        let are_there = !self.predecessors.have_left.load(Ordering::Acquire);
        match are_there && is_for_a_blob(request) {
            true => self.predecessors.hops.clone(),
            false => 0..0,
        }
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

fn is_for_a_blob(request: &Request) -> bool {
    request.method == Method::Get && request.digest.is_some() && request.path.contains("/blobs/")
}

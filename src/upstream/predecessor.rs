//! The process that this one takes over from: asked for a blob before any next hop, until it has ended. And those
//! before it, which may still be there, if upgrades follow each other fast.
//!
//! It has what is on its way to it. To fetch that again would cost the upstream twice, and its clients the time. What it
//! gives are bytes, and nobody's word on who may have them; whatever else it says, the next hops are asked as if it
//! were not there. Connections to it are made here and passed to it, so that there is no address at which somebody else
//! could ask it, or answer in its stead.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use url::Url;

use super::authority::Authority;
use super::board::Ticket;
use super::error::Error;
use super::peer::Peer;
use super::send::Heard;
use super::{Hop, Method, Request, Response, Upstream};
use crate::limits::PREDECESSOR_PATIENCE;
use crate::metrics::HopOutcome;
use crate::rt::{self, Socket};

/// What it is called where a hop has its host: no host is called so.
const NAME: &str = "the process before this one";

/// Stands for its address, of which there is none.
const NOWHERE: &str = "http://predecessor.invalid/";

/// What passes connections to the processes before this one.
pub trait Passing: fmt::Debug + Send + Sync {
    /// Gives `connection` to the process `back` places before the last one. Does not block.
    ///
    /// # Errors
    /// When that is not possible: nobody will answer.
    fn pass(&self, back: usize, connection: TcpStream) -> io::Result<()>;
}

/// The processes before this one.
#[derive(Clone, Debug)]
pub struct Predecessors {
    /// How many there may be.
    pub count: usize,
    /// The way to them.
    pub passing: Arc<dyn Passing>,
}

/// Which hops they are, and whether they are there.
#[derive(Debug)]
pub(super) struct Before {
    /// Their places behind the hops of the operator; the last process comes first.
    hops: Range<usize>,
    /// One each.
    have_left: Box<[AtomicBool]>,
    passing: Option<Arc<dyn Passing>>,
}

impl Before {
    /// Returns them, and a hop that stands for each.
    ///
    /// - `own`: how many hops are the operator's.
    pub(super) fn at(own: usize, predecessors: Option<&Predecessors>) -> (Self, Vec<Hop>) {
        let count = predecessors.map_or(0, |predecessors| predecessors.count);
        let stand_in = |url: Url| Hop {
            url,
            origin: None,
            credentials: None,
        };
        let stand_ins: Vec<_> = (0..count)
            .filter_map(|_| Url::parse(NOWHERE).ok())
            .map(stand_in)
            .collect();
        let before = Self {
            hops: own..own + stand_ins.len(),
            have_left: stand_ins.iter().map(|_| AtomicBool::new(false)).collect(),
            passing: predecessors.map(|predecessors| Arc::clone(&predecessors.passing)),
        };
        (before, stand_ins)
    }

    fn index(&self, hop: usize) -> Option<usize> {
        let index = hop.checked_sub(self.hops.start)?;
        (index < self.have_left.len()).then_some(index)
    }
}

impl Upstream {
    /// Says that the process before this one has ended, and with it the way to those before it.
    pub fn predecessor_has_left(&self) {
        for has_left in &self.before.have_left {
            has_left.store(true, Ordering::Release);
        }
    }

    /// Returns the hops to ask before all others.
    pub(super) fn before_all(&self, request: &Request) -> Vec<usize> {
        let Before {
            hops, have_left, ..
        } = &self.before;
        if hops.is_empty() || !is_for_a_blob(request) {
            return Vec::new();
        }
        let all = hops.clone().zip(have_left);
        let there = all.filter(|(_, has_left)| !has_left.load(Ordering::Acquire));
        there.map(|(hop, _)| hop).collect()
    }

    pub(super) fn is_predecessor(&self, hop: usize) -> bool {
        self.before.hops.contains(&hop)
    }

    /// Asks it for what `request` asks for, in nobody's name. It answers at once or is not asked any more.
    pub(super) async fn ask_predecessor(
        &self,
        hop: usize,
        request: &Request,
        ticket: &Ticket<'_>,
    ) -> Result<Response, Error> {
        let asked = rt::timeout(PREDECESSOR_PATIENCE, self.ask_over_pair(hop, request)).await;
        let outcome = asked.unwrap_or_else(|_| Err(unreachable(io::ErrorKind::TimedOut.into())));
        ticket.hear();
        if let (Err(error), Some(index)) = (&outcome, self.before.index(hop)) {
            tracing::debug!(%error, "a process before this one is not asked any more");
            self.before.have_left[index].store(true, Ordering::Release);
        }
        outcome
    }

    async fn ask_over_pair(&self, hop: usize, request: &Request) -> Result<Response, Error> {
        let passing = self.before.passing.as_ref().zip(self.before.index(hop));
        let Some((passing, back)) = passing else {
            return Err(unreachable(io::ErrorKind::NotFound.into()));
        };
        let paired = rt::blocking(rt::tcp_pair).await;
        let (ours, theirs) = paired
            .and_then(std::convert::identity)
            .map_err(unreachable)?;
        passing.pass(back, theirs).map_err(unreachable)?;
        let socket = Socket::adopt(ours).map_err(unreachable)?;
        let base = &self.hops[hop].url;
        let request = Request {
            authority: Authority::Nobody,
            ..request.clone()
        };
        let url = request.address(base)?;
        let via = self.instance.via(&request.trail);
        let head = request.head(&url, None, Some(&via), self.next_span(), NAME);
        let peer = Peer::of(self.exchanger.client, &url).ok_or(Error::Request("not a path"))?;
        let response = self
            .exchanger
            .exchange_over(socket, peer, NAME, &head)
            .await?;
        Ok(response.of_hop(NAME, true))
    }

    /// As `hear`, for a predecessor: nothing but a blob is an answer.
    pub(super) fn hear_predecessor(ticket: Ticket<'_>, outcome: Result<Response, Error>) -> Heard {
        ticket.answered(HopOutcome::Answered);
        match outcome {
            Ok(response) if matches!(response.status(), 200 | 206) => Heard::Answer(Ok(response)),
            outcome => Heard::Failed(outcome),
        }
    }
}

impl Response {
    /// Says whether it is a next hop's, which knows who may have what, and not the process before this one's.
    #[must_use]
    pub fn is_word_of_hop(&self) -> bool {
        self.hop() != NAME
    }
}

fn unreachable(source: io::Error) -> Error {
    let host = NAME.to_owned();
    Error::Unreachable { host, source }
}

fn is_for_a_blob(request: &Request) -> bool {
    request.method == Method::Get && request.digest.is_some() && request.path.contains("/blobs/")
}

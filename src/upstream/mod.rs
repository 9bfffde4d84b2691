//! The client towards the next hops: HTTP/1.1, with or without TLS.
//!
//! It gives the next hop's answer, whatever that is; what an answer means is for others to say. It
//! writes nothing to disk, proves no digest, and retries nothing that has begun to answer. Only a hop's
//! word that it is to be left alone for a while is no answer: it is waited for.
//!
//! ```text
//!  send ─▶ policy, health ─▶ turn ─▶ Authorization at hand? ─▶ exchange ─▶ redirect? ─▶ 401? ─▶ Response
//!   ▲ next hop, where one     │          │ idle or new           │           │          │
//!   ├ failed or says 5xx ─────┴──────────┴───────────────────────┴── again ◀─┴── once ◀─╯
//!   ╰ or asks to slow down, in its time
//! ```
//!
//! Invariants
//! - Credentials and tokens go to the scheme, host and port they are for, and credentials to a realm
//!   that [`realm`] admits; never along with a redirect elsewhere. They are in no log and no error.
//! - A connection is used again only if the last body on it ended exactly.
//! - Every request to a hop carries this process's own name in `Via`, behind those that it came with.
//! - `Ok(0)` of [`Response::read`] is the end as framed; a cut never passes for it.

mod authority;
mod authorization;
mod authorize;
mod board;
mod budget;
mod connection;
mod error;
mod exchange;
/// For the fuzz targets: what a next hop's bytes are read as.
#[doc(hidden)]
pub mod head;
mod health;
mod idle;
mod keys;
mod lease;
mod names;
mod options;
mod passed;
mod peer;
mod policy;
mod predecessor;
mod race;
mod realm;
mod redirect;
mod refusal;
mod request;
mod response;
mod round;
mod send;
mod throttle;
mod token;
mod trail;
mod trust;
mod verdict;
mod view;

#[cfg(test)]
mod tests;

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use authority::Authority;
pub use budget::Share;
pub use error::{Error, Phase};
pub use options::{ClientCertificate, Credentials, Hop, Options};
pub use policy::Policy;
pub use predecessor::{Passing, Predecessors};
pub use refusal::Refusal;
pub use request::{Method, Request, Span, Urgency, Validator};
pub use response::Response;
pub use trail::{Loop, Trail};
pub use trust::SetupError;
pub use view::HopState;

pub use crate::http::ContentRange;

use authorize::Keyring;
use board::Board;
use budget::Bandwidth;
use connection::Connector;
use exchange::Exchanger;
use names::Names;
use peer::{named, shown};
use predecessor::Before;
use trail::Instance;
use trust::Trust;

use crate::live::Live;
use crate::metrics::HopNumbers;

/// The next hops and what is known of them; one for all cores.
#[derive(Debug)]
pub struct Upstream {
    /// The operator's, of which there is one at least; the predecessor behind them.
    hops: Vec<Hop>,
    before: Before,
    board: Arc<Board>,
    bandwidth: Bandwidth,
    instance: Instance,
    realms: Vec<String>,
    /// Numbers of requests, and what makes ids of them.
    requests: AtomicU64,
    spans: RandomState,
    keyring: Keyring,
    exchanger: Exchanger,
}

impl Upstream {
    /// Returns a client for the hops of `options`. Reads the files of `cas`; connects to nobody.
    ///
    /// # Errors
    /// The operator's: no hop, or a file of authorities that is of no use. The kernel's: no random bytes.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        Self::after(None, options)
    }

    /// As [`Upstream::new`], for a process that takes over from others that are still there.
    ///
    /// # Errors
    /// As [`Upstream::new`].
    pub fn after(
        predecessors: Option<&Predecessors>,
        mut options: Options,
    ) -> Result<Self, SetupError> {
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        if options.hops.is_empty() {
            return Err(SetupError::NoHops);
        }
        let connector = Connector {
            names: Arc::new(Names::default()),
            trust: Trust::read(&options)?,
            connect_timeout: Live::new(options.connect_timeout),
        };
        let own = options.hops.len();
        let (before, stand_ins) = Before::at(own, predecessors);
        options.hops.extend(stand_ins);
        Ok(Self {
            before,
            keyring: Keyring::new(options.hops.len()),
            board: {
                let hops = options.hops.iter();
                // Two hops may differ in their path alone.
                Arc::new(Board::new(
                    options.policy,
                    options.most_at_once(),
                    hops.map(|hop| (named(&hop.url), hop.url.as_str())),
                    own,
                ))
            },
            bandwidth: Bandwidth::new(options.bytes_per_second),
            instance: Instance::new().map_err(SetupError::Random)?,
            hops: options.hops,
            realms: options.realms,
            requests: AtomicU64::new(0),
            spans: RandomState::new(),
            exchanger: Exchanger {
                client: CLIENTS.fetch_add(1, Ordering::Relaxed),
                connector,
                head_timeout: Live::new(options.head_timeout),
                progress_timeout: Live::new(options.progress_timeout),
            },
        })
    }

    /// Goes by the times and budgets of `options` from now on; hops, and who vouches for them, stay as they are.
    pub fn reload(&self, options: &Options) {
        self.exchanger
            .connector
            .connect_timeout
            .set(options.connect_timeout);
        self.exchanger.head_timeout.set(options.head_timeout);
        self.exchanger
            .progress_timeout
            .set(options.progress_timeout);
        self.bandwidth.set(options.bytes_per_second);
        self.board.set_connections_max(options.most_at_once());
    }

    /// Returns the longest time until a head is here, tokens, redirects and all hops included.
    fn answer_timeout(&self) -> Duration {
        self.exchanger.connector.connect_timeout.get() + self.exchanger.head_timeout.get()
    }

    /// Returns the URLs of the hops, without credentials, in order: for the log at start.
    pub fn hops(&self) -> impl Iterator<Item = String> {
        let own = self.board.own_hops();
        self.hops[..own].iter().map(|hop| shown(&hop.url))
    }

    /// Returns one fill's share of the bytes a second that the operator allows.
    #[must_use]
    pub fn share(&self) -> Share {
        self.bandwidth.share()
    }

    /// Says whether one more request would have to wait for nobody, and make nobody wait.
    #[must_use]
    pub fn has_spare(&self) -> bool {
        self.board.has_spare()
    }

    /// Returns how many requests wait for a hop that may be asked.
    #[must_use]
    pub fn requests_waiting(&self) -> usize {
        self.board.waiting()
    }

    /// Returns how many streams wait for their turn within the bound on bytes a second.
    #[must_use]
    pub fn payments_waiting(&self) -> usize {
        self.bandwidth.waiting()
    }

    /// Returns what is counted of each hop, in order.
    pub fn numbers(&self) -> impl Iterator<Item = Arc<HopNumbers>> {
        self.board.numbers()
    }

    /// Reads what a request has passed before it came here, from the lines of its `Via`.
    ///
    /// # Errors
    /// Why it must not be passed on to a next hop: it goes round in a cycle.
    pub fn trail<'v>(&self, via: impl Iterator<Item = &'v [u8]>) -> Result<Trail, Loop> {
        self.instance.read(via)
    }
}

//! The client towards the next hops: HTTP/1.1, with or without TLS.
//!
//! It gives the next hop's answer, whatever that is; what an answer means is for others to say. It
//! writes nothing to disk, proves no digest, and retries nothing that has begun to answer.
//!
//! ```text
//!  send ─▶ a hop in turn ─▶ Authorization at hand? ─▶ exchange ─▶ redirect? ─▶ 401? ─▶ Response
//!   ▲ next hop, where one        │ idle or new           │           │          │
//!   ╰ failed or says 5xx ────────┴───────────────────────┴── again ◀─┴── once ◀─╯
//! ```
//!
//! Invariants
//! - Credentials and tokens go to the scheme, host and port they are for, and credentials to a realm
//!   that [`realm`] admits; never along with a redirect elsewhere. They are in no log and no error.
//! - A connection is used again only if the last body on it ended exactly.
//! - `Ok(0)` of [`Response::read`] is the end as framed; a cut never passes for it.

mod authority;
mod authorization;
mod authorize;
mod connection;
mod error;
mod exchange;
mod head;
mod idle;
mod keys;
mod names;
mod options;
mod place;
mod race;
mod realm;
mod redirect;
mod refusal;
mod request;
mod response;
mod token;
mod trust;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use authority::Authority;
pub use error::{Error, Phase};
pub use options::{ClientCertificate, Credentials, Hop, Options};
pub use refusal::Refusal;
pub use request::{Method, Request};
pub use response::Response;
pub use trust::SetupError;

use url::Url;

use authorization::Authorization;
use authorize::Keyring;
use connection::Connector;
use exchange::Exchanger;
use names::Names;
use place::{authority, shown};
use token::Purpose;
use trust::Trust;

use crate::limits::REDIRECTS_MAX;
use crate::rt;

/// The next hops and what is known of them; one for all cores.
#[derive(Debug)]
pub struct Upstream {
    /// Invariant: not empty.
    hops: Vec<Hop>,
    realms: Vec<String>,
    turn: AtomicUsize,
    /// Longest time until a head is here, tokens, redirects and all hops included.
    answer_timeout: Duration,
    keyring: Keyring,
    exchanger: Exchanger,
}

impl Upstream {
    /// Returns a client for the hops of `options`. Reads the files of `cas`; connects to nobody.
    ///
    /// # Errors
    /// The operator's: no hop, or a file of authorities that is of no use.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        if options.hops.is_empty() {
            return Err(SetupError::NoHops);
        }
        let connector = Connector {
            names: Arc::new(Names::default()),
            trust: Trust::read(&options)?,
            connect_timeout: options.connect_timeout,
        };
        Ok(Self {
            keyring: Keyring::new(options.hops.len()),
            hops: options.hops,
            realms: options.realms,
            turn: AtomicUsize::new(0),
            answer_timeout: options.connect_timeout + options.head_timeout,
            exchanger: Exchanger {
                client: CLIENTS.fetch_add(1, Ordering::Relaxed),
                connector,
                head_timeout: options.head_timeout,
                progress_timeout: options.progress_timeout,
            },
        })
    }

    /// Returns the URLs of the hops, without credentials, in order: for the log at start.
    pub fn hops(&self) -> impl Iterator<Item = String> {
        self.hops.iter().map(|hop| shown(&hop.url))
    }

    /// Asks the hops in turn, beginning with the next one, until one answers; returns its head.
    ///
    /// A hop that cannot be reached, breaks the protocol or says 5xx is passed over while there is
    /// another; any other status is an answer. Runs on a core.
    ///
    /// # Errors
    /// The last hop's; `Request` where the request itself is at fault.
    pub async fn send(&self, request: &Request) -> Result<Response, Error> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.hops.len();
        let mut outcome = Err(Error::Request("no hop to send it to"));
        // Redirects and tokens have deadlines of their own; all of them together, and all hops, have this
        // one, so that a client hears 504 before it gives up itself (containerd: 30 s).
        let end = Instant::now() + self.answer_timeout;
        for step in 0..count {
            let index = first.wrapping_add(step) % count;
            let left = end.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(count - step).unwrap_or(u32::MAX);
            outcome = match rt::timeout(share, self.ask(index, request)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Error::TimedOut {
                    host: authority(&self.hops[index].url).to_owned(),
                    phase: Phase::Head,
                }),
            };
            let is_last = step + 1 == count;
            match &outcome {
                Ok(response) if response.status() < 500 => break,
                Err(Error::Request(_)) => break,
                _ if is_last => break,
                Ok(response) => {
                    tracing::warn!(
                        hop = response.hop(),
                        status = response.status(),
                        "next hop passed over"
                    );
                }
                Err(error) => tracing::warn!(%error, "next hop passed over"),
            }
        }
        outcome
    }

    /// Asks one hop, and once more if its challenge can be answered.
    async fn ask(&self, index: usize, request: &Request) -> Result<Response, Error> {
        let hop = &self.hops[index];
        match &request.authority {
            Authority::Nobody => return self.follow(&hop.url, request, None).await,
            Authority::Client(value) => {
                let own = Authorization::of_client(value)
                    .ok_or(Error::Request("a field value with control characters"))?;
                return self.follow(&hop.url, request, Some(&own)).await;
            }
            Authority::Cache | Authority::Signed(_) => {}
        }
        let scope = request.scope();
        let purpose = Purpose { hop: index, scope };
        let known = self.keyring.find(&purpose, hop);
        let response = self.follow(&hop.url, request, known.as_ref()).await?;
        // Whoever a redirect leads to has no claim to what the hop was trusted with.
        if response.status() != 401 || !response.is_own() {
            return Ok(response);
        }
        if let Some(known) = &known {
            self.keyring.forget(&purpose, known);
        }
        let answer = self.authorize(&purpose, &response, known.as_ref()).await?;
        let Some(answer) = answer else {
            return Ok(response);
        };
        response.discard().await;
        let response = self.follow(&hop.url, request, Some(&answer)).await?;
        if response.status() == 401 && response.is_own() {
            self.keyring.forget(&purpose, &answer);
        }
        Ok(response)
    }

    /// Sends the request to `base` and follows redirects.
    async fn follow(
        &self,
        base: &Url,
        request: &Request,
        authorization: Option<&Authorization>,
    ) -> Result<Response, Error> {
        let mut url = request.address(base)?;
        let mut is_own = true;
        let is_head = request.method == Method::Head;
        for _ in 0..=REDIRECTS_MAX {
            let head = request.head(&url, authorization.filter(|_| is_own));
            let response = self.exchanger.exchange(&url, &head, is_head).await?;
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

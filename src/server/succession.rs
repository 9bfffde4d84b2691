//! What a process that is being replaced still does for its successor: blobs that are on their way to it, and
//! those that it has, at an address that nobody else knows.
//!
//! The successor asks here before it asks any next hop (see `upstream`), so that nothing is fetched twice, and its
//! clients get their first bytes at once. It has let its clients in by its own doors; whether the origin allows them
//! what they want is checked here as for any client, by the credentials that it passes on.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::exchange::{Exchange, Next, Terms};
use super::reply::Reply;
use super::{blob, cycle};
use crate::access::{Item, Kind, Shown};
use crate::http::response::Connection;
use crate::http::{Method, Query, Request};
use crate::registry::Route;
use crate::rt::{self, ListenAddr};

/// Who sends the requests of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Anybody.
    Client,
    /// Whoever knows the address is the process that takes over.
    Successor,
}

/// Held by a core until it takes no more connections of clients, and those of the successor instead.
pub(super) type Place = Sender<Never>;

/// What a core takes over: the listening socket of its own, and its place.
type Seat = (TcpListener, Place);

/// Nothing is ever sent: the end of all places is what is waited for.
#[derive(Debug, PartialEq)]
pub(super) enum Never {}

/// Waits for all cores.
#[derive(Debug)]
pub struct Leaving(Receiver<Never>);

impl Leaving {
    /// Waits until no core takes connections of clients any more, `most` at most. Says whether that is so.
    #[must_use]
    pub fn wait(&self, most: Duration) -> bool {
        self.0.recv_timeout(most) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Where the successor asks.
#[derive(Debug)]
pub struct Succession {
    /// One a core; taken by it.
    seats: Box<[Mutex<Option<Seat>>]>,
    port: u16,
    /// Before `v2/` in the path of each request: 256 random bits in hex.
    prefix: String,
}

impl Succession {
    /// Binds an address of this host for `cores` cores. What comes waits until the service is handed over; when
    /// that is so is told by what is returned besides.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(cores: usize) -> io::Result<(Self, Leaving)> {
        let secret: [u8; 32] = rt::random()?;
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let (listeners, bound) = rt::bind(ListenAddr::loopback(0), cores)?;
        let (place, leaving) = bounded(0);
        let listeners = listeners.into_iter();
        let succession = Self {
            seats: listeners
                .map(|listener| Mutex::new(Some((listener, place.clone()))))
                .collect(),
            port: bound.port(),
            prefix: format!("/{secret}/"),
        };
        Ok((succession, Leaving(leaving)))
    }

    /// Returns the URL that the successor asks at. It is a secret.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.prefix)
    }

    /// Returns the listening socket of a core.
    pub(super) fn take(&self, core: usize) -> Option<Seat> {
        self.seats.get(core)?.lock().take()
    }
}

/// Answers a request of the successor: with a blob that is here or on its way, and with nothing else. No fill begins
/// for it, as it asks the next hops itself.
pub(super) async fn answer(exchange: &mut Exchange, request: &Request<'_>) -> Next {
    let context = Rc::clone(&exchange.context);
    let mut terms = Terms {
        is_head: request.method == Method::Head,
        version: request.version,
        connection: Connection::Close,
        namespace: None,
        shown: Shown::default(),
    };
    let Some(succession) = context.service.succession.get() else {
        return exchange.reply(terms, Reply::not_found()).await;
    };
    let trail = match cycle::trail(&context, request) {
        Ok(trail) => trail,
        Err(reply) => return exchange.reply(terms, reply).await,
    };
    let token = Query::new(request.query).find("token").ok().flatten();
    terms.shown = Shown {
        token: token.as_deref(),
        authorization: request.authorization,
        trail: Some(&trail),
        is_inside: true,
    };
    let route = Route::parse(request.path, &succession.prefix);
    let (Method::Get, Ok(Route::Blob { name, digest })) = (request.method, route) else {
        return exchange.reply(terms, Reply::not_found()).await;
    };
    let is_coming = context.service.fills.is_running(&digest);
    if !is_coming && !blob::may_be_here(&context, digest).await {
        return exchange.reply(terms, Reply::not_found()).await;
    }
    let item = Item {
        kind: Kind::Blob,
        repository: name,
        digest,
    };
    blob::answer(exchange, request, terms, item).await
}

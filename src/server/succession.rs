//! What a process that is being replaced still does for its successor: it sends it blobs that are on their way here,
//! and those that are here.
//!
//! The successor passes connections over the channel that it was started with (see `cli::handover`), so nobody else can
//! ask. It alone decides what its clients may have: here nothing is checked, and nothing is remembered of who asked.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::blob;
use super::exchange::{Exchange, Next, Terms};
use super::reply::Reply;
use crate::access::Shown;
use crate::http::response::Connection;
use crate::http::{Method, Request};
use crate::registry::Route;
use crate::rt::{Flag, Notify};

/// Who sends the requests of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Anybody.
    Client,
    /// The process that takes over.
    Successor,
}

/// Held by a core until it takes no more connections of clients, and those of the successor instead.
type Place = Sender<Never>;

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

/// Connections that the successor has passed.
#[derive(Debug)]
pub struct Succession {
    passed: Mutex<VecDeque<TcpStream>>,
    arrived: Notify,
    /// One a core.
    places: Box<[Mutex<Option<Place>>]>,
    /// Raised when the process before this one has ended. Until then this one stays, as the way to it.
    before_us_left: Arc<Flag>,
}

impl Succession {
    /// Returns one for `cores` cores, and what waits until they have let go of their clients' sockets.
    ///
    /// - `before_us_left`: raised when the process before this one has ended, or where there was none.
    #[must_use]
    pub fn new(cores: usize, before_us_left: Arc<Flag>) -> (Self, Leaving) {
        let (place, leaving) = bounded(0);
        let succession = Self {
            passed: Mutex::default(),
            arrived: Notify::default(),
            places: (0..cores)
                .map(|_| Mutex::new(Some(place.clone())))
                .collect(),
            before_us_left,
        };
        (succession, Leaving(leaving))
    }

    /// Has a connection of the successor served by one of the cores.
    pub fn pass(&self, connection: TcpStream) {
        self.passed.lock().push_back(connection);
        self.arrived.wake_all();
    }

    /// Waits for the next one that no other core has taken.
    pub(super) async fn next(&self) -> TcpStream {
        self.arrived.wait(|| self.passed.lock().pop_front()).await
    }

    /// Takes note that a core has let go of its clients' sockets.
    pub(super) fn leave(&self, core: usize) {
        if let Some(place) = self.places.get(core) {
            drop(place.lock().take());
        }
    }

    /// Says whether this process is the way to one before it.
    pub(super) fn leads_further(&self) -> bool {
        !self.before_us_left.is_raised()
    }
}

/// Answers a request of the successor: with a blob that is here or on its way, and with nothing else. No fill begins
/// for it, as it asks the next hops itself.
pub(super) async fn answer(exchange: &mut Exchange, request: &Request<'_>) -> Next {
    let terms = Terms {
        is_head: request.method == Method::Head,
        version: request.version,
        connection: Connection::Close,
        namespace: None,
        shown: Shown::default(),
    };
    let (Method::Get, Ok(Route::Blob { digest, .. })) =
        (request.method, Route::parse(request.path, "/"))
    else {
        return exchange.reply(terms, Reply::not_found()).await;
    };
    match blob::answer_unasked(exchange, request, terms, digest).await {
        Some(next) => next,
        None => exchange.reply(terms, Reply::not_found()).await,
    }
}

//! One request and its response.

use std::net::IpAddr;
use std::rc::Rc;

use super::context::Context;
use super::outcome::Outcome;
use super::reply::{Reply, Status};
use super::succession::{self, Caller};
use super::transport::Transport;
use super::{blob, cycle, listing, manifest, permit};
use crate::access::{Item, Kind, Shown};
use crate::access_log::Entry;
use crate::http::grammar::is_authority;
use crate::http::response::Connection;
use crate::http::{Body, Method, Query, Request, RequestError, ResponseHead, Version};
use crate::limits::{DRAIN_BODY_BYTES_MAX, NAMESPACE_BYTES_MAX, OUTPUT_KEPT_BYTES};
use crate::metrics::{CacheUse, DeadlinePassed, Fault, RequestRefusal};
use crate::registry::{Code, Route};

/// Where the keys of signed URLs are found (RFC 8615), whatever the prefix.
const KEYS_PATH: &str = "/.well-known/jwks.json";

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next request may come.
    Stay,
    /// The response is complete; no request may follow.
    Close,
    /// The response is short of its length, or the client has gone: nothing more must be sent.
    Abort,
}

/// A connection's side of request and response.
pub(super) struct Exchange {
    pub(super) context: Rc<Context>,
    pub(super) transport: Transport,
    client: IpAddr,
    caller: Caller,
    /// What is about to be sent; kept for its capacity.
    pub(super) output: Vec<u8>,
    /// Of the request under way.
    pub(super) outcome: Outcome,
}

/// What the response to a request must heed, whatever it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'r> {
    pub(super) is_head: bool,
    pub(super) version: Version,
    pub(super) connection: Connection,
    /// The registry that the client means (`?ns=`), echoed as `OCI-Namespace`.
    pub(super) namespace: Option<&'r str>,
    /// What the request shows of who it comes from.
    pub(super) shown: Shown<'r>,
}

impl Exchange {
    pub(super) fn new(
        context: Rc<Context>,
        transport: Transport,
        client: IpAddr,
        caller: Caller,
    ) -> Self {
        Self {
            context,
            transport,
            client,
            caller,
            output: Vec::new(),
            outcome: Outcome::begin(),
        }
    }

    /// Counts a response whose head is about to go out.
    pub(super) fn begin(&mut self, cache: CacheUse, status: u16) {
        self.context.counters.count_request(cache, status);
        self.outcome.response = Some((status, cache));
    }

    /// Tells metrics and access log of a request that is over, however it went. The one place that every
    /// request passes.
    ///
    /// - `request`: what could be read of it.
    pub(super) fn tell(&self, request: Option<&Request<'_>>, next: Next) {
        let outcome = &self.outcome;
        let total = outcome.begun.elapsed();
        let is_whole = next != Next::Abort;
        // What is sent at once has its first bytes taken together with its last.
        let first_byte = match outcome.first_byte {
            Some(at) => Some(at.saturating_duration_since(outcome.begun)),
            None => is_whole.then_some(total),
        };
        if let Some((_, cache)) = outcome.response {
            let counters = &self.context.counters;
            counters.count_times(cache, first_byte, total);
        }
        // The successor tells of its client itself.
        let log = self.context.wanted_log();
        let Some(log) = log.filter(|_| self.caller == Caller::Client) else {
            return;
        };
        log.borrow_mut().add(&Entry {
            client: self.client,
            is_tls: matches!(self.transport, Transport::Tls(_)),
            request,
            begun: outcome.begun,
            first_byte,
            total,
            response: outcome.response,
            body_bytes: outcome.body_bytes,
            is_whole,
            digest: outcome.digest,
            upstream: outcome.upstream.as_deref(),
        });
    }

    /// Answers one request.
    pub(super) async fn answer(&mut self, request: &Request<'_>) -> Next {
        if self.caller == Caller::Successor {
            return succession::answer(self, request).await;
        }
        let connection = self.connection(request);
        if self.context.service.is_unwell.get() {
            let text = "service unavailable: a health check fails, see /debug/health";
            let reply = Reply::error(Code::Unavailable, text);
            return self.say(request, connection, reply).await;
        }
        if connection == Connection::Stay
            && let Some(next) = blob::answer_plain(self, request).await
        {
            return next;
        }
        // Before anything is waited for: in a cycle, each waits for the next one.
        let trail = match cycle::trail(&self.context, request) {
            Ok(trail) => trail,
            Err(reply) => return self.say(request, connection, reply).await,
        };
        let query = Query::new(request.query);
        let (Ok(namespace), Ok(token)) = (query.find("ns"), query.find("token")) else {
            let counters = &self.context.counters;
            counters.count_refused_request(RequestRefusal::Query);
            return self
                .say(
                    request,
                    connection,
                    Reply::error(Code::RequestInvalid, "ambiguous query"),
                )
                .await;
        };
        let terms = Terms {
            is_head: request.method == Method::Head,
            version: request.version,
            connection,
            // What is no host means nothing to a client either, and is not echoed.
            namespace: namespace.as_deref().filter(|text| is_host(text)),
            shown: Shown {
                token: token.as_deref(),
                authorization: request.authorization,
                trail: Some(&trail),
            },
        };
        if request.path == KEYS_PATH && is_read(request.method) {
            let reply = permit::answer_keys(&self.context, trail.clone()).await;
            return self.reply(terms, reply).await;
        }
        match Route::parse(request.path, &self.context.service.options.prefix) {
            Ok(route) if is_pull(request.method, &route) => {
                self.answer_route(request, query, terms, route).await
            }
            Ok(_) => self.reply(terms, Reply::unsupported()).await,
            Err(error) => {
                let counters = &self.context.counters;
                counters.count_refused_request(RequestRefusal::Path);
                let reply = match error.code() {
                    Some(code) => Reply::error(code, &error.to_string()),
                    None => Reply::not_found(),
                };
                self.reply(terms, reply).await
            }
        }
    }

    async fn answer_route(
        &mut self,
        request: &Request<'_>,
        query: Query<'_>,
        terms: Terms<'_>,
        route: Route<'_>,
    ) -> Next {
        match route {
            Route::Root => self.reply(terms, Reply::alive()).await,
            Route::Base => {
                let reply = permit::answer_base(&self.context, terms.shown).await;
                self.reply(terms, reply).await
            }
            Route::Blob { name, digest } => {
                let item = Item {
                    kind: Kind::Blob,
                    repository: name,
                    digest,
                };
                blob::answer(self, request, terms, item).await
            }
            Route::Manifest { name, reference } => {
                let reply =
                    manifest::answer(&self.context, request, terms.shown, name, reference).await;
                self.reply(terms, reply).await
            }
            Route::Tags { .. } | Route::Referrers { .. } | Route::Catalog => {
                let reply = listing::answer(&self.context, terms.shown, query, route).await;
                self.reply(terms, reply).await
            }
            Route::Upload { .. } => self.reply(terms, Reply::unsupported()).await,
        }
    }

    /// Decides whether another request may follow this one.
    fn connection(&self, request: &Request<'_>) -> Connection {
        let body_is_passed = match request.body {
            Body::None => true,
            Body::Length(length) => length <= DRAIN_BODY_BYTES_MAX && !request.expect_continue,
            Body::Chunked => !request.expect_continue,
        };
        match (request.keep_alive && body_is_passed, request.version) {
            _ if self.context.service.is_draining() => Connection::Close,
            (false, _) => Connection::Close,
            (true, Version::Http10) => Connection::StayHttp10,
            (true, Version::Http11) => Connection::Stay,
        }
    }

    /// Answers a head that cannot be parsed.
    pub(super) async fn refuse(&mut self, error: RequestError) -> Next {
        let reply = Reply::bad_request(error.status(), error.reason());
        self.reply(Terms::LAST, reply).await
    }

    /// Ends a connection whose request took too long to arrive.
    pub(super) async fn refuse_slow(&mut self) -> Next {
        let reply = Reply::bad_request(408, "the request took too long to arrive");
        self.reply(Terms::LAST, reply).await
    }

    async fn say(&mut self, request: &Request<'_>, connection: Connection, reply: Reply) -> Next {
        let is_head = request.method == Method::Head;
        let terms = Terms {
            is_head,
            version: request.version,
            connection,
            namespace: None,
            shown: Shown::default(),
        };
        self.reply(terms, reply).await
    }

    /// Sends a reply that is whole in memory.
    pub(super) async fn reply(&mut self, terms: Terms<'_>, reply: Reply) -> Next {
        let mut output = std::mem::take(&mut self.output);
        output.clear();
        reply.write(&mut output, terms, self);
        self.begin(reply.cache, reply.status.number());
        let fault = reply.fault();
        if let Some(fault) = fault {
            self.context.counters.count_error(fault);
        }
        if self.context.wanted_log().is_some() {
            self.outcome.digest = reply.digest();
        }
        let cache = reply.cache;
        self.outcome.upstream = reply.upstream;
        let mut body_bytes = 0;
        if !terms.is_head {
            body_bytes = reply.body.len() as u64;
            let counters = &self.context.counters;
            counters.client_bytes.add(body_bytes);
            if cache == CacheUse::Hit {
                counters.hit_bytes.add(body_bytes);
            }
            output.extend_from_slice(&reply.body);
        }
        let next = self.send_last(output, body_bytes, terms.connection).await;
        // One that failed is counted already, whatever becomes of it on the way.
        if next == Next::Abort && fault.is_none() {
            self.context.counters.count_error(Fault::Client);
        }
        next
    }

    /// Sends what is in memory, as the last of a response that is none of an error.
    ///
    /// - `body_bytes`: how much of it is content.
    pub(super) async fn send(
        &mut self,
        output: Vec<u8>,
        body_bytes: u64,
        connection: Connection,
    ) -> Next {
        let next = self.send_last(output, body_bytes, connection).await;
        if next == Next::Abort {
            self.context.counters.count_error(Fault::Client);
        }
        next
    }

    async fn send_last(
        &mut self,
        output: Vec<u8>,
        body_bytes: u64,
        connection: Connection,
    ) -> Next {
        self.transport
            .set_deadline(self.context.service.bounds.send_timeout.get());
        let outcome;
        (outcome, self.output) = self.transport.send_all(output).await;
        if self.output.capacity() > OUTPUT_KEPT_BYTES {
            self.output = Vec::new();
        }
        if outcome.is_ok() {
            self.outcome.body_bytes += body_bytes;
        }
        self.ended(outcome, connection)
    }

    /// Says what follows a response whose last send came to `outcome`.
    pub(super) fn ended(&self, outcome: std::io::Result<()>, connection: Connection) -> Next {
        match outcome {
            Ok(()) if connection == Connection::Close => Next::Close,
            Ok(()) => Next::Stay,
            Err(_) => {
                if self.transport.socket().expired() {
                    self.context.counters.count_deadline(DeadlinePassed::Send);
                }
                Next::Abort
            }
        }
    }

    /// Begins a response head with the fields that every response has.
    pub(super) fn begin_head<'o>(
        &self,
        output: &'o mut Vec<u8>,
        status: Status,
        terms: Terms<'_>,
    ) -> ResponseHead<'o> {
        let (_, date) = self.context.now();
        let mut head = ResponseHead::begin(output, status.number(), &date)
            .field("Docker-Distribution-Api-Version", "registry/2.0");
        if let Some(namespace) = terms.namespace {
            head = head.field("OCI-Namespace", namespace);
        }
        for (name, value) in &self.context.service.options.headers {
            head = head.field(name, value);
        }
        head
    }
}

impl Terms<'_> {
    /// What holds when the request could not be understood.
    const LAST: Self = Self {
        is_head: false,
        version: Version::Http11,
        connection: Connection::Close,
        namespace: None,
        shown: Shown {
            token: None,
            authorization: None,
            trail: None,
        },
    };
}

/// Says whether `text` may be the host of a registry.
fn is_host(text: &str) -> bool {
    text.len() <= NAMESPACE_BYTES_MAX && is_authority(text)
}

const fn is_read(method: Method) -> bool {
    matches!(method, Method::Get | Method::Head)
}

const fn is_pull(method: Method, route: &Route<'_>) -> bool {
    is_read(method) && !matches!(route, Route::Upload { .. })
}

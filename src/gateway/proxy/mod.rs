//! `/v2/`: passes all to the backend that the caller may do, and sends who pulls a blob to their cache.
//!
//! ```text
//!  path ─▶ target, query ─▶ has it been here? ─▶ who, and may they? ─┬─ blob ─▶ a cache, else the backend
//!         (refused here      (via: 508)          (refusal: 401, 403)  ├─ push ─▶ the backend, then `rules`
//!          if malformed)                                              ├─ catalog ─▶ the backend, filtered
//!                                                                     ╰─ else ─▶ the backend
//! ```
//!
//! Invariants
//! - The backend is asked for nothing that the caller may not do, in words that are the gateway's own.
//! - What is streamed is bounded by pieces: no blob is ever in memory, in either direction.

mod backend;
mod blob;
mod catalog;
mod fields;
mod push;
mod query;
mod refusal;
mod seen;
mod target;
mod via;

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use backend::{Backend, Question, Sent, Trouble};
use query::Query;
use refusal::{Lack, Refusal};
use seen::Seen;
use target::Target;
use via::{Cycle, Instance, Passed};

use super::Failure;
use super::accounts::Action;
use super::answer::RegistryError;
use super::app::App;
use super::identity::{Caller, Rights, Subject};
use super::options::Options;
use crate::registry::Code;

/// What stands between clients and the backend.
#[derive(Debug)]
pub(super) struct Proxy {
    backend: Backend,
    instance: Instance,
    seen: Seen,
}

impl Proxy {
    /// # Errors
    /// A file of `gateway.cas` that is not one.
    pub(super) fn new(options: &Options) -> Result<Self, Failure> {
        Ok(Self {
            backend: Backend::new(options)?,
            instance: Instance::new()?,
            seen: Seen::default(),
        })
    }
}

/// A request that was read.
#[derive(Debug)]
struct Ask<'a> {
    app: &'a App,
    peer: SocketAddr,
    method: &'a Method,
    target: Target<'a>,
    query: Query,
    fields: &'a HeaderMap,
    passed: Passed,
}

/// `/v2/…`.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v2", any(answer))
        .route("/v2/", any(answer))
        .route("/v2/{*rest}", any(answer))
}

async fn answer(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let mut response = match app.own_url(peer, &head.headers) {
        None => RegistryError::new(Code::RequestInvalid, "no Host").into_response(),
        Some(own) => {
            let answered = route(&app, peer, &head, body).await;
            answered.unwrap_or_else(|refusal| {
                let (method, path) = (&head.method, head.uri.path());
                tracing::debug!(%peer, %method, path, ?refusal, "refused");
                refusal.respond(&own, app.signer.service())
            })
        }
    };
    refusal::mark(response.headers_mut());
    response
}

async fn route(
    app: &App,
    peer: SocketAddr,
    head: &axum::http::request::Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let passed = app.proxy.instance.read(&head.headers);
    let ask = Ask {
        app,
        peer,
        method: &head.method,
        target: Target::parse(head.uri.path())?,
        query: Query::parse(head.uri.query())?,
        fields: &head.headers,
        passed: passed.map_err(|Cycle| Code::LoopDetected)?,
    };
    let action = ask.target.action(ask.method);
    let action = action.ok_or_else(|| Refusal::NoMethod(ask.target.methods()))?;
    let is_read = action == Action::Pull;
    match ask.target {
        Target::Base => ask.greet().await,
        Target::Catalog => catalog::answer(&ask).await,
        Target::Blob(name, digest) if is_read => blob::answer(&ask, name, &digest).await,
        Target::Manifest(name, reference) if action == Action::Push => {
            push::manifest(&ask, name, reference, body).await
        }
        Target::Uploads(name) | Target::Upload(name, _) => push::upload(&ask, name, body).await,
        _ => {
            ask.permitted(action).await?;
            if let Target::Blob(name, digest) = ask.target {
                app.proxy.seen.forget(name, &digest);
            }
            let question = ask.question(action, Sent::Whole(Bytes::new()));
            ask.pass(question).await
        }
    }
}

impl Ask<'_> {
    /// `/v2/`: 401 tells where a token is to be had, also where something is public: docker asks for one only if it
    /// was told to here.
    async fn greet(&self) -> Result<Response, Refusal> {
        let caller = self.caller(String::new()).await?;
        match (caller.subject, caller.rights) {
            (Subject::Nobody, Rights::Policy) => {
                Err(Refusal::Login(Lack::Credentials, String::new()))
            }
            _ => Ok(json("{}".into())),
        }
    }

    /// Returns who asks; `scope` is what they are told to come back with if what they show does not count.
    async fn caller(&self, scope: String) -> Result<Caller, Refusal> {
        let caller = self.app.caller(self.fields).await;
        caller.map_err(|error| Refusal::of_login(error, scope))
    }

    /// Returns the caller, who may do `action`.
    async fn permitted(&self, action: Action) -> Result<Caller, Refusal> {
        let name = self.target.name().ok_or(Refusal::NoPath)?;
        let scope = self.scope(action);
        let caller = self.caller(scope.clone()).await?;
        if caller.may(action, name, &self.app.accounts.policy()) {
            return Ok(caller);
        }
        Err(Refusal::of_right(&caller, scope))
    }

    fn scope(&self, action: Action) -> String {
        let name = self.target.name();
        name.map_or_else(String::new, |name| target::scope(name, action))
    }

    /// Returns what the backend is asked.
    fn question(&self, action: Action, body: Sent) -> Question {
        let via = self.app.proxy.instance.after(&self.passed);
        let mut asked = fields::for_backend(self.fields, via);
        if matches!(&body, Sent::Whole(_)) {
            asked.remove(header::CONTENT_LENGTH);
        }
        Question {
            method: self.method.clone(),
            path: self.target.path(),
            query: self.query.for_backend(None),
            fields: asked,
            body,
            scope: self.scope(action),
        }
    }

    /// Asks the backend, and passes on what it says.
    async fn pass(&self, question: Question) -> Result<Response, Refusal> {
        let told = |trouble: Trouble| trouble.told(&self.target.path());
        let response = self.app.proxy.backend.ask(question).await.map_err(told)?;
        passed_on(&self.target, response)
    }
}

/// Returns the backend's answer as the client gets it.
fn passed_on(target: &Target<'_>, response: reqwest::Response) -> Result<Response, Refusal> {
    let (status, answered) = (response.status(), response.headers());
    if let Some(code) = foreign_error(target, status, answered) {
        return Err(code.into());
    }
    let mut own = fields::for_client(answered);
    if let (Some(value), Some(name)) = (answered.get(header::LOCATION), target.name()) {
        let found = fields::location(value, response.url(), name);
        let Some(found) = found else {
            let why = "a Location that is not of the repository".to_owned();
            return Err(Trouble::Broken(why).told(&target.path()));
        };
        own.insert(header::LOCATION, found);
    }
    let link = answered.get(header::LINK);
    if let Some(found) = link.and_then(|value| fields::link(value, target)) {
        own.insert(header::LINK, found);
    }
    let mut passed = Response::new(backend::streamed(response));
    *passed.status_mut() = status;
    *passed.headers_mut() = own;
    Ok(passed)
}

/// Returns the code for an error that is not in the registry's words: a page of a proxy, of storage. A refusal of the
/// gateway itself, which a client could do nothing about, is one as well.
fn foreign_error(target: &Target<'_>, status: StatusCode, fields: &HeaderMap) -> Option<Code> {
    let kind = fields.get(header::CONTENT_TYPE);
    let kind = kind
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if kind.starts_with("application/json") {
        return None;
    }
    Some(match status.as_u16() {
        403 => Code::Denied,
        404 => target.unknown(),
        405 => Code::Unsupported,
        429 => Code::TooManyRequests,
        503 => Code::Unavailable,
        504 => Code::GatewayTimeout,
        508 => Code::LoopDetected,
        500.. => Code::BadGateway,
        _ => return None,
    })
}

fn json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

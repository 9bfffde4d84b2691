//! The pages: log in, choose a cache, and for admins: caches, who uses which, what rules have done.
//!
//! ```text
//!  login ─▶ key ── cookie ─▶ browser
//!            ╰─ hash ─▶ sessions (SQL)
//!  pages ─▶ one document each, which asks the API ─▶ guard ─▶ who is it
//! ```
//!
//! Invariants
//! - A session counts for the pages and for `/api/`, nowhere else.
//! - What changes something in a session's name shows the session's own CSRF token and comes from our own page.
//! - No page has anything of a user, a cache or a secret in its text: it asks for it, and shows it as text.

mod guard;
mod key;
mod login;
mod origin;
mod pages;
mod sessions;

use std::iter;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use guard::{session_user, turn_away_foreign};

use super::app::App;
use key::Key;

/// Longest login, name and password and what JSON makes of them.
const LOGIN_BYTES_MAX: usize = 8 << 10;

/// `/api/v0/session`. The API serves and describes it.
pub(super) fn described() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(login::show, login::begin, login::end))
        .layer(DefaultBodyLimit::max(LOGIN_BYTES_MAX))
}

/// `/`, `/login`, `/logout`.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(home))
        .route("/login", get(login_page))
        .route("/logout", get(logout))
}

/// Where a request of a browser comes from, and how.
pub(super) struct Visit<'a> {
    peer: SocketAddr,
    headers: &'a HeaderMap,
    own: Option<url::Url>,
}

impl<'a> Visit<'a> {
    pub(super) fn new(app: &App, peer: SocketAddr, headers: &'a HeaderMap) -> Self {
        Self {
            peer,
            headers,
            own: app.own_url(peer, headers),
        }
    }

    /// Says whether the browser speaks HTTPS, with us or with a proxy before us.
    fn is_https(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.scheme() == "https")
    }

    fn is_foreign(&self) -> bool {
        origin::is_foreign(self.headers, self.own.as_ref())
    }

    fn key(&self) -> Option<Key> {
        Key::of(self.headers, self.is_https())
    }
}

async fn home(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let visit = Visit::new(&app, peer, &headers);
    let is_https = visit.is_https();
    let answer = match guard::user(&app, &visit).await {
        Ok(Some(_)) => match app.caches.all().await {
            Ok(caches) => {
                let hosts = caches.iter().map(|(cache, _)| &cache.host);
                return pages::HOME.response(hosts, is_https);
            }
            Err(error) => guard::failed(&error).into_response(),
        },
        // A link of another site: the browser keeps the cookie back, and shows it when our own page asks.
        Ok(None) if visit.is_foreign() => {
            return pages::AGAIN.response(iter::empty(), is_https);
        }
        Ok(None) => Redirect::to("/login").into_response(),
        Err(error) => error.into_response(),
    };
    pages::secured(answer, is_https)
}

async fn login_page(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let visit = Visit::new(&app, peer, &headers);
    let is_https = visit.is_https();
    // A database that fails is told where somebody logs in.
    match guard::user(&app, &visit).await {
        Ok(Some(_)) => pages::secured(Redirect::to("/").into_response(), is_https),
        Ok(None) | Err(_) => pages::LOGIN.response(iter::empty(), is_https),
    }
}

/// Ends the session by a link, of our own pages or typed: for whoever has no script that runs.
async fn logout(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let visit = Visit::new(&app, peer, &headers);
    let is_https = visit.is_https();
    if visit.is_foreign() {
        return pages::secured(Redirect::to("/").into_response(), is_https);
    }
    let ended = login::forget(&app, &visit, Redirect::to("/login").into_response()).await;
    pages::secured(ended, is_https)
}

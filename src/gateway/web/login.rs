//! `/api/v0/session`: begins a session by name and password, tells who it is, ends it.

use std::fmt;
use std::net::SocketAddr;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::key::{Key, no_cookie};
use super::{Visit, guard, pages, sessions};
use crate::auth::Secret;
use crate::gateway::accounts::LoginError;
use crate::gateway::answer::ApiError;
use crate::gateway::app::App;
use crate::gateway::identity::Subject;

/// What is asked for at a login.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    username: String,
    password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, …)", self.username)
    }
}

/// What a page knows of its session.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    username: String,
    is_admin: bool,
    csrf: String,
    /// Host and port that docker logs in at.
    registry: String,
    /// The cache that the client gets who chose none; empty: the registry itself.
    automatic: String,
}

/// Tells who is logged in.
pub(super) async fn show(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let visit = Visit::new(&app, peer, &headers);
    let answer = match guard::user(&app, &visit).await {
        Ok(Some(user)) => match visit.key() {
            Some(key) => describe(&app, &visit, user, &key).await,
            None => ApiError::NotAuthenticated.into_response(),
        },
        Ok(None) => ApiError::NotAuthenticated.into_response(),
        Err(error) => error.into_response(),
    };
    pages::secured(answer, visit.is_https())
}

/// Logs in. A session that the browser had before ends: what a new one is known by is always new.
pub(super) async fn begin(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<Json<Credentials>, JsonRejection>,
) -> Response {
    let visit = Visit::new(&app, peer, &headers);
    let answer = match log_in(&app, &visit, body).await {
        Ok(answer) => answer,
        Err(error) => error.into_response(),
    };
    pages::secured(answer, visit.is_https())
}

async fn log_in(
    app: &App,
    visit: &Visit<'_>,
    body: Result<Json<Credentials>, JsonRejection>,
) -> Result<Response, ApiError> {
    // Another page could log somebody in as another, who then chooses and registers in the wrong name.
    if visit.is_foreign() {
        return Err(ApiError::CrossSite);
    }
    let Json(Credentials { username, password }) = body.map_err(|rejection| match rejection {
        JsonRejection::MissingJsonContentType(_) => ApiError::UnsupportedMediaType,
        _ => ApiError::InvalidJson,
    })?;
    let checked = app.accounts.login(&username, &Secret::new(&password)).await;
    checked.map_err(|error| match error {
        LoginError::Busy => ApiError::Unavailable,
        LoginError::Wrong => ApiError::WrongPassword,
    })?;
    let key = Key::new().ok_or(ApiError::Internal)?;
    let pool = &app.state.pool;
    if let Some(before) = visit.key() {
        let ended = sessions::end(pool, &before).await;
        ended.map_err(|error| guard::failed(&error))?;
    }
    let begun = sessions::begin(pool, &key, &username, guard::seconds()).await;
    begun.map_err(|error| guard::failed(&error))?;
    let answer = describe(app, visit, username, &key).await;
    Ok(with_cookie(answer, &key.cookie(visit.is_https())))
}

/// Logs out.
pub(super) async fn end(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let visit = Visit::new(&app, peer, &headers);
    let answer = if visit.is_foreign() || !guard::shows_token(&visit) {
        ApiError::CrossSite.into_response()
    } else {
        forget(&app, &visit, StatusCode::NO_CONTENT.into_response()).await
    };
    pages::secured(answer, visit.is_https())
}

/// Ends the session that a browser shows, and takes its cookie away.
pub(super) async fn forget(app: &App, visit: &Visit<'_>, answer: Response) -> Response {
    if let Some(key) = visit.key()
        && let Err(error) = sessions::end(&app.state.pool, &key).await
    {
        return guard::failed(&error).into_response();
    }
    with_cookie(answer, &no_cookie(visit.is_https()))
}

async fn describe(app: &App, visit: &Visit<'_>, username: String, key: &Key) -> Response {
    let address = app.client_address(visit.peer, visit.headers);
    let automatic = app.caches.choose(&Subject::Nobody, address).await;
    let registry = visit.own.as_ref().and_then(|own| {
        let host = own.host_str()?;
        Some(match own.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        })
    });
    Json(Session {
        is_admin: app.accounts.policy().is_admin(&username),
        username,
        csrf: key.csrf().expose().to_owned(),
        registry: registry.unwrap_or_default(),
        automatic: automatic.map(|cache| cache.id.clone()).unwrap_or_default(),
    })
    .into_response()
}

fn with_cookie(mut answer: Response, cookie: &str) -> Response {
    if let Ok(mut value) = HeaderValue::from_str(cookie) {
        value.set_sensitive(true);
        answer.headers_mut().append(header::SET_COOKIE, value);
    }
    answer
}

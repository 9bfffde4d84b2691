//! `/api/v0/session`: begins a session by name and password, tells who it is, ends it.

use std::fmt;
use std::net::SocketAddr;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::key::{Key, no_cookie};
use super::sessions::Account;
use super::{Visit, guard, pages, sessions};
use crate::auth::Secret;
use crate::gateway::accounts::LoginError;
use crate::gateway::answer::ApiError;
use crate::gateway::api::Errors;
use crate::gateway::app::App;
use crate::gateway::identity::Subject;

/// What is asked for at a login.
#[derive(Deserialize, ToSchema)]
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
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Session {
    username: String,
    is_admin: bool,
    /// What each change in the session's name shows as `X-CSRF-Token`.
    csrf: String,
    /// Host and port that docker logs in at.
    registry: String,
    /// The cache that the client gets who chose none; empty: the registry itself.
    automatic: String,
}

/// Who is logged in with the session's cookie.
#[utoipa::path(get, path = "/api/v0/session", tag = "session", security(()), responses(
    (status = 200, body = Session),
    (status = 401, description = "`NOT_AUTHENTICATED`", body = Errors),
    (status = 406, description = "`NOT_ACCEPTABLE`", body = Errors),
    (status = 503, description = "`UNAVAILABLE`: the database is away", body = Errors),
))]
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

/// Logs in: the answer sets the session's cookie.
///
/// A session that the browser had before ends: what a new one is known by is always new.
#[utoipa::path(post, path = "/api/v0/session", tag = "session", security(()), request_body = Credentials, responses(
    (status = 200, body = Session),
    (status = 400, description = "`INVALID_JSON`", body = Errors),
    (status = 401, description = "`NOT_AUTHENTICATED`: no such user, or another password", body = Errors),
    (status = 403, description = "`CROSS_SITE`", body = Errors),
    (status = 406, description = "`NOT_ACCEPTABLE`", body = Errors),
    (status = 415, description = "`UNSUPPORTED_MEDIA_TYPE`", body = Errors),
    (status = 503, description = "`UNAVAILABLE`: the database is away, or too many passwords are being compared", body = Errors),
))]
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
    // Taken before: if the file changes meanwhile, the session is of the old password, and ends.
    let hash = app.accounts.hash(&username).unwrap_or_default();
    let checked = app.accounts.login(&username, &Secret::new(&password)).await;
    checked.map_err(|error| match error {
        LoginError::Busy => ApiError::Unavailable,
        LoginError::Wrong => ApiError::WrongPassword,
    })?;
    let key = Key::new().ok_or(ApiError::Internal)?;
    let pool = &app.state.pool;
    if let Some(before) = visit.key() {
        guard::patiently(sessions::end(pool, &before)).await?;
    }
    let account = Account {
        name: &username,
        hash: &hash,
    };
    guard::patiently(sessions::begin(pool, &key, account, guard::seconds())).await?;
    let answer = describe(app, visit, username, &key).await;
    Ok(with_cookie(answer, &key.cookie(visit.is_https())))
}

/// Logs out.
#[utoipa::path(delete, path = "/api/v0/session", tag = "session", security(()),
    params(("X-CSRF-Token" = String, Header, description = "`csrf` of the session")),
    responses(
        (status = 204, description = "the session has ended"),
        (status = 403, description = "`CROSS_SITE`: without the token, or from another site", body = Errors),
        (status = 406, description = "`NOT_ACCEPTABLE`", body = Errors),
        (status = 503, description = "`UNAVAILABLE`: the database is away", body = Errors),
    ),
)]
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
        && let Err(error) = guard::patiently(sessions::end(&app.state.pool, &key)).await
    {
        return error.into_response();
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

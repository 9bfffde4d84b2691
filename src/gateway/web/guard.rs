//! Who a browser's request is, by its session; and whether it may change something in that name.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Visit, origin, sessions};
use crate::auth::Secret;
use crate::gateway::answer::ApiError;
use crate::gateway::app::{self, App};

/// The most that is read of a body that nobody wants.
const REFUSED_BODY_BYTES: usize = 64 * 1024;

/// The field that shows a session's CSRF token.
const FIELD: &str = "x-csrf-token";

/// Longest time that the database may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns the user in whose name a browser asks the API; `None` without a session that lives.
///
/// # Errors
/// [`ApiError::CrossSite`] for a change that the session's own page has not asked for.
pub(in crate::gateway) async fn session_user(
    app: &App,
    peer: SocketAddr,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<String>, ApiError> {
    let visit = Visit::new(app, peer, headers);
    let Some(user) = user(app, &visit).await? else {
        return Ok(None);
    };
    if origin::changes(method) && !shows_token(&visit) {
        return Err(ApiError::CrossSite);
    }
    Ok(Some(user))
}

/// Answers what another site's page asks the API to change: a browser adds a cookie by itself, and a password that it
/// was told in a dialog as well.
pub(in crate::gateway) async fn turn_away_foreign(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    if is_api && origin::changes(request.method()) {
        let visit = Visit::new(&app, peer, request.headers());
        if visit.is_foreign() {
            // Read, and thrown away: a stream of HTTP/2 that is refused in the middle of a body is reset, and some
            // clients then miss the answer.
            drop(axum::body::to_bytes(request.into_body(), REFUSED_BODY_BYTES).await);
            return ApiError::CrossSite.into_response();
        }
    }
    next.run(request).await
}

/// Returns whose session a request shows, if it lives.
pub(super) async fn user(app: &App, visit: &Visit<'_>) -> Result<Option<String>, ApiError> {
    let Some(key) = visit.key() else {
        return Ok(None);
    };
    let hash = |user: &str| app.accounts.hash(user);
    patiently(sessions::user(&app.state.pool, &key, hash, seconds())).await
}

/// Returns what came of a question about sessions, which ends also where the database hangs.
pub(super) async fn patiently<T>(
    question: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(answer) => answer.map_err(|error| failed(&error)),
        Err(late) => Err(failed(&late)),
    }
}

pub(super) fn shows_token(visit: &Visit<'_>) -> bool {
    let shown = visit.headers.get(FIELD).and_then(|v| v.to_str().ok());
    match (shown, visit.key()) {
        (Some(shown), Some(key)) => Secret::new(shown) == key.csrf(),
        _ => false,
    }
}

/// Notes why a session could not be looked at, and returns what the client is told.
pub(super) fn failed(error: &dyn std::fmt::Display) -> ApiError {
    tracing::error!(%error, "sessions");
    ApiError::Unavailable
}

/// Returns the time, as the database has it.
pub(super) fn seconds() -> i64 {
    app::now().try_into().unwrap_or(i64::MAX)
}

//! `/auth/token` and `/.well-known/jwks.json`.
//!
//! `service` is not compared: like distribution's own servers this one refuses nobody for it, and unlike them it signs
//! for no service but its own. Refresh tokens are not given out, as nothing could take one back.
//!
//! Source: distribution, docs/spec/auth/token.md and oauth.md; RFC 6749 §4.3, §5.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::grant::grant;
use super::ring::JWKS_AGE_SECONDS;
use crate::auth::{Access, Authorization, Secret};
use crate::gateway::accounts::LoginError;
use crate::gateway::answer::RegistryError;
use crate::gateway::app::{App, now};
use crate::gateway::identity::Caller;
use crate::registry::Code;

/// Longest form that is read, in bytes.
const FORM_BYTES_MAX: usize = 64 * 1024;
const FORM_TYPE: &str = "application/x-www-form-urlencoded";
const NO_STORE: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// `/auth/token` and `/.well-known/jwks.json`.
pub(in crate::gateway) fn routes() -> Router<App> {
    Router::new()
        .route("/auth/token", get(by_query).post(by_form))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .route("/.well-known/jwks.json", get(jwks))
}

async fn jwks(State(app): State<App>) -> Response {
    let age = format!("public, max-age={JWKS_AGE_SECONDS}");
    let fields = [
        (header::CONTENT_TYPE, "application/jwk-set+json"),
        (header::CACHE_CONTROL, &*age),
    ];
    (fields, app.signer.jwks().await).into_response()
}

async fn by_query(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let caller = match caller_of(&app, &headers).await {
        Ok(caller) => caller,
        Err(error) => return refuse(&app, error, None),
    };
    let query = query.unwrap_or_default();
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let scopes = values(&pairs, "scope");
    let access = grant(scopes, &caller, &app.accounts.policy());
    answer(&app, &caller, &access, json!({}))
}

/// Returns who asks. A token is nobody: whoever had one could have another, for ever.
async fn caller_of(app: &App, headers: &HeaderMap) -> Result<Caller, Option<LoginError>> {
    let value = headers.get(header::AUTHORIZATION);
    match value.map(|value| Authorization::parse(value.as_bytes())) {
        None | Some(Authorization::Basic { .. }) => app.caller(headers).await,
        Some(Authorization::Bearer(_) | Authorization::Other) => Err(None),
    }
}

async fn by_form(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return bad_form(rejection.status(), "invalid_request", "cannot be read"),
    };
    let (name, password, scopes) = match form(&headers, &body) {
        Ok(form) => form,
        Err((error, text)) => return bad_form(StatusCode::BAD_REQUEST, error, text),
    };
    let caller = match app.caller_by_password(&name, &password).await {
        Ok(caller) => caller,
        Err(error) => return refuse(&app, error, Some("invalid_grant")),
    };
    let scopes = scopes.iter().map(String::as_str);
    let access = grant(scopes, &caller, &app.accounts.policy());
    let shown = access.iter().map(|access| {
        let actions = access.actions.join(",");
        format!("{}:{}:{actions}", access.kind, access.name)
    });
    let shown = shown.collect::<Vec<_>>().join(" ");
    answer(&app, &caller, &access, json!({ "scope": shown }))
}

/// What is wrong with a form: OAuth's name of it, and a text.
type BadForm = (&'static str, &'static str);

/// Returns name, password and scopes of a form.
fn form(headers: &HeaderMap, body: &[u8]) -> Result<(String, Secret, Vec<String>), BadForm> {
    let bad = |error, text| Err((error, text));
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(FORM_TYPE) {
        return bad("invalid_request", "want a form");
    }
    let pairs: Vec<_> = form_urlencoded::parse(body).collect();
    for name in ["grant_type", "username", "password"] {
        // Two readers of it would not agree (RFC 6749 §3.2).
        if values(&pairs, name).count() > 1 {
            return bad("invalid_request", "a parameter comes twice");
        }
    }
    match values(&pairs, "grant_type").next() {
        Some("password") => {}
        Some("refresh_token") => {
            let text = "there are no refresh tokens here: log in with a password";
            return bad("unsupported_grant_type", text);
        }
        Some(_) => return bad("unsupported_grant_type", "want grant_type=password"),
        None => return bad("invalid_request", "want grant_type"),
    }
    let name = values(&pairs, "username").next().unwrap_or_default();
    let password = values(&pairs, "password").next().unwrap_or_default();
    let scopes = values(&pairs, "scope").map(str::to_owned).collect();
    Ok((name.to_owned(), Secret::new(password), scopes))
}

fn values<'p>(
    pairs: &'p [(Cow<'_, str>, Cow<'_, str>)],
    wanted: &str,
) -> impl Iterator<Item = &'p str> {
    let named = pairs.iter().filter(move |(name, _)| name == wanted);
    named.map(|(_, value)| &**value)
}

fn answer(app: &App, caller: &Caller, access: &[Access], mut more: Value) -> Response {
    let issued = app.signer.registry_token(&caller.subject, access, now());
    more["token"] = issued.token.expose().into();
    more["access_token"] = issued.token.expose().into();
    more["expires_in"] = issued.expires_in.into();
    more["issued_at"] = rfc3339(issued.issued_at).into();
    ([NO_STORE], axum::Json(more)).into_response()
}

/// Refuses somebody who showed something; `oauth` is the error's name where the answer is OAuth's.
fn refuse(app: &App, error: Option<LoginError>, oauth: Option<&str>) -> Response {
    if error == Some(LoginError::Busy) {
        let text = "too many passwords are being compared: try again";
        let response = RegistryError::new(Code::Unavailable, text).into_response();
        let later = (header::RETRY_AFTER, HeaderValue::from_static("1"));
        return ([NO_STORE, later], response).into_response();
    }
    let text = "wrong user name or password";
    let response = match oauth {
        Some(oauth) => bad_form(StatusCode::UNAUTHORIZED, oauth, text),
        None => RegistryError::new(Code::Unauthorized, text).into_response(),
    };
    let challenge = format!(
        "Basic realm=\"{}\", charset=\"UTF-8\"",
        app.signer.service()
    );
    (
        [NO_STORE],
        [(header::WWW_AUTHENTICATE, challenge)],
        response,
    )
        .into_response()
}

fn bad_form(status: StatusCode, error: &str, text: &str) -> Response {
    let body = json!({"error": error, "error_description": text});
    (status, [NO_STORE], axum::Json(body)).into_response()
}

/// Returns a time as `2026-11-21T18:43:23Z`.
fn rfc3339(seconds: u64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    // Sat, 21 Nov 2026 18:43:23 GMT
    let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or_default();
    let (day, month, year, time) = (part(5..7), part(8..11), part(12..16), part(17..25));
    let number = MONTHS.iter().position(|name| *name == month).unwrap_or(0) + 1;
    format!("{year}-{number:02}-{day}T{time}Z")
}

//! Content caches: list, register, look at, replace, test, remove.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use super::caller::{Admin, ApiCaller};
use super::describe::{NotAdmin, NotLoggedIn};
use super::form::ContentCacheForm;
use super::refused::{Errors, Refused, Segment, read};
use crate::gateway::answer::ApiError;
use crate::gateway::app::App;
use crate::gateway::caches::{Cache, Health, Look, Trust};

/// A content cache.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContentCache {
    #[schema(example = "d5f1a2b0-7a0c-4a51-8a55-0c5a4ec3b6f1")]
    id: String,
    /// What people call it.
    #[schema(example = "region-us")]
    name: String,
    /// Where clients reach it: scheme, host and port.
    #[schema(example = "https://cache.example.org:5000")]
    host: String,
    /// Clients of these networks are sent to it when they chose none.
    networks: Vec<String>,
    /// Whether it is for all others who chose none.
    is_default: bool,
    /// Address of its admin API. Only admins are told.
    #[serde(rename = "adminURL", skip_serializing_if = "Option::is_none")]
    admin_url: Option<String>,
    /// Whether there is a token for its admin API. Only admins are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_admin_token: Option<bool>,
    health: ContentCacheHealth,
}

/// How a content cache was when it was last looked at.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContentCacheHealth {
    state: HealthState,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Since when it is so, in seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    /// How long its last good answer took, from the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_milliseconds: Option<f64>,
    /// When it was last looked at, in seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    checked_at: Option<u64>,
}

/// Whether clients are sent to a content cache.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum HealthState {
    /// Not looked at yet: nobody is sent there.
    Unknown,
    Up,
    /// Nobody is sent there.
    Down,
}

/// Returns what clients are told of a cache.
fn shown(app: &App, cache: &Cache, is_admin: bool) -> ContentCache {
    let url = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    let (place, has_token) = match &cache.admin {
        Some((place, token)) => (Some(url(place)), token.is_some()),
        None => (None, false),
    };
    ContentCache {
        id: cache.id.clone(),
        name: cache.name.clone(),
        host: url(&cache.host),
        networks: cache.networks.iter().map(ToString::to_string).collect(),
        is_default: cache.is_default,
        admin_url: place.filter(|_| is_admin),
        has_admin_token: is_admin.then_some(has_token),
        health: health(app.caches.look_of(cache)),
    }
}

fn health(look: Look) -> ContentCacheHealth {
    let (state, reason) = match look.health {
        Health::Unknown => (HealthState::Unknown, None),
        Health::Up => (HealthState::Up, None),
        Health::Down(reason) => (HealthState::Down, Some(reason)),
    };
    ContentCacheHealth {
        state,
        reason,
        since: look.since,
        round_trip_milliseconds: look.round_trip.map(|took| took.as_secs_f64() * 1000.0),
        checked_at: look.checked_at,
    }
}

/// Returns a new random id.
///
/// Source: RFC 9562 section 5.4.
fn new_id() -> Result<String, Refused> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ApiError::Internal)?;
    let random = u128::from_be_bytes(bytes);
    let fixed = (0xF << 76) | (0b11 << 62);
    let bits = (random & !fixed) | (4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    Ok(parts.join("-"))
}

async fn find(app: &App, id: &str) -> Result<Cache, Refused> {
    let cache = app.state.cache(id).await?;
    Ok(cache.ok_or(ApiError::NoSuchContentCache)?)
}

/// All content caches, by name.
#[utoipa::path(get, path = "/api/v0/content_caches", tag = "content caches", responses(
    (status = 200, body = Vec<ContentCache>), NotLoggedIn,
))]
pub(super) async fn list(
    caller: ApiCaller,
    State(app): State<App>,
) -> Result<Json<Vec<ContentCache>>, Refused> {
    let caches = app.state.caches().await?;
    let shown = caches
        .iter()
        .map(|cache| shown(&app, cache, caller.is_admin));
    Ok(Json(shown.collect()))
}

/// Registers a content cache. Admins only. It is looked at at once.
#[utoipa::path(post, path = "/api/v0/content_caches", tag = "content caches",
    request_body = ContentCacheForm, responses(
    (status = 201, body = ContentCache, headers(("Location" = String))),
    (status = 400, body = Errors, description = "`INVALID_JSON`, `INVALID_CONTENT_CACHE`"),
    (status = 415, body = Errors, description = "`UNSUPPORTED_MEDIA_TYPE`"),
    NotAdmin,
))]
pub(super) async fn create(
    _: Admin,
    State(app): State<App>,
    request: Request,
) -> Result<impl IntoResponse + use<>, Refused> {
    let form: ContentCacheForm = read(request, ApiError::InvalidContentCache).await?;
    let cache = form.into_cache(new_id()?, None)?;
    app.state.add_cache(&cache).await?;
    app.caches.changed().await;
    let place = format!("/api/v0/content_caches/{}", cache.id);
    let body = Json(shown(&app, &cache, true));
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], body))
}

/// One content cache.
#[utoipa::path(get, path = "/api/v0/content_caches/{uuid}", tag = "content caches",
    params(("uuid" = String, Path, description = "Its id")), responses(
    (status = 200, body = ContentCache),
    (status = 404, body = Errors, description = "`NO_SUCH_CONTENT_CACHE`"),
    NotLoggedIn,
))]
pub(super) async fn get(
    caller: ApiCaller,
    State(app): State<App>,
    Segment(id): Segment,
) -> Result<Json<ContentCache>, Refused> {
    let cache = find(&app, &id).await?;
    Ok(Json(shown(&app, &cache, caller.is_admin)))
}

/// Replaces a content cache; who chose it has chosen what is there then. Admins only.
#[utoipa::path(put, path = "/api/v0/content_caches/{uuid}", tag = "content caches",
    params(("uuid" = String, Path, description = "Its id")),
    request_body = ContentCacheForm, responses(
    (status = 200, body = ContentCache),
    (status = 400, body = Errors, description = "`INVALID_JSON`, `INVALID_CONTENT_CACHE`"),
    (status = 404, body = Errors, description = "`NO_SUCH_CONTENT_CACHE`"),
    (status = 415, body = Errors, description = "`UNSUPPORTED_MEDIA_TYPE`"),
    NotAdmin,
))]
pub(super) async fn replace(
    _: Admin,
    State(app): State<App>,
    Segment(id): Segment,
    request: Request,
) -> Result<Json<ContentCache>, Refused> {
    let form: ContentCacheForm = read(request, ApiError::InvalidContentCache).await?;
    let before = find(&app, &id).await?;
    let cache = form.into_cache(id, Some(&before))?;
    app.state.replace_cache(&cache).await?;
    app.caches.changed().await;
    Ok(Json(shown(&app, &cache, true)))
}

/// Removes a content cache. Who chose it has chosen none. Admins only.
#[utoipa::path(delete, path = "/api/v0/content_caches/{uuid}", tag = "content caches",
    params(("uuid" = String, Path, description = "Its id")), responses(
    (status = 204),
    (status = 404, body = Errors, description = "`NO_SUCH_CONTENT_CACHE`"),
    NotAdmin,
))]
pub(super) async fn delete(
    _: Admin,
    State(app): State<App>,
    Segment(id): Segment,
) -> Result<StatusCode, Refused> {
    app.state.delete_cache(&id).await?;
    app.caches.changed().await;
    Ok(StatusCode::NO_CONTENT)
}

/// Looks at a content cache now, and goes by what is seen. Admins only.
#[utoipa::path(post, path = "/api/v0/content_caches/{uuid}/test", tag = "content caches",
    params(("uuid" = String, Path, description = "Its id")), responses(
    (status = 200, body = ContentCacheHealth),
    (status = 404, body = Errors, description = "`NO_SUCH_CONTENT_CACHE`"),
    NotAdmin,
))]
pub(super) async fn test(
    _: Admin,
    State(app): State<App>,
    Segment(id): Segment,
) -> Result<Json<ContentCacheHealth>, Refused> {
    let cache = find(&app, &id).await?;
    let look = app.caches.look_at(&cache, Trust::AtOnce).await;
    Ok(Json(health(look)))
}

/// The accounts that chose a content cache. Admins only.
#[utoipa::path(get, path = "/api/v0/content_caches/{uuid}/users", tag = "content caches",
    params(("uuid" = String, Path, description = "Its id")), responses(
    (status = 200, body = Vec<String>),
    (status = 404, body = Errors, description = "`NO_SUCH_CONTENT_CACHE`"),
    NotAdmin,
))]
pub(super) async fn users(
    _: Admin,
    State(app): State<App>,
    Segment(id): Segment,
) -> Result<Json<Vec<String>>, Refused> {
    find(&app, &id).await?;
    let mut users = app.state.users_of(&id).await?;
    users.retain(|user| app.accounts.knows(user));
    Ok(Json(users))
}

//! DTR's API of content caches and settings, with what DTR lacked, and its description.
//!
//! Source: DTR's description of its API, 2.6. What is more than that: `networks`, `isDefault`, `adminURL`,
//! `adminToken` and `health` of a content cache, `PUT`, the test of a cache, its users, and the list of accounts. A
//! client that knows DTR's alone finds all of that as it knows it.
//!
//! Invariants
//! - Every path is described: paths and description come from the same attributes.
//! - A registry token opens nothing here: it was made for a registry's client.
//! - No answer has a cache's admin token, and only admins' answers tell where its admin API is.

mod caller;
mod content_caches;
mod describe;
mod form;
mod refused;
mod settings;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

pub(super) use caller::Admin;
pub(super) use describe::NotAdmin;
pub(super) use refused::{Errors, Refused, Segment};

use super::answer::ApiError;
use super::app::App;
use content_caches as caches;

/// The interactive description brings all that it shows; its style is written into elements.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// `/api/v0/…`, `/api/docs`.
pub(super) fn routes() -> Router<App> {
    let (routes, description) = described().split_for_parts();
    let not_found = any(async || ApiError::NotFound);
    let routes = routes
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .route("/api/{*path}", not_found)
        .layer(middleware::from_fn(guard));
    let page = SwaggerUi::new("/api/docs").url("/api/v0/openapi.json", description);
    let page = Router::from(page).layer(middleware::from_fn(secure));
    routes.merge(page)
}

/// Returns the paths with their description.
fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(describe::frame())
        .routes(routes!(caches::list, caches::create))
        .routes(routes!(caches::get, caches::replace, caches::delete))
        .routes(routes!(caches::test))
        .routes(routes!(caches::users))
        .routes(routes!(settings::accounts))
        .routes(routes!(settings::get, settings::change))
        .merge(super::rules::described())
        .merge(super::web::described())
}

/// Turns away who takes no JSON.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = if !takes_json(request.headers()) {
        ApiError::NotAcceptable.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Lets a browser run nothing on the page but what is the page's.
async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// Says whether the client takes JSON: one that says nothing takes everything.
///
/// Source: RFC 9110 section 12.5.1.
fn takes_json(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(header::ACCEPT).iter().peekable();
    if fields.peek().is_none() {
        return true;
    }
    let texts = fields.filter_map(|value| value.to_str().ok());
    let mut ranges = texts.flat_map(|text| text.split(','));
    ranges.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let is_refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.parse() == Ok(0.0))
        });
        !is_refused && ["application/json", "application/*", "*/*"].contains(&kind.as_str())
    })
}

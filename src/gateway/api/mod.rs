//! DTR's API of content caches and settings, with what DTR lacked, and its description.

use axum::Router;

use super::app::App;

/// `/api/v0/…`, `/api/docs`.
pub(super) fn routes() -> Router<App> {
    Router::new()
}

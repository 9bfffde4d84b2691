//! `/v2/`: passes all to the backend that the caller may do, and sends who pulls a blob to their cache.

use axum::Router;

use super::app::App;

/// `/v2/…`.
pub(super) fn routes() -> Router<App> {
    Router::new()
}

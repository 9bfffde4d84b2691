//! The pages: log in, choose a cache, and for admins: caches, who uses which, what rules have done.

use axum::Router;

use super::app::App;

/// `/`, `/login`, assets, and the session.
pub(super) fn routes() -> Router<App> {
    Router::new()
}

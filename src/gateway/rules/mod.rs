//! What is done when something was pushed, or by a schedule: caches are warmed, images are copied to other registries.

use axum::Router;

use super::app::App;
use super::{Failure, options};

/// A tag, or a manifest without one, that was pushed through the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    pub(super) repository: String,
    /// The tag, or the digest where it was pushed without one.
    pub(super) reference: String,
}

/// Takes what was pushed.
#[derive(Clone, Debug)]
pub(super) struct Rules;

impl Rules {
    /// Reads what is still to be done.
    ///
    /// # Errors
    /// A rule that does not hold.
    pub(super) fn new(options: &options::Options) -> Result<Self, Failure> {
        let _ = options;
        Ok(Self)
    }

    /// Begins to work off what there is to do: on the runtime that this runs on.
    pub(super) fn start(&self, app: App) {
        let _ = app;
    }

    /// Takes note of a push. Waits for nothing but the database.
    pub(super) async fn pushed(&self, app: &App, pushed: Pushed) {
        let _ = (app, pushed);
    }
}

/// Says whether `text` is a glob of repositories or tags.
#[must_use]
pub fn is_glob(text: &str) -> bool {
    !text.is_empty() && globset::Glob::new(text).is_ok()
}

/// Says whether `text` is a cron pattern.
#[must_use]
pub fn is_schedule(text: &str) -> bool {
    text.parse::<croner::Cron>().is_ok()
}

/// `/api/v0/rules/…`: what rules have done.
pub(super) fn routes() -> Router<App> {
    Router::new()
}

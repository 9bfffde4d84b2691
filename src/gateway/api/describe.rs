//! What the description says besides each path: who may ask, and what everybody may be answered.

use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi as _};

use super::refused::Errors;

/// The frame of the description.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "transship gateway",
        description = "Content caches, and which of them each account is sent to. Paths, bodies, statuses and codes \
                       of DTR's API, with health, networks, a default and PUT besides.",
    ),
    modifiers(&Basic),
    security(("basic" = [])),
)]
struct Frame;

/// Returns the description without paths.
pub(super) fn frame() -> OpenApi {
    Frame::openapi()
}

struct Basic;

impl Modify for Basic {
    fn modify(&self, description: &mut OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Basic).build();
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("basic", SecurityScheme::Http(scheme));
    }
}

/// What is answered to who is not logged in, and to all when something is missing.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is for the description")]
pub(super) enum NotLoggedIn {
    /// `NOT_AUTHENTICATED`
    #[response(status = 401)]
    NotAuthenticated(Errors),
    /// `NOT_ACCEPTABLE`
    #[response(status = 406)]
    NotAcceptable(Errors),
    /// `UNAVAILABLE`: the database is away
    #[response(status = 503)]
    Unavailable(Errors),
}

/// The same where only admins may.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is for the description")]
pub(in crate::gateway) enum NotAdmin {
    /// `NOT_AUTHENTICATED`
    #[response(status = 401)]
    NotAuthenticated(Errors),
    /// `NOT_AUTHORIZED`
    #[response(status = 403)]
    NotAuthorized(Errors),
    /// `NOT_ACCEPTABLE`
    #[response(status = 406)]
    NotAcceptable(Errors),
    /// `UNAVAILABLE`: the database is away
    #[response(status = 503)]
    Unavailable(Errors),
}

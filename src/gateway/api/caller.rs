//! Who asks the API.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::header;
use axum::http::request::Parts;

use super::refused::Refused;
use crate::gateway::accounts::LoginError;
use crate::gateway::answer::ApiError;
use crate::gateway::app::App;
use crate::gateway::identity::{Rights, Subject};
use crate::gateway::web;

/// An account that is logged in. The one place that says who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct ApiCaller {
    pub(in crate::gateway) user: String,
    pub(in crate::gateway) is_admin: bool,
}

/// An account that is logged in and an admin.
pub(in crate::gateway) struct Admin;

impl ApiCaller {
    fn new(app: &App, user: String) -> Self {
        Self {
            is_admin: app.accounts.policy().is_admin(&user),
            user,
        }
    }

    /// Returns `Ok` if the account may see and change what is `user`'s own.
    pub(super) fn expect(&self, user: &str) -> Result<(), Refused> {
        if self.is_admin || self.user == user {
            return Ok(());
        }
        Err(ApiError::NotAuthorized.into())
    }
}

impl FromRequestParts<App> for ApiCaller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let unknown = || Refused {
            is_challenged: !is_browser(&parts.headers),
            ..ApiError::NotAuthenticated.into()
        };
        if let Some(user) = session_user(parts, app).await? {
            return Ok(Self::new(app, user));
        }
        let caller = app.caller(&parts.headers).await;
        let caller = caller.map_err(|error| match error {
            Some(LoginError::Busy) => ApiError::Unavailable.into(),
            Some(LoginError::Wrong) | None => unknown(),
        })?;
        match (caller.subject, caller.rights) {
            (Subject::User(user), Rights::Policy) => Ok(Self::new(app, user)),
            _ => Err(unknown()),
        }
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let caller = ApiCaller::from_request_parts(parts, app).await?;
        if caller.is_admin {
            return Ok(Self);
        }
        Err(ApiError::NotAuthorized.into())
    }
}

/// Returns the user of the page's session, where nobody shows credentials of their own.
async fn session_user(parts: &Parts, app: &App) -> Result<Option<String>, Refused> {
    let headers = &parts.headers;
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    match peer {
        Some(ConnectInfo(peer)) if !headers.contains_key(header::AUTHORIZATION) => {
            Ok(web::session_user(app, *peer, &parts.method, headers).await?)
        }
        _ => Ok(None),
    }
}

/// Says whether the client is a browser, which would show a window of its own for a challenge, over the page's.
fn is_browser(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok());
    headers.contains_key("sec-fetch-mode")
        || agent.is_some_and(|agent| agent.starts_with("Mozilla/"))
}

//! Accounts' settings: which content cache they chose.

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Admin, ApiCaller};
use super::describe::{NotAdmin, NotLoggedIn};
use super::refused::{Errors, Refused, Segment, read};
use crate::gateway::answer::ApiError;
use crate::gateway::app::App;
use crate::gateway::state::StateError;

/// An account's settings.
#[derive(Serialize, ToSchema)]
pub(super) struct UserSettings {
    /// Id of the content cache that the account chose; empty: none.
    #[serde(rename = "ContentCacheUUID")]
    content_cache_uuid: String,
}

/// What is to be changed of an account's settings; what is not there stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserSettingsChange {
    /// Id of a content cache; empty: none.
    #[serde(rename = "contentCacheUUID", alias = "ContentCacheUUID", default)]
    content_cache_uuid: Option<String>,
}

/// An account, with what it chose.
#[derive(Serialize, ToSchema)]
pub(super) struct Account {
    name: String,
    #[serde(rename = "isAdmin")]
    is_admin: bool,
    /// Id of the content cache that the account chose; empty: none.
    #[serde(rename = "ContentCacheUUID")]
    content_cache_uuid: String,
}

/// All accounts, by name, with what they chose. Admins only.
#[utoipa::path(get, path = "/api/v0/accounts", tag = "accounts", responses(
    (status = 200, body = Vec<Account>), NotAdmin,
))]
pub(super) async fn accounts(
    _: Admin,
    State(app): State<App>,
) -> Result<Json<Vec<Account>>, Refused> {
    let mut choices = app.state.choices().await?;
    let policy = app.accounts.policy();
    let names = app.accounts.names().into_iter();
    let accounts = names.map(|name| Account {
        content_cache_uuid: choices.remove(&name).unwrap_or_default(),
        is_admin: policy.is_admin(&name),
        name,
    });
    Ok(Json(accounts.collect()))
}

/// An account's settings. That account and admins only.
#[utoipa::path(get, path = "/api/v0/accounts/{username}/settings", tag = "accounts",
    params(("username" = String, Path, description = "Name of the account")), responses(
    (status = 200, body = UserSettings),
    (status = 403, body = Errors, description = "`NOT_AUTHORIZED`"),
    (status = 404, body = Errors, description = "`NO_SUCH_ACCOUNT`"),
    NotLoggedIn,
))]
pub(super) async fn get(
    caller: ApiCaller,
    State(app): State<App>,
    Segment(username): Segment,
) -> Result<Json<UserSettings>, Refused> {
    expect(&app, &caller, &username)?;
    settings(&app, &username).await
}

/// Changes an account's settings. That account and admins only. The next pull goes by it.
#[utoipa::path(patch, path = "/api/v0/accounts/{username}/settings", tag = "accounts",
    params(("username" = String, Path, description = "Name of the account")),
    request_body = UserSettingsChange, responses(
    (status = 200, body = UserSettings),
    (status = 400, body = Errors, description = "`INVALID_JSON`, `INVALID_USER_SETTINGS`"),
    (status = 403, body = Errors, description = "`NOT_AUTHORIZED`"),
    (status = 404, body = Errors, description = "`NO_SUCH_ACCOUNT`"),
    (status = 415, body = Errors, description = "`UNSUPPORTED_MEDIA_TYPE`"),
    NotLoggedIn,
))]
pub(super) async fn change(
    caller: ApiCaller,
    State(app): State<App>,
    Segment(username): Segment,
    request: Request,
) -> Result<Json<UserSettings>, Refused> {
    expect(&app, &caller, &username)?;
    let change: UserSettingsChange = read(request, ApiError::InvalidUserSettings).await?;
    if let Some(id) = change.content_cache_uuid {
        let id = Some(id).filter(|id| !id.is_empty());
        let chosen = app.state.choose(&username, id.as_deref()).await;
        chosen.map_err(|error| match error {
            StateError::NoSuchCache => {
                let detail = "there is no such content cache";
                Refused::new(ApiError::InvalidUserSettings, detail)
            }
            other => other.into(),
        })?;
        app.caches.changed().await;
    }
    settings(&app, &username).await
}

/// Says who may not; who may not is not told who there is.
fn expect(app: &App, caller: &ApiCaller, username: &str) -> Result<(), Refused> {
    caller.expect(username)?;
    if caller.user == username || app.accounts.knows(username) {
        return Ok(());
    }
    Err(ApiError::NoSuchAccount.into())
}

async fn settings(app: &App, username: &str) -> Result<Json<UserSettings>, Refused> {
    let choice = app.state.choice(username).await?;
    Ok(Json(UserSettings {
        content_cache_uuid: choice.unwrap_or_default(),
    }))
}

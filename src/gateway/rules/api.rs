//! `/api/v0/rules`: what rules there are and what they have done, for admins.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use super::Rules;
use super::table::{Phase, Run, Table};
use crate::gateway::answer::ApiError;
use crate::gateway::app::{App, now};
use crate::gateway::identity::Rights;
use crate::gateway::options::Images;

/// Most runs of an answer, and how many without `limit`.
const LIMIT_MAX: u32 = 1000;
const LIMIT: u32 = 100;

#[derive(Deserialize)]
struct Wanted {
    state: Option<String>,
    limit: Option<u32>,
}

#[derive(Serialize)]
struct Shown {
    rules: Vec<ShownRule>,
    runs: Vec<ShownRun>,
}

/// A rule of the configuration. No login is in it.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum ShownRule {
    Warm {
        repository: String,
        tags: Vec<String>,
        caches: Vec<String>,
        platforms: Vec<String>,
        schedule: Option<String>,
    },
    Mirror {
        repository: String,
        tags: Vec<String>,
        to: String,
    },
}

#[derive(Serialize)]
struct ShownRun {
    id: String,
    kind: &'static str,
    repository: String,
    reference: String,
    target: String,
    state: &'static str,
    attempts: u64,
    message: String,
    created: String,
    updated: String,
}

/// `/api/v0/rules/…`: what rules have done.
pub(in crate::gateway) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v0/rules", get(list))
        .route("/api/v0/rules/{id}/retry", post(retry))
        .route("/api/v0/rules/{id}/cancel", post(cancel))
}

async fn list(
    State(app): State<App>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Shown>, ApiError> {
    admin(&app, &headers).await?;
    let Query(wanted) = wanted.map_err(|_| ApiError::InvalidJson)?;
    let phase = match wanted.state.as_deref() {
        None | Some("") => None,
        Some(text) => Some(Phase::parse(text).ok_or(ApiError::InvalidJson)?),
    };
    let limit = wanted.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let runs = Table(&app.state.pool).list(phase, limit).await;
    Ok(Json(Shown {
        rules: rules(&app.rules),
        runs: runs
            .map_err(failed)?
            .into_iter()
            .map(ShownRun::from)
            .collect(),
    }))
}

async fn retry(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<ShownRun>, ApiError> {
    admin(&app, &headers).await?;
    let table = Table(&app.state.pool);
    let run = table
        .get(&id)
        .await
        .map_err(failed)?
        .ok_or(ApiError::NotFound)?;
    table.retry(&id, now()).await.map_err(failed)?;
    app.rules.wake(run.task.kind);
    shown(table, &id).await
}

async fn cancel(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<ShownRun>, ApiError> {
    admin(&app, &headers).await?;
    let table = Table(&app.state.pool);
    table.cancel(&id, now()).await.map_err(failed)?;
    shown(table, &id).await
}

async fn shown(table: Table<'_>, id: &str) -> Result<Json<ShownRun>, ApiError> {
    let run = table.get(id).await.map_err(failed)?;
    run.map(|run| Json(run.into())).ok_or(ApiError::NotFound)
}

/// Lets admins pass.
async fn admin(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let caller = app
        .caller(headers)
        .await
        .map_err(|_| ApiError::NotAuthenticated)?;
    let user = caller.subject.user().ok_or(ApiError::NotAuthenticated)?;
    let is_admin = matches!(caller.rights, Rights::Policy) && app.accounts.policy().is_admin(user);
    is_admin.then_some(()).ok_or(ApiError::NotAuthorized)
}

fn failed(error: sqlx::Error) -> ApiError {
    tracing::error!(%error, "rules: the database does not answer");
    ApiError::Unavailable
}

fn rules(rules: &Rules) -> Vec<ShownRule> {
    let parts = |images: &Images| (images.repository.clone(), images.tags.clone());
    let warm = rules.warm_rules().iter().map(|one| {
        let (repository, tags) = parts(&one.rule.images);
        ShownRule::Warm {
            repository,
            tags,
            caches: one.rule.caches.clone(),
            platforms: one.rule.platforms.clone(),
            schedule: one.rule.schedule.clone(),
        }
    });
    let mirror = rules.mirror_rules().iter().map(|one| {
        let (repository, tags) = parts(&one.rule.images);
        let to = one.rule.to.to_string();
        ShownRule::Mirror {
            repository,
            tags,
            to,
        }
    });
    warm.chain(mirror).collect()
}

impl From<Run> for ShownRun {
    fn from(run: Run) -> Self {
        Self {
            id: run.id,
            kind: run.task.kind.name(),
            repository: run.task.repository,
            reference: run.task.reference,
            target: run.task.target,
            state: run.phase.name(),
            attempts: run.attempts,
            message: run.message,
            created: time(run.created),
            updated: time(run.updated),
        }
    }
}

/// RFC 3339, in UTC.
fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let time = time.unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

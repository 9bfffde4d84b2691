//! `/api/v0/rules`: what rules there are and what they have done, for admins.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rules;
use super::table::{Phase, Run, Table};
use crate::gateway::answer::ApiError;
use crate::gateway::api::{Admin, Errors, NotAdmin, Refused, Segment};
use crate::gateway::app::{App, now};
use crate::gateway::options::Images;

/// Most runs of an answer, and how many without `limit`.
const LIMIT_MAX: u32 = 1000;
const LIMIT: u32 = 100;

/// Which runs.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// `waiting`, `running`, `done`, `failed` or `cancelled`; all without it.
    state: Option<String>,
    /// How many: 100 without it, 1000 at most.
    limit: Option<u32>,
    /// Id of the last run of the page before.
    before: Option<String>,
}

/// Rules, and what they have done.
#[derive(Serialize, ToSchema)]
pub(super) struct RulesAndRuns {
    rules: Vec<Rule>,
    /// The newest first.
    runs: Vec<RuleRun>,
}

/// A rule of the configuration. No login is in it.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Rule {
    Warm {
        /// A glob.
        repository: String,
        /// Globs; none is all.
        tags: Vec<String>,
        /// Names.
        caches: Vec<String>,
        /// None is all.
        platforms: Vec<String>,
        /// A cron pattern in UTC.
        schedule: Option<String>,
    },
    Mirror {
        /// A glob.
        repository: String,
        /// Globs; none is all.
        tags: Vec<String>,
        /// Address of the other registry.
        to: String,
    },
}

/// What a rule has done, or is to do, with one image and one target.
#[derive(Serialize, ToSchema)]
pub(super) struct RuleRun {
    id: String,
    /// `warm`, `mirror`, or `schedule`: look which images there are, and warm them.
    kind: &'static str,
    repository: String,
    /// A tag or a digest; of a schedule, the rule's globs.
    reference: String,
    /// Name of the cache, or address of the other registry.
    target: String,
    /// `waiting`, `running`, `done`, `failed` or `cancelled`.
    state: &'static str,
    attempts: u64,
    /// What came of the last attempt, or how far this one is.
    message: String,
    /// RFC 3339.
    created: String,
    /// RFC 3339.
    updated: String,
}

/// `/api/v0/rules/…`: what rules have done. The API serves and describes it.
pub(in crate::gateway) fn described() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(retry))
        .routes(routes!(cancel))
}

/// Rules, and what they have done.
#[utoipa::path(get, path = "/api/v0/rules", tag = "rules", params(Wanted), responses(
    (status = 200, body = RulesAndRuns),
    (status = 400, description = "`INVALID_QUERY`", body = Errors),
    NotAdmin,
))]
async fn list(
    _: Admin,
    State(app): State<App>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<RulesAndRuns>, Refused> {
    let unfit = |text: String| Refused::new(ApiError::InvalidQuery, text);
    let Query(wanted) = wanted.map_err(|error| unfit(error.body_text()))?;
    let phase = match wanted.state.as_deref() {
        None | Some("") => None,
        Some(text) => {
            let names = Phase::ALL.map(Phase::name).join(", ");
            Some(Phase::parse(text).ok_or_else(|| unfit(format!("state: want one of {names}")))?)
        }
    };
    let limit = wanted.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let table = Table(&app.state.pool);
    let before = match wanted.before.as_deref() {
        None | Some("") => None,
        Some(id) => {
            let run = table.get(id).await.map_err(failed)?;
            Some(run.ok_or_else(|| unfit("before: there is no such run any more".to_owned()))?)
        }
    };
    let runs = table.list(phase, before.as_ref(), limit).await;
    Ok(Json(RulesAndRuns {
        rules: rules(&app.rules),
        runs: runs
            .map_err(failed)?
            .into_iter()
            .map(RuleRun::from)
            .collect(),
    }))
}

/// Has a run tried now, whether it waits or has ended. One that runs is left to run.
#[utoipa::path(post, path = "/api/v0/rules/{id}/retry", tag = "rules",
    params(("id" = String, Path, description = "Id of the run")), responses(
    (status = 200, description = "The run as it is now", body = RuleRun),
    (status = 404, description = "`NOT_FOUND`", body = Errors),
    NotAdmin,
))]
async fn retry(
    _: Admin,
    State(app): State<App>,
    Segment(id): Segment,
) -> Result<Json<RuleRun>, Refused> {
    let table = Table(&app.state.pool);
    let run = table.get(&id).await.map_err(failed)?;
    let run = run.ok_or(ApiError::NotFound)?;
    table.retry(&id, now()).await.map_err(failed)?;
    app.rules.wake(run.task.kind);
    shown(table, &id).await
}

/// Gives up a run that has not ended. One that runs is left off within seconds.
#[utoipa::path(post, path = "/api/v0/rules/{id}/cancel", tag = "rules",
    params(("id" = String, Path, description = "Id of the run")), responses(
    (status = 200, description = "The run as it is now", body = RuleRun),
    (status = 404, description = "`NOT_FOUND`", body = Errors),
    NotAdmin,
))]
async fn cancel(
    _: Admin,
    State(app): State<App>,
    Segment(id): Segment,
) -> Result<Json<RuleRun>, Refused> {
    let table = Table(&app.state.pool);
    table.cancel(&id, now()).await.map_err(failed)?;
    shown(table, &id).await
}

async fn shown(table: Table<'_>, id: &str) -> Result<Json<RuleRun>, Refused> {
    let run = table.get(id).await.map_err(failed)?;
    Ok(Json(run.ok_or(ApiError::NotFound)?.into()))
}

fn failed(error: sqlx::Error) -> Refused {
    tracing::error!(%error, "rules: the database does not answer");
    ApiError::Unavailable.into()
}

fn rules(rules: &Rules) -> Vec<Rule> {
    let parts = |images: &Images| (images.repository.clone(), images.tags.clone());
    let warm = rules.warm_rules().iter().map(|one| {
        let (repository, tags) = parts(&one.rule.images);
        Rule::Warm {
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
        Rule::Mirror {
            repository,
            tags,
            to,
        }
    });
    warm.chain(mirror).collect()
}

impl From<Run> for RuleRun {
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

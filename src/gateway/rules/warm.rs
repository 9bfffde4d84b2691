//! Asks a cache to fetch an image, and waits until it has it.
//!
//! The cache fetches it from the gateway as from any registry, with a login that is good for this repository alone.

use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::matching;
use super::remote;
use super::table::Task;
use super::trouble::{Trouble, plain};
use crate::auth::Secret;
use crate::gateway::app::{App, now};
use crate::gateway::caches::{Cache, Health};
use crate::registry::Name;

/// The name that goes with a ticket. No account has it.
const USER: &str = "cache";

/// Pauses between two looks at a job.
const LOOK_MIN: Duration = Duration::from_secs(1);
const LOOK_MAX: Duration = Duration::from_secs(5);

/// How many looks a job is given: some four hours. The next attempt goes on where it was.
const LOOKS_MAX: u32 = 3000;

/// A login that is older may have ended while the job went on.
const LOGIN_FRESH: Duration = Duration::from_secs(50 * 60);

/// Longest answer of an admin API, in bytes: of a job for one image.
const BODY_MAX: usize = 1024 * 1024;

/// A job, as `GET /v1/warm/ID` shows it (docs/openapi.json).
#[derive(Deserialize)]
struct Job {
    id: u64,
    state: String,
    #[serde(default)]
    blobs: Numbers,
    #[serde(default)]
    bytes: Numbers,
    #[serde(default)]
    references: Vec<Image>,
}

#[derive(Default, Deserialize)]
struct Numbers {
    total: u64,
    here: u64,
}

#[derive(Deserialize)]
struct Image {
    error: Option<Told>,
}

#[derive(Deserialize)]
struct Told {
    code: String,
    message: String,
}

/// Has the cache of a task fetch its image; returns what came of it.
///
/// # Errors
/// [`Trouble`].
pub(super) async fn image(app: &App, task: &Task) -> Result<String, Trouble> {
    let rules = app.rules.warm_rules();
    let platforms = matching::platforms(rules, &task.repository, &task.reference, &task.target);
    let platforms =
        platforms.ok_or_else(|| Trouble::Moot("no rule asks for it any more".to_owned()))?;
    let name = Name::parse(&task.repository);
    let name = name.map_err(|error| Trouble::lasting(error.to_string()))?;
    let api = find(app, &task.target).await?;
    let (ticket, began) = (app.signer.ticket(&api.id, name, now()), Instant::now());
    let order = json!({
        "references": [format!("{}:{}", task.repository, task.reference)],
        "platforms": platforms,
        "login": {"username": USER, "password": ticket.expose()},
    });
    let request = app.client.post(api.url("v1/warm")?).json(&order);
    let mut job = api.ask(request, StatusCode::ACCEPTED).await?;
    let (url, mut pause) = (api.url(&format!("v1/warm/{}", job.id))?, LOOK_MIN);
    let mut begun = Begun {
        api: &api,
        client: app.client.clone(),
        url: Some(url.clone()),
    };
    for _ in 0..LOOKS_MAX {
        if !["queued", "running"].contains(&&*job.state) {
            begun.url = None;
            return api.outcome(&job, &ticket, began.elapsed());
        }
        tokio::time::sleep(pause).await;
        pause = (pause + LOOK_MIN).min(LOOK_MAX);
        job = api.ask(app.client.get(url.clone()), StatusCode::OK).await?;
    }
    Err(Trouble::passing(format!(
        "{}: it is not there yet",
        api.name
    )))
}

/// The admin API of a cache.
struct Api {
    id: String,
    name: String,
    base: Url,
    token: Option<Secret>,
}

/// A job that goes on at a cache, and is broken off there when nobody waits for it any more: the run was cancelled, or
/// it is tried again with a job of its own.
struct Begun<'a> {
    api: &'a Api,
    client: Client,
    /// None once it has ended.
    url: Option<Url>,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let (Some(url), Ok(runtime)) = (self.url.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let request = self
            .client
            .delete(url)
            .header(CONTENT_TYPE, "application/json");
        let (request, name) = (self.api.signed(request), self.api.name.clone());
        runtime.spawn(async move {
            if let Err(error) = request.send().await {
                let error = error.without_url();
                tracing::warn!(%error, "{name}: a job that nobody waits for goes on");
            }
        });
    }
}

/// Finds the admin API of a cache that is up.
async fn find(app: &App, cache: &str) -> Result<Api, Trouble> {
    let name = format!("cache {cache}");
    let all = app.caches.all().await;
    let all = all.map_err(|error| Trouble::passing(error.to_string()))?;
    let found = all.into_iter().find(|(one, _)| one.name == cache);
    let (found, health) =
        found.ok_or_else(|| Trouble::passing(format!("{name}: not registered")))?;
    if let Health::Down(why) = health {
        return Err(Trouble::passing(format!("{name}: down: {}", plain(&why))));
    }
    let Cache { id, admin, .. } = &*found;
    match admin {
        Some((url, token)) => Ok(Api {
            id: id.clone(),
            name,
            base: url.clone(),
            token: token.clone(),
        }),
        None => Err(Trouble::passing(format!(
            "{name}: no admin address is known"
        ))),
    }
}

impl Api {
    /// Returns an address below that of the API, which may have a path of its own.
    fn url(&self, path: &str) -> Result<Url, Trouble> {
        let mut base = self.base.clone();
        base.set_path(&format!("{}/", base.path().trim_end_matches('/')));
        let url = base.join(path);
        url.map_err(|_| {
            Trouble::lasting(format!("{}: its admin address makes no sense", self.name))
        })
    }

    /// Adds the token.
    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    /// Asks, and reads a job.
    async fn ask(&self, request: RequestBuilder, wanted: StatusCode) -> Result<Job, Trouble> {
        let response = self
            .signed(request)
            .send()
            .await
            .map_err(|error| Trouble::of(&self.name, error))?;
        let (status, name) = (response.status(), &self.name);
        match status {
            status if status == wanted => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let text = format!("{name}: its admin token is another one ({status})");
                return Err(Trouble::lasting(text));
            }
            StatusCode::NOT_FOUND if wanted == StatusCode::OK => {
                return Err(Trouble::passing(format!(
                    "{name}: it was restarted meanwhile"
                )));
            }
            status => return Err(Trouble::status(name, status)),
        }
        let body = remote::bytes(name, response, BODY_MAX).await?;
        let wrong = |_| Trouble::lasting(format!("{name}: its admin address is not a cache's"));
        serde_json::from_slice(&body).map_err(wrong)
    }

    /// Returns what came of a job that has ended, `age` after its login was made.
    fn outcome(&self, job: &Job, ticket: &Secret, age: Duration) -> Result<String, Trouble> {
        let name = &self.name;
        match &*job.state {
            "done" => Ok(format!(
                "{} blobs ({} bytes), {} of them were there",
                job.blobs.total, job.bytes.total, job.blobs.here
            )),
            "cancelled" => Err(Trouble::lasting(format!("{name}: it was cancelled there"))),
            _ => {
                let told = job.references.iter().find_map(|image| image.error.as_ref());
                let Some(Told { code, message }) = told else {
                    return Err(Trouble::passing(format!("{name}: the job failed")));
                };
                let text = plain(&format!("{name}: {code}: {message}"));
                let text = text.replace(ticket.expose(), "…");
                Err(match &**code {
                    // The next attempt has a new login, and goes on where this one was.
                    "DENIED" if age >= LOGIN_FRESH => Trouble::Passing(text),
                    "DENIED" | "NOT_FOUND" | "NO_PLATFORM" | "INVALID" => Trouble::Lasting(text),
                    _ => Trouble::Passing(text),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(job: serde_json::Value) -> Result<String, Trouble> {
        outcome_after(Duration::ZERO, job)
    }

    fn outcome_after(age: Duration, job: serde_json::Value) -> Result<String, Trouble> {
        let api = Api {
            id: "1".to_owned(),
            name: "cache asia".to_owned(),
            base: "http://a/".parse().unwrap(),
            token: None,
        };
        let job = serde_json::from_value(job).unwrap();
        api.outcome(&job, &Secret::new("s3cret"), age)
    }

    #[test]
    fn what_a_job_says_decides_whether_it_is_tried_again() {
        let done = outcome(
            json!({"id": 1, "state": "done", "blobs": {"total": 3, "here": 1},
            "bytes": {"total": 9, "here": 0}}),
        );
        assert_eq!(done.unwrap(), "3 blobs (9 bytes), 1 of them were there");
        let failed = |code: &str| {
            let error = json!({"code": code, "message": "no\n s3cret"});
            outcome(json!({"id": 1, "state": "failed", "references": [{"error": error}]}))
        };
        for code in ["DENIED", "NOT_FOUND", "NO_PLATFORM", "INVALID"] {
            let Err(Trouble::Lasting(text)) = failed(code) else {
                panic!("{code} is tried again");
            };
            assert_eq!(text, format!("cache asia: {code}: no  …"));
        }
        for code in ["UPSTREAM", "DISK", "CORRUPT", "other"] {
            assert!(matches!(failed(code), Err(Trouble::Passing(_))), "{code}");
        }
    }

    #[test]
    fn a_login_that_has_ended_in_the_middle_is_made_anew() {
        let error = json!({"code": "DENIED", "message": "no"});
        let job = json!({"id": 1, "state": "failed", "references": [{"error": error}]});
        let late = outcome_after(LOGIN_FRESH, job);
        assert!(matches!(late, Err(Trouble::Passing(_))), "{late:?}");
    }

    #[test]
    fn an_admin_address_may_have_a_path() {
        for (base, url) in [
            ("http://a:1", "http://a:1/v1/warm"),
            ("http://a/x", "http://a/x/v1/warm"),
            ("http://a/x/", "http://a/x/v1/warm"),
        ] {
            let api = Api {
                id: String::new(),
                name: String::new(),
                base: base.parse().unwrap(),
                token: None,
            };
            assert_eq!(api.url("v1/warm").unwrap().as_str(), url);
        }
    }
}

//! Rules that warm at times: what there is then, tag by tag, is warmed.
//!
//! Each time of each rule is a run of its own whose id tells rule and time, so that of several gateways one does it,
//! and a gateway that ends in the middle is taken over from. A time that passes while no gateway runs is made up for if that
//! was a short while ago, as of a restart; else it is passed over: nobody wants last night's work in the morning.

use std::str::FromStr as _;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::DateTime;
use croner::Cron;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LINK};
use serde::Deserialize;

use super::matching::{Compiled, Matcher};
use super::remote::{self, Remote};
use super::table::{self, Kind, Table, Task};
use super::trouble::Trouble;
use crate::gateway::WarmRule;
use crate::gateway::app::{App, now};
use crate::registry::{Name, NextPage, Tag};

/// How long after its time a schedule is begun by a gateway that did not run then. What is as old is still in the table,
/// so what was begun is not begun again.
const LATE_MAX: u64 = 600;

/// Longest sleep, so that a clock that was set is heeded.
const SLEEP_MAX: Duration = Duration::from_secs(20);

/// Most pages of one listing, and longest page in bytes.
const PAGES_MAX: usize = 1000;
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most images of one time.
const IMAGES_MAX: usize = 20_000;

#[derive(Deserialize)]
struct Page {
    repositories: Option<Vec<String>>,
    tags: Option<Vec<String>>,
}

/// Notes each time of each rule when it has come. Never returns.
pub(super) async fn run(app: App) {
    let rules = app.rules.warm_rules();
    let started = now();
    let timed = rules.iter().filter(|rule| rule.rule.schedule.is_some());
    let mut next: Vec<_> = timed
        .map(|rule| (rule, after(&rule.rule, started.saturating_sub(LATE_MAX))))
        .collect();
    if next.is_empty() {
        return;
    }
    loop {
        let due = next.iter().filter_map(|(_, at)| *at).min();
        let wait = due.map_or(SLEEP_MAX, |at| {
            Duration::from_secs(at.saturating_sub(now()))
        });
        tokio::time::sleep(wait.clamp(Duration::from_millis(200), SLEEP_MAX)).await;
        for (rule, at) in &mut next {
            *at = sooner(*at, after(&rule.rule, now()));
            let Some(time) = at.filter(|time| *time <= now()) else {
                continue;
            };
            let (id, task) = (id(&rule.rule, time), task(&rule.rule));
            let added = Table(&app.state.pool).add_once(&id, &task, now());
            match added.await {
                Ok(()) => {
                    app.rules.wake(Kind::Schedule);
                    *at = after(&rule.rule, now());
                }
                Err(error) => {
                    tracing::error!(%error, "a schedule is not noted: the database does not take it")
                }
            }
        }
    }
}

/// Returns the next time after `now`, in seconds since the epoch.
fn after(rule: &WarmRule, now: u64) -> Option<u64> {
    let cron = Cron::from_str(rule.schedule.as_ref()?).ok()?;
    let now = DateTime::from_timestamp(i64::try_from(now).ok()?, 0)?;
    let next = cron.find_next_occurrence(&now, false).ok()?;
    u64::try_from(next.timestamp()).ok()
}

/// Of a time that is waited for and the next one by the clock as it is now, the one that comes first: a clock may have
/// been set back.
fn sooner(at: Option<u64>, next: Option<u64>) -> Option<u64> {
    at.into_iter().chain(next).min()
}

/// What stands for a rule in an id: the same at each gateway that has it.
fn key(rule: &WarmRule) -> String {
    let hash = digest(&SHA256, format!("{rule:?}").as_bytes());
    let bytes = hash.as_ref().iter().take(8);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

fn id(rule: &WarmRule, time: u64) -> String {
    format!("schedule-{}-{time}", key(rule))
}

fn task(rule: &WarmRule) -> Task {
    let tags = match rule.images.tags.is_empty() {
        true => "*".to_owned(),
        false => rule.images.tags.join(","),
    };
    Task {
        kind: Kind::Schedule,
        repository: rule.images.repository.clone(),
        reference: tags,
        target: rule.caches.join(","),
    }
}

/// Notes what there is of a rule's images, for each of its caches; returns how many.
///
/// # Errors
/// [`Trouble`].
pub(super) async fn expand(app: &App, run_id: &str) -> Result<String, Trouble> {
    let rules = app.rules.warm_rules();
    let is_it = |one: &&Compiled<WarmRule>| {
        let rest = run_id.strip_prefix("schedule-");
        rest.is_some_and(|rest| rest.starts_with(&key(&one.rule)))
    };
    let gone = || Trouble::Moot("the rule is no more".to_owned());
    let rule = rules.iter().find(is_it).ok_or_else(gone)?;
    let backend = Backend(app.rules.backend(app));
    let mut images = 0;
    for repository in backend.repositories(&rule.matcher).await? {
        for tag in backend.tags(&repository, &rule.matcher).await? {
            if images >= IMAGES_MAX {
                return Err(Trouble::lasting(format!("more than {IMAGES_MAX} images")));
            }
            images += 1;
            note(app, rule, &repository, &tag).await?;
        }
    }
    app.rules.wake(Kind::Warm);
    Ok(format!(
        "images: {images}, caches: {}",
        rule.rule.caches.len()
    ))
}

async fn note(
    app: &App,
    rule: &Compiled<WarmRule>,
    repository: &str,
    tag: &str,
) -> Result<(), Trouble> {
    for cache in &rule.rule.caches {
        let task = Task {
            kind: Kind::Warm,
            repository: repository.to_owned(),
            reference: tag.to_owned(),
            target: cache.clone(),
        };
        // What waits for its next attempt already is left to wait.
        let id = table::random_id();
        let added = Table(&app.state.pool).add_once(&id, &task, now()).await;
        added.map_err(|error| Trouble::passing(format!("database: {error}")))?;
    }
    Ok(())
}

/// What the backend has.
struct Backend(Remote);

impl Backend {
    async fn repositories(&self, matcher: &Matcher) -> Result<Vec<String>, Trouble> {
        // A registry may keep its catalog to itself.
        if let Some(only) = &matcher.only {
            return Ok(vec![only.clone()]);
        }
        let pages = self.list("_catalog").await?;
        let pages = pages.ok_or_else(|| Trouble::lasting("backend: it lists no repositories"))?;
        let names = pages
            .into_iter()
            .filter_map(|page| page.repositories)
            .flatten();
        let is_wanted = |name: &String| Name::parse(name).is_ok() && matcher.has_repository(name);
        Ok(names.filter(is_wanted).collect())
    }

    async fn tags(&self, repository: &str, matcher: &Matcher) -> Result<Vec<String>, Trouble> {
        // A repository that was deleted, or has not been pushed to yet.
        let pages = self
            .list(&format!("{repository}/tags/list"))
            .await?
            .unwrap_or_default();
        let tags = pages.into_iter().filter_map(|page| page.tags).flatten();
        let is_wanted = |tag: &String| Tag::parse(tag).is_ok() && matcher.has_tag(tag);
        Ok(tags.filter(is_wanted).collect())
    }

    /// Reads all pages; `None` if there is no such listing.
    async fn list(&self, path: &str) -> Result<Option<Vec<Page>>, Trouble> {
        let what = format!("backend: {path}");
        let mut url = self.0.url(path)?;
        url.set_query(Some("n=1000"));
        let mut pages = Vec::new();
        while pages.len() < PAGES_MAX {
            let response = self.0.get(&url, &HeaderMap::new()).await?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Ok(None),
                status => return Err(Trouble::status(&what, status)),
            }
            let link = response
                .headers()
                .get(LINK)
                .and_then(|value| value.to_str().ok());
            let next = link.and_then(NextPage::parse);
            let query = next.map(|next| next.query.unwrap_or_default().to_owned());
            let body = remote::bytes(&what, response, PAGE_BYTES_MAX).await?;
            let page = serde_json::from_slice(&body);
            pages.push(page.map_err(|_| Trouble::lasting(format!("{what}: no listing")))?);
            // Only the query counts: a registry behind a proxy may not know its own path.
            match query.filter(|query| url.query() != Some(query)) {
                Some(query) => url.set_query(Some(&query)),
                None => return Ok(Some(pages)),
            }
        }
        Err(Trouble::lasting(format!("{what}: too long")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Images;

    fn rule(schedule: &str) -> WarmRule {
        WarmRule {
            images: Images {
                repository: "a/*".to_owned(),
                tags: vec!["v*".to_owned(), "latest".to_owned()],
            },
            caches: vec!["asia".to_owned()],
            platforms: Vec::new(),
            schedule: Some(schedule.to_owned()),
        }
    }

    #[test]
    fn the_next_time_is_in_utc_and_after_now() {
        let three = 3 * 3600;
        assert_eq!(after(&rule("0 3 * * *"), 0), Some(three));
        assert_eq!(after(&rule("0 3 * * *"), three - 1), Some(three));
        assert_eq!(after(&rule("0 3 * * *"), three), Some(three + 24 * 3600));
        assert_eq!(after(&rule("0 0 30 2 *"), 0), None);
        assert_eq!(after(&rule("x"), 0), None);
    }

    #[test]
    fn a_clock_that_was_set_back_puts_nothing_off() {
        assert_eq!(sooner(Some(9_000), Some(60)), Some(60));
        assert_eq!(sooner(Some(30), Some(60)), Some(30));
        assert_eq!(sooner(None, Some(60)), Some(60));
        assert_eq!(sooner(None, None), None);
    }

    #[test]
    fn an_id_tells_rule_and_time() {
        let (one, other) = (rule("0 3 * * *"), rule("0 4 * * *"));
        assert_eq!(id(&one, 60), id(&one.clone(), 60));
        assert_ne!(id(&one, 60), id(&other, 60));
        assert_ne!(id(&one, 60), id(&one, 120));
        assert!(id(&one, 60).starts_with("schedule-") && id(&one, 60).ends_with("-60"));
        assert_eq!(task(&one).reference, "v*,latest");
    }
}

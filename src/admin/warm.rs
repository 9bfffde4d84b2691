//! What the API says of jobs that warm the store.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api::{Api, bad};
use super::page::Page;
use crate::limits::{WARM_IMAGES_MAX, WARM_PATIENCE, WARM_PATIENCE_MAX, WARM_PLATFORMS_MAX};
use crate::upstream::{Authority, Credentials};
use crate::warm::{Cancel, Image, Order, Summary};

/// What `POST /v1/warm` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    references: Vec<String>,
    #[serde(default)]
    platforms: Vec<String>,
    login: Option<Login>,
    #[serde(default)]
    pin: bool,
    patience_seconds: Option<u64>,
}

/// A name and a password. It has no `Debug`, so that it cannot be logged.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    username: String,
    password: String,
}

#[derive(Serialize)]
struct Jobs {
    jobs: Vec<Summary>,
}

#[derive(Serialize)]
struct Cancelled {
    id: u64,
    cancelled: bool,
}

impl Api {
    pub(super) fn warm(&self, body: &[u8]) -> Result<Page, Page> {
        let order = read(body).map_err(|wrong| bad(&wrong))?;
        match self.parts.warm.submit(order) {
            Some(job) => Ok(Page::json(202, &job)),
            None => Err(Page::error(
                429,
                "BUSY",
                "too many jobs wait already, or the server stops",
            )),
        }
    }

    pub(super) fn warm_jobs(&self) -> Page {
        let jobs = self.parts.warm.jobs();
        Page::json(200, &Jobs { jobs })
    }

    pub(super) fn warm_job(&self, argument: &str) -> Result<Page, Page> {
        let job = self.parts.warm.job(id(argument)?);
        job.map(|job| Page::json(200, &job)).ok_or_else(unknown)
    }

    pub(super) fn cancel_warm(&self, argument: &str) -> Result<Page, Page> {
        let id = id(argument)?;
        let cancelled = match self.parts.warm.cancel(id) {
            Cancel::Cancelled => true,
            Cancel::Ended => false,
            Cancel::Unknown => return Err(unknown()),
        };
        Ok(Page::json(200, &Cancelled { id, cancelled }))
    }
}

fn id(argument: &str) -> Result<u64, Page> {
    argument.parse().map_err(|_| unknown())
}

fn unknown() -> Page {
    Page::error(
        404,
        "NOT_FOUND",
        "there is no such job, or it ended long ago",
    )
}

/// Reads what is asked for.
///
/// # Errors
/// What is wrong with it; never a part of the login.
fn read(body: &[u8]) -> Result<Order, String> {
    let wanted: Wanted = serde_json::from_slice(body).map_err(|error| {
        // What serde_json says may quote a value, and that may be the password.
        let (line, column) = (error.line(), error.column());
        format!(
            "want {{\"references\": [\"name:tag\"], \"platforms\": [], \"login\": {{\"username\", \
             \"password\"}}, \"pin\": false, \"patience_seconds\": 300}}: see line {line}, column {column}"
        )
    })?;
    bounded(wanted.references.len(), WARM_IMAGES_MAX, "references")?;
    bounded(wanted.platforms.len(), WARM_PLATFORMS_MAX, "platforms")?;
    if wanted.references.is_empty() {
        return Err("no references".to_owned());
    }
    let mut images: Vec<Image> = Vec::new();
    for text in &wanted.references {
        let image = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
        if !images.contains(&image) {
            images.push(image);
        }
    }
    let platforms = wanted.platforms.iter();
    let platforms = platforms.map(|text| text.parse().map_err(|e| format!("{text:?}: {e}")));
    let patience = wanted.patience_seconds.map(Duration::from_secs);
    Ok(Order {
        images,
        platforms: platforms.collect::<Result<_, String>>()?,
        authority: wanted.login.map_or(Ok(Authority::Cache), authority)?,
        pin: wanted.pin,
        patience: patience.unwrap_or(WARM_PATIENCE).min(WARM_PATIENCE_MAX),
    })
}

fn bounded(count: usize, most: usize, what: &str) -> Result<(), String> {
    match count > most {
        true => Err(format!("{count} {what}: {most} at most")),
        false => Ok(()),
    }
}

fn authority(login: Login) -> Result<Authority, String> {
    let Login { username, password } = login;
    let is_text = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    // The colon is what parts the two (RFC 7617 §2).
    if !is_text(&username) || username.contains(':') || !is_text(&password) {
        return Err("login: want a username without a colon, and a password".to_owned());
    }
    Ok(Authority::Login(Arc::new(Credentials {
        username,
        password,
    })))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order(value: &serde_json::Value) -> Result<Order, String> {
        read(value.to_string().as_bytes())
    }

    #[test]
    fn a_job_is_read_and_each_image_taken_once() {
        let order = order(&json!({
            "references": ["a", "b:1", "a:latest"], "platforms": ["linux/amd64"],
            "login": {"username": "u", "password": "s3cret"}, "pin": true, "patience_seconds": 0,
        }))
        .unwrap();
        let images: Vec<_> = order.images.iter().map(ToString::to_string).collect();
        assert_eq!(images, ["a:latest", "b:1"]);
        assert!(order.pin && order.patience.is_zero() && order.platforms.len() == 1);
        assert!(matches!(order.authority, Authority::Login(_)));
        assert!(!format!("{order:?}").contains("s3cret"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_quotes_no_password() {
        let many = vec!["a"; WARM_IMAGES_MAX + 1];
        for (body, told) in [
            (json!({"references": []}), "no references"),
            (json!({"references": ["A"]}), "not an image"),
            (json!({"references": many}), "at most"),
            (
                json!({"references": ["a"], "platforms": ["x"]}),
                "not a platform",
            ),
            (json!({"references": ["a"], "more": 1}), "want"),
            (json!({"references": ["a"], "login": "s3cret"}), "want"),
            (
                json!({"references": ["a"], "login": {"username": "s3cret:", "password": "s3cret"}}),
                "login",
            ),
            (
                json!({"references": ["a"], "login": {"username": "u", "password": "s3cret\n"}}),
                "login",
            ),
        ] {
            let error = order(&body).unwrap_err();
            assert!(error.contains(told) && !error.contains("s3cret"), "{error}");
        }
    }
}

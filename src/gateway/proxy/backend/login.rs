//! How the gateway shows itself at the backend: not at all, by its password, or by a token that it gets with that.
//!
//! Invariants
//! - The password goes to the backend, and to a realm that is on the backend's own host, or that a backend with TLS
//!   names, and that has TLS as well. Where the backend has none, whoever is on the way could name any realm.
//! - A token goes to the backend alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::Deserialize;
use url::Url;

use super::trouble::Trouble;
use super::whole;
use crate::auth::Secret;
use crate::gateway::options::Login;
use crate::registry::challenge;

/// What a token counts for where its service does not say (distribution, spec/auth/token.md).
const LIFE_DEFAULT: Duration = Duration::from_secs(60);

/// No token is shown that ends within this time.
const MARGIN: Duration = Duration::from_secs(10);

/// Longest time that a token service may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Most tokens kept: beyond it all are asked for anew.
const TOKENS_MAX: usize = 1024;

/// Longest answer of a token service.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What the backend wants to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Not asked yet.
    Unknown,
    /// Nothing.
    Open,
    /// The password.
    Basic,
    /// A token of this realm, made for this service.
    Bearer(Url, Option<String>),
}

/// The gateway's own login at the backend.
#[derive(Debug)]
pub(super) struct Keys {
    login: Option<Login>,
    door: Mutex<Door>,
    /// By scope, with when they end.
    tokens: Mutex<HashMap<String, (Secret, Instant)>>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Keys {
    pub(super) fn new(login: Option<Login>) -> Self {
        Self {
            login,
            door: Mutex::new(Door::Unknown),
            tokens: Mutex::default(),
        }
    }

    /// Says whether it was ever seen what the backend wants.
    pub(super) fn is_known(&self) -> bool {
        *self.door.lock() != Door::Unknown
    }

    /// Takes note of an answer that wants nothing.
    pub(super) fn open(&self) {
        let mut door = self.door.lock();
        if *door == Door::Unknown {
            *door = Door::Open;
        }
    }

    /// Takes note of a 401, after which what was shown for `scope` counts no longer.
    pub(super) fn refused(
        &self,
        fields: &HeaderMap,
        backend: &Url,
        scope: &str,
    ) -> Result<(), Trouble> {
        let door = read(fields, backend).map_err(Trouble::Login)?;
        if door == Door::Basic && self.login.is_none() {
            return Err(Trouble::Login("it wants a password, and there is none"));
        }
        self.tokens.lock().remove(scope);
        *self.door.lock() = door;
        Ok(())
    }

    /// Returns what is shown for `scope`: scopes with spaces between.
    pub(super) async fn shown(
        &self,
        client: &reqwest::Client,
        scope: &str,
    ) -> Result<Option<HeaderValue>, Trouble> {
        let door = self.door.lock().clone();
        match door {
            Door::Unknown | Door::Open => Ok(None),
            Door::Basic => Ok(self.login.as_ref().and_then(basic)),
            Door::Bearer(realm, service) => {
                let known = self.known(scope);
                let token = match known {
                    Some(token) => token,
                    None => self.fetch(client, realm, service.as_deref(), scope).await?,
                };
                Ok(secret(&format!("Bearer {}", token.expose())))
            }
        }
    }

    fn known(&self, scope: &str) -> Option<Secret> {
        let tokens = self.tokens.lock();
        let (token, ends) = tokens.get(scope)?;
        (*ends > Instant::now() + MARGIN).then(|| token.clone())
    }

    async fn fetch(
        &self,
        client: &reqwest::Client,
        mut realm: Url,
        service: Option<&str>,
        scope: &str,
    ) -> Result<Secret, Trouble> {
        {
            let mut pairs = realm.query_pairs_mut();
            pairs.extend_pairs(service.map(|service| ("service", service)));
            pairs.extend_pairs(scope.split(' ').map(|scope| ("scope", scope)));
        }
        let mut request = client.get(realm).timeout(PATIENCE);
        if let Some(value) = self.login.as_ref().and_then(basic) {
            request = request.header(header::AUTHORIZATION, value);
        }
        let asked = Instant::now();
        let response = request.send().await.map_err(Trouble::of)?;
        match response.status().as_u16() {
            200 => {}
            401 | 403 => return Err(Trouble::Login("its token service refuses the login")),
            status => return Err(Trouble::Broken(format!("{status} of its token service"))),
        }
        let body = whole(response, ANSWER_BYTES_MAX).await?;
        let broken = || Trouble::Broken("no token in its token service's answer".to_owned());
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| broken())?;
        let token = answer.token.filter(|token| !token.is_empty());
        let token = token.or(answer.access_token).ok_or_else(broken)?;
        let token = Secret::new(&token);
        let life = answer.expires_in.map_or(LIFE_DEFAULT, Duration::from_secs);
        let mut tokens = self.tokens.lock();
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        // What never ends is asked for once a day.
        let life = life.min(Duration::from_secs(24 * 60 * 60));
        tokens.insert(scope.to_owned(), (token.clone(), asked + life));
        Ok(token)
    }
}

fn basic(login: &Login) -> Option<HeaderValue> {
    let pair = format!("{}:{}", login.username, login.password.expose());
    secret(&format!("Basic {}", STANDARD.encode(pair)))
}

/// Returns a value that no `Debug` shows.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Reads what a 401 wants: a token before a password.
fn read(fields: &HeaderMap, backend: &Url) -> Result<Door, &'static str> {
    let lines = fields.get_all(header::WWW_AUTHENTICATE).iter();
    let lines = lines.filter_map(|value| value.to_str().ok());
    let parsed = lines.filter_map(|line| challenge::parse(line).ok());
    let challenges: Vec<_> = parsed.flatten().collect();
    let bearer = challenges.iter().find(|found| found.is("Bearer"));
    let Some(bearer) = bearer else {
        let is_basic = challenges.iter().any(|found| found.is("Basic"));
        let door = is_basic.then_some(Door::Basic);
        return door.ok_or("it wants neither a password nor a token");
    };
    let realm = bearer
        .parameter("realm")
        .and_then(|text| Url::parse(text).ok());
    let realm = realm.ok_or("its realm is no address")?;
    if !is_believed(&realm, backend) {
        return Err("its realm is on another host without TLS on the way there");
    }
    let service = bearer.parameter("service").map(ToOwned::to_owned);
    Ok(Door::Bearer(realm, service))
}

/// Says whether the password may go to `realm`.
fn is_believed(realm: &Url, backend: &Url) -> bool {
    let is_secure = |url: &Url| url.scheme() == "https";
    let is_web = ["http", "https"].contains(&realm.scheme());
    let is_own = realm.host() == backend.host();
    // No weaker than the way to the backend itself.
    let is_as_secure = is_secure(realm) || !is_secure(backend);
    let is_named_securely = is_secure(realm) && is_secure(backend);
    is_web && ((is_own && is_as_secure) || is_named_securely)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(backend: &str, lines: &[&str]) -> Result<Door, &'static str> {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(header::WWW_AUTHENTICATE, line.parse().unwrap());
        }
        read(&fields, &backend.parse().unwrap())
    }

    #[test]
    fn the_password_goes_to_no_realm_that_somebody_on_the_way_could_name() {
        for (backend, realm, is_believed) in [
            ("https://r.example", "https://r.example/token", true),
            ("https://r.example", "https://r.example:8443/token", true),
            ("https://r.example", "https://auth.example/token", true),
            ("https://r.example", "http://r.example/token", false),
            ("https://r.example", "http://auth.example/token", false),
            ("http://r.example", "http://r.example:81/token", true),
            ("http://r.example", "https://r.example/token", true),
            ("http://r.example", "https://auth.example/token", false),
            ("http://r.example", "http://auth.example/token", false),
            ("http://r.example", "ftp://r.example/token", false),
        ] {
            let found = door(
                backend,
                &[&format!("Bearer realm=\"{realm}\",service=\"s\"")],
            );
            assert_eq!(found.is_ok(), is_believed, "{backend} {realm}");
        }
    }

    #[test]
    fn a_token_is_wanted_before_a_password() {
        let url = "https://r/".parse().unwrap();
        let bearer = Door::Bearer(url, Some("s".to_owned()));
        let line = "Bearer realm=\"https://r/\",service=s";
        assert_eq!(door("https://r", &["Basic realm=x", line]), Ok(bearer));
        assert_eq!(door("https://r", &["Basic realm=x"]), Ok(Door::Basic));
        for lines in [
            &[][..],
            &["Negotiate"],
            &["Bearer realm=x"],
            &["Bearer service=s"],
        ] {
            assert!(door("https://r", lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn no_debug_shows_a_password_or_a_token() {
        let login = Login {
            username: "gw".to_owned(),
            password: Secret::new("pAssw0rd"),
        };
        let shown = format!("{:?}", basic(&login).unwrap());
        assert_eq!(shown, "Sensitive");
        let keys = Keys::new(Some(login));
        let ends = Instant::now() + LIFE_DEFAULT;
        keys.tokens
            .lock()
            .insert("s".to_owned(), (Secret::new("t0ken"), ends));
        let shown = format!("{keys:?}");
        assert!(
            !shown.contains("pAssw0rd") && !shown.contains("t0ken"),
            "{shown}"
        );
    }
}

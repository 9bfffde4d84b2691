//! A registry that images are read from or copied to: requests with its login, by `Basic` or by a token, as its
//! challenge asks for.
//!
//! Invariants
//! - Credentials go to the registry's own origin (scheme, host and port), and to its token service as [`realm`] says.
//! - Bodies are bounded, blobs are streamed.

mod realm;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::trouble::Trouble;
use crate::gateway::options::Login;
use crate::registry::challenge;

/// How many redirects are followed for one request.
const REDIRECTS_MAX: usize = 5;

/// Longest answer of a token service, in bytes.
const TOKEN_BODY_MAX: usize = 256 * 1024;

/// A registry. A new one for each attempt: what its tokens may do is what the last challenge asked for.
pub(super) struct Remote {
    /// What it is called in messages: `backend`, or its address.
    pub(super) name: String,
    /// Scheme, host and port.
    base: Url,
    /// What stands before names of repositories: empty, or with a slash at its end.
    prefix: String,
    login: Option<Login>,
    client: Client,
    authorization: Mutex<Option<HeaderValue>>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// What a token service says. It has no `Debug`, so that it cannot be logged.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Remote {
    pub(super) fn new(name: &str, url: &Url, login: Option<Login>, client: Client) -> Self {
        let mut base = url.clone();
        base.set_path("/");
        let prefix = prefix(url);
        Self {
            name: name.to_owned(),
            base,
            prefix,
            login,
            client,
            authorization: Mutex::new(None),
        }
    }

    /// Returns what the registry calls a repository.
    pub(super) fn repository(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Returns the address below `/v2/`, of parts that hold nothing that an address could misread.
    pub(super) fn url(&self, path: &str) -> Result<Url, Trouble> {
        self.join(&self.base, &format!("/v2/{path}"))
    }

    /// Returns where a `Location` leads to.
    fn join(&self, from: &Url, to: &str) -> Result<Url, Trouble> {
        let wrong = || Trouble::passing(format!("{}: an address that makes no sense", self.name));
        let url = from.join(to).map_err(|_| wrong())?;
        let is_web = ["http", "https"].contains(&url.scheme());
        let is_plain = url.username().is_empty() && url.password().is_none();
        let is_worse = self.base.scheme() == "https" && url.scheme() == "http";
        (is_web && is_plain && !is_worse)
            .then_some(url)
            .ok_or_else(wrong)
    }

    /// Returns where an answer's `Location` leads to.
    pub(super) fn location(&self, response: &Response) -> Result<Url, Trouble> {
        let value = response.headers().get(LOCATION);
        let text = value.and_then(|value| value.to_str().ok());
        let text = text.ok_or_else(|| Trouble::passing(format!("{}: no Location", self.name)))?;
        self.join(response.url(), text)
    }

    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// A request, with the login where it may go.
    pub(super) fn request(&self, client: &Client, method: Method, url: &Url) -> RequestBuilder {
        let request = client.request(method, url.clone());
        match self.authorization.lock().clone() {
            Some(value) if self.is_own(url) => request.header(AUTHORIZATION, value),
            _ => request,
        }
    }

    /// Asks, with these fields, and once more with what a challenge asks for.
    pub(super) async fn ask(
        &self,
        method: Method,
        url: &Url,
        fields: &HeaderMap,
        body: &[u8],
    ) -> Result<Response, Trouble> {
        let send = || {
            let request = self.request(&self.client, method.clone(), url);
            let request = request.headers(fields.clone());
            match body.is_empty() {
                true => request.send(),
                false => request.body(body.to_vec()).send(),
            }
        };
        let response = send()
            .await
            .map_err(|error| Trouble::of(&self.name, error))?;
        if response.status() != StatusCode::UNAUTHORIZED || !self.is_own(url) {
            return Ok(response);
        }
        let value = self.answer(response.headers()).await?;
        *self.authorization.lock() = Some(value);
        send().await.map_err(|error| Trouble::of(&self.name, error))
    }

    /// Asks for something that may be elsewhere, without a body.
    pub(super) async fn get(&self, url: &Url, fields: &HeaderMap) -> Result<Response, Trouble> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.ask(Method::GET, &url, fields, &[]).await?;
            let status = response.status();
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            url = self.location(&response)?;
        }
        Err(Trouble::passing(format!(
            "{}: too many redirects",
            self.name
        )))
    }

    /// Returns the `Authorization` that a challenge asks for.
    async fn answer(&self, fields: &HeaderMap) -> Result<HeaderValue, Trouble> {
        let lasting = |text: &str| Trouble::lasting(format!("{}: {text}", self.name));
        let lines = fields.get_all(WWW_AUTHENTICATE).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        let challenges: Vec<_> = lines
            .filter_map(|line| challenge::parse(line).ok())
            .flatten()
            .collect();
        if let Some(bearer) = challenges.iter().find(|one| one.is("Bearer")) {
            let realm = bearer
                .parameter("realm")
                .and_then(|realm| Url::parse(realm).ok());
            let mut realm = realm.ok_or_else(|| lasting("a challenge without a token service"))?;
            if let realm::Verdict::Refused(why) = realm::verdict(&self.base, &realm) {
                return Err(lasting(why));
            }
            {
                let mut query = realm.query_pairs_mut();
                if let Some(service) = bearer.parameter("service") {
                    query.append_pair("service", service);
                }
                for scope in bearer.parameter("scope").unwrap_or_default().split(' ') {
                    if !scope.is_empty() {
                        query.append_pair("scope", scope);
                    }
                }
            }
            return self.token(realm).await;
        }
        let is_basic = challenges.iter().any(|one| one.is("Basic"));
        match &self.login {
            Some(login) if is_basic => {
                basic(login).ok_or_else(|| lasting("the login cannot be sent"))
            }
            Some(_) => Err(lasting(
                "it asks for a login of a kind that is not known here",
            )),
            None => Err(lasting("it asks for a login, and none is configured")),
        }
    }

    /// Gets a token.
    async fn token(&self, url: Url) -> Result<HeaderValue, Trouble> {
        let what = format!("{}: token service", self.name);
        let mut request = self.client.get(url);
        if let Some(value) = self.login.as_ref().and_then(basic) {
            request = request.header(AUTHORIZATION, value);
        }
        let response = request
            .send()
            .await
            .map_err(|error| Trouble::of(&what, error))?;
        if !response.status().is_success() {
            return Err(Trouble::status(&what, response.status()));
        }
        let body = bytes(&what, response, TOKEN_BODY_MAX).await?;
        let wrong = || Trouble::passing(format!("{what}: no token came"));
        let token: Token = serde_json::from_slice(&body).map_err(|_| wrong())?;
        let token = token.token.or(token.access_token).ok_or_else(wrong)?;
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| wrong())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Returns what stands before names of repositories at an address.
pub(super) fn prefix(url: &Url) -> String {
    match url.path().trim_matches('/') {
        "" => String::new(),
        path => format!("{path}/"),
    }
}

/// Returns the `Authorization` of a login.
fn basic(login: &Login) -> Option<HeaderValue> {
    let pair = format!("{}:{}", login.username, login.password.expose());
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Reads a body of at most `most` bytes.
pub(super) async fn bytes(
    what: &str,
    mut response: Response,
    most: usize,
) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| Trouble::of(what, error))?
    {
        if body.len() + chunk.len() > most {
            return Err(Trouble::lasting(format!("{what}: more than {most} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

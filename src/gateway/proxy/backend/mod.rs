//! The registry behind the gateway: one question, one answer, both streamed.
//!
//! Invariants
//! - Credentials are the gateway's own, and go to the backend's scheme, host and port alone, not to whom it redirects
//!   to.
//! - A body that is streamed is sent once: nothing of it is kept.
//! - Each wait is bounded, by silence and not by the whole: an upload may take hours.

mod body;
mod login;
#[cfg(test)]
mod tests;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use reqwest::Response;
use tokio::time::{Instant, sleep_until};
use url::Url;

use body::Progress;
pub(super) use body::{gathered, streamed, whole};
use login::Keys;
pub(super) use trouble::Trouble;

use crate::gateway::options::Options;
use crate::gateway::{Failure, outbound};
use crate::limits::REDIRECTS_MAX;

/// Longest silence of the backend, or of a client that sends a body.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// Longest time until a finished upload is answered: storage in a cloud copies the blob before.
const COMMIT_PATIENCE: Duration = Duration::from_secs(600);

/// What the backend is asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) method: Method,
    /// Written from what was read: [`super::target::Target::path`].
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) fields: HeaderMap,
    pub(super) body: Sent,
    /// Scopes that it needs there, with spaces between.
    pub(super) scope: String,
}

/// The body of a question.
#[derive(Debug)]
pub(super) enum Sent {
    /// None, or one that can be sent again.
    Whole(Bytes),
    /// One that passes as it comes.
    Stream(Body),
}

/// The backend.
#[derive(Debug)]
pub(super) struct Backend {
    url: Url,
    client: reqwest::Client,
    keys: Keys,
    silence: Duration,
    commit_patience: Duration,
}

impl Backend {
    /// # Errors
    /// As [`outbound::streaming`].
    pub(super) fn new(options: &Options) -> Result<Self, Failure> {
        Ok(Self {
            url: options.backend.clone(),
            client: outbound::streaming(options)?,
            keys: Keys::new(options.backend_login.clone()),
            silence: SILENCE,
            commit_patience: COMMIT_PATIENCE,
        })
    }

    /// Returns the answer, redirects followed where nothing is sent. Its address is [`Response::url`].
    ///
    /// # Errors
    /// [`Trouble`]; an answer of any other status than 401 is none.
    pub(super) async fn ask(&self, question: Question) -> Result<Response, Trouble> {
        let (method, scope) = (question.method.clone(), question.scope.clone());
        let fields = question.fields.clone();
        let response = self.ask_itself(question).await?;
        let response = self.follow(&method, &fields, &scope, response).await?;
        if method == Method::GET && !has_end(&response) {
            let why = "a body without a length, that ends where its connection does";
            return Err(Trouble::Broken(why.to_owned()));
        }
        Ok(response)
    }

    /// Says whether the backend has what `question`, a HEAD, is about. One that redirects to storage has looked before,
    /// so storage is not asked.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) async fn has(&self, question: Question) -> Result<bool, Trouble> {
        let response = self.ask_itself(question).await?;
        Ok(response.status() == StatusCode::OK || next(&response)?.is_some())
    }

    /// Returns the backend's own answer, be it a redirect.
    async fn ask_itself(&self, question: Question) -> Result<Response, Trouble> {
        let mut url = self.url.clone();
        url.set_path(&question.path);
        url.set_query(question.query.as_deref());
        let (method, scope) = (question.method, question.scope);
        let fields = question.fields;
        let once = match question.body {
            Sent::Whole(bytes) => bytes,
            Sent::Stream(body) => {
                self.learn(&fields).await?;
                let shown = self.with_login(&fields, &scope).await?;
                let response = self.send(&method, url, shown, Sent::Stream(body)).await?;
                if response.status() == StatusCode::UNAUTHORIZED {
                    self.keys.refused(response.headers(), &self.url, &scope)?;
                    return Err(Trouble::Again);
                }
                return Ok(response);
            }
        };
        let again = || Sent::Whole(once.clone());
        let shown = self.with_login(&fields, &scope).await?;
        let response = self.send(&method, url.clone(), shown, again()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.keys.refused(response.headers(), &self.url, &scope)?;
        let shown = self.with_login(&fields, &scope).await?;
        let response = self.send(&method, url, shown, again()).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(Trouble::Login("it refuses what the gateway shows"));
        }
        Ok(response)
    }

    /// Finds out what the backend wants to be shown, before a body is on its way that could not be sent again.
    async fn learn(&self, fields: &HeaderMap) -> Result<(), Trouble> {
        if self.keys.is_known() {
            return Ok(());
        }
        let mut url = self.url.clone();
        url.set_path("/v2/");
        let mut plain = HeaderMap::new();
        plain.extend(
            fields
                .get(header::VIA)
                .map(|via| (header::VIA, via.clone())),
        );
        let nothing = Sent::Whole(Bytes::new());
        let response = self.send(&Method::GET, url, plain, nothing).await?;
        match response.status() {
            StatusCode::UNAUTHORIZED => self.keys.refused(response.headers(), &self.url, ""),
            status if status.is_success() => {
                self.keys.open();
                Ok(())
            }
            status => Err(Trouble::Broken(format!("{status} at /v2/"))),
        }
    }

    async fn with_login(&self, fields: &HeaderMap, scope: &str) -> Result<HeaderMap, Trouble> {
        let mut fields = fields.clone();
        if let Some(value) = self.keys.shown(&self.client, scope).await? {
            fields.insert(header::AUTHORIZATION, value);
        }
        Ok(fields)
    }

    /// Goes where the backend redirects a GET or a HEAD: to storage elsewhere, without credentials.
    async fn follow(
        &self,
        method: &Method,
        fields: &HeaderMap,
        scope: &str,
        mut response: Response,
    ) -> Result<Response, Trouble> {
        if ![Method::GET, Method::HEAD].contains(method) {
            return not_redirected(response);
        }
        for _ in 0..REDIRECTS_MAX {
            let Some(url) = next(&response)? else {
                return Ok(response);
            };
            let is_own = url.origin() == self.url.origin();
            let shown = if is_own {
                self.with_login(fields, scope).await?
            } else {
                fields.clone()
            };
            let nothing = Sent::Whole(Bytes::new());
            response = self.send(method, url, shown, nothing).await?;
            if !is_own && !is_of_storage(response.status()) {
                let status = response.status();
                return Err(Trouble::Broken(format!("{status} where it redirects to")));
            }
        }
        Err(Trouble::Broken("it redirects without end".to_owned()))
    }

    async fn send(
        &self,
        method: &Method,
        url: Url,
        fields: HeaderMap,
        body: Sent,
    ) -> Result<Response, Trouble> {
        let progress = Arc::new(Progress::of(length(&fields)));
        let mut request = self.client.request(method.clone(), url).headers(fields);
        match body {
            // A PUT without a body ends an upload whose pieces are all there.
            Sent::Whole(bytes) if bytes.is_empty() && method == Method::PUT => {
                progress.passed(None);
            }
            Sent::Whole(bytes) if bytes.is_empty() => {}
            Sent::Whole(bytes) => request = request.body(bytes),
            Sent::Stream(body) => request = request.body(progress.watch(body, self.silence)),
        }
        let sent = request.send();
        tokio::pin!(sent);
        let limit = || {
            let is_commit = progress.is_done() && method != Method::PATCH;
            let patience = if is_commit {
                self.commit_patience
            } else {
                self.silence
            };
            progress.silent_since() + patience
        };
        loop {
            tokio::select! {
                biased;
                response = &mut sent => {
                    return response.map_err(|error| {
                        if progress.is_broken() { Trouble::Client } else { Trouble::of(error) }
                    });
                }
                // It may have moved since.
                () = sleep_until(limit()) => if limit() <= Instant::now() {
                    return Err(Trouble::Slow);
                },
            }
        }
    }
}

/// Returns where an answer redirects to.
fn next(response: &Response) -> Result<Option<Url>, Trouble> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let broken = |why: &str| Trouble::Broken(why.to_owned());
    let location = response.headers().get(header::LOCATION);
    let location = location.and_then(|value| value.to_str().ok());
    let url = location.and_then(|text| response.url().join(text).ok());
    let url = url.ok_or_else(|| broken("it redirects to no address"))?;
    let is_downgrade = response.url().scheme() == "https" && url.scheme() != "https";
    if is_downgrade || !["http", "https"].contains(&url.scheme()) {
        return Err(broken("it redirects to where there is no TLS"));
    }
    Ok(Some(url))
}

/// Says whether a body that breaks off is told from one that has ended.
fn has_end(response: &Response) -> bool {
    let fields = response.headers();
    let is_framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let is_empty = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
    is_framed.iter().any(|name| fields.contains_key(name))
        || response.version() >= Version::HTTP_2
        || is_empty.contains(&response.status())
}

fn not_redirected(response: Response) -> Result<Response, Trouble> {
    match next(&response)? {
        None => Ok(response),
        Some(_) => Err(Trouble::Broken("it redirects a push".to_owned())),
    }
}

/// Says whether a status of storage is about the blob. A 403 is about a signature of the backend's.
const fn is_of_storage(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 206 | 301..=303 | 304 | 307 | 308 | 404 | 412 | 416
    )
}

/// Returns a length that a body says it has.
pub(super) fn length(fields: &HeaderMap) -> Option<u64> {
    let value: &HeaderValue = fields.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

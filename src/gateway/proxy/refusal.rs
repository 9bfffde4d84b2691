//! What a client is told instead of an answer, and where to get the right that it lacks.
//!
//! Invariant: a repository that is not there and one that may not be seen are refused alike, before the backend is
//! asked.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::Url;

use crate::gateway::accounts::LoginError;
use crate::gateway::answer::RegistryError;
use crate::gateway::identity::{Caller, Rights, Subject};
use crate::registry::Code;

/// Why a request is not answered.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is no such path.
    NoPath,
    /// There is no such method; these there are.
    NoMethod(&'static str),
    /// A token of this scope is wanted: by whom shows nothing, or what does not count.
    Login(Lack, String),
    /// An error of the registry's.
    Error(RegistryError),
    /// The body is longer than one may be.
    TooLarge,
    /// Ask again in a second.
    Busy,
}

/// What is wrong with what was shown (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// Nothing was shown, or a password that is wrong.
    Credentials,
    /// The token is not believed.
    Token,
    /// The token does not say so.
    Scope,
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::Error(code.into())
    }
}

impl From<Option<Code>> for Refusal {
    fn from(code: Option<Code>) -> Self {
        code.map_or(Self::NoPath, Self::from)
    }
}

impl Refusal {
    /// Returns why credentials were not taken.
    pub(super) fn of_login(error: Option<LoginError>, scope: String) -> Self {
        match error {
            Some(LoginError::Wrong) => Self::Login(Lack::Credentials, scope),
            Some(LoginError::Busy) => Self::Busy,
            None => Self::Login(Lack::Token, scope),
        }
    }

    /// Returns what is said to a caller who lacks a right.
    ///
    /// A token may be had anew with more in it, and so may nobody's. A user's own rights are all that there are.
    pub(super) fn of_right(caller: &Caller, scope: String) -> Self {
        match (&caller.rights, &caller.subject) {
            (Rights::Token(_), _) => Self::Login(Lack::Scope, scope),
            (Rights::Policy, Subject::Nobody) => Self::Login(Lack::Credentials, scope),
            (Rights::Policy, Subject::User(_) | Subject::Cache(_)) => Self::from(Code::Denied),
        }
    }

    /// Writes the answer.
    ///
    /// - `own`: what the client calls the gateway.
    /// - `service`: what tokens are made for.
    pub(super) fn respond(self, own: &Url, service: &str) -> Response {
        match self {
            Self::NoPath => StatusCode::NOT_FOUND.into_response(),
            Self::NoMethod(allow) => {
                let error = RegistryError::new(Code::Unsupported, "the path has no such method");
                with(error, header::ALLOW, allow)
            }
            Self::Login(lack, scope) => {
                let error = RegistryError::from(Code::Unauthorized);
                with(
                    error,
                    header::WWW_AUTHENTICATE,
                    &challenge(own, service, lack, &scope),
                )
            }
            Self::Error(error) => error.into_response(),
            Self::TooLarge => {
                let text = "the manifest is larger than one may be";
                let mut response = RegistryError::new(Code::ManifestInvalid, text).into_response();
                *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                response
            }
            Self::Busy => with(Code::Unavailable.into(), header::RETRY_AFTER, "1"),
        }
    }
}

fn with(error: RegistryError, name: header::HeaderName, value: &str) -> Response {
    let mut response = error.into_response();
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Returns the value of `WWW-Authenticate`. An empty scope is none.
///
/// Source: distribution, spec/auth/token.md.
fn challenge(own: &Url, service: &str, lack: Lack, scope: &str) -> String {
    let realm = own
        .join("auth/token")
        .map_or_else(|_| own.to_string(), String::from);
    let mut text = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
    if !scope.is_empty() {
        text.push_str(&format!(",scope=\"{scope}\""));
    }
    match lack {
        Lack::Credentials => {}
        Lack::Token => text.push_str(",error=\"invalid_token\""),
        Lack::Scope => text.push_str(",error=\"insufficient_scope\""),
    }
    text
}

/// Puts what each answer below `/v2/` says.
pub(super) fn mark(fields: &mut HeaderMap) {
    let version = HeaderValue::from_static("registry/2.0");
    fields.insert("docker-distribution-api-version", version);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(refusal: Refusal) -> (u16, String) {
        let own = "https://gw.example:8443/".parse().unwrap();
        let response = refusal.respond(&own, "gw");
        let challenge = response.headers().get(header::WWW_AUTHENTICATE);
        let challenge = challenge.map_or("", |value| value.to_str().unwrap());
        (response.status().as_u16(), challenge.to_owned())
    }

    fn caller(subject: Subject, rights: Rights) -> Caller {
        Caller { subject, rights }
    }

    #[test]
    fn who_lacks_a_right_learns_where_to_get_it_or_that_there_is_none() {
        let front = "Bearer realm=\"https://gw.example:8443/auth/token\",service=\"gw\"";
        let scope = || "repository:a:pull".to_owned();
        let scoped = format!("{front},scope=\"repository:a:pull\"");
        let user = || Subject::User("u".to_owned());
        let token = || Rights::Token(Vec::new());
        for (refusal, status, challenge) in [
            (
                Refusal::of_right(&Caller::nobody(), scope()),
                401,
                scoped.clone(),
            ),
            (
                Refusal::of_right(&caller(user(), Rights::Policy), scope()),
                403,
                String::new(),
            ),
            (
                Refusal::of_right(&caller(user(), token()), scope()),
                401,
                format!("{scoped},error=\"insufficient_scope\""),
            ),
            (
                Refusal::of_right(&caller(Subject::Nobody, token()), scope()),
                401,
                format!("{scoped},error=\"insufficient_scope\""),
            ),
            (
                Refusal::of_login(Some(LoginError::Wrong), scope()),
                401,
                scoped.clone(),
            ),
            (
                Refusal::of_login(Some(LoginError::Busy), scope()),
                503,
                String::new(),
            ),
            (
                Refusal::of_login(None, scope()),
                401,
                format!("{scoped},error=\"invalid_token\""),
            ),
            (
                Refusal::Login(Lack::Credentials, String::new()),
                401,
                front.to_owned(),
            ),
        ] {
            assert_eq!(told(refusal), (status, challenge));
        }
    }
}

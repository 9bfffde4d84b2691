//! Errors as clients get them: the registry's below `/v2/`, DTR's below `/api/`.
//!
//! Source: OCI distribution-spec 1.1, "Error Codes"; DTR's API, where an error is
//! `{"errors": [{"code", "message", "detail"}]}` as well.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::registry::{self, Code};

/// An error below `/v2/`.
#[derive(Debug)]
pub(super) struct RegistryError {
    pub(super) code: Code,
    /// What is said in place of the code's own message.
    pub(super) message: Option<String>,
}

impl RegistryError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }
}

impl From<Code> for RegistryError {
    fn from(code: Code) -> Self {
        Self {
            code,
            message: None,
        }
    }
}

impl IntoResponse for RegistryError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status());
        let body = registry::error::to_json(self.code, self.message.as_deref(), &Value::Null);
        json_response(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body)
    }
}

/// An error below `/api/`, with DTR's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApiError {
    /// Nobody is logged in.
    NotAuthenticated,
    /// No such user, or another password.
    WrongPassword,
    /// A change in a session's name that its own page has not asked for.
    CrossSite,
    /// Somebody is, and may not.
    NotAuthorized,
    /// No such cache.
    NoSuchContentCache,
    /// No such account.
    NoSuchAccount,
    /// The settings make no sense, or name a cache that is not there.
    InvalidUserSettings,
    /// The body is not what it should be.
    InvalidJson,
    /// The query is not what it should be.
    InvalidQuery,
    /// A name or an address that is none, or is taken.
    InvalidContentCache,
    /// The path has no such method.
    MethodNotAllowed,
    /// The client takes no JSON.
    NotAcceptable,
    /// The body is no JSON.
    UnsupportedMediaType,
    /// No such path.
    NotFound,
    /// Ask later.
    Unavailable,
    /// Our own fault.
    Internal,
}

impl ApiError {
    /// Returns status, code and message.
    pub(super) const fn record(self) -> (StatusCode, &'static str, &'static str) {
        let (status, code) = self.code();
        (status, code, self.message())
    }

    const fn code(self) -> (StatusCode, &'static str) {
        match self {
            Self::NotAuthenticated => (StatusCode::UNAUTHORIZED, "NOT_AUTHENTICATED"),
            Self::WrongPassword => (StatusCode::UNAUTHORIZED, "NOT_AUTHENTICATED"),
            Self::CrossSite => (StatusCode::FORBIDDEN, "CROSS_SITE"),
            Self::NotAuthorized => (StatusCode::FORBIDDEN, "NOT_AUTHORIZED"),
            Self::NoSuchContentCache => (StatusCode::NOT_FOUND, "NO_SUCH_CONTENT_CACHE"),
            Self::NoSuchAccount => (StatusCode::NOT_FOUND, "NO_SUCH_ACCOUNT"),
            Self::InvalidUserSettings => (StatusCode::BAD_REQUEST, "INVALID_USER_SETTINGS"),
            Self::InvalidJson => (StatusCode::BAD_REQUEST, "INVALID_JSON"),
            Self::InvalidQuery => (StatusCode::BAD_REQUEST, "INVALID_QUERY"),
            Self::InvalidContentCache => (StatusCode::BAD_REQUEST, "INVALID_CONTENT_CACHE"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
            Self::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::NotAuthenticated => "log in first",
            Self::WrongPassword => "no such user, or another password",
            Self::CrossSite => {
                "a session changes something from its own page alone, which shows X-CSRF-Token"
            }
            Self::NotAuthorized => "this account may not do that",
            Self::NoSuchContentCache => "there is no such content cache",
            Self::NoSuchAccount => "there is no such account",
            Self::InvalidUserSettings => {
                "want {\"contentCacheUUID\": the id of a content cache, or an empty text}"
            }
            Self::InvalidJson => "the body is not the JSON that is wanted here",
            Self::InvalidQuery => "the query is not the one that is wanted here",
            Self::InvalidContentCache => {
                "want a name that is free, and a host such as https://cache.example.org:5000"
            }
            Self::MethodNotAllowed => "the path has no such method",
            Self::NotAcceptable => "there is only application/json",
            Self::UnsupportedMediaType => "want Content-Type: application/json",
            Self::NotFound => "there is no such path",
            Self::Unavailable => "not now: ask again later",
            Self::Internal => "the gateway failed: its log says why",
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, message) = self.record();
        let body = json!({"errors": [{"code": code, "message": message}]});
        json_response(status, body.to_string().into_bytes())
    }
}

fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    let kind = HeaderValue::from_static(registry::error::CONTENT_TYPE);
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

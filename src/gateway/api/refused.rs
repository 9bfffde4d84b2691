//! What is answered instead of what was asked for, and the body of a request that holds.

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use crate::gateway::answer::ApiError;
use crate::gateway::app::App;
use crate::gateway::state::StateError;

/// The longest body.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// An error, perhaps with what it is about.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Refused {
    pub(in crate::gateway) error: ApiError,
    pub(super) detail: Option<String>,
    /// Whether the client is told to log in by HTTP's own ways.
    pub(super) is_challenged: bool,
}

/// Errors, as they are written.
#[derive(Serialize, ToSchema)]
pub(in crate::gateway) struct Errors {
    errors: Vec<Record>,
}

/// An error, as it is written.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
struct Record {
    /// What went wrong, for programs.
    #[schema(example = "NO_SUCH_CONTENT_CACHE")]
    code: &'static str,
    /// What went wrong, for people.
    message: &'static str,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Refused {
    /// Returns an error with what it is about.
    pub(in crate::gateway) fn new(error: ApiError, detail: impl Into<String>) -> Self {
        Self {
            error,
            detail: Some(detail.into()),
            is_challenged: false,
        }
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            detail: None,
            is_challenged: false,
        }
    }
}

impl From<StateError> for Refused {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Unavailable(_) => {
                tracing::error!(%error, "the API cannot answer");
                ApiError::Unavailable.into()
            }
            StateError::NoSuchCache => ApiError::NoSuchContentCache.into(),
            StateError::NameTaken | StateError::TooManyCaches => {
                Self::new(ApiError::InvalidContentCache, error.to_string())
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, code, message) = self.error.record();
        let detail = self.detail;
        let errors = vec![Record {
            code,
            message,
            detail,
        }];
        let mut response = (status, Json(Errors { errors })).into_response();
        if self.is_challenged {
            let challenge =
                HeaderValue::from_static("Basic realm=\"transship\", charset=\"UTF-8\"");
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// A part of the path. What is no text names nothing.
pub(in crate::gateway) struct Segment(pub(in crate::gateway) String);

impl FromRequestParts<App> for Segment {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        let Path(text) = path.map_err(|_| ApiError::NotFound)?;
        Ok(Self(text))
    }
}

/// Returns what a request's body says; `unfit` is said of JSON that is another one.
pub(super) async fn read<T: DeserializeOwned>(
    request: Request,
    unfit: ApiError,
) -> Result<T, Refused> {
    if !is_json(request.headers()) {
        return Err(ApiError::UnsupportedMediaType.into());
    }
    let body = to_bytes(request.into_body(), BODY_BYTES_MAX).await;
    let body = body.map_err(|_| {
        let detail = format!("the body broke off, or is longer than {BODY_BYTES_MAX} bytes");
        Refused::new(ApiError::InvalidJson, detail)
    })?;
    let value: Value = serde_json::from_slice(&body)
        .map_err(|error| Refused::new(ApiError::InvalidJson, error.to_string()))?;
    // A list would be taken for the fields in their order.
    if !value.is_object() {
        return Err(Refused::new(unfit, "want an object"));
    }
    serde_json::from_value(value).map_err(|error| Refused::new(unfit, error.to_string()))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

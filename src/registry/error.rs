//! The register of error codes: value, status and message of each, in one record.
//!
//! Source: OCI distribution-spec 1.1, "Error Codes"; statuses, `RANGE_INVALID`, `UNAVAILABLE`, `UNKNOWN`
//! and `PAGINATION_NUMBER_INVALID` are distribution's.

use serde::Serialize;
use serde_json::Value;

/// What went wrong, in the registry's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The repository has no such blob.
    BlobUnknown,
    /// The digest is malformed, or of an algorithm not known here.
    DigestInvalid,
    /// The manifest came malformed.
    ManifestInvalid,
    /// The repository has no such manifest or tag.
    ManifestUnknown,
    /// The repository's name is malformed.
    NameInvalid,
    /// The registry has no such repository.
    NameUnknown,
    /// The number `n` of a listing is none.
    PaginationNumberInvalid,
    /// No range of the request touches the content.
    RangeInvalid,
    /// The request itself is malformed.
    RequestInvalid,
    /// Log in first.
    Unauthorized,
    /// Logged in or not: no.
    Denied,
    /// Not offered here: pushes, deletes.
    Unsupported,
    /// Ask later.
    TooManyRequests,
    /// Our own fault.
    Unknown,
    /// The next hop's answer made no sense.
    BadGateway,
    /// Not able to serve for the moment.
    Unavailable,
    /// The next hop did not answer in time.
    GatewayTimeout,
    /// The request goes round in a cycle of caches.
    LoopDetected,
}

/// One line of the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The code on the wire.
    pub value: &'static str,
    /// The status that goes with it.
    pub status: u16,
    /// What is said when nothing more precise is known.
    pub message: &'static str,
}

impl Code {
    /// Every code, for tests and documents.
    pub const ALL: [Self; 18] = [
        Self::BlobUnknown,
        Self::DigestInvalid,
        Self::ManifestInvalid,
        Self::ManifestUnknown,
        Self::NameInvalid,
        Self::NameUnknown,
        Self::PaginationNumberInvalid,
        Self::RangeInvalid,
        Self::RequestInvalid,
        Self::Unauthorized,
        Self::Denied,
        Self::Unsupported,
        Self::TooManyRequests,
        Self::Unknown,
        Self::BadGateway,
        Self::Unavailable,
        Self::GatewayTimeout,
        Self::LoopDetected,
    ];

    /// Returns the code's line of the register.
    #[must_use]
    pub const fn record(self) -> Record {
        let (value, status, message) = match self {
            Self::BlobUnknown => ("BLOB_UNKNOWN", 404, "blob unknown to registry"),
            Self::DigestInvalid => (
                "DIGEST_INVALID",
                400,
                "digest is malformed or not supported",
            ),
            Self::ManifestInvalid => ("MANIFEST_INVALID", 400, "manifest invalid"),
            Self::ManifestUnknown => ("MANIFEST_UNKNOWN", 404, "manifest unknown"),
            Self::NameInvalid => ("NAME_INVALID", 400, "invalid repository name"),
            Self::NameUnknown => ("NAME_UNKNOWN", 404, "repository name not known to registry"),
            Self::PaginationNumberInvalid => (
                "PAGINATION_NUMBER_INVALID",
                400,
                "invalid number of results requested",
            ),
            Self::RangeInvalid => ("RANGE_INVALID", 416, "range not satisfiable"),
            Self::RequestInvalid => ("UNKNOWN", 400, "malformed request"),
            Self::Unauthorized => ("UNAUTHORIZED", 401, "authentication required"),
            Self::Denied => ("DENIED", 403, "access to the resource is denied"),
            Self::Unsupported => ("UNSUPPORTED", 405, "this is a pull-only cache"),
            Self::TooManyRequests => ("TOOMANYREQUESTS", 429, "too many requests"),
            Self::Unknown => ("UNKNOWN", 500, "unknown error"),
            Self::BadGateway => ("UNKNOWN", 502, "upstream registry failed"),
            Self::Unavailable => ("UNAVAILABLE", 503, "service unavailable"),
            Self::GatewayTimeout => ("UNKNOWN", 504, "upstream registry did not answer in time"),
            Self::LoopDetected => (
                "UNKNOWN",
                508,
                "the upstreams of the caches on the way form a cycle",
            ),
        };
        Record {
            value,
            status,
            message,
        }
    }

    /// Returns the status that goes with the code.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.record().status
    }
}

/// The content type of [`to_json`].
pub const CONTENT_TYPE: &str = "application/json";

#[derive(Serialize)]
struct Envelope<'a> {
    errors: [Entry<'a>; 1],
}

#[derive(Serialize)]
struct Entry<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Value::is_null")]
    detail: &'a Value,
}

/// Returns the body of an error response: `{"errors":[{"code","message","detail"}]}`.
///
/// - `message`: `None` takes the register's.
/// - `detail`: left out when null.
///
/// Escaped as JSON, whatever the texts hold. Keep secrets out of both.
#[must_use]
pub fn to_json(code: Code, message: Option<&str>, detail: &Value) -> Vec<u8> {
    let record = code.record();
    let envelope = Envelope {
        errors: [Entry {
            code: record.value,
            message: message.unwrap_or(record.message),
            detail,
        }],
    };
    // Text and values cannot fail to serialise; an empty object is still JSON if that ever changes.
    serde_json::to_vec(&envelope).unwrap_or_else(|_| b"{}".to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies_are_json_whatever_the_message_holds() {
        let message = "a \"quote\"\r\n\u{0} </script>";
        let body = to_json(Code::NameInvalid, Some(message), &json!({"name": "\\"}));
        let read: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            read,
            json!({"errors": [{"code": "NAME_INVALID", "message": message, "detail": {"name": "\\"}}]})
        );
        assert_eq!(
            to_json(Code::BlobUnknown, None, &Value::Null),
            br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#
        );
    }

    #[test]
    fn every_record_is_an_error_that_clients_can_read() {
        for code in Code::ALL {
            let record = code.record();
            assert!((400..600).contains(&record.status) && !record.message.is_empty());
            assert!(
                record
                    .value
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b == b'_')
            );
        }
    }
}

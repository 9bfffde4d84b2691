//! Whether an answer of the origin is its word on a blob or manifest.
//!
//! Not every 200 is: what stands before a registry, or between, answers with login pages and welcome pages.
//! So the answer has to name the digest, or be of the length that is known, and of a type that fits.

use std::sync::Arc;

use super::checks::Question;
use super::{Denial, Kind};
use crate::registry::media_type;
use crate::upstream::Response;

/// Says whether the answer to a HEAD may be about the method and not about the right: storage that a
/// registry redirects to signs its addresses for GET alone.
pub(super) fn is_about_head_alone(response: &Response) -> bool {
    match response.status() {
        405 | 501 => true,
        400 | 401 | 403 | 404 => !response.is_own(),
        _ => false,
    }
}

/// Returns what the answer means.
///
/// # Errors
/// What it says instead of yes.
pub(super) fn judge(
    response: &Response,
    question: &Question,
    is_clients: bool,
) -> Result<(), Denial> {
    match response.status() {
        200 | 206 if is_proof(response, question) => Ok(()),
        200..=299 => Err(Denial::Unproved),
        _ => Err(Denial::Refused {
            refusal: Arc::new(response.into()),
            is_clients,
        }),
    }
}

fn is_proof(response: &Response, question: &Question) -> bool {
    if let Some(digest) = response.field("docker-content-digest") {
        return digest.parse().ok() == Some(question.digest);
    }
    let content_type = response.field("content-type").and_then(media_type::essence);
    match question.kind {
        Kind::Manifest => content_type.is_some_and(|essence| essence.ends_with("json")),
        Kind::Blob => {
            let size_bytes = size_bytes(response);
            let is_page = content_type.is_some_and(|essence| essence.ends_with("html"));
            size_bytes.is_some()
                && !is_page
                && question
                    .size_bytes
                    .is_none_or(|size| size_bytes == Some(size))
        }
    }
}

/// Returns the length of the whole, which a 206 tells behind the range (RFC 9110 §14.4).
fn size_bytes(response: &Response) -> Option<u64> {
    match response.field("content-range") {
        Some(range) => range.rsplit_once('/')?.1.parse().ok(),
        None => response.content_length(),
    }
}

//! What a next hop's answer says, and whether it is the manifest.

use std::sync::Arc;
use std::time::Duration;

use super::{Asking, Failure};
use crate::digest::{Algorithm, Digest};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::registry::media_type;
use crate::store::Manifest;
use crate::upstream::Response;

/// Returns how old an answer says that it is (RFC 9111 §5.1): a next hop that is itself without its origin's
/// word says since when.
pub(super) fn age(response: &Response) -> Duration {
    let age = response.field("age").and_then(|age| age.parse().ok());
    Duration::from_secs(age.unwrap_or(0))
}

/// Returns the digest that the next hop says its manifest has, if it says one.
///
/// One that makes no sense is refused; so is a manifest of which nothing at all could tell that it was
/// cut short: no digest, no length, no chunks.
pub(super) fn said_digest(response: &Response) -> Result<Option<Digest>, Failure> {
    let is_framed =
        response.content_length().is_some() || response.field("transfer-encoding").is_some();
    let said = response.field("docker-content-digest").map(str::parse);
    match said.transpose() {
        Ok(None) if !is_framed => Err(Failure::Nonsense("the upstream registry sent no length")),
        Ok(said) => Ok(said),
        Err(_) => Err(Failure::Nonsense(
            "the upstream registry sent a malformed digest",
        )),
    }
}

/// Receives a manifest, and proves it.
pub(super) async fn receive(
    response: Response,
    algorithm: Algorithm,
    expected: Option<Digest>,
    asking: &Asking<'_>,
) -> Result<(Digest, Arc<Manifest>), Failure> {
    let media_type = response.field("content-type").and_then(media_type::essence);
    let Some(media_type) = media_type
        .filter(|essence| is_json(essence))
        .map(ToOwned::to_owned)
    else {
        tracing::warn!("the next hop sent something that is no manifest");
        return Err(Failure::Nonsense(
            "the upstream registry sent something else",
        ));
    };
    let bytes = response.bytes(MANIFEST_BYTES_MAX).await.map_err(|error| {
        tracing::warn!(%error, "a manifest could not be received");
        Failure::Broken(error)
    })?;
    asking.counters.upstream_bytes.add(bytes.len() as u64);
    let digest = Digest::of(algorithm, &bytes);
    if expected.is_some_and(|expected| expected != digest) {
        tracing::warn!(%digest, "the next hop sent another manifest than it said");
        return Err(Failure::Nonsense(
            "the upstream registry sent something else",
        ));
    }
    Ok((digest, Arc::new(Manifest { media_type, bytes })))
}

/// Every manifest is JSON, signed (schema 1) or not; a login page or an error page is not.
fn is_json(essence: &str) -> bool {
    essence.ends_with("json") || essence.ends_with("+prettyjws")
}

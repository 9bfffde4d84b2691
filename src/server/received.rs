//! Manifests that are here, and those that come from the next hop: proved, and kept.

use std::sync::Arc;

use super::context::Context;
use super::reply::Reply;
use crate::digest::{Algorithm, Digest};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::registry::{Code, media_type};
use crate::rt::blocking;
use crate::store::Manifest;
use crate::upstream::Response;

/// Returns the digest that the next hop says its manifest has, if it says one.
///
/// One that makes no sense is refused; so is a manifest of which nothing at all could tell that it was
/// cut short: no digest, no length, no chunks.
pub(super) fn said_digest(response: &Response) -> Result<Option<Digest>, Reply> {
    let is_framed =
        response.content_length().is_some() || response.field("transfer-encoding").is_some();
    let said = response.field("docker-content-digest").map(str::parse);
    match said.transpose() {
        Ok(None) if !is_framed => Err(Reply::error(
            Code::BadGateway,
            "the upstream registry sent no length",
        )),
        Ok(said) => Ok(said),
        Err(_) => Err(Reply::error(
            Code::BadGateway,
            "the upstream registry sent a malformed digest",
        )),
    }
}

/// Returns a manifest that is here. A disk that fails is logged, and the next hop asked.
pub(super) async fn stored(context: &Context, digest: Digest) -> Option<Arc<Manifest>> {
    let store = &context.service.store;
    if let Some(manifest) = store.manifest_in_memory(&digest) {
        return Some(manifest);
    }
    let store = Arc::clone(store);
    match blocking(move || store.manifest(&digest))
        .await
        .and_then(std::convert::identity)
    {
        Ok(manifest) => manifest,
        Err(error) => {
            tracing::error!(%digest, %error, "a stored manifest could not be read");
            None
        }
    }
}

/// Receives a manifest, proves it, and keeps it.
pub(super) async fn receive(
    context: &Context,
    response: Response,
    algorithm: Algorithm,
    expected: Option<Digest>,
) -> Result<(Digest, Arc<Manifest>), Reply> {
    let media_type = response.field("content-type").and_then(media_type::essence);
    let Some(media_type) = media_type
        .filter(|essence| is_json(essence))
        .map(ToOwned::to_owned)
    else {
        tracing::warn!("the next hop sent something that is no manifest");
        return Err(Reply::error(
            Code::BadGateway,
            "the upstream registry sent something else",
        ));
    };
    let bytes = response.bytes(MANIFEST_BYTES_MAX).await.map_err(|error| {
        tracing::warn!(%error, "a manifest could not be received");
        Reply::of_upstream_error(&error)
    })?;
    context.counters.upstream_bytes.add(bytes.len() as u64);
    let digest = Digest::of(algorithm, &bytes);
    if expected.is_some_and(|expected| expected != digest) {
        tracing::warn!(%digest, "the next hop sent another manifest than it said");
        return Err(Reply::error(
            Code::BadGateway,
            "the upstream registry sent something else",
        ));
    }
    let manifest = Arc::new(Manifest { media_type, bytes });
    let (store, kept) = (Arc::clone(&context.service.store), Arc::clone(&manifest));
    let outcome = blocking(move || store.keep_manifest(&digest, &kept)).await;
    if let Err(error) = outcome.and_then(std::convert::identity) {
        tracing::error!(%digest, %error, "a manifest could not be stored");
    }
    Ok((digest, manifest))
}

/// Every manifest is JSON, signed (schema 1) or not; a login page or an error page is not.
fn is_json(essence: &str) -> bool {
    essence.ends_with("json") || essence.ends_with("+prettyjws")
}

//! Manifests: by tag always with the origin's word, by digest from the store once known.

use std::sync::Arc;
use std::time::Instant;

use super::context::Context;
use super::permit;
use super::reply::{Reply, Status};
use super::tags::TagKey;
use crate::access::{Item, Kind, Shown, Visit, Wanted};
use crate::digest::{Algorithm, Digest};
use crate::http::{Request, if_none_match};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::metrics::CacheUse;
use crate::registry::{Code, Name, Reference, media_type};
use crate::rt::blocking;
use crate::store::Manifest;
use crate::upstream::{self, Response};

/// Most bytes of a client's `Accept` that are passed on.
const ACCEPT_BYTES_MAX: usize = 4096;

/// `Cache-Status` of a tag that the origin said is unchanged (RFC 9211 §2.2, §2.3).
const REVALIDATED: &str = "transship; hit; fwd=stale; fwd-status=304";

/// Answers a request for a manifest.
pub(super) async fn answer(
    context: &Context,
    request: &Request<'_>,
    shown: Shown<'_>,
    name: Name<'_>,
    reference: Reference<'_>,
) -> Reply {
    let visit = match permit::admit_unsigned(context, shown, Wanted::Repository(name)).await {
        Ok(visit) => visit,
        Err(reply) => return reply,
    };
    let asking = Asking {
        context,
        shown,
        visit: &visit,
        name,
        accept: accept(request),
    };
    let outcome = match reference {
        Reference::Digest(digest) => asking.by_digest(digest).await,
        Reference::Tag(tag) => asking.by_tag(tag.as_str()).await,
    };
    match outcome {
        Ok(found) => found.reply(request),
        Err(reply) => reply,
    }
}

/// A manifest, and how it was come by.
struct Found {
    digest: Digest,
    manifest: Arc<Manifest>,
    cache: CacheUse,
    cache_status: &'static str,
    /// What caches behind the next hop said of their part.
    behind: String,
}

impl Found {
    fn new(digest: Digest, manifest: Arc<Manifest>, cache: CacheUse) -> Self {
        Self {
            digest,
            manifest,
            cache,
            cache_status: cache.cache_status(),
            behind: String::new(),
        }
    }

    fn behind(self, behind: String) -> Self {
        Self { behind, ..self }
    }

    fn reply(self, request: &Request<'_>) -> Reply {
        let etag = format!("\"{}\"", self.digest);
        let mut reply = if if_none_match(request.if_none_match.clone(), etag.as_bytes()) {
            Reply::not_modified()
        } else {
            Reply::new(
                Status::OK,
                &self.manifest.media_type,
                self.manifest.bytes.clone(),
            )
        };
        reply.cache = self.cache;
        reply
            .with("Docker-Content-Digest", self.digest.to_string())
            .with("ETag", etag)
            .with("Cache-Status", self.behind + self.cache_status)
    }
}

/// Returns the `Accept` to ask the next hop with: the client's, or every type that we know.
///
/// Types are sorted: dockerd writes its list in another order each time, and means the same.
fn accept(request: &Request<'_>) -> String {
    let lines = request
        .accept
        .clone()
        .filter_map(|line| std::str::from_utf8(line).ok());
    let mut types: Vec<_> = lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|one| !one.is_empty())
        .collect();
    types.sort_unstable();
    types.dedup();
    let joined = types.join(", ");
    if joined.is_empty() || joined.len() > ACCEPT_BYTES_MAX {
        return media_type::ACCEPT.to_owned();
    }
    joined
}

/// Who asks for a manifest, under which name, and in which types.
struct Asking<'a> {
    context: &'a Context,
    shown: Shown<'a>,
    visit: &'a Visit,
    name: Name<'a>,
    accept: String,
}

impl Asking<'_> {
    async fn by_digest(&self, digest: Digest) -> Result<Found, Reply> {
        let context = self.context;
        if let Some(manifest) = stored(context, digest).await {
            let item = self.item(digest);
            permit::permit(context, self.shown, self.visit, item, None).await?;
            return Ok(Found::new(digest, manifest, CacheUse::Hit));
        }
        let asked = Instant::now();
        let response = self.ask(&digest.to_string(), Some(digest), None).await?;
        if response.status() != 200 {
            return Err(self.refused(&response, &digest.to_string()));
        }
        let behind = response.cache_status();
        let received = receive(context, response, digest.algorithm(), Some(digest)).await?;
        self.confirm(digest, asked);
        Ok(Found::new(digest, received.1, CacheUse::Miss).behind(behind))
    }

    async fn by_tag(&self, tag: &str) -> Result<Found, Reply> {
        let context = self.context;
        let tags = &context.service.tags;
        let key = TagKey {
            repository: self.name.as_str().to_owned(),
            tag: tag.to_owned(),
            accept: Digest::of(Algorithm::Sha256, self.accept.as_bytes()),
        };
        let known = match tags.find(&key) {
            Some(digest) => stored(context, digest)
                .await
                .map(|manifest| (digest, manifest)),
            None => None,
        };
        let if_none_match = known.as_ref().map(|(digest, _)| format!("\"{digest}\""));
        let asked = Instant::now();
        let response = self.ask(tag, None, if_none_match).await?;
        let behind = response.cache_status();
        match (response.status(), known) {
            (304, Some((digest, manifest))) => {
                self.confirm(digest, asked);
                context
                    .service
                    .store
                    .note_tag(&key.repository, tag, &digest);
                Ok(Found {
                    cache_status: REVALIDATED,
                    ..Found::new(digest, manifest, CacheUse::Hit).behind(behind)
                })
            }
            (200, _) => {
                let said = said_digest(&response)?;
                let algorithm = said.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
                let (digest, manifest) = receive(context, response, algorithm, said).await?;
                self.confirm(digest, asked);
                context
                    .service
                    .store
                    .note_tag(&key.repository, tag, &digest);
                tags.remember(key, digest);
                Ok(Found::new(digest, manifest, CacheUse::Miss).behind(behind))
            }
            (status, _) => {
                // What one user may not see is there for the next one all the same.
                if !matches!(status, 401 | 403) {
                    tags.forget(&key);
                }
                Err(self.refused(&response, tag))
            }
        }
    }

    const fn item(&self, digest: Digest) -> Item<'_> {
        Item {
            kind: Kind::Manifest,
            repository: self.name,
            digest,
        }
    }

    fn confirm(&self, digest: Digest, asked: Instant) {
        permit::confirm(self.context, self.visit, self.item(digest), asked);
    }

    /// Asks the next hop; `digest` is that of `reference` where it is one.
    async fn ask(
        &self,
        reference: &str,
        digest: Option<Digest>,
        if_none_match: Option<String>,
    ) -> Result<Response, Reply> {
        let request = upstream::Request {
            digest,
            trail: self.visit.trail.clone(),
            repository: Some(self.name.as_str().to_owned()),
            authority: self.visit.authority.clone(),
            accept: Some(self.accept.clone()),
            if_none_match,
            ..upstream::Request::get(format!("/v2/{}/manifests/{reference}", self.name))
        };
        let asked = self.context.service.upstream.send(&request).await;
        asked.map_err(|error| {
            if !error.is_known() && self.context.may_log() {
                tracing::warn!(repository = %self.name, reference, %error, "a manifest could not be asked for");
            }
            Reply::of_upstream_error(&error)
        })
    }

    fn refused(&self, response: &Response, reference: &str) -> Reply {
        let status = response.status();
        if !matches!(status, 401 | 403 | 404 | 508) && self.context.may_log() {
            tracing::warn!(reference, status, "the next hop refused a manifest");
        }
        let (name, refusal) = (Some(self.name), response.into());
        let code = Code::ManifestUnknown;
        permit::refusal(self.context, self.visit, name, &refusal, code, reference)
    }
}

/// Returns the digest that the next hop says its manifest has, if it says one.
///
/// One that makes no sense is refused; so is a manifest of which nothing at all could tell that it was
/// cut short: no digest, no length, no chunks.
fn said_digest(response: &Response) -> Result<Option<Digest>, Reply> {
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
async fn stored(context: &Context, digest: Digest) -> Option<Arc<Manifest>> {
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
async fn receive(
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

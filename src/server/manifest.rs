//! Manifests: by tag with the origin's word as long as it has one, by digest from the store once known.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::absent::{Asked, Turn};
use super::context::Context;
use super::reply::{Reply, Status};
use super::{permit, tags};
use crate::access::{Item, Shown, Visit, Wanted};
use crate::digest::{Algorithm, Digest};
use crate::http::{Request, if_none_match};
use crate::limits::REJOINS_MAX;
use crate::manifests::{self, Failure, Given, Known};
use crate::metrics::CacheUse;
use crate::registry::{Code, Name, Reference, media_type};
use crate::store::Manifest;
use crate::upstream::{self, Refusal, Urgency};

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
    cache_status: Cow<'static, str>,
    /// How long ago the origin said so.
    age: Duration,
    /// What caches behind the next hop said of their part.
    behind: String,
    /// The next hop that was asked, and answered.
    hop: Option<String>,
}

impl Found {
    fn new(digest: Digest, manifest: Arc<Manifest>, cache: CacheUse) -> Self {
        Self {
            digest,
            manifest,
            cache,
            cache_status: cache.cache_status().into(),
            age: Duration::ZERO,
            behind: String::new(),
            hop: None,
        }
    }

    /// What a next hop gave just now.
    fn given(given: Given) -> Self {
        let (cache, status) = match given.is_unchanged {
            true => (CacheUse::Hit, REVALIDATED),
            false => (CacheUse::Miss, CacheUse::Miss.cache_status()),
        };
        Self {
            cache_status: status.into(),
            age: given.age,
            behind: given.behind,
            hop: Some(given.hop),
            ..Self::new(given.digest, given.manifest, cache)
        }
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
        reply.upstream = self.hop.as_deref().map(Into::into);
        if self.cache == CacheUse::Stale || !self.age.is_zero() {
            reply = reply.with("Age", self.age.as_secs().to_string());
        }
        reply
            .with("Docker-Content-Digest", self.digest.to_string())
            .with("ETag", etag)
            .with("Cache-Status", self.behind + &self.cache_status)
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

/// A client's question for a manifest.
struct Asking<'a> {
    context: &'a Context,
    shown: Shown<'a>,
    visit: &'a Visit,
    name: Name<'a>,
    accept: String,
}

impl Asking<'_> {
    /// From the store where it is there; else from the next hop, which is asked once for all who ask it for the
    /// same meanwhile.
    async fn by_digest(&self, digest: Digest) -> Result<Found, Reply> {
        let service = &self.context.service;
        let accept = Digest::of(Algorithm::Sha256, self.accept.as_bytes());
        let asked = Asked::new(self.item(digest), self.visit, Some(accept));
        for _ in 0..REJOINS_MAX {
            if let Some(manifest) = service.origin.stored(digest).await {
                let (shown, item) = (self.shown, self.item(digest));
                permit::permit(self.context, shown, self.visit, item, None).await?;
                return Ok(Found::new(digest, manifest, CacheUse::Hit));
            }
            if let Some(reply) = service.absences.answer(&asked) {
                return Err(reply);
            }
            match service.manifests.join(&asked, &self.visit.trail).await {
                Turn::First(asking) => {
                    let outcome = self.fetch(digest, asked).await;
                    asking.answer(outcome.as_ref().map(|_| ()).map_err(Reply::clone));
                    return outcome;
                }
                Turn::Heard(Err(reply)) => return Err(reply),
                Turn::Heard(Ok(())) | Turn::Again => {}
            }
        }
        self.fetch(digest, asked).await
    }

    /// Asks the next hop for a manifest by its digest.
    async fn fetch(&self, digest: Digest, question: Asked) -> Result<Found, Reply> {
        let service = &self.context.service;
        match service.origin.by_digest(&self.origins(), digest).await {
            Ok(given) => Ok(self.given(given)),
            Err(failure) => {
                if let Failure::Refused(refusal) = &failure {
                    service.absences.note(question, refusal);
                }
                Err(self.failed(&digest.to_string(), &failure))
            }
        }
    }

    /// By the next hop's word; while it says nothing, by its last one, for as long as the operator allows.
    async fn by_tag(&self, tag: &str) -> Result<Found, Reply> {
        let (service, asking) = (&self.context.service, self.origins());
        let known = service.origin.known(&asking, tag).await;
        match service.origin.by_tag(&asking, tag, known.as_ref()).await {
            Ok(given) => {
                service.outage.tell_answer();
                Ok(self.given(given))
            }
            Err(failure) => {
                if failure.is_away()
                    && let Some(found) = self.stale(known.as_ref(), &failure)
                {
                    return Ok(found);
                }
                if failure.is_answer() {
                    service.outage.tell_answer();
                }
                Err(self.failed(tag, &failure))
            }
        }
    }

    /// Returns what a tag meant, where the next hops have not answered, the operator allows it and this client
    /// may have it.
    fn stale(&self, known: Option<&Known>, failure: &Failure) -> Option<Found> {
        let (service, known) = (&self.context.service, known?);
        let longest = service.bounds.stale_manifests.get()?;
        // Asking took its time too.
        let age = known.confirmed.elapsed();
        let (item, counters) = (self.item(known.digest), &self.context.counters);
        let access = &service.access;
        if age > longest || !access.is_permitted_meanwhile(self.visit, item, counters) {
            return None;
        }
        let cache_status = tags::cache_status(failure);
        service.outage.tell_stale(&cache_status, longest);
        Some(Found {
            cache_status: cache_status.into(),
            age,
            ..Found::new(known.digest, Arc::clone(&known.manifest), CacheUse::Stale)
        })
    }

    /// As the origin is asked.
    fn origins(&self) -> manifests::Asking<'_> {
        manifests::Asking {
            visit: self.visit,
            name: self.name,
            accept: &self.accept,
            urgency: Urgency::Client,
            counters: &self.context.counters,
        }
    }

    fn item(&self, digest: Digest) -> Item<'_> {
        self.origins().item(digest)
    }

    /// Takes note that there is such a manifest.
    fn given(&self, given: Given) -> Found {
        self.context.service.absences.forget(&given.digest);
        Found::given(given)
    }

    /// Returns what the client is told instead.
    fn failed(&self, reference: &str, failure: &Failure) -> Reply {
        match failure {
            Failure::Refused(refusal) => self.refused(refusal, reference),
            Failure::Unasked(error) => self.unasked(reference, error),
            Failure::Broken(error) => Reply::of_upstream_error(error),
            Failure::Nonsense(what) => Reply::error(Code::BadGateway, what),
        }
    }

    fn unasked(&self, reference: &str, error: &upstream::Error) -> Reply {
        if !error.is_known() && self.context.may_log() {
            tracing::warn!(repository = %self.name, reference, %error, "a manifest could not be asked for");
        }
        Reply::of_upstream_error(error)
    }

    fn refused(&self, refusal: &Refusal, reference: &str) -> Reply {
        let status = refusal.status;
        if !matches!(status, 401 | 403 | 404 | 508) && self.context.may_log() {
            tracing::warn!(reference, status, "the next hop refused a manifest");
        }
        let (name, code) = (Some(self.name), Code::ManifestUnknown);
        permit::refusal(self.context, self.visit, name, refusal, code, reference)
    }
}

//! Manifests: by tag with the origin's word as long as it has one, by digest from the store once known.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::absent::{Asked, Turn};
use super::context::Context;
use super::received::{receive, said_digest, stored};
use super::reply::{Reply, Status};
use super::{permit, tags};
use crate::access::{Item, Kind, Shown, Visit, Wanted};
use crate::digest::{Algorithm, Digest};
use crate::http::{Request, if_none_match};
use crate::limits::REJOINS_MAX;
use crate::metrics::CacheUse;
use crate::registry::{Code, Name, Reference, media_type};
use crate::store::{Manifest, TagKey};
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

    fn behind(self, behind: String, hop: String) -> Self {
        let hop = Some(hop);
        Self {
            behind,
            hop,
            ..self
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

/// What a tag meant when the next hop was last asked.
struct Known {
    digest: Digest,
    manifest: Arc<Manifest>,
    /// When it said so.
    confirmed: Instant,
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
    /// From the store where it is there; else from the next hop, which is asked once for all who ask it for the
    /// same meanwhile.
    async fn by_digest(&self, digest: Digest) -> Result<Found, Reply> {
        let service = &self.context.service;
        let accept = Digest::of(Algorithm::Sha256, self.accept.as_bytes());
        let asked = Asked::new(self.item(digest), self.visit, Some(accept));
        for _ in 0..REJOINS_MAX {
            if let Some(manifest) = stored(self.context, digest).await {
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
        let (context, reference) = (self.context, digest.to_string());
        let asked = Instant::now();
        let outcome = self.ask(&reference, Some(digest), None).await;
        let response = outcome.map_err(|error| self.failed(&reference, &error))?;
        if response.status() != 200 {
            let absences = &context.service.absences;
            absences.note(question, &(&response).into());
            return Err(self.refused(&response, &reference));
        }
        let (behind, hop) = (response.cache_status(), response.hop().to_owned());
        let received = receive(context, response, digest.algorithm(), Some(digest)).await?;
        self.confirm(digest, asked);
        Ok(Found::new(digest, received.1, CacheUse::Miss).behind(behind, hop))
    }

    /// By the next hop's word; while it says nothing, by its last one, for as long as the operator allows.
    async fn by_tag(&self, tag: &str) -> Result<Found, Reply> {
        let key = TagKey {
            repository: self.name.as_str(),
            tag,
            accept: Digest::of(Algorithm::Sha256, self.accept.as_bytes()),
        };
        let known = self.known(key).await;
        let etag = known.as_ref().map(|known| format!("\"{}\"", known.digest));
        let asked = Instant::now();
        let outcome = self.ask(tag, None, etag).await;
        if tags::is_away(&outcome) {
            if let Some(found) = self.stale(known.as_ref(), &outcome) {
                return Ok(found);
            }
        } else if outcome.is_ok() {
            self.context.service.outage.tell_answer();
        }
        let response = outcome.map_err(|error| self.failed(tag, &error))?;
        let (behind, hop) = (response.cache_status(), response.hop().to_owned());
        let age = tags::age(&response);
        let (digest, manifest, cache, status) = match (response.status(), known) {
            (304, Some(known)) => (known.digest, known.manifest, CacheUse::Hit, REVALIDATED),
            (200, _) => {
                let said = said_digest(&response)?;
                let algorithm = said.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
                let received = receive(self.context, response, algorithm, said).await?;
                let miss = CacheUse::Miss;
                (received.0, received.1, miss, miss.cache_status())
            }
            (status, _) => {
                if tags::is_gone(status, self.visit.is_clients()) {
                    self.context.service.store.forget_tag(key.repository, tag);
                }
                return Err(self.refused(&response, tag));
            }
        };
        self.confirm(digest, asked);
        let store = &self.context.service.store;
        store.confirm_tag(key, &digest, age.saturating_add(asked.elapsed()));
        Ok(Found {
            cache_status: status.into(),
            age,
            ..Found::new(digest, manifest, cache).behind(behind, hop)
        })
    }

    /// Returns what a tag meant when the next hop was last asked, if that manifest is here.
    async fn known(&self, key: TagKey<'_>) -> Option<Known> {
        let tagged = self.context.service.store.tagged(key)?;
        let manifest = stored(self.context, tagged.digest).await?;
        Some(Known {
            digest: tagged.digest,
            manifest,
            confirmed: Instant::now().checked_sub(tagged.age)?,
        })
    }

    /// Returns what a tag meant, where the next hops have not answered, the operator allows it and this client
    /// may have it.
    fn stale(
        &self,
        known: Option<&Known>,
        outcome: &Result<Response, upstream::Error>,
    ) -> Option<Found> {
        let (service, known) = (&self.context.service, known?);
        let longest = service.bounds.stale_manifests.get()?;
        // Asking took its time too.
        let age = known.confirmed.elapsed();
        let (item, counters) = (self.item(known.digest), &self.context.counters);
        let access = &service.access;
        if age > longest || !access.is_permitted_meanwhile(self.visit, item, counters) {
            return None;
        }
        let cache_status = tags::cache_status(outcome);
        service.outage.tell_stale(&cache_status, longest);
        Some(Found {
            cache_status: cache_status.into(),
            age,
            ..Found::new(known.digest, Arc::clone(&known.manifest), CacheUse::Stale)
        })
    }

    const fn item(&self, digest: Digest) -> Item<'_> {
        Item {
            kind: Kind::Manifest,
            repository: self.name,
            digest,
        }
    }

    /// Takes note that the next hop gave a manifest to this client, and that it was proved.
    fn confirm(&self, digest: Digest, asked: Instant) {
        permit::confirm(self.context, self.visit, self.item(digest), asked);
        self.context.service.absences.forget(&digest);
    }

    /// Asks the next hop; `digest` is that of `reference` where it is one.
    async fn ask(
        &self,
        reference: &str,
        digest: Option<Digest>,
        if_none_match: Option<String>,
    ) -> Result<Response, upstream::Error> {
        let request = upstream::Request {
            digest,
            trail: self.visit.trail.clone(),
            repository: Some(self.name.as_str().to_owned()),
            authority: self.visit.authority.clone(),
            accept: Some(self.accept.clone()),
            if_none_match,
            ..upstream::Request::get(format!("/v2/{}/manifests/{reference}", self.name))
        };
        self.context.service.upstream.send(&request).await
    }

    fn failed(&self, reference: &str, error: &upstream::Error) -> Reply {
        if !error.is_known() && self.context.may_log() {
            tracing::warn!(repository = %self.name, reference, %error, "a manifest could not be asked for");
        }
        Reply::of_upstream_error(error)
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

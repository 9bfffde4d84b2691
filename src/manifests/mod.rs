//! Manifests of next hops: asked for, proved, kept, and what a tag means remembered.
//!
//! ```text
//!  by_tag ───▶ what did it mean? ─▶ ask, If-None-Match ─┬ 304 ─▶ it means that still ──────╮
//!                                                       ├ 200 ─▶ prove the digest, keep ───┼─▶ link, confirm
//!  by_digest ─────────────────────▶ ask ────────────────╯                                  ╯
//!                                     ╰ 404, 410 … ─▶ the tag is forgotten
//! ```
//!
//! For clients and for whoever warms the store alike. It decides nothing about what is served while a next hop
//! gives no answer, and who may have what is for `access` to say.
//!
//! Invariant: what is kept has the digest that was asked for, or else the one that it is kept under.

mod answer;
mod failure;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use failure::Failure;

use crate::access::{Access, Item, Kind, Visit};
use crate::digest::{Algorithm, Digest};
use crate::metrics::Counters;
use crate::registry::{Name, media_type};
use crate::rt::blocking;
use crate::store::{Manifest, Store, TagKey, Tagged};
use crate::upstream::{self, Authority, Response, Upstream, Urgency};
use answer::{age, receive, said_digest};

/// The manifests of all next hops, and those that are stored.
#[derive(Debug)]
pub struct Manifests {
    store: Arc<Store>,
    upstream: Arc<Upstream>,
    access: Arc<Access>,
}

/// Who asks, under which name, and for which types.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// In whose name.
    pub visit: &'a Visit,
    /// The repository.
    pub name: Name<'a>,
    /// Media types, sorted, as `Accept` has them.
    pub accept: &'a str,
    /// Who waits.
    pub urgency: Urgency,
    /// Where what comes is counted.
    pub counters: &'a Counters,
}

impl<'a> Asking<'a> {
    /// Returns a manifest as `access` knows it.
    #[must_use]
    pub const fn item(&self, digest: Digest) -> Item<'a> {
        Item {
            kind: Kind::Manifest,
            repository: self.name,
            digest,
        }
    }

    /// Says whether a refusal is about whoever asks, and not about what everyone may have through this cache.
    const fn is_somebodys(&self) -> bool {
        self.visit.is_clients() || matches!(self.visit.authority, Authority::Login(_))
    }

    fn key<'k>(&'k self, tag: &'k str) -> TagKey<'k> {
        TagKey {
            repository: self.name.as_str(),
            tag,
            accept: Digest::of(Algorithm::Sha256, self.accept.as_bytes()),
        }
    }
}

/// What a tag meant when the next hop was last asked.
#[derive(Clone, Debug)]
pub struct Known {
    /// Digest of the manifest.
    pub digest: Digest,
    /// The manifest, which is here.
    pub manifest: Arc<Manifest>,
    /// When the next hop said so.
    pub confirmed: Instant,
}

/// A manifest that a next hop gave, or said to be what it was.
#[derive(Clone, Debug)]
pub struct Given {
    /// Its digest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Arc<Manifest>,
    /// It was here, and the tag means it still.
    pub is_unchanged: bool,
    /// How long ago the origin said so, where the next hop is itself a cache without its word.
    pub age: Duration,
    /// What caches behind the next hop said of their part.
    pub behind: String,
    /// The next hop.
    pub hop: String,
}

impl Manifests {
    /// Returns the manifests of `upstream` and `store`.
    #[must_use]
    pub const fn new(store: Arc<Store>, upstream: Arc<Upstream>, access: Arc<Access>) -> Self {
        Self {
            store,
            upstream,
            access,
        }
    }

    /// Returns a manifest that is here. A disk that fails is logged, and the next hop asked.
    pub async fn stored(&self, digest: Digest) -> Option<Arc<Manifest>> {
        if let Some(manifest) = self.store.manifest_in_memory(&digest) {
            return Some(manifest);
        }
        let store = Arc::clone(&self.store);
        let read = blocking(move || store.manifest(&digest)).await;
        match read.and_then(std::convert::identity) {
            Ok(manifest) => manifest,
            Err(error) => {
                tracing::error!(%digest, %error, "a stored manifest could not be read");
                None
            }
        }
    }

    /// Returns what a tag meant when the next hop was last asked, if that manifest is here: asked for these
    /// types, or later for all that are known here, if what came then is one of these.
    pub async fn known(&self, asking: &Asking<'_>, tag: &str) -> Option<Known> {
        let first = self.store.tagged(asking.key(tag));
        let own = Asking {
            accept: media_type::ACCEPT,
            ..*asking
        };
        let second = self.store.tagged(own.key(tag));
        let is_later = |second: &Tagged| first.is_none_or(|first| second.age < first.age);
        if let Some(second) = second.filter(is_later)
            && let Some(known) = self.here(second).await
            && media_type::accepts(asking.accept, &known.manifest.media_type)
        {
            return Some(known);
        }
        self.here(first?).await
    }

    async fn here(&self, tagged: Tagged) -> Option<Known> {
        let manifest = self.stored(tagged.digest).await?;
        Some(Known {
            digest: tagged.digest,
            manifest,
            confirmed: Instant::now().checked_sub(tagged.age)?,
        })
    }

    /// Asks the next hop what a tag means; costs no body while that is what is `known`.
    ///
    /// # Errors
    /// What it said or did instead.
    pub async fn by_tag(
        &self,
        asking: &Asking<'_>,
        tag: &str,
        known: Option<&Known>,
    ) -> Result<Given, Failure> {
        let etag = known.map(|known| format!("\"{}\"", known.digest));
        let asked = Instant::now();
        let response = self.ask(asking, tag, None, etag).await?;
        let (behind, hop) = (response.cache_status(), response.hop().to_owned());
        let age = age(&response);
        let (digest, manifest, is_unchanged) = match (response.status(), known) {
            (304, Some(known)) => (known.digest, Arc::clone(&known.manifest), true),
            (200, _) => {
                let said = said_digest(&response)?;
                let algorithm = said.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
                let (digest, manifest) = receive(response, algorithm, said, asking).await?;
                self.keep(digest, &manifest).await;
                (digest, manifest, false)
            }
            (status, _) => {
                if failure::is_gone(status, asking.is_somebodys()) {
                    self.store.forget_tag(asking.name.as_str(), tag);
                }
                return Err(Failure::Refused((&response).into()));
            }
        };
        self.access
            .confirm(asking.visit, asking.item(digest), asked);
        let since = age.saturating_add(asked.elapsed());
        self.store.confirm_tag(asking.key(tag), &digest, since);
        Ok(Given {
            digest,
            manifest,
            is_unchanged,
            age,
            behind,
            hop,
        })
    }

    /// Asks the next hop for a manifest by its digest.
    ///
    /// # Errors
    /// What it said or did instead.
    pub async fn by_digest(&self, asking: &Asking<'_>, digest: Digest) -> Result<Given, Failure> {
        let asked = Instant::now();
        let reference = digest.to_string();
        let response = self.ask(asking, &reference, Some(digest), None).await?;
        if response.status() != 200 {
            return Err(Failure::Refused((&response).into()));
        }
        let (behind, hop) = (response.cache_status(), response.hop().to_owned());
        let received = receive(response, digest.algorithm(), Some(digest), asking).await?;
        self.keep(digest, &received.1).await;
        self.access
            .confirm(asking.visit, asking.item(digest), asked);
        Ok(Given {
            digest,
            manifest: received.1,
            is_unchanged: false,
            age: Duration::ZERO,
            behind,
            hop,
        })
    }

    async fn keep(&self, digest: Digest, manifest: &Arc<Manifest>) {
        let (store, kept) = (Arc::clone(&self.store), Arc::clone(manifest));
        let outcome = blocking(move || store.keep_manifest(&digest, &kept)).await;
        if let Err(error) = outcome.and_then(std::convert::identity) {
            tracing::error!(%digest, %error, "a manifest could not be stored");
        }
    }

    /// Asks the next hop; `digest` is that of `reference` where it is one.
    async fn ask(
        &self,
        asking: &Asking<'_>,
        reference: &str,
        digest: Option<Digest>,
        if_none_match: Option<String>,
    ) -> Result<Response, Failure> {
        let request = upstream::Request {
            digest,
            trail: asking.visit.trail.clone(),
            repository: Some(asking.name.as_str().to_owned()),
            authority: asking.visit.authority.clone(),
            accept: Some(asking.accept.to_owned()),
            if_none_match,
            urgency: asking.urgency,
            ..upstream::Request::get(format!("/v2/{}/manifests/{reference}", asking.name))
        };
        let sent = self.upstream.send(&request).await;
        sent.map_err(Failure::Unasked)
    }
}

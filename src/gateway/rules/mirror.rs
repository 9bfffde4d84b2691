//! Copies an image to another registry, byte by byte the same.
//!
//! Blobs come before the manifest that names them, children before their index, the tag last: whoever pulls at the
//! target meets whole images only. What is there is skipped, so an attempt goes on where the last one ended; an upload
//! that was cut is begun again. The target proves blobs (it takes them by their digest), manifests are proved here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Body, Client, Method, Response, StatusCode};

use super::contents::{self, Blob};
use super::progress::Progress;
use super::remote::{self, Remote};
use super::trouble::Trouble;
use crate::digest::{Algorithm, Digest};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::registry::{Reference, media_type};

/// Blobs of an image that are copied at once.
const BLOBS_AT_ONCE: usize = 3;

/// How deep indexes may name indexes, and how many manifests an image may have.
const DEPTH_MAX: usize = 4;
const MANIFESTS_MAX: u64 = 1024;

/// How long an upload may stand still.
const STALL: Duration = Duration::from_secs(60);

/// How many looks of [`STALL`] a target may take to store what it has been sent.
const STORING_MAX: u32 = 10;

/// How many blobs are remembered.
const REMEMBERED_MAX: usize = 20_000;

const DIGEST: &str = "docker-content-digest";

/// Which repository of a target has a blob, as far as this process has seen: for mounts. It may be forgotten, and wrong.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<HashMap<(String, Digest), String>>);

impl Places {
    fn note(&self, target: &str, digest: Digest, repository: &str) {
        let mut places = self.0.lock();
        if places.len() >= REMEMBERED_MAX {
            places.clear();
        }
        places.insert((target.to_owned(), digest), repository.to_owned());
    }

    fn find(&self, target: &str, digest: Digest) -> Option<String> {
        self.0.lock().get(&(target.to_owned(), digest)).cloned()
    }
}

/// A copy of one image.
pub(super) struct Copy<'a> {
    pub(super) source: Remote,
    pub(super) target: Remote,
    /// The repository, at the source and at the target.
    pub(super) from: String,
    pub(super) to: String,
    /// For bodies that may take long: without a bound on the answer.
    pub(super) uploads: Client,
    pub(super) places: &'a Places,
    pub(super) progress: Arc<Progress>,
}

/// A manifest as the source has it.
struct Manifest {
    media_type: HeaderValue,
    digest: Digest,
    bytes: Vec<u8>,
}

impl Copy<'_> {
    /// Copies what `reference` is just now; `is_held` is asked before the tag is put.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) async fn image(
        &self,
        reference: &str,
        is_held: impl Future<Output = bool>,
    ) -> Result<Digest, Trouble> {
        let gone = || Trouble::lasting(format!("{}: the image is gone", self.source.name));
        let top = self.fetch(reference).await?.ok_or_else(gone)?;
        if self.target_digest(reference).await? == Some(top.digest) {
            self.progress
                .manifests_there
                .fetch_add(1, Ordering::Relaxed);
            return Ok(top.digest);
        }
        self.below(&top, 0).await?;
        if !is_held.await {
            return Err(Trouble::passing("another gateway has taken over"));
        }
        self.put(reference, &top).await?;
        Ok(top.digest)
    }

    /// Copies all that a manifest names.
    fn below<'a>(
        &'a self,
        manifest: &'a Manifest,
        depth: usize,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            let wrong = |why| Trouble::lasting(format!("manifest {}: {why}", manifest.digest));
            let contents = contents::read(&manifest.bytes).map_err(wrong)?;
            let blobs = stream::iter(contents.blobs).map(Ok);
            let copied = blobs.try_for_each_concurrent(BLOBS_AT_ONCE, |blob| self.blob(blob));
            copied.await?;
            for digest in contents.manifests {
                if depth >= DEPTH_MAX || self.progress.manifests() >= MANIFESTS_MAX {
                    return Err(wrong("it is an index of too much"));
                }
                self.child(digest, depth).await?;
            }
            Ok(())
        }
        .boxed()
    }

    /// Copies a manifest that an index names.
    async fn child(&self, digest: Digest, depth: usize) -> Result<(), Trouble> {
        let reference = digest.to_string();
        if self.target_digest(&reference).await? == Some(digest) {
            self.progress
                .manifests_there
                .fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        // An index may name platforms that were never pushed: the target says whether it takes it so.
        let Some(child) = self.fetch(&reference).await? else {
            self.progress
                .manifests_missing
                .fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        self.below(&child, depth + 1).await?;
        self.put(&reference, &child).await
    }

    /// Returns a manifest of the source, proved; `None` if it is not there.
    async fn fetch(&self, reference: &str) -> Result<Option<Manifest>, Trouble> {
        let what = format!("{}: manifest {reference}", self.source.name);
        let url = self
            .source
            .url(&format!("{}/manifests/{reference}", self.from))?;
        let response = self.source.get(&url, &accept()).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(Trouble::status(&what, status)),
        }
        let said = said_digest(&response);
        let media_type = response.headers().get(CONTENT_TYPE).cloned();
        let essence = media_type.as_ref().and_then(|value| value.to_str().ok());
        let essence = essence.and_then(media_type::essence);
        let media_type = essence.and_then(|essence| HeaderValue::from_str(essence).ok());
        let media_type =
            media_type.ok_or_else(|| Trouble::lasting(format!("{what}: of no type")))?;
        let bytes = remote::bytes(&what, response, MANIFEST_BYTES_MAX).await?;
        let wanted = match Reference::parse(reference) {
            Ok(Reference::Digest(digest)) => Some(digest),
            _ => said,
        };
        let algorithm = wanted.map_or(Algorithm::Sha256, |digest| digest.algorithm());
        let digest = Digest::of(algorithm, &bytes);
        if wanted.is_some_and(|wanted| wanted != digest) {
            return Err(Trouble::passing(format!(
                "{what}: not what its digest says"
            )));
        }
        Ok(Some(Manifest {
            media_type,
            digest,
            bytes,
        }))
    }

    /// Returns the digest of what the target has under a reference, as it says.
    async fn target_digest(&self, reference: &str) -> Result<Option<Digest>, Trouble> {
        let url = self
            .target
            .url(&format!("{}/manifests/{reference}", self.to))?;
        let response = self.target.ask(Method::HEAD, &url, &accept(), &[]).await?;
        match response.status() {
            StatusCode::OK => Ok(said_digest(&response)),
            StatusCode::NOT_FOUND => Ok(None),
            // A repository that is made by the first push may be forbidden until then.
            StatusCode::FORBIDDEN => Ok(None),
            status => Err(Trouble::status(&self.target.name, status)),
        }
    }

    /// Puts a manifest as it is.
    async fn put(&self, reference: &str, manifest: &Manifest) -> Result<(), Trouble> {
        let what = format!("{}: manifest {reference}", self.target.name);
        let url = self
            .target
            .url(&format!("{}/manifests/{reference}", self.to))?;
        let fields = HeaderMap::from_iter([(CONTENT_TYPE, manifest.media_type.clone())]);
        let asked = self.target.ask(Method::PUT, &url, &fields, &manifest.bytes);
        let response = asked.await?;
        let status = response.status();
        if status.is_success() {
            // A target that stores something else would be found out by every pull by digest.
            let algorithm = manifest.digest.algorithm();
            let said = said_digest(&response).filter(|said| said.algorithm() == algorithm);
            if said.is_some_and(|said| said != manifest.digest) {
                return Err(Trouble::lasting(format!(
                    "{what}: stored with another digest"
                )));
            }
            self.progress
                .manifests_copied
                .fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let body = remote::bytes(&what, response, 64 * 1024)
            .await
            .unwrap_or_default();
        // Garbage collection at the target may have taken what was there a moment ago: the next attempt copies it.
        let lacks = String::from_utf8_lossy(&body).contains("BLOB_UNKNOWN");
        let missing = self.progress.manifests_missing.load(Ordering::Relaxed);
        match lacks {
            true if missing > 0 => Err(Trouble::lasting(format!(
                "{what}: the target takes no index with images that are not at the source"
            ))),
            true => Err(Trouble::passing(format!(
                "{what}: a blob is gone at the target"
            ))),
            false => Err(Trouble::status(&what, status)),
        }
    }

    /// Copies a blob, if it is not there.
    async fn blob(&self, blob: Blob) -> Result<(), Trouble> {
        let what = format!("{}: blob {}", self.target.name, blob.digest);
        let url = self
            .target
            .url(&format!("{}/blobs/{}", self.to, blob.digest))?;
        let there = self
            .target
            .ask(Method::HEAD, &url, &HeaderMap::new(), &[])
            .await?;
        match there.status() {
            // One that is redirected is there: a HEAD of a signed address would fail.
            status if status.is_success() || status.is_redirection() => {
                self.progress.blobs_there.fetch_add(1, Ordering::Relaxed);
            }
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => self.bring(blob, &what).await?,
            status => return Err(Trouble::status(&what, status)),
        }
        self.places.note(&self.target.name, blob.digest, &self.to);
        Ok(())
    }

    /// Mounts a blob from another repository of the target, or uploads it.
    async fn bring(&self, blob: Blob, what: &str) -> Result<(), Trouble> {
        let mut url = self.target.url(&format!("{}/blobs/uploads/", self.to))?;
        let place = self.places.find(&self.target.name, blob.digest);
        if let Some(place) = place.filter(|place| *place != self.to) {
            let mut query = url.query_pairs_mut();
            query.append_pair("mount", &blob.digest.to_string());
            query.append_pair("from", &place);
        }
        let fields = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("0"))]);
        let begun = self.target.ask(Method::POST, &url, &fields, &[]).await?;
        match begun.status() {
            StatusCode::CREATED => {
                self.progress.blobs_mounted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            StatusCode::ACCEPTED => self.upload(blob, what, &begun).await,
            status => Err(Trouble::status(what, status)),
        }
    }

    /// Sends a blob from the one to the other, never all of it in memory.
    async fn upload(&self, blob: Blob, what: &str, begun: &Response) -> Result<(), Trouble> {
        let mut location = self.target.location(begun)?;
        location
            .query_pairs_mut()
            .append_pair("digest", &blob.digest.to_string());
        let body = self.open(blob).await?;
        let length = body.content_length();
        let moved = Arc::new(AtomicU64::new(0));
        let (counted, progress) = (Arc::clone(&moved), Arc::clone(&self.progress));
        let body = body.bytes_stream().inspect_ok(move |chunk| {
            let bytes = u64::try_from(chunk.len()).unwrap_or(0);
            counted.fetch_add(bytes, Ordering::Relaxed);
            progress.bytes.fetch_add(bytes, Ordering::Relaxed);
        });
        let mut request = self.target.request(&self.uploads, Method::PUT, &location);
        if let Some(length) = length {
            request = request.header(CONTENT_LENGTH, length);
        }
        let kind = HeaderValue::from_static(media_type::BLOB);
        let request = request
            .header(CONTENT_TYPE, kind)
            .body(Body::wrap_stream(body));
        let sent = tokio::select! {
            sent = request.send() => sent.map_err(|error| Trouble::of(what, error))?,
            () = stalled(&moved, length) => {
                return Err(Trouble::passing(format!("{what}: the upload stands still")));
            }
        };
        match sent.status() {
            status if status.is_success() => {
                self.progress.blobs_copied.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            // The session or the token may have ended meanwhile: both are had anew.
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => {
                Err(Trouble::passing(format!(
                    "{what}: the upload was not taken: {}",
                    sent.status()
                )))
            }
            status => Err(Trouble::status(what, status)),
        }
    }

    /// Begins to read a blob of the source.
    async fn open(&self, blob: Blob) -> Result<Response, Trouble> {
        let what = format!("{}: blob {}", self.source.name, blob.digest);
        let url = self
            .source
            .url(&format!("{}/blobs/{}", self.from, blob.digest))?;
        let response = self.source.get(&url, &HeaderMap::new()).await?;
        if response.status() != StatusCode::OK {
            return Err(Trouble::status(&what, response.status()));
        }
        let length = response.content_length();
        match length.is_none_or(|length| blob.bytes == 0 || length == blob.bytes) {
            true => Ok(response),
            false => Err(Trouble::lasting(format!(
                "{what}: not of the size that its image says"
            ))),
        }
    }
}

/// Returns when nothing has moved for too long.
async fn stalled(moved: &AtomicU64, length: Option<u64>) {
    let (mut before, mut storing) = (0, 0);
    loop {
        tokio::time::sleep(STALL).await;
        let now = moved.load(Ordering::Relaxed);
        let is_sent = Some(now) == length;
        storing += u32::from(is_sent);
        if (now == before && !is_sent) || storing > STORING_MAX {
            return;
        }
        before = now;
    }
}

fn accept() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(media_type::ACCEPT))])
}

fn said_digest(response: &Response) -> Option<Digest> {
    let value = response.headers().get(DIGEST)?.to_str().ok()?;
    value.parse().ok()
}

//! Fetches one image: its manifests one after the other, then its blobs, a few at once.
//!
//! What is here is passed over without a request, so whoever comes again goes on where it was. A try ends with
//! the first thing that cannot be had, and what can be had later is tried again.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Parts;
use super::contents::{self, Blob, Child, Contents};
use super::failure::{Failure, Kind};
use super::image::Meant;
use super::job::{Job, Stage};
use super::progress::Progress;
use super::retry::Retry;
use crate::access::{self, Item, Visit};
use crate::digest::Digest;
use crate::fill::{self, Prefetch, Watch};
use crate::limits::{REJOINS_MAX, WARM_BLOBS_AT_ONCE, WARM_DEPTH_MAX, WARM_MANIFESTS_MAX};
use crate::manifests::{Asking, Manifests};
use crate::registry::{Name, media_type};
use crate::rt::{self, Group};
use crate::store::{self, Manifest};
use crate::upstream::Urgency;

/// One image of a job, being fetched.
pub(super) struct Fetch<'j> {
    pub(super) parts: &'j Parts,
    pub(super) manifests: &'j Manifests,
    pub(super) job: &'j Job,
    pub(super) visit: &'j Visit,
    pub(super) name: Name<'j>,
    /// Position of the image in the job.
    pub(super) image: usize,
}

/// A manifest that is to be looked into, and how many indexes it lies in.
type Open = (Arc<Manifest>, usize);

impl Fetch<'_> {
    /// Fetches it, however often that takes, and notes what became of it.
    pub(super) async fn run(&self) {
        let mut retry = Retry::new(self.job.order.patience);
        self.job.note_come();
        let mut before = self.job.last_come();
        loop {
            let failure = match self.attempt().await {
                Ok(()) => return self.stage(Stage::Done),
                Err(failure) => failure,
            };
            let come = self.job.last_come();
            let has_come = come > before;
            before = come;
            let wait = retry.next(come.elapsed(), has_come, rt::spread());
            let Some(wait) = wait.filter(|_| failure.is_passing()) else {
                let image = self.job.order.images.get(self.image);
                let image = image.map(ToString::to_string);
                tracing::warn!(job = self.job.id, image, %failure, "an image could not be warmed");
                return self.stage(Stage::Failed(failure));
            };
            tracing::debug!(job = self.job.id, %failure, "an image is tried again");
            self.stage(Stage::Waiting(failure));
            rt::sleep(wait).await;
        }
    }

    async fn attempt(&self) -> Result<(), Failure> {
        self.stage(Stage::Resolving);
        self.progress(Progress::begin);
        let root = self.root().await?;
        let blobs = self.walk(root).await?;
        self.stage(Stage::Fetching);
        self.progress(|progress| progress.expect_blobs(&blobs));
        self.blobs(blobs).await
    }

    /// Returns the manifest that the reference means, by the origin's word of now where it is a tag.
    async fn root(&self) -> Result<Arc<Manifest>, Failure> {
        let order = &self.job.order;
        let meant = order.images.get(self.image).map(super::Image::meant);
        self.progress(|progress| progress.expect_manifests(1));
        let (digest, manifest) = match meant {
            None => return Err(Failure::new(Kind::Invalid, "no such image")),
            Some(Meant::Digest(digest)) => {
                (*digest, self.manifest(*digest, media_type::ACCEPT).await?)
            }
            Some(Meant::Tag(tag)) => {
                let asking = self.asking(media_type::ACCEPT);
                let known = self.manifests.known(&asking, tag).await;
                let given = self.manifests.by_tag(&asking, tag, known.as_ref()).await;
                let given = given.map_err(|failure| {
                    self.refused(Failure::of_manifest(&failure, &self.visit.authority))
                })?;
                self.pass_manifest(given.digest, !given.is_unchanged);
                (given.digest, given.manifest)
            }
        };
        self.progress(|progress| progress.digest = Some(digest));
        if order.pin {
            self.pin().await?;
        }
        Ok(manifest)
    }

    /// Pins the image, so that what comes of it stays.
    async fn pin(&self) -> Result<(), Failure> {
        let image = self.job.order.images.get(self.image);
        let reference = image.and_then(|image| image.to_string().parse().ok());
        let Some(reference) = reference else {
            return Err(Failure::new(Kind::Invalid, "not a reference to be pinned"));
        };
        let store = Arc::clone(&self.parts.store);
        let pinned = rt::blocking(move || {
            let changed = store::pin(&store.root(), &[reference])?;
            if changed > 0 {
                store.heed_pins();
            }
            Ok::<_, std::io::Error>(())
        });
        let pinned = pinned.await.and_then(std::convert::identity);
        pinned.map_err(|error| Failure::new(Kind::Disk, format!("it could not be pinned: {error}")))
    }

    /// Goes through the manifests below `root`, and returns the blobs that they name.
    async fn walk(&self, root: Arc<Manifest>) -> Result<Vec<Blob>, Failure> {
        let mut open: VecDeque<Open> = VecDeque::from([(root, 1)]);
        let (mut seen, mut blobs) = (HashSet::new(), Vec::new());
        let mut named = HashSet::new();
        while let Some((manifest, depth)) = open.pop_front() {
            let contents = contents::read(&manifest);
            match contents.map_err(|why| Failure::new(Kind::Invalid, why))? {
                Contents::Image {
                    blobs: found,
                    foreign,
                } => {
                    self.progress(|progress| progress.foreign += foreign as u64);
                    let new = |blob: &Blob| named.insert(blob.digest);
                    blobs.extend(found.into_iter().filter(new));
                }
                Contents::Index(children) => {
                    let wanted = self.select(children, depth)?;
                    let new = wanted.into_iter().filter(|child| seen.insert(child.digest));
                    let new: Vec<_> = new.collect();
                    if depth >= WARM_DEPTH_MAX && !new.is_empty() {
                        return Err(Failure::new(Kind::Invalid, "indexes in too many indexes"));
                    }
                    if seen.len() > WARM_MANIFESTS_MAX {
                        return Err(Failure::new(Kind::Invalid, "too many manifests"));
                    }
                    self.progress(|progress| progress.expect_manifests(new.len() as u64));
                    for child in new {
                        let accept = accept(child.media_type.as_deref());
                        let manifest = self.manifest(child.digest, &accept).await?;
                        open.push_back((manifest, depth + 1));
                    }
                }
            }
        }
        Ok(blobs)
    }

    /// Returns the manifests of an index that are for the platforms that were asked for.
    fn select(&self, children: Vec<Child>, depth: usize) -> Result<Vec<Child>, Failure> {
        let asked = &self.job.order.platforms;
        if asked.is_empty() || children.is_empty() {
            return Ok(children);
        }
        let offered: Vec<_> = children.iter().filter_map(|c| c.platform.clone()).collect();
        // Only the outermost index says which platforms there are; what has none may be for any.
        let missing: Vec<String> = asked
            .iter()
            .filter(|platform| !offered.iter().any(|one| platform.takes(one)))
            .map(ToString::to_string)
            .collect();
        let is_wanted = |child: &Child| match &child.platform {
            Some(offered) => asked.iter().any(|platform| platform.takes(offered)),
            None => true,
        };
        let wanted: Vec<Child> = children.into_iter().filter(is_wanted).collect();
        if depth == 1 && wanted.is_empty() {
            let offered: Vec<_> = offered.iter().map(ToString::to_string).collect();
            let message = format!("it is for {} only", offered.join(", "));
            return Err(Failure::new(Kind::NoPlatform, message));
        }
        if depth == 1 && !offered.is_empty() {
            self.progress(|progress| progress.missing = missing);
        }
        Ok(wanted)
    }

    /// Returns a manifest by its digest: from the store, or from the next hop.
    async fn manifest(&self, digest: Digest, accept: &str) -> Result<Arc<Manifest>, Failure> {
        let about = |failure: Failure| failure.about(format_args!("manifest {digest}"));
        let asking = self.asking(accept);
        if let Some(manifest) = self.manifests.stored(digest).await {
            self.link(asking.item(digest)).await.map_err(about)?;
            self.pass_manifest(digest, false);
            return Ok(manifest);
        }
        match self.manifests.by_digest(&asking, digest).await {
            Ok(given) => {
                self.pass_manifest(digest, true);
                Ok(given.manifest)
            }
            Err(failure) => {
                let failure = Failure::of_manifest(&failure, &self.visit.authority);
                Err(about(self.refused(failure)))
            }
        }
    }

    /// Fetches blobs, a few at once. What is under way when one fails is not given up for that.
    async fn blobs(&self, blobs: Vec<Blob>) -> Result<(), Failure> {
        let mut left = blobs.into_iter();
        let mut group = Group::new();
        let mut failed = None;
        loop {
            while group.len() < WARM_BLOBS_AT_ONCE && failed.is_none() {
                let Some(blob) = left.next() else { break };
                group.add(self.blob(blob));
            }
            if group.is_empty() {
                return failed.map_or(Ok(()), Err);
            }
            if let Err(failure) = group.next().await {
                // What cannot be had ever is told before what may be had later.
                let is_worse = |known: &Failure| known.is_passing() && !failure.is_passing();
                if failed.as_ref().is_none_or(is_worse) {
                    failed = Some(failure);
                }
            }
        }
    }

    async fn blob(&self, blob: Blob) -> Result<(), Failure> {
        let digest = blob.digest;
        let about = |failure: Failure| failure.about(format_args!("blob {digest}"));
        let item = Item {
            kind: access::Kind::Blob,
            repository: self.name,
            digest,
        };
        let is_new = self.fill(item).await.map_err(about)?;
        if is_new {
            self.job.note_come();
            self.parts.counters.warm_bytes.add(blob.size_bytes);
        }
        self.progress(|progress| progress.pass_blob(blob, is_new));
        Ok(())
    }

    /// Has a blob here; says whether it was not.
    async fn fill(&self, item: Item<'_>) -> Result<bool, Failure> {
        let (digest, authority) = (item.digest, &self.visit.authority);
        for _ in 0..REJOINS_MAX {
            if self.is_stored(digest).await {
                self.link(item).await?;
                return Ok(false);
            }
            let (fills, name) = (&self.parts.fills, self.name.as_str());
            let watch = match fills.prefetch(digest, name, authority, &self.parts.counters) {
                Prefetch::Stored => continue,
                Prefetch::Busy => return Err(Failure::new(Kind::Away, "too many fills run")),
                Prefetch::Watched(watch) => watch,
            };
            let is_asked_so = watch.is_asked_as(name, authority);
            let is_ours = is_asked_so && watch.is_unanswered();
            match self.watch(&watch).await {
                Ok(()) => {}
                // That was the answer to somebody else, or nobody wanted it any more.
                Err(fill::Failure::Refused(_)) if !is_asked_so => continue,
                Err(fill::Failure::Unwanted) => continue,
                Err(fill::Failure::Lost) if !self.is_stored(digest).await => {
                    return Err(Failure::new(
                        Kind::Disk,
                        "the cache's disk does not take it",
                    ));
                }
                Err(failure) => return Err(self.refused(Failure::of_fill(&failure, authority))),
            }
            if self.parts.store.lookup(&digest).is_none() {
                return Err(Failure::new(
                    Kind::Disk,
                    "the cache's disk does not take it",
                ));
            }
            match watch.proved_answer().filter(|_| is_ours) {
                Some(answered) => self.parts.access.confirm(self.visit, item, answered),
                None => self.link(item).await?,
            }
            return Ok(true);
        }
        Err(Failure::new(Kind::Away, "others fetch it, and fail"))
    }

    /// Waits for the end of a fill, and shows how far it is meanwhile.
    async fn watch(&self, watch: &Watch) -> Result<(), fill::Failure> {
        let received = watch.received();
        let fill = watch.fill();
        self.job.track(self.image, |track| track.active.push(fill));
        let ended = watch.end().await;
        self.job.track(self.image, |track| {
            track.active.retain(|fill| fill.digest() != watch.digest());
        });
        // Half a blob that is kept is half a blob less next time.
        if watch.received() > received {
            self.job.note_come();
        }
        ended.map(|_| ())
    }

    /// Says whether a blob is here, in the index or, where another process stored it, on disk alone.
    async fn is_stored(&self, digest: Digest) -> bool {
        if self.parts.store.lookup(&digest).is_some() {
            return true;
        }
        if self.parts.fills.is_running(&digest) {
            return false;
        }
        let store = Arc::clone(&self.parts.store);
        let opened = rt::blocking(move || store.open_blob(&digest).map(drop));
        let opened = opened.await.and_then(std::convert::identity);
        opened.is_ok() && self.parts.store.lookup(&digest).is_some()
    }

    /// Has the origin's word that the repository has what is here, as a client's pull would.
    async fn link(&self, item: Item<'_>) -> Result<(), Failure> {
        let (access, store) = (&self.parts.access, &self.parts.store);
        if access.is_public() || store.is_linked(item.repository.as_str(), &item.digest) {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let counters = &self.parts.counters;
        let permitted = access.permit(self.visit, item, None, now, counters).await;
        let denied = |denial| self.refused(Failure::of_denial(&denial, &self.visit.authority));
        permitted.map(|_| ()).map_err(denied)
    }

    /// Takes note of a refusal, as one that a client got.
    fn refused(&self, failure: Failure) -> Failure {
        if matches!(failure.kind, Kind::Denied | Kind::Absent) {
            self.parts.access.take_back(self.visit, self.name);
        }
        failure
    }

    fn asking<'a>(&'a self, accept: &'a str) -> Asking<'a> {
        Asking {
            visit: self.visit,
            name: self.name,
            accept,
            urgency: Urgency::Background,
            counters: &self.parts.counters,
        }
    }

    fn pass_manifest(&self, digest: Digest, is_new: bool) {
        if is_new {
            self.job.note_come();
        }
        self.progress(|progress| progress.pass_manifest(digest, is_new));
    }

    fn progress(&self, change: impl FnOnce(&mut Progress)) {
        self.job
            .track(self.image, |track| change(&mut track.progress));
    }

    fn stage(&self, stage: Stage) {
        self.job.track(self.image, |track| track.stage = stage);
    }
}

/// Returns the types that a manifest is asked for with: all that are known, and its own.
fn accept(own: Option<&str>) -> String {
    let own = own.and_then(media_type::essence);
    match own.filter(|own| !media_type::is_manifest(own)) {
        Some(own) => format!("{}, {own}", media_type::ACCEPT),
        None => media_type::ACCEPT.to_owned(),
    }
}

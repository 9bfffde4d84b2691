//! The disk: one file per blob, published whole or not at all.
//!
//! ```text
//! <root>/blobs/<algorithm>/<2 hex>/<hex>       committed blobs, bytes as they are
//! <root>/manifests/<algorithm>/<2 hex>/<hex>   manifests: a line with the media type, then the bytes
//! <root>/partial/                              unfinished fills, where O_TMPFILE is missing
//! <root>/checkpoint                            its mtime: what is older is on the medium
//! <root>/links                                 which repositories have which digests: see `links`
//! ```
//!
//! The file system is the truth; the index in memory is made from it at start. Everything here may
//! block and belongs on helper threads, except [`Store::lookup`], [`Store::is_linked`] and [`Store::link`].
//!
//! Invariants
//! - A name under `blobs` exists only for a blob whose digest was equal when it was written.
//! - What a power cut may have damaged is hashed again before it is served: see `checkpoint`.
//! - A blob that is being sent stays readable: deletion unlinks, an open file lives on.

mod checkpoint;
mod index;
#[cfg_attr(not(test), expect(dead_code, reason = "the index comes to it"))]
mod journal;
mod layout;
#[cfg_attr(not(test), expect(dead_code, reason = "the store comes to it"))]
mod lease;
mod links;
mod manifest;
mod options;
mod partial;
mod publish;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use index::Entry;
pub use manifest::Manifest;
pub use options::Options;
pub use partial::Partial;

use crate::digest::{Algorithm, Digest, Hasher};
use checkpoint::Checkpoint;
use index::Index;
use layout::{Kind, Layout};
use links::Links;
use manifest::{Loaded, Manifests};
use publish::Publish;

/// How often committed blobs are forced to the medium, and with them the checkpoint.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// The store of one root directory. One process writes it at a time.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    index: Index,
    manifests: Manifests,
    links: Links,
    publish: Publish,
    checkpoint: Checkpoint,
    blob_ttl: Option<Duration>,
}

/// A blob opened for sending.
#[derive(Debug)]
pub struct OpenBlob {
    /// The committed file, open for reading.
    pub file: Arc<File>,
    /// Length of the blob, in bytes.
    pub size_bytes: u64,
    /// Its entry in the index.
    pub entry: Arc<Entry>,
}

impl Store {
    /// Opens the store, making its directories, and builds the index from them.
    ///
    /// Costs a `readdir` and a `stat` for every blob.
    ///
    /// # Errors
    /// The disk's, with the path that it is about.
    pub fn open(options: &Options) -> io::Result<Self> {
        let layout = Layout::new(options.root.clone());
        layout
            .make()
            .map_err(|error| about(&options.root, &error))?;
        let checkpoint = Checkpoint::read(layout.root())?;
        let publish = Publish::probe(&layout)?;
        let index = scan(&layout, &checkpoint)?;
        let links = Links::open(layout.links(), |digest| {
            index.lookup(digest).is_some() || layout.path(Kind::Manifest, digest).exists()
        })?;
        Ok(Self {
            index,
            manifests: Manifests::default(),
            links,
            publish,
            checkpoint,
            blob_ttl: options.blob_ttl,
            layout,
        })
    }

    /// Returns how blobs are published here, for the start-up log.
    #[must_use]
    pub fn publish_method(&self) -> &'static str {
        self.publish.describe()
    }

    /// Returns the root directory.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.layout.root().to_owned()
    }

    /// Returns how many blobs are here.
    #[must_use]
    pub fn blobs(&self) -> usize {
        self.index.len()
    }

    /// Returns the entry of a committed blob. Costs one read lock of a shard; never blocks on disk.
    #[must_use]
    pub fn lookup(&self, digest: &Digest) -> Option<Arc<Entry>> {
        self.index.lookup(digest)
    }

    /// Opens a blob for sending, having proved it first if a power cut may have damaged it.
    ///
    /// `None` means absent: also when the file has vanished, is of another length than the index
    /// says, or is damaged; the entry is then dropped, so that the next request fills it anew.
    ///
    /// # Errors
    /// The disk's, other than "not found".
    pub fn open_blob(&self, digest: &Digest) -> io::Result<Option<OpenBlob>> {
        let Some(entry) = self.index.lookup(digest) else {
            return Ok(None);
        };
        let path = self.layout.path(Kind::Blob, digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.index.remove(digest);
                self.links.unlink(digest);
                return Ok(None);
            }
            Err(error) => return Err(about(&path, &error)),
        };
        let size_bytes = file.metadata()?.len();
        if size_bytes != entry.size_bytes || !self.prove(digest, &entry, &file)? {
            tracing::warn!(%digest, size_bytes, expected = entry.size_bytes, "a stored blob was damaged; dropped");
            self.discard(digest);
            return Ok(None);
        }
        Ok(Some(OpenBlob {
            file: Arc::new(file),
            size_bytes,
            entry,
        }))
    }

    /// Hashes a blob that may be damaged; says whether it is sound.
    fn prove(&self, digest: &Digest, entry: &Entry, file: &File) -> io::Result<bool> {
        if entry.is_proved() {
            return Ok(true);
        }
        let sound = hash_file(digest.algorithm(), file)? == *digest;
        if sound {
            entry.set_proved();
        }
        Ok(sound)
    }

    /// Remembers that the origin has confirmed that `repository` has `digest`, a blob or a manifest.
    ///
    /// Never waits for the disk: the link is written at the next [`Store::checkpoint`]. It goes with the blob
    /// or manifest that it is to. A text that is no repository's name is not remembered.
    pub fn link(&self, repository: &str, digest: &Digest) {
        self.links.link(repository, digest);
    }

    /// Says whether the origin is known to have confirmed that `repository` has `digest`, which says nothing
    /// of whether the digest is stored. Costs two read locks of shards; never blocks on disk.
    #[must_use]
    pub fn is_linked(&self, repository: &str, digest: &Digest) -> bool {
        self.links.is_linked(repository, digest)
    }

    /// Drops a blob from index and disk, and every link to it. Responses that are sending it go on.
    pub fn discard(&self, digest: &Digest) {
        self.index.remove(digest);
        self.links.unlink(digest);
        let path = self.layout.path(Kind::Blob, digest);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%digest, %error, "a blob could not be deleted");
            }
            _ => {}
        }
    }

    /// Starts a file for an unfinished blob. Dropping it uncommitted leaves nothing behind.
    ///
    /// # Errors
    /// The disk's.
    pub fn begin(&self) -> io::Result<Partial> {
        self.publish.begin(&self.layout, self.checkpoint.failures())
    }

    /// Publishes a partial whose digest was found equal; it is a hit from now on.
    ///
    /// A blob that is already there is success: equal digests are equal bytes.
    ///
    /// # Errors
    /// The disk's; nothing is published then.
    pub fn commit(
        &self,
        digest: &Digest,
        partial: Partial,
        size_bytes: u64,
    ) -> io::Result<Arc<Entry>> {
        let path = self.layout.path(Kind::Blob, digest);
        let begun = partial.begun();
        self.checkpoint
            .commit(digest, begun, || partial.publish(&path))?;
        let entry = Entry::new(size_bytes, SystemTime::now(), true);
        Ok(self.index.insert(digest, entry))
    }

    /// Returns a manifest that is here, its digest proved when it was read.
    ///
    /// # Errors
    /// The disk's. A damaged one is deleted and absent, and so are the links to it.
    pub fn manifest(&self, digest: &Digest) -> io::Result<Option<Arc<Manifest>>> {
        match self.manifests.load(&self.layout, digest)? {
            Loaded::Here(manifest) => Ok(Some(manifest)),
            Loaded::Absent => Ok(None),
            Loaded::Deleted => {
                self.links.unlink(digest);
                Ok(None)
            }
        }
    }

    /// Returns a manifest if it is in memory. Never blocks on disk.
    #[must_use]
    pub fn manifest_in_memory(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        self.manifests.in_memory(digest)
    }

    /// Keeps a manifest in memory and on disk.
    ///
    /// # Errors
    /// The disk's; it is in memory all the same.
    pub fn keep_manifest(&self, digest: &Digest, manifest: &Arc<Manifest>) -> io::Result<()> {
        let kept = self
            .manifests
            .keep(&self.layout, &self.publish, digest, manifest);
        self.checkpoint.note();
        kept
    }

    /// Deletes what has not been pulled for the TTL. Returns how many blobs went.
    pub fn expire(&self, now: SystemTime) -> usize {
        let Some(ttl) = self.blob_ttl else { return 0 };
        let Some(oldest) = now.checked_sub(ttl) else {
            return 0;
        };
        let stale = self.index.not_used_since(oldest);
        stale.iter().for_each(|digest| self.discard(digest));
        stale.len()
    }

    /// Returns how often [`Store::expire`] wants to be called: within a minute, and sooner for a
    /// short TTL.
    #[must_use]
    pub fn expire_every(&self) -> Option<Duration> {
        let ttl = self.blob_ttl?;
        Some((ttl / 4).clamp(Duration::from_millis(200), Duration::from_secs(15)))
    }

    /// Forces what was committed and linked to the medium, and remembers that it is there.
    ///
    /// # Errors
    /// The disk's; what may have been lost by it is deleted, to be filled anew. Links that cannot be written
    /// are no error: they stay in memory and are tried again.
    pub fn checkpoint(&self) -> io::Result<()> {
        if self.links.flush() {
            self.checkpoint.note();
        }
        self.checkpoint
            .advance(self.layout.root())
            .map_err(|(error, suspects)| {
                self.links.doubt();
                suspects.iter().for_each(|digest| self.discard(digest));
                let blobs = suspects.len();
                io::Error::new(
                    error.kind(),
                    format!("sync failed, {blobs} young blobs dropped: {error}"),
                )
            })
    }

    /// Returns how often [`Store::checkpoint`] wants to be called.
    #[must_use]
    pub fn checkpoint_every(&self) -> Duration {
        CHECKPOINT_EVERY
    }
}

/// Returns the index of the blobs that are there, and deletes what unfinished fills have left.
fn scan(layout: &Layout, checkpoint: &Checkpoint) -> io::Result<Index> {
    let index = Index::default();
    layout.clear_partials()?;
    layout.scan(Kind::Blob, |digest, metadata| {
        let entry = Entry::found(metadata, checkpoint.covers(metadata));
        index.insert(&digest, entry);
    })?;
    Ok(index)
}

/// Hashes a whole file, 256 KiB at a time.
fn hash_file(algorithm: Algorithm, file: &File) -> io::Result<Digest> {
    use std::os::unix::fs::FileExt;
    let mut hasher = Hasher::new(algorithm);
    let mut buf = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        match file.read_at(&mut buf, offset)? {
            0 => return Ok(hasher.finish()),
            count => {
                hasher.update(&buf[..count]);
                offset += count as u64;
            }
        }
    }
}

/// Returns `error` with the path that it is about.
fn about(path: &std::path::Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;

//! The disk: one file per blob, published whole or not at all.
//!
//! ```text
//! <root>/blobs/<algorithm>/<2 hex>/<hex>       committed blobs, bytes as they are
//! <root>/manifests/<algorithm>/<2 hex>/<hex>   manifests: a line with the media type, then the bytes
//! <root>/partial/<name>                        unfinished fills: those that are kept, see `kept`, and all of
//!                                              them where O_TMPFILE is missing
//! <root>/partial/<name>.progress               how much of it is good
//! <root>/quarantine/                           files that were found damaged
//! <root>/index                                 what is here, how large and last used when: see `journal`
//! <root>/checkpoint                            its mtime: what is older is on the medium
//! <root>/links                                 which repositories have which digests: see `links`
//! <root>/tags                                  what tags meant, and when the origin said so: see `tags`
//! <root>/pins                                  what is never evicted: see `pins`
//! <root>/lease                                 which process keeps house: see `lease`
//! ```
//!
//! ```text
//!  lookup, open ─▶ inventory ◀─ commit ◀─ partial ◀─▶ kept      what is here; is being filled; will be gone on with
//!                    │    ▲
//!             journal│    │ scan                       what the next start knows
//!                    ▼    │
//!                   disk ─╯        house: expiry, watermarks, trials, all that is done now and then
//! ```
//!
//! The file system is the truth; the index in memory is a good guess at it that is corrected whenever a file
//! is opened. Everything here may block and belongs on helper threads, except [`Store::lookup`],
//! [`Store::touch`], [`Store::is_linked`], [`Store::link`], [`Store::manifest_in_memory`] and what is about
//! tags.
//!
//! Invariants
//! - A name under `blobs` exists only for a blob whose digest was equal when it was written.
//! - What a power cut may have damaged is hashed again before it is served: see `checkpoint`.
//! - A blob that is being sent stays readable: deletion unlinks, an open file lives on, and counts until it
//!   is closed.
//! - A disk that fails is never a reason to fail a pull: whoever fills is told, and goes on without it.

mod check;
mod checkpoint;
mod crew;
mod entry;
mod gentle;
mod house;
pub mod import;
mod index;
mod inventory;
mod journal;
mod kept;
mod layout;
mod lease;
mod links;
mod manifest;
mod options;
mod partial;
mod pins;
pub mod policy;
mod publish;
mod quarantine;
mod room;
mod scan;
pub mod scrub;
mod tags;
mod trouble;
mod upkeep;
pub mod verify;
mod view;
mod walk;

use std::fs::{File, Metadata};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};

pub use check::{Checked, Finding};
pub use entry::{Entry, Reading};
pub use house::House;
pub use kept::{Kept, Progress};
pub use layout::Kind;
pub use manifest::Manifest;
pub use options::{Amount, Durability, Options};
pub use partial::Partial;
pub use pins::{Reference, ReferenceError, pin, pins, unpin};
pub use quarantine::Fate;
pub use tags::{TagKey, Tagged};
pub use view::{Listing, Place, Purge, Row, Shown, Sort};

use crate::digest::{Algorithm, Digest, Hasher};
use crate::metrics::{DiskTrouble, Removal, StoreNumbers};
use checkpoint::Checkpoint;
use entry::seconds;
use inventory::Inventory;
use journal::{Journal, Verdict};
use kept::Shelf;
use layout::Layout;
use lease::Lease;
use links::Links;
use manifest::{Loaded, Manifests};
use options::Tuned;
use pins::Pins;
use publish::Publish;
use room::{Reservation, Room, Space};
use tags::{Moment, Tags};
use trouble::Trouble;

/// The store of one root directory.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    inventory: Inventory,
    manifests: Manifests,
    links: Links,
    tags: Tags,
    /// Unfinished files that nobody writes to.
    shelf: Shelf,
    publish: RwLock<Publish>,
    checkpoint: Checkpoint,
    trouble: Trouble,
    pins: Pins,
    tuned: Tuned,
    /// Device of the root directory at start: another one later is another file system.
    device: u64,
    /// Held by whoever makes room, one at a time; when one last waited in vain for files to be closed.
    making_room: Mutex<Option<Instant>>,
    /// This process keeps house: it evicts, expires, and writes the index.
    is_keeper: AtomicBool,
    /// The bytes of the directory are this process's care: it keeps house, or nobody is known to.
    is_bound: AtomicBool,
    /// Others share the directory.
    has_company: AtomicBool,
    /// Second in which what is found may have been used last, as the index that knew is lost.
    used_by: AtomicU32,
    /// Files that could not be read.
    unreadable: Mutex<upkeep::Unreadable>,
    /// What is on disk has to be compared with what memory knows.
    wants_scan: AtomicBool,
    /// The disk said that it is full.
    wants_room: AtomicBool,
}

/// A blob opened for sending.
#[derive(Debug)]
pub struct OpenBlob {
    /// The committed file, open for reading.
    pub file: Arc<File>,
    /// Length of the blob, in bytes.
    pub size_bytes: u64,
    /// Its entry, whose bytes count as taken while this lives.
    pub entry: Reading,
}

/// What came of opening a blob.
#[derive(Debug)]
pub enum Opened {
    /// It is here and sound.
    Here(OpenBlob),
    /// It is not here.
    Absent,
    /// It is here, and has to be hashed first: see [`Store::prove_blob`].
    Doubtful,
}

impl Store {
    /// Opens the store, making its directories, with what the journal knows of it; and whoever keeps it in
    /// order from then on.
    ///
    /// Costs the reading of the journal, well under a second for a million blobs. Where it is missing or
    /// older than what is on disk, [`Store::scan`] has to be called; the store works meanwhile.
    ///
    /// # Errors
    /// The disk's, with the path that it is about.
    pub fn open(options: &Options, numbers: Arc<StoreNumbers>) -> io::Result<(Arc<Self>, House)> {
        let root = &options.root;
        let layout = Layout::new(root.clone());
        layout.make().map_err(|error| about(root, &error))?;
        let checkpoint = Checkpoint::read(layout.root())?;
        let trouble = Trouble::new(Arc::clone(&numbers));
        let publish = Publish::probe(&layout).or_else(|error| {
            let kind = trouble.note(&error, "try out", Instant::now());
            let is_known = matches!(kind, Some(DiskTrouble::Full | DiskTrouble::ReadOnly));
            // Nothing can be found out now: it is tried again before anything is stored.
            is_known
                .then_some(Publish::LinkUnnamed)
                .ok_or_else(|| about(root, &error))
        })?;
        let space = Space::of(root).map_err(|error| about(root, &error))?;
        let room = Room::new(options, &space, Arc::clone(&numbers));
        let shelf = Shelf::new(root, Arc::clone(&room), Arc::clone(&numbers));
        let inventory = Inventory::new(room, Arc::clone(&numbers));
        let opened = Journal::open(layout.journal(), |change| inventory.replay(change));
        let (journal, verdict) = opened.unwrap_or_else(|error| {
            tracing::warn!(%error, "the index on disk could not be read: not used, and the files are looked through");
            (Journal::lost(layout.journal()), Verdict::Damaged)
        });
        let written = std::fs::metadata(layout.journal()).and_then(|index| index.modified());
        let is_whole = verdict == Verdict::Clean
            && !import::is_marked(root)
            && written
                .as_ref()
                .is_ok_and(|at| !layout.has_changed_since(*at));
        let is_lost = !matches!(verdict, Verdict::Clean | Verdict::Unclean | Verdict::Absent);
        let used_by = written.ok().filter(|_| is_lost).map_or(0, seconds);
        for entry in inventory.select(|_| is_lost) {
            entry.used_at(used_by);
        }
        let links = Links::open(layout.links(), |digest| {
            [Kind::Blob, Kind::Manifest].into_iter().any(|kind| {
                let is_known = inventory.lookup(kind, digest).is_some();
                is_known || (!is_whole && layout.path(kind, digest).exists())
            })
        })?;
        let lease = Lease::claim(layout.root(), Instant::now());
        let store = Arc::new(Self {
            inventory,
            manifests: Manifests::default(),
            links,
            tags: Tags::open(layout.tags(), Moment::now()),
            shelf,
            publish: RwLock::new(publish),
            checkpoint,
            trouble,
            pins: Pins::new(layout.pins()),
            tuned: Tuned::new(options),
            device: layout.device()?,
            making_room: Mutex::default(),
            unreadable: Mutex::default(),
            is_keeper: AtomicBool::new(lease.is_holder()),
            is_bound: AtomicBool::new(true),
            has_company: AtomicBool::new(lease.has_company()),
            used_by: AtomicU32::new(used_by),
            wants_scan: AtomicBool::new(!is_whole),
            wants_room: AtomicBool::new(false),
            layout,
        });
        store.look_at_pins();
        store.look_at_what_was_left();
        let mut house = House::new(Arc::clone(&store), journal, lease);
        house.begin();
        Ok((store, house))
    }

    /// Goes by `options` from now on, but for the root directory. What is too much then goes with the next look
    /// of whoever keeps house.
    ///
    /// # Errors
    /// The disk's: how large the file system is could not be found out, and the bounds of the room stay as they
    /// were.
    pub fn reload(&self, options: &Options) -> io::Result<()> {
        self.tuned.set(options);
        let space = Space::of(self.layout.root()).map_err(|e| about(self.layout.root(), &e))?;
        self.inventory.set_bounds(options, &space);
        Ok(())
    }

    /// Returns how everything that is stored is hashed again; `None` if it is not.
    #[must_use]
    pub fn scrub_pace(&self) -> Option<scrub::Pace> {
        self.tuned.scrub()
    }

    /// Returns how blobs are published here, for the start-up log.
    #[must_use]
    pub fn publish_method(&self) -> &'static str {
        self.publish.read().describe()
    }

    /// Returns the root directory.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.layout.root().to_owned()
    }

    /// Returns how many blobs and manifests are known to be here.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.inventory.len()
    }

    /// Returns what keeps blobs from being stored, for an operator's eyes; nothing when all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<(DiskTrouble, String)> {
        self.trouble.describe()
    }

    /// Returns a number that changes whenever something was deleted.
    #[must_use]
    pub fn removals(&self) -> u64 {
        self.inventory.removals()
    }

    /// Returns the entry of a committed blob, if memory knows it. Costs one read lock of a shard; never
    /// blocks on disk.
    #[must_use]
    pub fn lookup(&self, digest: &Digest) -> Option<Arc<Entry>> {
        self.inventory.lookup(Kind::Blob, digest)
    }

    /// Notes that a blob was sent `hits` times, the last time at `now`, in seconds since the epoch. Takes no
    /// lock.
    pub fn touch(&self, entry: &Reading, now: u64, hits: u32) {
        let now = u32::try_from(now).unwrap_or(u32::MAX);
        self.inventory.touch(entry.entry(), now, hits);
    }

    /// Says whether there is a file of a blob, whatever memory knows. May block.
    #[must_use]
    pub fn has_file(&self, digest: &Digest) -> bool {
        self.layout.path(Kind::Blob, digest).is_file()
    }

    /// Opens a blob for sending, whether memory knows it or not: another process may have stored it.
    ///
    /// When its file has vanished or is of another length than the index says, its entry is dropped, so that
    /// the next request fills it anew.
    ///
    /// # Errors
    /// The disk's, other than "not found".
    pub fn open_blob(&self, digest: &Digest) -> io::Result<Opened> {
        let Some((file, metadata)) = self.open_file(digest)? else {
            return Ok(Opened::Absent);
        };
        let known = self.lookup(digest);
        if let Some(entry) = &known
            && entry.size_bytes != metadata.len()
        {
            self.condemn(entry, "another length than when it was stored");
            return Ok(Opened::Absent);
        }
        let is_proved = known.as_ref().is_some_and(|entry| entry.is_proved());
        if !is_proved && !self.checkpoint.covers(&metadata) {
            return Ok(Opened::Doubtful);
        }
        Ok(self.opened(digest, known, file, &metadata))
    }

    /// Opens a blob, having hashed it: one that a power cut may have damaged, or that somebody else stored.
    /// One that is damaged is dropped, and absent.
    ///
    /// Costs the reading and hashing of all of it.
    ///
    /// # Errors
    /// As [`Store::open_blob`].
    pub fn prove_blob(&self, digest: &Digest) -> io::Result<Opened> {
        let Some((file, metadata)) = self.open_file(digest)? else {
            return Ok(Opened::Absent);
        };
        let known = self.lookup(digest);
        if hash_file(digest.algorithm(), &file)? == *digest {
            return Ok(self.opened(digest, known, file, &metadata));
        }
        let entry = known.unwrap_or_else(|| self.found(digest, &metadata));
        self.condemn(&entry, "its bytes are not those of its digest");
        Ok(Opened::Absent)
    }

    /// Opens the file of a blob; where there is none the entry goes.
    fn open_file(&self, digest: &Digest) -> io::Result<Option<(File, Metadata)>> {
        let path = self.layout.path(Kind::Blob, digest);
        let opened = open_regular(&path).and_then(|file| {
            let metadata = file.metadata()?;
            Ok((file, metadata))
        });
        match opened {
            Ok(opened) if opened.1.is_file() => Ok(Some(opened)),
            Ok(_) => Ok(None),
            Err(error) if is_vanished(&error) => {
                if let Some(entry) = self.lookup(digest) {
                    self.forget(&entry, Removal::Vanished);
                }
                Ok(None)
            }
            // As it is: whoever opens tells a damaged file from a shortage of descriptors by its number.
            Err(error) => Err(error),
        }
    }

    /// Returns what was opened and is sound.
    fn opened(
        &self,
        digest: &Digest,
        known: Option<Arc<Entry>>,
        file: File,
        metadata: &Metadata,
    ) -> Opened {
        let entry = known.unwrap_or_else(|| self.found(digest, metadata));
        entry.set_proved();
        let size_bytes = metadata.len();
        Inventory::read(&entry).map_or(Opened::Absent, |entry| {
            Opened::Here(OpenBlob {
                file: Arc::new(file),
                size_bytes,
                entry,
            })
        })
    }

    /// Adds what is on disk and was not known.
    fn found(&self, digest: &Digest, metadata: &Metadata) -> Arc<Entry> {
        self.add(Entry::found(Kind::Blob, digest, metadata), None)
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

    /// Starts a file for an unfinished blob, in room that is reserved for `size_bytes` or, where the size is
    /// not known, for some of it. Dropping it uncommitted leaves nothing behind.
    ///
    /// Evicts what has to go for it. May wait a moment for files that are deleted and still open.
    ///
    /// # Errors
    /// `StorageFull` when there is no room, `Other` while the disk is in trouble, or the disk's.
    pub fn begin(&self, size_bytes: Option<u64>) -> io::Result<Partial> {
        let reserved = self.reserve(size_bytes.unwrap_or(crate::limits::ROOM_STEP_BYTES))?;
        let way = *self.publish.read();
        let begun = way.begin(&self.layout, self.checkpoint.failures());
        self.noting("begin a file", begun)
            .map(|partial| partial.within(reserved))
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As [`Store::begin`]; what was written then is unknown.
    pub fn write(&self, partial: &mut Partial, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.reserve_more(partial, bytes.len() as u64)?;
        self.noting("write", partial.write(bytes, offset))
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
        mut partial: Partial,
        size_bytes: u64,
    ) -> io::Result<Reading> {
        let path = self.layout.path(Kind::Blob, digest);
        let (begun, reserved) = (partial.begun(), partial.take_reserved());
        let is_each = self.tuned.durability.get() == Durability::Each;
        if is_each {
            self.noting("sync a file", partial.sync())?;
        }
        let published = self
            .checkpoint
            .commit(digest, begun, || partial.publish(&path));
        self.noting("publish", published)?;
        if is_each {
            self.noting("sync a folder", layout::sync_parent(&path))?;
        }
        let now = seconds(SystemTime::now());
        let entry = Entry::new(Kind::Blob, digest, size_bytes, now);
        let entry = self.add(entry, reserved);
        entry.set_proved();
        self.drop_kept(digest);
        Ok(Reading::new(entry))
    }

    /// Returns a manifest that is here, its digest proved when it was read.
    ///
    /// # Errors
    /// The disk's. A damaged one is deleted and absent, and so are the links to it.
    pub fn manifest(&self, digest: &Digest) -> io::Result<Option<Arc<Manifest>>> {
        if let Some(manifest) = self.manifest_in_memory(digest) {
            return Ok(Some(manifest));
        }
        let known = self.inventory.lookup(Kind::Manifest, digest);
        match self.manifests.load(&self.layout, digest)? {
            Loaded::Here(manifest, metadata) => {
                let entry = known.unwrap_or_else(|| {
                    let found = Entry::found(Kind::Manifest, digest, &metadata);
                    self.add(found, None)
                });
                self.inventory.touch(&entry, seconds(SystemTime::now()), 1);
                Ok(Some(manifest))
            }
            Loaded::Absent => {
                if let Some(entry) = known {
                    self.forget(&entry, Removal::Vanished);
                }
                Ok(None)
            }
            Loaded::Damaged(metadata) => {
                let entry = known.unwrap_or_else(|| {
                    let found = Entry::found(Kind::Manifest, digest, &metadata);
                    self.inventory.add(found, None)
                });
                self.condemn(&entry, "its bytes are not those of its digest");
                Ok(None)
            }
        }
    }

    /// Returns a manifest if it is in memory. Never blocks on disk.
    #[must_use]
    pub fn manifest_in_memory(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        let manifest = self.manifests.in_memory(digest)?;
        if let Some(entry) = self.inventory.lookup(Kind::Manifest, digest) {
            self.inventory.touch(&entry, seconds(SystemTime::now()), 1);
        }
        Some(manifest)
    }

    /// Keeps a manifest in memory and on disk.
    ///
    /// # Errors
    /// The disk's; it is in memory all the same.
    pub fn keep_manifest(&self, digest: &Digest, manifest: &Arc<Manifest>) -> io::Result<()> {
        self.manifests.remember(digest, manifest);
        let bytes = manifest.encode();
        let size_bytes = bytes.len() as u64;
        let mut partial = self.begin(Some(size_bytes))?;
        self.write(&mut partial, &bytes, 0)?;
        let reserved = partial.take_reserved();
        let published = partial.publish(&self.layout.path(Kind::Manifest, digest));
        self.noting("publish", published)?;
        self.checkpoint.note();
        let now = seconds(SystemTime::now());
        let entry = Entry::new(Kind::Manifest, digest, size_bytes, now);
        self.add(entry, reserved);
        Ok(())
    }

    /// Takes note of what a tag means by the origin's word, which is `age` old. Never waits for the disk: it is
    /// written at one of the next checkpoints.
    pub fn confirm_tag(&self, key: TagKey<'_>, digest: &Digest, age: Duration) {
        self.pins.note_tag(key.repository, key.tag, digest);
        if let Some(at) = Moment::now().before(age) {
            self.tags.confirm(key, *digest, at);
        }
    }

    /// Returns what a tag meant when the origin was last asked. The manifest need not be here.
    #[must_use]
    pub fn tagged(&self, key: TagKey<'_>) -> Option<Tagged> {
        self.tags.find(key, Moment::now())
    }

    /// Forgets what a tag meant, whatever was accepted: the origin says that there is none. Written at the next
    /// checkpoint.
    pub fn forget_tag(&self, repository: &str, tag: &str) {
        self.tags.forget(repository, tag);
    }

    /// Adds an entry, pinned if it is to be.
    fn add(&self, entry: Entry, reserved: Option<Reservation>) -> Arc<Entry> {
        let entry = self.inventory.add(entry, reserved);
        let digest = entry.digest();
        if self.pins.holds(&digest) {
            entry.set_pinned(true);
        }
        if entry.kind() == Kind::Manifest {
            self.pins.note_manifest(&digest);
        }
        entry
    }

    /// Takes note of a disk that failed, and returns what it said.
    fn noting<T>(&self, doing: &str, outcome: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &outcome
            && self.trouble.note(error, doing, Instant::now()) == Some(DiskTrouble::Full)
        {
            self.wants_room.store(true, Ordering::Release);
        }
        outcome
    }
}

/// Opens a file to read, without waiting if somebody put a pipe there, and without following a link.
fn open_regular(path: &std::path::Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let mut options = File::options();
    options.read(true).custom_flags(flags.bits().cast_signed());
    options.open(path)
}

/// Says whether a file is not there any more: also on a file system where somebody else deletes.
fn is_vanished(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle
    )
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

/// Returns `error` with the path that it is about, and with the number that it had.
fn about(path: &std::path::Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;

//! What goes, why, and how: room for what comes, expiry, what is damaged.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;

use super::check::{self, Checked, Finding};
use super::checkpoint::Failed;
use super::entry::{Entry, seconds};
use super::layout::Kind;
use super::partial::Partial;
use super::quarantine;
use super::room::{Asked, Reservation};
use super::scrub::Holdings;
use super::{Durability, Store};
use crate::digest::Digest;
use crate::limits::{ROOM_PATIENCE, ROOM_STEP_BYTES};
use crate::metrics::Removal;

/// How often committed blobs are forced to the medium, and with them the checkpoint.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// Between two looks whether a deleted file was closed.
const CLOSING_TICK: Duration = Duration::from_millis(5);

/// Files in a minute that the disk could not read and that are taken away. With more it is the disk that fails.
const UNREADABLE_MAX: u32 = 8;

/// Entries that expire in one go: a second or two of deletions.
pub(super) const EXPIRED_AT_ONCE: usize = 20_000;

/// Entries that are spared in one search for room because another process has used them lately.
const SPARED_MAX: usize = 1024;

impl Store {
    /// Promises room for `bytes`, evicting what has to go for it.
    pub(super) fn reserve(&self, bytes: u64) -> io::Result<Reservation> {
        let mut reserved = Reservation::none(Arc::clone(self.inventory.room()));
        self.take_room(bytes)?;
        reserved.grow(bytes);
        Ok(reserved)
    }

    /// Promises as much more room as a write of `bytes` lacks.
    pub(super) fn reserve_more(&self, partial: &mut Partial, bytes: u64) -> io::Result<()> {
        let Some(reserved) = partial.reserved() else {
            return Ok(());
        };
        let lacks = reserved.lacks(bytes);
        if lacks > 0 {
            let step = lacks.max(ROOM_STEP_BYTES);
            // What does not tell its size could push out everything, and not fit in the end.
            if reserved.bytes() + step > self.inventory.room().bytes_max() / 2 {
                return Err(no_room(
                    "of unknown size, and larger than half of bytes_max",
                ));
            }
            self.take_room(step)?;
            reserved.grow(step);
        }
        reserved.note_written(bytes);
        Ok(())
    }

    pub(super) fn take_room(&self, bytes: u64) -> io::Result<()> {
        self.trouble.check()?;
        if self.ask(bytes)? == Asked::Promised {
            return Ok(());
        }
        // One at a time: two who each evict for themselves would evict for both.
        let mut gave_up = self.making_room.lock();
        let begun = Instant::now();
        // Somebody has just waited in vain: those who come after do not queue up to do the same.
        let is_hopeless = gave_up.is_some_and(|at| begun < at + 2 * ROOM_PATIENCE);
        let patience = if is_hopeless {
            begun
        } else {
            begun + ROOM_PATIENCE
        };
        self.inventory.sweep();
        loop {
            match self.ask(bytes)? {
                Asked::Promised => return Ok(()),
                Asked::TooLarge => return Err(no_room("not even if all else went")),
                Asked::Lacks(lacks) if self.evict(lacks, 0) > 0 => {}
                Asked::Lacks(_) => return Err(no_room("nothing left to evict")),
                Asked::Closing if Instant::now() < patience => {
                    std::thread::sleep(CLOSING_TICK);
                    self.inventory.sweep();
                }
                Asked::Closing => {
                    *gave_up = Some(Instant::now());
                    return Err(no_room("deleted blobs are still being sent"));
                }
            }
        }
    }

    fn ask(&self, bytes: u64) -> io::Result<Asked> {
        let is_bound = self.is_bound.load(Ordering::Acquire);
        let asked = self
            .inventory
            .room()
            .ask(bytes, self.layout.root(), is_bound);
        self.noting("ask for free space", asked)
    }

    /// Evicts the least useful until `bytes` have gone, and as many as `files`; returns how many bytes have.
    /// Unfinished files that are kept go first. No blob is evicted by a process that does not keep house.
    pub(super) fn evict(&self, bytes: u64, mut files: u64) -> u64 {
        let (mut gone, mut spared) = (0, 0);
        if self.trouble.lets_delete() {
            gone = self.evict_kept(bytes, &mut files);
        }
        let is_able = || self.is_keeper() && self.trouble.lets_delete();
        while (gone < bytes || files > 0) && is_able() && spared < SPARED_MAX {
            let Some(victim) = self.inventory.victim() else {
                break;
            };
            if self.was_used_elsewhere(&victim) {
                spared += 1;
                self.inventory.spare(victim);
                continue;
            }
            let age = seconds(SystemTime::now()).saturating_sub(victim.last_use());
            let numbers = self.inventory.numbers();
            numbers
                .evicted_age_seconds
                .store(u64::from(age), Ordering::Relaxed);
            if !self.delete(&victim, Removal::Room) {
                spared += 1;
                self.inventory.spare(victim);
                continue;
            }
            gone += victim.size_bytes;
            files = files.saturating_sub(1);
        }
        gone
    }

    /// Looks whether another process on this directory has used an entry since we last heard of it: they say
    /// so by the time of its file.
    fn was_used_elsewhere(&self, entry: &Entry) -> bool {
        if !self.has_company.load(Ordering::Acquire) {
            return false;
        }
        let path = self.layout.path(entry.kind(), &entry.digest());
        let Ok(metadata) = std::fs::metadata(path) else {
            return false;
        };
        let found = metadata.modified().map_or(0, seconds);
        let is_later = found > entry.last_use();
        entry.used_at(found);
        is_later
    }

    /// Deletes what has not been pulled for the TTL, at most [`EXPIRED_AT_ONCE`] of them. Returns how many
    /// blobs and manifests went.
    pub fn expire(&self, now: SystemTime) -> usize {
        let Some(ttl) = self.tuned.blob_ttl.get() else {
            return 0;
        };
        let Some(oldest) = now.checked_sub(ttl) else {
            return 0;
        };
        let oldest = seconds(oldest);
        let is_stale = |entry: &Entry| entry.last_use() < oldest && !entry.is_pinned();
        let mut stale = self.inventory.select(is_stale);
        stale.retain(|entry| !(self.was_used_elsewhere(entry) && entry.last_use() >= oldest));
        stale.truncate(EXPIRED_AT_ONCE);
        if !self.trouble.lets_delete() {
            return 0;
        }
        let delete = |entry: &&Arc<Entry>| self.delete(entry, Removal::Ttl);
        stale.iter().filter(delete).count()
    }

    /// Takes note of what the scrub has found.
    pub fn note_scrubbed(&self, read_bytes: u64, checked: Option<&Checked>) {
        let numbers = self.inventory.numbers();
        numbers
            .scrubbed_bytes
            .fetch_add(read_bytes, Ordering::Relaxed);
        let Some(checked) = checked else { return };
        let digest = checked.digest;
        let (error, fate) = match &checked.finding {
            Finding::Sound | Finding::Vanished => return,
            Finding::Unreadable(error) => {
                tracing::warn!(%digest, %error, "the scrub could not read a stored file");
                return;
            }
            Finding::Rotten { error, fate } => (error, fate),
        };
        let why = error
            .as_ref()
            .map_or_else(|| "wrong bytes".to_owned(), ToString::to_string);
        tracing::warn!(%digest, why, ?fate, "the scrub found a damaged file: it is fetched anew when it is next asked for");
        if matches!(fate, Some(Ok(_))) {
            numbers.quarantined.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(entry) = self.inventory.lookup(checked.kind, &digest) {
            self.forget(&entry, Removal::Damaged);
        }
    }

    /// Returns what the scrub has before it.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        let numbers = self.inventory.numbers();
        Holdings {
            files: numbers.entries.load(Ordering::Relaxed),
            bytes: numbers.bytes.load(Ordering::Relaxed),
        }
    }

    /// Says whether this process keeps house in the directory.
    #[must_use]
    pub fn is_keeper(&self) -> bool {
        self.is_keeper.load(Ordering::Acquire)
    }

    /// Returns how often [`Store::expire`] wants to be called: within a minute, and sooner for a short TTL.
    pub(super) fn expire_every(&self) -> Option<Duration> {
        let ttl = self.tuned.blob_ttl.get()?;
        Some((ttl / 4).clamp(Duration::from_millis(200), Duration::from_secs(15)))
    }

    /// Forgets an entry whose file is not there any more.
    pub(super) fn forget(&self, entry: &Arc<Entry>, reason: Removal) {
        if !self.inventory.remove(entry, reason) {
            return;
        }
        let digest = entry.digest();
        if entry.kind() == Kind::Manifest {
            self.manifests.forget(&digest);
        }
        let has = |kind| self.inventory.lookup(kind, &digest).is_some();
        if !has(Kind::Blob) && !has(Kind::Manifest) {
            self.links.unlink(&digest);
        }
    }

    /// Drops an entry, its file, and every link to it. Responses that are sending it go on. Says whether its
    /// file is gone; if it is not, it counts as before.
    pub(super) fn delete(&self, entry: &Arc<Entry>, reason: Removal) -> bool {
        let (kind, digest) = (entry.kind(), entry.digest());
        let removed = std::fs::remove_file(self.layout.path(kind, &digest));
        if let Err(error) = removed
            && !super::is_vanished(&error)
        {
            tracing::debug!(%digest, %error, "a stored file could not be deleted");
            let number = Errno::from_io_error(&error);
            // Of any other error the cause is this file alone.
            if matches!(number, Some(Errno::ROFS | Errno::IO)) {
                drop(self.noting::<()>("delete", Err(error)));
            }
            return false;
        }
        self.forget(entry, reason);
        true
    }

    /// Takes a damaged file out of the store.
    pub(super) fn condemn(&self, entry: &Arc<Entry>, why: &str) {
        let digest = entry.digest();
        tracing::warn!(%digest, size_bytes = entry.size_bytes, why, "a stored file is damaged: it is fetched anew when it is next asked for");
        self.forget(entry, Removal::Damaged);
        match quarantine::put(&self.layout, entry.kind(), &digest) {
            Ok(_) => self.count_quarantined(),
            Err(error) => {
                tracing::warn!(%digest, %error, "a damaged file could neither be moved nor deleted");
            }
        }
    }

    pub(super) fn count_quarantined(&self) {
        let numbers = self.inventory.numbers();
        numbers.quarantined.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a blob that could not be opened or read out of the store; it is fetched anew when it is next
    /// asked for. Responses that are sending it go on as far as they can.
    ///
    /// After several in a row within a minute it is the disk that fails: then files are left where they are,
    /// so that a cable that came loose does not cost the store.
    pub fn quarantine(&self, digest: &Digest, error: &io::Error) {
        let entry = self.lookup(digest);
        if super::is_vanished(error) {
            if let Some(entry) = entry {
                self.forget(&entry, Removal::Vanished);
            }
            return;
        }
        if !check::is_of_medium(error) {
            tracing::warn!(%digest, %error, "a stored blob could not be opened, and is left where it is");
            return;
        }
        if self.unreadable.lock().note(Instant::now()) > UNREADABLE_MAX {
            tracing::debug!(%digest, %error, "a stored blob could not be read, and is left where it is");
            if let Some(entry) = entry {
                self.forget(&entry, Removal::Damaged);
            }
            drop(self.noting::<()>("read", Err(Errno::IO.into())));
            return;
        }
        let entry = entry.unwrap_or_else(|| {
            let now = seconds(SystemTime::now());
            self.add(Entry::new(Kind::Blob, digest, 0, now), None)
        });
        self.condemn(&entry, &error.to_string());
    }

    /// Writes what was linked, and forces what was committed to the medium and remembers that it is there, as
    /// the durability wants it.
    ///
    /// # Errors
    /// The disk's; what may have been lost by it is deleted, to be filled anew. Links that cannot be written
    /// are no error: they stay in memory and are tried again.
    pub fn checkpoint(&self) -> io::Result<()> {
        self.secure(false)
    }

    /// As [`Store::checkpoint`]; at the end whatever the durability.
    pub(super) fn secure(&self, is_end: bool) -> io::Result<()> {
        if !self.is_keeper() {
            self.links.leave_to_others();
        } else {
            let linked = self.links.flush();
            let tagged = self.tags.flush(Instant::now(), is_end);
            if linked || tagged {
                self.checkpoint.note();
            }
        }
        if self.tuned.durability.get() == Durability::None && !is_end {
            return Ok(());
        }
        // A sync here says nothing of what other hosts have written: then nothing is marked as safe.
        let marks = !self.has_company();
        match self.checkpoint.advance(self.layout.root(), marks) {
            Ok(()) => Ok(()),
            Err(Failed::Mark(error)) => self.noting("write the checkpoint", Err(error)),
            Err(Failed::Sync(error, suspects)) => {
                self.links.doubt();
                self.tags.doubt();
                let suspects: Vec<_> = suspects.iter().filter_map(|one| self.lookup(one)).collect();
                for entry in &suspects {
                    if !self.delete(entry, Removal::Damaged) {
                        // Found again by its path, it is hashed.
                        self.forget(entry, Removal::Damaged);
                    }
                }
                if !suspects.is_empty() {
                    let blobs = suspects.len();
                    tracing::warn!(blobs, %error, "the disk has lost writes: young blobs are dropped, to be fetched anew");
                }
                self.noting("sync", Err(error))
            }
        }
    }

    /// Returns how often [`Store::checkpoint`] wants to be called.
    #[must_use]
    pub const fn checkpoint_every(&self) -> Duration {
        CHECKPOINT_EVERY
    }
}

/// How many files could not be read lately.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    since: Option<Instant>,
    count: u32,
}

impl Unreadable {
    /// Counts one more, and returns how many there were within a minute.
    fn note(&mut self, now: Instant) -> u32 {
        if self
            .since
            .is_none_or(|since| now > since + Duration::from_secs(60))
        {
            *self = Self {
                since: Some(now),
                count: 0,
            };
        }
        self.count += 1;
        self.count
    }
}

fn no_room(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::StorageFull,
        format!("no room in the store: {why}"),
    )
}

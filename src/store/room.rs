//! How much room there is, and who has been promised some of it.
//!
//! ```text
//!  bytes_max ┌───────────────────────────────┐
//!            │ reserved: promised to fills   │
//!            │ lingering: deleted, still open│   freed by their last reader; never a reason to evict more
//!            │ kept: unfinished, of nobody   │   the first to go when room lacks
//!            │ live: stored                  │
//!            └───────────────────────────────┘
//! ```
//!
//! Two bounds hold at once: `bytes_max` on our own bytes, and `free_min` on what the file system has left,
//! whoever took the rest. Values and counters only: whoever asks brings what the file system says.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::options::{Amount, Options};
use crate::limits::FREE_SPACE_AGE_MAX;
use crate::metrics::StoreNumbers;

/// What the file system says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    /// Bytes that this process may still write.
    pub(super) available: u64,
    /// Bytes of the file system.
    pub(super) total: u64,
    /// Inodes that are left; `None` where they are not counted.
    pub(super) inodes: Option<u64>,
    inodes_total: u64,
}

impl Space {
    /// Asks the file system of `root`.
    pub(super) fn of(root: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(root)?;
        Ok(Self {
            available: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
            inodes: (found.f_files > 0).then_some(found.f_favail),
            inodes_total: found.f_files,
        })
    }
}

/// The bounds, in bytes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    most: u64,
    high: u64,
    low: u64,
    free: u64,
    free_inodes: u64,
}

impl Bounds {
    fn new(options: &Options, space: &Space) -> Self {
        let most = options.bytes_max.of(space.total);
        let share = |percent: u8| {
            u64::try_from(u128::from(most) * u128::from(percent) / 100).unwrap_or(most)
        };
        // An amount in bytes says nothing of inodes.
        let free_inodes = match options.free_min {
            Amount::Percent(_) => options.free_min.of(space.inodes_total),
            Amount::Bytes(_) => 0,
        };
        Self {
            most,
            high: share(options.high_watermark),
            low: share(options.low_watermark),
            free: options.free_min.of(space.total),
            free_inodes,
        }
    }

    fn lacks_inodes(&self, space: &Space) -> u64 {
        space
            .inodes
            .map_or(0, |free| self.free_inodes.saturating_sub(free))
    }
}

/// What came of asking for room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It is promised.
    Promised,
    /// So many bytes have to be evicted first.
    Lacks(u64),
    /// Enough was deleted, and is still open.
    Closing,
    /// Not even an empty store would have it.
    TooLarge,
}

/// The account of one store's bytes.
#[derive(Debug)]
pub(super) struct Room {
    bounds: Mutex<Bounds>,
    account: Mutex<Account>,
    numbers: Arc<StoreNumbers>,
    /// Promised and not written yet.
    unwritten: AtomicU64,
    /// Written since the file system was last asked.
    written: AtomicU64,
}

#[derive(Debug, Default)]
struct Account {
    live: u64,
    lingering: u64,
    reserved: u64,
    kept: u64,
    space: Option<(Space, Instant)>,
}

impl Room {
    pub(super) fn new(options: &Options, space: &Space, numbers: Arc<StoreNumbers>) -> Arc<Self> {
        let bounds = Bounds::new(options, space);
        numbers.bytes_max.store(bounds.most, Ordering::Relaxed);
        Arc::new(Self {
            bounds: Mutex::new(bounds),
            account: Mutex::default(),
            numbers,
            unwritten: AtomicU64::new(0),
            written: AtomicU64::new(0),
        })
    }

    /// Goes by the bounds of `options` from now on. What is there stays until room is looked after.
    pub(super) fn set_bounds(&self, options: &Options, space: &Space) {
        let bounds = Bounds::new(options, space);
        self.numbers.bytes_max.store(bounds.most, Ordering::Relaxed);
        *self.bounds.lock() = bounds;
    }

    fn bounds(&self) -> Bounds {
        *self.bounds.lock()
    }

    /// Returns the most bytes that may be stored.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bounds().most
    }

    /// Asks for `bytes` more. While another process keeps house, `bytes_max` is that one's care: then this one
    /// is not `is_bound` to it.
    pub(super) fn ask(&self, bytes: u64, root: &Path, is_bound: bool) -> io::Result<Asked> {
        let mut account = self.account.lock();
        let space = self.space(&mut account, root)?;
        let mut bounds = self.bounds();
        if !is_bound {
            bounds.most = u64::MAX;
        }
        let asked = account.judge(bytes, &bounds, self.unpromised(&space));
        if asked == Asked::Promised {
            account.reserved += bytes;
            self.unwritten.fetch_add(bytes, Ordering::Relaxed);
            self.show(&account);
        }
        Ok(asked)
    }

    /// Returns how many bytes and files have to be evicted to be at peace: above the high watermark down to
    /// the low one, and as many as the file system's floor lacks.
    pub(super) fn excess(&self, root: &Path) -> io::Result<(u64, u64)> {
        let mut account = self.account.lock();
        let space = self.space(&mut account, root)?;
        let ours = account.live + account.reserved + account.kept;
        let bounds = self.bounds();
        let above = if ours > bounds.high {
            ours - bounds.low
        } else {
            0
        };
        let coming = self.unpromised(&space).saturating_add(account.lingering);
        let floor = bounds.free.saturating_sub(coming);
        Ok((above.max(floor), bounds.lacks_inodes(&space)))
    }

    /// Returns how many bytes the file system lacks of what is to stay free, or else inodes.
    pub(super) fn lacks_free(&self, root: &Path) -> io::Result<u64> {
        let mut account = self.account.lock();
        let space = self.space(&mut account, root)?;
        let bounds = self.bounds();
        let lacks = bounds.free.saturating_sub(space.available);
        Ok(lacks.max(bounds.lacks_inodes(&space)))
    }

    /// Returns the share of the live bytes that is evicted when the disk says that it is full.
    pub(super) fn emergency(&self) -> u64 {
        self.account.lock().live / 20 + 1
    }

    /// Asks the file system, if that was not done just now.
    fn space(&self, account: &mut Account, root: &Path) -> io::Result<Space> {
        let now = Instant::now();
        if let Some((space, at)) = account.space
            && now < at + FREE_SPACE_AGE_MAX
        {
            return Ok(space);
        }
        let space = Space::of(root)?;
        self.written.store(0, Ordering::Relaxed);
        account.space = Some((space, now));
        Ok(space)
    }

    /// Returns what is free and neither promised nor, in the moments since `space`, written.
    fn unpromised(&self, space: &Space) -> u64 {
        let spoken_for =
            self.unwritten.load(Ordering::Relaxed) + self.written.load(Ordering::Relaxed);
        space.available.saturating_sub(spoken_for)
    }

    /// A file of the store was found, or made in room that was `reserved`.
    pub(super) fn add(&self, bytes: u64, reserved: Option<Reservation>) {
        let mut account = self.account.lock();
        account.live += bytes;
        // At once: what is neither reserved nor live could be promised to somebody else.
        if let Some(mut reserved) = reserved {
            account.reserved -= std::mem::take(&mut reserved.bytes);
            drop(account);
            drop(reserved);
            account = self.account.lock();
        }
        self.show(&account);
    }

    /// A file was deleted; `is_read` while somebody has it open.
    pub(super) fn remove(&self, bytes: u64, is_read: bool) {
        let mut account = self.account.lock();
        account.live = account.live.saturating_sub(bytes);
        if is_read {
            account.lingering += bytes;
        }
        account.space = None;
        self.show(&account);
    }

    /// An unfinished file stays, for another fill to go on with.
    pub(super) fn keep(&self, bytes: u64) {
        let mut account = self.account.lock();
        account.kept += bytes;
        self.show(&account);
    }

    /// An unfinished file of so many bytes is nobody's no more: they are promised to the caller, who goes on
    /// with it or deletes it.
    pub(super) fn take_kept(self: &Arc<Self>, bytes: u64) -> Reservation {
        let mut account = self.account.lock();
        account.kept = account.kept.saturating_sub(bytes);
        account.reserved += bytes;
        self.show(&account);
        drop(account);
        Reservation {
            room: Arc::clone(self),
            bytes,
            unwritten: 0,
        }
    }

    /// A deleted file was closed.
    pub(super) fn close(&self, bytes: u64) {
        let mut account = self.account.lock();
        account.lingering = account.lingering.saturating_sub(bytes);
        account.space = None;
        self.show(&account);
    }

    fn show(&self, account: &Account) {
        let numbers = &self.numbers;
        numbers.bytes.store(account.live, Ordering::Relaxed);
        numbers
            .lingering_bytes
            .store(account.lingering, Ordering::Relaxed);
        numbers
            .reserved_bytes
            .store(account.reserved, Ordering::Relaxed);
        numbers.kept_bytes.store(account.kept, Ordering::Relaxed);
    }
}

impl Account {
    /// - `unpromised`: what the file system has free for whoever comes first.
    fn judge(&self, bytes: u64, bounds: &Bounds, unpromised: u64) -> Asked {
        if bytes > bounds.most {
            return Asked::TooLarge;
        }
        let taken = self.live + self.kept + self.reserved;
        let ours = taken.saturating_add(bytes).saturating_sub(bounds.most);
        let wanted = bytes.saturating_add(bounds.free);
        let floor = wanted.saturating_sub(unpromised.saturating_add(self.lingering));
        match ours.max(floor) {
            // Not even if all of it went.
            lacks if lacks > self.live + self.kept => Asked::TooLarge,
            0 if taken.saturating_add(self.lingering + bytes) > bounds.most
                || wanted > unpromised =>
            {
                Asked::Closing
            }
            0 => Asked::Promised,
            lacks => Asked::Lacks(lacks),
        }
    }
}

/// A promise of room, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    room: Arc<Room>,
    bytes: u64,
    unwritten: u64,
}

impl Reservation {
    /// Returns no promise at all.
    pub(super) const fn none(room: Arc<Room>) -> Self {
        Self {
            room,
            bytes: 0,
            unwritten: 0,
        }
    }

    /// Returns how many of `bytes` to be written are promised no more.
    pub(super) const fn lacks(&self, bytes: u64) -> u64 {
        bytes.saturating_sub(self.unwritten)
    }

    /// Returns how much was promised.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds what [`Room::ask`] has promised.
    pub(super) const fn grow(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.unwritten += bytes;
    }

    /// Takes note that so many of its bytes are on disk and will be written once more.
    pub(super) fn write_anew(&mut self, bytes: u64) {
        self.unwritten += bytes;
        self.room.unwritten.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes note of bytes that were written, wherever in the file.
    pub(super) fn note_written(&mut self, bytes: u64) {
        let promised = bytes.min(self.unwritten);
        self.unwritten -= promised;
        self.room.unwritten.fetch_sub(promised, Ordering::Relaxed);
        self.room.written.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.room
            .unwritten
            .fetch_sub(self.unwritten, Ordering::Relaxed);
        let mut account = self.room.account.lock();
        account.reserved -= self.bytes;
        if self.bytes > 0 {
            // Its file is deleted, or about to be: what the file system said is no longer so.
            account.space = None;
        }
        self.room.show(&account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        most: 100,
        high: 95,
        low: 90,
        free: 10,
        free_inodes: 0,
    };

    fn account(live: u64, lingering: u64, reserved: u64) -> Account {
        Account {
            live,
            lingering,
            reserved,
            kept: 0,
            space: None,
        }
    }

    #[test]
    fn room_is_promised_evicted_for_waited_for_or_not_there() {
        let plenty = 1000;
        assert_eq!(
            account(50, 0, 40).judge(10, &BOUNDS, plenty),
            Asked::Promised
        );
        assert_eq!(
            account(50, 0, 40).judge(11, &BOUNDS, plenty),
            Asked::Lacks(1)
        );
        assert_eq!(
            account(0, 0, 0).judge(101, &BOUNDS, plenty),
            Asked::TooLarge
        );
        assert_eq!(
            account(50, 30, 0).judge(30, &BOUNDS, plenty),
            Asked::Closing
        );
        // Ten stay free for others, whatever our own bound says.
        assert_eq!(account(0, 0, 0).judge(10, &BOUNDS, 20), Asked::Promised);
        assert_eq!(account(1, 0, 0).judge(11, &BOUNDS, 20), Asked::Lacks(1));
        // Nothing is evicted where that would not help.
        assert_eq!(account(0, 0, 0).judge(11, &BOUNDS, 20), Asked::TooLarge);
        assert_eq!(
            account(10, 0, 90).judge(11, &BOUNDS, plenty),
            Asked::TooLarge
        );
        assert_eq!(account(0, 1, 0).judge(11, &BOUNDS, 20), Asked::Closing);
    }

    #[test]
    fn what_is_reserved_is_given_back_and_never_promised_twice() {
        let root = tempfile::tempdir().unwrap();
        let mut options = Options::new(root.path().to_owned());
        options.bytes_max = Amount::Bytes(100);
        options.free_min = Amount::Bytes(0);
        let space = Space::of(root.path()).unwrap();
        let room = Room::new(&options, &space, Arc::default());
        room.add(30, None);
        let mut first = Reservation::none(Arc::clone(&room));
        assert_eq!(room.ask(60, root.path(), true).unwrap(), Asked::Promised);
        first.grow(60);
        first.note_written(20);
        assert_eq!(first.lacks(50), 10);
        assert_eq!(room.ask(20, root.path(), true).unwrap(), Asked::Lacks(10));
        drop(first);
        assert_eq!(room.unwritten.load(Ordering::Relaxed), 0);
        assert_eq!(room.ask(60, root.path(), true).unwrap(), Asked::Promised);
        assert_eq!(room.excess(root.path()).unwrap(), (0, 0));
        room.add(10, None);
        assert_eq!(room.excess(root.path()).unwrap(), (10, 0));
    }
}

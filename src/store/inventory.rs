//! What is stored, as memory knows it: entries, the order in which they would be evicted, their bytes, and
//! what of all that the disk has not been told yet.
//!
//! ```text
//!              ╭─▶ index      who asks is answered from here
//!  add, remove ┼─▶ policy     who goes first when room is wanted
//!              ├─▶ room       how many bytes there are
//!              ╰─▶ notes      what the journal has to hear of
//! ```
//!
//! Invariants
//! - An entry is in the index from `add` to `remove`, and marked gone from then on. The policy forgets it
//!   later; the room when its last reader has closed it.
//! - Notes stand in the order of the changes: they are taken under the lock of the index.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::SegQueue;
use parking_lot::Mutex;

use super::entry::{Entry, Reading};
use super::index::{Index, SHARDS};
use super::journal::{Change, Record};
use super::layout::Kind;
use super::options::Options;
use super::policy::{Cursor, Evict, Place, Policy};
use super::room::{Reservation, Room, Space};
use crate::digest::Digest;
use crate::limits::EVICTION_STEPS;
use crate::metrics::{Removal, StoreNumbers};

/// What the journal has to hear of.
#[derive(Debug)]
enum Note {
    Put(Arc<Entry>),
    Remove(Arc<Entry>),
}

/// All that is stored.
#[derive(Debug)]
pub(super) struct Inventory {
    index: Index,
    policy: Mutex<Policy<Arc<Entry>>>,
    room: Arc<Room>,
    notes: SegQueue<Note>,
    /// Deleted, and open when they were.
    lingering: Mutex<Vec<Arc<Entry>>>,
    removals: AtomicU64,
    numbers: Arc<StoreNumbers>,
}

impl Inventory {
    pub(super) fn new(room: Arc<Room>, numbers: Arc<StoreNumbers>) -> Self {
        Self {
            index: Index::default(),
            policy: Mutex::new(empty_policy(&room)),
            room,
            notes: SegQueue::new(),
            lingering: Mutex::default(),
            removals: AtomicU64::new(0),
            numbers,
        }
    }

    pub(super) const fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub(super) const fn numbers(&self) -> &Arc<StoreNumbers> {
        &self.numbers
    }

    /// Returns an entry. Costs one read lock of a shard; never blocks on disk.
    pub(super) fn lookup(&self, kind: Kind, digest: &Digest) -> Option<Arc<Entry>> {
        self.index.lookup(kind, digest)
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Adds what was just stored in room that was `reserved`, or was found, and returns the entry that is
    /// there then.
    pub(super) fn add(&self, entry: Entry, reserved: Option<Reservation>) -> Arc<Entry> {
        let entry = Arc::new(entry);
        loop {
            let note = || self.notes.push(Note::Put(Arc::clone(&entry)));
            match self.index.insert(&entry, note) {
                Ok(()) => break,
                Err(there) if there.size_bytes == entry.size_bytes => return there,
                // The file that it was about has been replaced.
                Err(there) => drop(self.remove(&there, Removal::Damaged)),
            }
        }
        self.count_in(&entry, reserved);
        self.policy.lock().insert(Arc::clone(&entry));
        entry
    }

    /// Takes up one line of the journal, at start: what it knows needs no note.
    pub(super) fn replay(&self, change: Change) {
        match change {
            Change::Put(record) => self.replay_put(&record),
            Change::Remove(kind, digest) => {
                if let Some(entry) = self.index.lookup(kind, &digest)
                    && self.index.remove(&entry, || {})
                {
                    entry.set_gone();
                    self.room.remove(entry.size_bytes, false);
                    self.numbers.entries.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn replay_put(&self, record: &Record) {
        let found = Entry::new(
            record.kind,
            &record.digest,
            record.size_bytes,
            record.last_use,
        );
        let entry = Arc::new(found.with_history(record.hits, record.uses));
        match self.index.insert(&entry, || {}) {
            Ok(()) => {
                self.count_in(&entry, None);
                self.policy.lock().restore(entry, place(record.place));
            }
            // A later line about the same file: it was used.
            Err(entry) => entry.replace_history(record.last_use, record.hits, record.uses),
        }
    }

    fn count_in(&self, entry: &Entry, reserved: Option<Reservation>) {
        self.room.add(entry.size_bytes, reserved);
        self.numbers.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes an entry; says whether it was there.
    pub(super) fn remove(&self, entry: &Arc<Entry>, reason: Removal) -> bool {
        // Marked first: what is used from here on tells the journal nothing. And before it is looked whether
        // someone reads: a reader counts itself in before it looks.
        let note = || {
            entry.set_gone();
            self.notes.push(Note::Remove(Arc::clone(entry)));
        };
        if !self.index.remove(entry, note) {
            return false;
        }
        let is_read = entry.is_read();
        self.room.remove(entry.size_bytes, is_read);
        if is_read {
            self.lingering.lock().push(Arc::clone(entry));
        }
        self.numbers.entries.fetch_sub(1, Ordering::Relaxed);
        self.numbers.count_removal(reason);
        self.removals.fetch_add(1, Ordering::Release);
        true
    }

    /// Returns a number that changes whenever something was removed.
    pub(super) fn removals(&self) -> u64 {
        self.removals.load(Ordering::Acquire)
    }

    /// Counts the caller as a reader; `None` when the entry was deleted meanwhile.
    pub(super) fn read(entry: &Arc<Entry>) -> Option<Reading> {
        let reading = Reading::new(Arc::clone(entry));
        (!entry.is_gone()).then_some(reading)
    }

    /// Notes a use; see [`Entry::touch`].
    pub(super) fn touch(&self, entry: &Arc<Entry>, now: u32, hits: u32) {
        if entry.touch(now, hits) {
            self.notes.push(Note::Put(Arc::clone(entry)));
        }
    }

    /// Returns the next to be evicted, which stays where it is until it is removed; `None` when all that is
    /// left is pinned.
    ///
    /// Costs a lock held for at most [`EVICTION_STEPS`] steps at a time.
    pub(super) fn victim(&self) -> Option<Arc<Entry>> {
        loop {
            let step = self.policy.lock().evict(EVICTION_STEPS);
            match step {
                Evict::Victim(entry) if entry.is_gone() => {}
                Evict::Victim(entry) => return Some(entry),
                Evict::More => {}
                Evict::Nothing => return None,
            }
        }
    }

    /// Takes back a victim that is not to go after all.
    pub(super) fn spare(&self, entry: Arc<Entry>) {
        self.policy.lock().insert(entry);
    }

    /// Gives back the room of deleted files that the last reader has closed.
    pub(super) fn sweep(&self) {
        self.lingering.lock().retain(|entry| {
            let is_read = entry.is_read();
            if !is_read {
                self.room.close(entry.size_bytes);
            }
            is_read
        });
    }

    /// Returns those entries that `is_wanted`. Locks one shard after the other.
    pub(super) fn select(&self, is_wanted: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        (0..SHARDS)
            .flat_map(|shard| self.index.select(shard, &is_wanted))
            .collect()
    }

    /// Returns those entries of one folder that `is_wanted`.
    pub(super) fn select_in(
        &self,
        folder: u8,
        is_wanted: impl Fn(&Entry) -> bool,
    ) -> Vec<Arc<Entry>> {
        self.index.select(usize::from(folder), is_wanted)
    }

    /// Takes up to `most` of what the journal has not heard of.
    pub(super) fn take_notes(&self, most: usize) -> Vec<Change> {
        let notes = std::iter::from_fn(|| self.notes.pop());
        notes.take(most).filter_map(Note::into_change).collect()
    }

    /// Has what was used longest ago evicted first, as if everything had come in the order of its last use.
    pub(super) fn sort_by_use(&self) {
        let mut entries = self.select(|_| true);
        entries.sort_by_key(|entry| entry.last_use());
        let mut policy = self.policy.lock();
        *policy = empty_policy(&self.room);
        entries.into_iter().for_each(|entry| policy.insert(entry));
    }

    /// Returns all of it, in the order in which it would be evicted. What moves meanwhile may come twice.
    ///
    /// Locks the policy for one chunk of a queue at a time.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let mut cursor = Some(Cursor::default());
        let chunks = std::iter::from_fn(move || {
            let mut entries = Vec::new();
            let (place, next) = self.policy.lock().read(cursor.take()?, &mut entries)?;
            cursor = Some(next);
            Some((place, entries))
        });
        chunks.flat_map(|(place, entries)| {
            let record = move |entry: Arc<Entry>| entry.record(number(place));
            entries.into_iter().map(record)
        })
    }

    /// Bounds what is stored by `options` on a file system of this `space` from now on.
    pub(super) fn set_bounds(&self, options: &Options, space: &Space) {
        self.room.set_bounds(options, space);
        self.policy.lock().set_room(self.room.bytes_max());
    }

    /// Has the policy forget some of what is gone, in case nothing is evicted and little arrives.
    pub(super) fn sweep_policy(&self) {
        self.policy.lock().sweep();
    }
}

fn empty_policy(room: &Room) -> Policy<Arc<Entry>> {
    let mut policy = Policy::new();
    policy.set_room(room.bytes_max());
    policy
}

/// Returns the number of a queue in the journal.
const fn number(place: Place) -> u8 {
    match place {
        Place::Small => 0,
        Place::Main => 1,
    }
}

const fn place(number: u8) -> Place {
    match number {
        1 => Place::Main,
        _ => Place::Small,
    }
}

impl Note {
    fn into_change(self) -> Option<Change> {
        match self {
            // Used while it was removed: the removal has been told, or will be.
            Self::Put(entry) if entry.is_gone() => None,
            Self::Put(entry) => {
                // Cleared first: whatever changes from here on is told again.
                entry.clear_noted();
                Some(Change::Put(entry.record(0)))
            }
            Self::Remove(entry) => Some(Change::Remove(entry.kind(), entry.digest())),
        }
    }
}

//! Who keeps the store in order: everything that is done now and then, on one thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

use super::journal::{Change, Journal};
use super::layout::Kind;
use super::lease::{self, Lease, Standing};
use super::publish::Publish;
use super::upkeep::EXPIRED_AT_ONCE;
use super::{Store, about, import, quarantine};
use crate::digest::Digest;
use crate::limits::{DISK_TRIAL_BYTES, JOURNAL_BATCH};
use crate::metrics::{DiskTrouble, Removal};

/// Between two ticks.
const TICK: Duration = Duration::from_millis(100);
/// How often the journal is written: what a killed process forgets of last uses.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// How long a journal that could not be written is left alone.
const REWRITE_AGAIN: Duration = Duration::from_secs(10);
/// How often what dead processes have left is looked for.
const CLEAR_EVERY: Duration = Duration::from_secs(60);

/// Keeps one store in order. There is one for each store.
#[derive(Debug)]
pub struct House {
    store: Arc<Store>,
    journal: Journal,
    lease: Lease,
    /// The journal could not be written: it is left alone until then.
    journal_rests: Option<Instant>,
    quarantined: quarantine::Watch,
    look: Due,
    flush: Due,
    expire: Due,
    clear: Due,
}

/// When something is to be done next.
#[derive(Debug)]
struct Due {
    at: Option<Instant>,
    every: Duration,
}

impl Due {
    const fn every(every: Duration) -> Self {
        Self { at: None, every }
    }

    /// Says whether it is to be done now, and takes note that it is.
    fn is_now(&mut self, now: Instant) -> bool {
        let is_now = self.at.is_none_or(|at| at <= now);
        if is_now {
            self.at = Some(now + self.every);
        }
        is_now
    }
}

impl House {
    pub(super) fn new(store: Arc<Store>, journal: Journal, lease: Lease) -> Self {
        Self {
            store,
            journal,
            lease,
            journal_rests: None,
            quarantined: quarantine::Watch::default(),
            look: Due::every(lease::TICK_EVERY),
            flush: Due::every(FLUSH_EVERY),
            expire: Due::every(Duration::ZERO),
            clear: Due::every(CLEAR_EVERY),
        }
    }

    /// Does what is to be done, and returns how long to wait before the next time.
    pub fn tick(&mut self, now: Instant, wall: SystemTime) -> Duration {
        self.store.inventory.sweep();
        self.store.inventory.sweep_policy();
        if self.look.is_now(now) {
            self.hold_lease(now);
            self.store.look_at_pins();
            self.look_around();
            self.keep_room(now);
        }
        if self.store.wants_room.swap(false, Ordering::AcqRel) {
            let bytes = self.store.inventory.room().emergency();
            self.store.evict(bytes, 0);
            self.store.trouble.hasten(now);
        }
        if self.store.trouble.is_trial_due(now) {
            self.try_disk(now);
        }
        if let Some(every) = self.store.expire_every() {
            self.expire.every = every;
            if self.expire.is_now(now) && self.store.is_keeper() {
                self.expire(wall);
            }
        }
        if self.flush.is_now(now) {
            self.flush(now);
        }
        if self.clear.is_now(now)
            && let Err(error) = self.store.look_at_partials(wall)
        {
            tracing::debug!(%error, "unfinished files could not be looked at");
        }
        TICK
    }

    /// Ends the store in order: the next start believes what is written now.
    pub fn close(mut self) {
        if let Err(error) = self.store.secure(true) {
            tracing::warn!(%error, "the store could not be synced");
        }
        if !self.store.is_keeper() {
            return;
        }
        self.journal_rests = None;
        self.flush(Instant::now());
        // Whoever shares the directory goes on changing it.
        let has_company = self.store.has_company.load(Ordering::Acquire);
        if !has_company
            && !self.store.wants_scan()
            && let Err(error) = self.journal.close()
        {
            tracing::warn!(%error, "the index could not be ended: the next start compares it with the disk");
        }
        self.lease.release();
    }

    fn expire(&mut self, wall: SystemTime) {
        let expired = self.store.expire(wall);
        if expired > 0 {
            tracing::info!(expired, "not pulled within blobttl: deleted");
        }
        if expired == EXPIRED_AT_ONCE {
            // There is more.
            self.expire.at = None;
        }
    }

    fn hold_lease(&mut self, now: Instant) {
        let standing = self.lease.tick(now);
        let store = &self.store;
        let has_company = self.lease.has_company();
        let had_company = store.has_company.swap(has_company, Ordering::AcqRel);
        if had_company && !has_company {
            // What the others have stored at last is not known yet.
            store.wants_scan.store(true, Ordering::Release);
        }
        store
            .is_bound
            .store(!self.lease.knows_keeper(), Ordering::Release);
        let is_holder = self.lease.is_holder();
        store.is_keeper.store(is_holder, Ordering::Release);
        if standing == Standing::BecameHolder {
            // Whoever held it knew more, and its journal is not ours to go on with.
            store.wants_scan.store(true, Ordering::Release);
            self.journal.doubt();
        }
    }

    /// Notices what other commands have done to the directory: files imported, damaged ones taken away.
    fn look_around(&mut self) {
        let root = self.store.layout.root();
        if import::is_marked(root) {
            self.store.wants_scan.store(true, Ordering::Release);
        }
        for digest in self.quarantined.look(root) {
            for kind in Kind::ALL {
                let entry = self.store.inventory.lookup(kind, &digest);
                if let Some(entry) = entry
                    && self.store.is_absent(&entry).is_ok_and(|is| is)
                {
                    self.store.forget(&entry, Removal::Damaged);
                }
            }
        }
    }

    /// Evicts down to the watermark and to the floor of free space.
    fn keep_room(&self, now: Instant) {
        let (store, room) = (&self.store, self.store.inventory.room());
        let excess = match room.excess(store.layout.root()) {
            Ok(excess) => excess,
            Err(error) => {
                store.trouble.note(&error, "ask for free space", now);
                return;
            }
        };
        let (bytes, files) = excess;
        if bytes + files > 0 && store.is_keeper() && store.evict(bytes, files) == 0 {
            let lacks = room.lacks_free(store.layout.root()).unwrap_or(0);
            if lacks > 0 {
                let full = rustix::io::Errno::NOSPC.into();
                store.trouble.note(&full, "keep free_min free", now);
            }
        }
    }

    /// Finds out whether the disk takes blobs again.
    fn try_disk(&self, now: Instant) {
        let outcome = self.store.trial();
        if self.store.trouble.tried(outcome, now) == Some(DiskTrouble::Missing) {
            self.store.come_back();
        }
    }

    /// Writes what has changed to the journal.
    fn flush(&mut self, now: Instant) {
        let is_keeper = self.store.is_keeper();
        loop {
            let changes = self.store.inventory.take_notes(JOURNAL_BATCH);
            if changes.is_empty() {
                break;
            }
            if !is_keeper {
                changes.iter().for_each(|change| self.tell_use(change));
            } else if self.journal_rests.is_some() {
                // It is written anew when it is tried again.
                self.journal.doubt();
            } else if let Err(error) = self.journal.append(&changes) {
                self.journal_failed(&error, now);
            }
        }
        self.journal_rests = self.journal_rests.filter(|until| *until > now);
        let is_due = self.journal.is_due(self.store.inventory.len() as u64);
        if is_keeper && is_due && self.journal_rests.is_none() {
            let records = self.store.inventory.records();
            if let Err(error) = self.journal.rewrite(records) {
                self.journal_failed(&error, now);
            }
        }
    }

    /// Takes "ended in order" away from the journal, before anything below the root changes.
    pub(super) fn begin(&mut self) {
        if self.store.is_keeper()
            && let Err(error) = self.journal.begin()
        {
            self.journal_failed(&error, Instant::now());
        }
    }

    fn journal_failed(&mut self, error: &std::io::Error, now: Instant) {
        let numbers = self.store.inventory.numbers();
        numbers.journal_failures.fetch_add(1, Ordering::Relaxed);
        self.journal.doubt();
        self.journal_rests = Some(now + REWRITE_AGAIN);
        self.store.trouble.note(error, "write the index", now);
    }

    /// Tells whoever keeps house that a file was used here, by its time.
    fn tell_use(&self, change: &Change) {
        let Change::Put(record) = change else { return };
        let path = self.store.layout.path(record.kind, &record.digest);
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: i64::from(record.last_use),
                tv_nsec: 0,
            },
        };
        if let Err(error) = utimensat(CWD, &path, &times, AtFlags::empty()) {
            tracing::debug!(error = %about(&path, &error.into()), "a use could not be told");
        }
    }
}

impl Store {
    /// Marks what is pinned, as far as that has changed.
    pub(super) fn look_at_pins(&self) {
        let changed = self.pins.look(|digest| self.manifest(digest));
        let mark = |digests: Vec<Digest>, is_pinned| {
            for digest in digests {
                for kind in Kind::ALL {
                    if let Some(entry) = self.inventory.lookup(kind, &digest) {
                        entry.set_pinned(is_pinned);
                    }
                }
            }
        };
        mark(changed.pinned, true);
        mark(changed.released, false);
        let pinned = &self.inventory.numbers().pinned;
        pinned.store(self.pins.len() as u64, Ordering::Relaxed);
    }

    /// Starts over with a root directory that was away: nothing that was known of its files has to be true.
    fn come_back(&self) {
        if let Err(error) = self.checkpoint.reopen(self.layout.root()) {
            tracing::warn!(%error, "the root directory is not synced any more");
        }
        for entry in self.inventory.select(|entry| entry.is_proved()) {
            entry.doubt();
        }
        // What was looked for in vain was forgotten.
        self.wants_scan.store(true, Ordering::Release);
    }

    /// Does to the disk what a fill would do.
    fn trial(&self) -> std::io::Result<()> {
        self.layout.remake(self.device)?;
        if self.inventory.room().lacks_free(self.layout.root())? > 0 {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let way = Publish::probe(&self.layout)?;
        let partial = way.begin(&self.layout, self.checkpoint.failures())?;
        partial.write(&vec![0; DISK_TRIAL_BYTES], 0)?;
        partial.sync()?;
        *self.publish.write() = way;
        Ok(())
    }
}

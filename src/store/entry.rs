//! What is known of one thing that is stored.

use std::fs::Metadata;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::journal::Record;
use super::layout::Kind;
use super::policy::{Resident, Standing, USES_MAX};
use crate::digest::{Algorithm, Digest};

/// No power cut since it was written can have damaged it.
const PROVED: u8 = 1;
/// It was deleted: whoever has it open may send it to its end, and then forgets it.
const GONE: u8 = 2;
/// It is never evicted and never expires.
const PINNED: u8 = 4;
/// A change of it waits to be written to the journal.
const NOTED: u8 = 8;

/// A digest in 40 bytes rather than 65: there are a million of them, and SHA-512 is rare.
#[derive(Debug)]
enum Name {
    Sha256([u8; 32]),
    Sha512(Box<[u8; 64]>),
}

impl Name {
    fn of(digest: &Digest) -> Self {
        let raw = digest.raw();
        match digest.algorithm() {
            Algorithm::Sha256 => {
                let mut name = [0; 32];
                name.copy_from_slice(raw);
                Self::Sha256(name)
            }
            Algorithm::Sha512 => {
                let mut name = Box::new([0; 64]);
                name.copy_from_slice(raw);
                Self::Sha512(name)
            }
        }
    }

    fn parts(&self) -> (Algorithm, &[u8]) {
        match self {
            Self::Sha256(raw) => (Algorithm::Sha256, raw),
            Self::Sha512(raw) => (Algorithm::Sha512, raw.as_slice()),
        }
    }
}

/// What is known of one blob or manifest. 64 bytes; written by any thread, without a lock.
#[derive(Debug)]
pub struct Entry {
    name: Name,
    /// Length of its file's content, in bytes.
    pub size_bytes: u64,
    /// Seconds since the epoch.
    last_use: AtomicU32,
    hits: AtomicU32,
    /// How many have its file open.
    readers: AtomicU32,
    /// Uses that the policy has not taken note of, at most [`USES_MAX`].
    uses: AtomicU8,
    flags: AtomicU8,
    kind: Kind,
}

impl Entry {
    pub(super) fn new(kind: Kind, digest: &Digest, size_bytes: u64, last_use: u32) -> Self {
        Self {
            name: Name::of(digest),
            size_bytes,
            last_use: AtomicU32::new(last_use),
            hits: AtomicU32::new(0),
            readers: AtomicU32::new(0),
            uses: AtomicU8::new(0),
            flags: AtomicU8::new(0),
            kind,
        }
    }

    /// Returns the entry of a file found on disk. Its last use is the file's time of change or, where it is
    /// newer, of access: what is not known never makes a blob look older than it is.
    pub(super) fn found(kind: Kind, digest: &Digest, metadata: &Metadata) -> Self {
        let changed = metadata.modified().unwrap_or(UNIX_EPOCH);
        let read = metadata.accessed().unwrap_or(UNIX_EPOCH);
        Self::new(kind, digest, metadata.len(), seconds(changed.max(read)))
    }

    pub(super) fn with_history(self, hits: u32, uses: u8) -> Self {
        self.hits.store(hits, Ordering::Relaxed);
        self.uses.store(uses.min(USES_MAX), Ordering::Relaxed);
        self
    }

    /// Returns the digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let (algorithm, raw) = self.name.parts();
        // The name was made from a digest of that algorithm.
        Digest::from_raw(algorithm, raw).unwrap_or_else(|| Digest::of(algorithm, &[]))
    }

    pub(super) fn is(&self, kind: Kind, digest: &Digest) -> bool {
        self.kind == kind && self.name.parts() == (digest.algorithm(), digest.raw())
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Says whether it is a blob, not a manifest, with a digest of `algorithm`.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.name.parts().0
    }

    pub(super) fn raw(&self) -> &[u8] {
        self.name.parts().1
    }

    /// Returns the second of its last use, since the epoch.
    #[must_use]
    pub fn last_use(&self) -> u32 {
        self.last_use.load(Ordering::Relaxed)
    }

    /// Returns how often it was sent.
    #[must_use]
    pub fn hits(&self) -> u32 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Counts uses that need not be told at once.
    pub fn count_hits(&self, hits: u32) {
        self.hits.fetch_add(hits, Ordering::Relaxed);
    }

    /// Notes `hits` uses, the last at `now`. Says whether the journal has to hear of it from the caller.
    pub(super) fn touch(&self, now: u32, hits: u32) -> bool {
        if self.last_use.load(Ordering::Relaxed) < now {
            self.last_use.store(now, Ordering::Relaxed);
        }
        let uses = self.uses.load(Ordering::Relaxed);
        if uses < USES_MAX {
            self.uses.store(uses + 1, Ordering::Relaxed);
        }
        self.hits.fetch_add(hits, Ordering::Relaxed);
        self.raise(NOTED)
    }

    /// Returns what the journal keeps of it.
    ///
    /// - `place`: where the policy has it.
    pub(super) fn record(&self, place: u8) -> Record {
        Record {
            kind: self.kind,
            digest: self.digest(),
            size_bytes: self.size_bytes,
            last_use: self.last_use(),
            hits: self.hits(),
            uses: self.uses.load(Ordering::Relaxed),
            place,
        }
    }

    /// Takes up what a later line of the journal says.
    pub(super) fn replace_history(&self, last_use: u32, hits: u32, uses: u8) {
        self.last_use.store(last_use, Ordering::Relaxed);
        self.hits.store(hits, Ordering::Relaxed);
        self.uses.store(uses.min(USES_MAX), Ordering::Relaxed);
    }

    /// Takes up a later use that someone else has told.
    pub(super) fn used_at(&self, last_use: u32) {
        self.last_use.fetch_max(last_use, Ordering::Relaxed);
    }

    /// Says whether it was deleted.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.has(GONE)
    }

    /// Marks it deleted; says whether it was not.
    pub(super) fn set_gone(&self) -> bool {
        self.raise(GONE)
    }

    pub(super) fn is_proved(&self) -> bool {
        self.has(PROVED)
    }

    pub(super) fn set_proved(&self) {
        self.raise(PROVED);
    }

    /// It has to be proved again before it is served from a file that is not open yet.
    pub(super) fn doubt(&self) {
        self.flags.fetch_and(!PROVED, Ordering::AcqRel);
    }

    /// Says whether it is never evicted.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.has(PINNED)
    }

    pub(super) fn set_pinned(&self, is_pinned: bool) {
        if is_pinned {
            self.raise(PINNED);
        } else {
            self.flags.fetch_and(!PINNED, Ordering::AcqRel);
        }
    }

    /// The journal has taken up the change; the next one has to be told again.
    pub(super) fn clear_noted(&self) {
        self.flags.fetch_and(!NOTED, Ordering::AcqRel);
    }

    /// Says whether anybody has its file open.
    pub(super) fn is_read(&self) -> bool {
        self.readers.load(Ordering::SeqCst) > 0
    }

    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    /// Sets a flag; says whether it was not set.
    fn raise(&self, flag: u8) -> bool {
        !self.has(flag) && self.flags.fetch_or(flag, Ordering::SeqCst) & flag == 0
    }
}

impl Resident for Arc<Entry> {
    fn fingerprint(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.raw()[8..16]);
        u64::from_le_bytes(bytes) ^ self.kind as u64
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn uses(&self) -> u8 {
        self.uses.load(Ordering::Relaxed)
    }

    fn set_uses(&self, uses: u8) {
        self.uses.store(uses.min(USES_MAX), Ordering::Relaxed);
    }

    fn standing(&self) -> Standing {
        if self.is_gone() {
            Standing::Gone
        } else if self.is_pinned() {
            Standing::Kept
        } else {
            Standing::Evictable
        }
    }
}

/// The right to the bytes of an entry: while it lives, a deletion leaves them readable and they count as
/// taken.
#[derive(Debug)]
pub struct Reading(Arc<Entry>);

impl Reading {
    pub(super) fn new(entry: Arc<Entry>) -> Self {
        entry.readers.fetch_add(1, Ordering::SeqCst);
        Self(entry)
    }

    pub(super) const fn entry(&self) -> &Arc<Entry> {
        &self.0
    }
}

impl Clone for Reading {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Deref for Reading {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.0
    }
}

/// Returns whole seconds since the epoch, rounded down.
pub(super) fn seconds(time: SystemTime) -> u32 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_million_is_small_and_keeps_its_name() {
        assert_eq!(size_of::<Entry>(), 64);
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = Digest::of(algorithm, b"x");
            let entry = Entry::new(Kind::Blob, &digest, 1, 0);
            assert_eq!(entry.digest(), digest);
            assert!(entry.is(Kind::Blob, &digest) && !entry.is(Kind::Manifest, &digest));
        }
    }

    #[test]
    fn uses_saturate_and_the_journal_hears_of_a_change_once() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let entry = Arc::new(Entry::new(Kind::Blob, &digest, 1, 0));
        assert!(entry.touch(5, 2));
        assert!(!entry.touch(6, 1), "it waits already");
        entry.clear_noted();
        assert!((7..99).all(|now| entry.touch(now, 1) == (now == 7)));
        assert_eq!((entry.last_use(), entry.hits(), entry.uses()), (98, 95, 3));
        entry.touch(3, 0);
        assert_eq!(entry.last_use(), 98, "a clock set back makes nothing older");
    }
}

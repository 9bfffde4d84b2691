//! How far a fill is, as its followers on every core see it.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use super::held::Held;
use super::landed::Landed;
use super::sink::Sink;
use super::view::Story;
use super::wants::Wants;
use super::watch::Watchers;
use super::{Failure, OnRange};
use crate::digest::Digest;
use crate::limits::WITHHELD_BYTES;
use crate::rt::Notify;
use crate::store::Reading;
use crate::upstream::{Authority, Request, Trail};

/// Where a fill is in its life; see the drawing in the module's header.
#[derive(Clone, Debug)]
enum Phase {
    Connecting,
    Streaming {
        size_bytes: Option<u64>,
    },
    /// The store counts the blob's bytes until the last entry is dropped: followers still send them.
    Committed {
        size_bytes: u64,
        _entry: Reading,
    },
    Passed {
        size_bytes: u64,
    },
    Failed(Failure),
}

impl Phase {
    /// Returns how the fill ended, once it has.
    fn end(&self) -> Option<Result<u64, Failure>> {
        match self {
            Self::Connecting | Self::Streaming { .. } => None,
            Self::Committed { size_bytes, .. } | Self::Passed { size_bytes } => {
                Some(Ok(*size_bytes))
            }
            Self::Failed(failure) => Some(Err(failure.clone())),
        }
    }
}

/// How a follower comes to its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// After all those before them, and short of the blob's end until it is proved.
    InTurn,
    /// As soon as they have come: a part that lies ahead of what was filled when it was asked for. By itself
    /// it is never a whole blob.
    Ahead,
}

/// How a fill ends well.
#[derive(Clone, Debug)]
pub(super) enum Done {
    /// The blob is in the store.
    Stored { size_bytes: u64, entry: Reading },
    /// Its digest was equal, and the disk did not take it.
    Passed { size_bytes: u64 },
}

/// One fill, shared by its task, its sink and its followers.
#[derive(Debug)]
pub struct Fill {
    digest: Digest,
    repository: String,
    authority: Authority,
    trail: Trail,
    on_range: OnRange,
    is_part: AtomicBool,
    /// Nothing is fetched, and nothing asked for.
    is_idle: AtomicBool,
    /// What the caches behind the next hop say of their part; set with its head.
    cache_status: OnceLock<String>,
    /// Where its bytes go, once there are any.
    pub(super) sink: OnceLock<Weak<Sink>>,
    answered: OnceLock<Instant>,
    phase: Mutex<Phase>,
    /// Bytes that may be sent.
    ///
    /// Invariant: never falls; what lies below is in `held`, down to the slowest follower's hold.
    filled: AtomicU64,
    /// Bytes that are in the file, those included that came ahead of their turn.
    pub(super) landed: Mutex<Landed>,
    pub(super) changed: Notify,
    pub(super) wants: Mutex<Wants>,
    /// Something has happened that the task has to heed: how often.
    heeds: AtomicU64,
    calls: Notify,
    pub(super) held: Mutex<Held>,
    /// 0, or one more than the hold that the task waits for.
    pub(super) waits_for: AtomicU64,
    /// Told when the follower has passed that the task waits for, and when one has left.
    pub(super) passed: Notify,
    pub(super) watchers: Watchers,
    /// For operators.
    pub(super) story: Story,
}

impl Fill {
    pub(super) fn new(
        digest: Digest,
        repository: &str,
        authority: Authority,
        trail: Trail,
        on_range: OnRange,
    ) -> Self {
        Self {
            on_range,
            is_part: AtomicBool::new(false),
            is_idle: AtomicBool::new(false),
            digest,
            repository: repository.to_owned(),
            authority,
            trail,
            cache_status: OnceLock::new(),
            sink: OnceLock::new(),
            answered: OnceLock::new(),
            phase: Mutex::new(Phase::Connecting),
            filled: AtomicU64::new(0),
            landed: Mutex::default(),
            wants: Mutex::default(),
            heeds: AtomicU64::new(0),
            calls: Notify::default(),
            changed: Notify::default(),
            held: Mutex::default(),
            waits_for: AtomicU64::new(0),
            passed: Notify::default(),
            watchers: Watchers::default(),
            story: Story::default(),
        }
    }

    /// Returns the digest of the blob.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the repository that it is fetched from.
    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns how many bytes may be sent.
    #[must_use]
    pub fn filled(&self) -> u64 {
        self.filled.load(Ordering::Acquire)
    }

    /// Returns the request for all of the blob.
    pub(super) fn request(&self) -> Request {
        let (repository, digest) = (&self.repository, self.digest);
        Request {
            digest: Some(digest),
            trail: self.trail.clone(),
            repository: Some(repository.clone()),
            authority: self.authority.clone(),
            ..Request::get(format!("/v2/{repository}/blobs/{digest}"))
        }
    }

    /// Returns what the request passed that started it, which the next hop is told.
    #[must_use]
    pub const fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Returns what the caches behind the next hop say of their part, to stand before our own word.
    #[must_use]
    pub fn cache_status(&self) -> &str {
        self.cache_status.get().map_or("", String::as_str)
    }

    /// Returns the next hop that answered first, once one has.
    #[must_use]
    pub fn hop(&self) -> Option<Arc<str>> {
        self.story.upstream()
    }

    pub(super) fn set_cache_status(&self, said: String) {
        drop(self.cache_status.set(said));
    }

    pub(super) fn set_idle(&self, is_idle: bool) {
        self.is_idle.store(is_idle, Ordering::Relaxed);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.is_idle.load(Ordering::Relaxed)
    }

    /// Says whether somebody wants all of the blob.
    pub(super) fn is_wanted_whole(&self) -> bool {
        self.wants.lock().is_whole()
    }

    /// Says whether anybody wants a part.
    pub(super) fn has_parts(&self) -> bool {
        self.wants.lock().has_parts()
    }

    /// Says whether all of the blob is to be fetched.
    pub(super) fn is_for_all(&self) -> bool {
        self.on_range == OnRange::Complete || self.wants.lock().is_whole()
    }

    /// Says whether the next hop was asked just as it would be for this repository and authority: its
    /// refusal, and its permission, are about no others.
    #[must_use]
    pub fn is_asked_as(&self, repository: &str, authority: &Authority) -> bool {
        self.repository == repository && self.authority == *authority
    }

    /// Returns when the next hop began to answer, once what it sent was proved to be the blob.
    #[must_use]
    pub fn proved_answer(&self) -> Option<Instant> {
        let is_proved = matches!(self.phase.lock().end(), Some(Ok(_)));
        self.answered.get().copied().filter(|_| is_proved)
    }

    /// Says whether what has answered is a next hop, whose answer is the origin's word on whoever it was asked for:
    /// not the process before this one.
    #[must_use]
    pub fn is_answered_by_origin(&self) -> bool {
        self.answered.get().is_some()
    }

    /// Returns the blob's size where the next hop has told it.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        match &*self.phase.lock() {
            Phase::Streaming { size_bytes } => *size_bytes,
            ended => ended.end()?.ok(),
        }
    }

    /// Says whether the next hop has not answered yet.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(*self.phase.lock(), Phase::Connecting)
    }

    /// Waits for the next hop's head, and returns the blob's size if it told it.
    ///
    /// # Errors
    /// Why the fill failed before that.
    pub async fn head(&self) -> Result<Option<u64>, Failure> {
        self.changed
            .wait(|| match &*self.phase.lock() {
                Phase::Streaming { size_bytes } => Some(Ok(*size_bytes)),
                other => other.end().map(|end| end.map(Some)),
            })
            .await
    }

    /// Waits for the end, and returns the blob's size.
    ///
    /// # Errors
    /// Why it failed.
    pub(super) async fn ended(&self) -> Result<u64, Failure> {
        let ended = self.changed.wait(|| self.phase.lock().end());
        ended.await
    }

    /// Waits until `is_so`, looked at whenever the task is called.
    pub(super) async fn until(&self, is_so: impl Fn() -> bool) {
        self.calls.wait(|| is_so().then_some(())).await;
    }

    /// As [`Follower::more`], unless the follower finds that it waits for itself.
    ///
    /// [`Follower::more`]: super::Follower::more
    pub(super) async fn more(
        &self,
        cursor: u64,
        order: Order,
        waits_for_itself: impl Fn() -> bool,
    ) -> Result<u64, Failure> {
        self.changed
            .wait(|| {
                let sendable = self.sendable_from(cursor, order);
                if sendable > cursor {
                    return Some(Ok(sendable));
                }
                let end = self.phase.lock().end();
                end.or_else(|| waits_for_itself().then(|| Err(self.disk_failure())))
            })
            .await
    }

    /// Returns up to where bytes from `cursor` on may be sent; no more than `cursor` if none may.
    fn sendable_from(&self, cursor: u64, order: Order) -> u64 {
        let filled = self.filled.load(Ordering::Acquire);
        match order {
            Order::Ahead if filled <= cursor => self.landed.lock().end_from(cursor),
            Order::InTurn | Order::Ahead => filled,
        }
    }

    /// Says whether bytes from `start` on come before their turn, if they come next.
    pub(super) fn order_of(&self, start: u64) -> Order {
        // Where only parts are fetched the end may never be proved.
        let may_end_early = !self.is_for_all() || self.is_part();
        match may_end_early || start > self.filled.load(Ordering::Acquire) {
            true => Order::Ahead,
            false => Order::InTurn,
        }
    }

    /// Tells the task that something has happened that it has to heed.
    pub(super) fn call(&self) {
        self.heeds.fetch_add(1, Ordering::SeqCst);
        self.calls.wake_all();
    }

    /// Waits until the task was called more often than `heeded` says, and sets that.
    pub(super) async fn called(&self, heeded: &Cell<u64>) {
        self.calls
            .wait(|| {
                let count = self.heeds.load(Ordering::SeqCst);
                (heeded.replace(count) != count).then_some(())
            })
            .await;
    }

    /// - `is_word`: it is a next hop that answers, which knows who may have what.
    pub(super) fn start_streaming(&self, size_bytes: Option<u64>, is_word: bool) {
        if is_word {
            let _ = self.answered.set(Instant::now());
        }
        *self.phase.lock() = Phase::Streaming { size_bytes };
        self.changed.wake_all();
    }

    /// Goes on as a part from `start` on that passes the disk: there is nothing before it, and no proof.
    pub(super) fn pass_part(&self, start: u64) {
        self.is_part.store(true, Ordering::Release);
        self.held.lock().begin_at(start);
        self.landed.lock().add(0..start);
    }

    /// Says whether it is a part that passes the disk.
    pub(super) fn is_part(&self) -> bool {
        self.is_part.load(Ordering::Acquire)
    }

    /// Tells that `range` is in the file; returns how many bytes are from the first one on. What may be
    /// sent in order stays short of them.
    pub(super) fn land(&self, range: Range<u64>, size_bytes: Option<u64>) -> u64 {
        let prefix = {
            let mut landed = self.landed.lock();
            landed.add(range.clone());
            landed.prefix()
        };
        let sendable = sendable(prefix, size_bytes);
        let is_more = sendable > self.filled.load(Ordering::Relaxed) && !self.is_part();
        if is_more {
            self.filled.store(sendable, Ordering::Release);
        }
        // Those ahead may have any of it.
        if is_more || self.wants.lock().has_parts() {
            self.changed.wake_all();
        }
        prefix
    }

    /// Ends the fill well: followers may have the rest.
    pub(super) fn finish(&self, done: Done) {
        let (size_bytes, phase) = match done {
            Done::Stored { size_bytes, entry } => {
                let _entry = entry;
                (size_bytes, Phase::Committed { size_bytes, _entry })
            }
            Done::Passed { size_bytes } => (size_bytes, Phase::Passed { size_bytes }),
        };
        self.filled.store(size_bytes, Ordering::Release);
        *self.phase.lock() = phase;
        self.changed.wake_all();
    }

    /// Ends the fill as failed, unless it has ended.
    pub(super) fn fail(&self, failure: Failure) {
        let mut phase = self.phase.lock();
        if matches!(*phase, Phase::Connecting | Phase::Streaming { .. }) {
            *phase = Phase::Failed(failure);
        }
        drop(phase);
        self.changed.wake_all();
    }
}

/// Returns how many of `written` bytes may be sent before the digest is known to be equal: never one
/// of the last [`WITHHELD_BYTES`] of the blob, which without a known size are the last ones written.
const fn sendable(written: u64, size_bytes: Option<u64>) -> u64 {
    let end = match size_bytes {
        Some(size_bytes) => size_bytes,
        None => written,
    };
    let limit = end.saturating_sub(WITHHELD_BYTES);
    if written < limit { written } else { limit }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_tail_is_withheld_whatever_was_written(size in 0..u64::MAX / 2, written in 0..u64::MAX / 2) {
            let written = written.min(size);
            prop_assert!(sendable(written, Some(size)) <= written);
            prop_assert!(sendable(written, Some(size)) <= size.saturating_sub(WITHHELD_BYTES));
            prop_assert!(sendable(written, None) <= written.saturating_sub(WITHHELD_BYTES));
        }
    }

    #[test]
    fn a_small_blob_is_withheld_whole_and_a_large_one_flows() {
        assert_eq!(sendable(10, Some(10)), 0);
        assert_eq!(sendable(1 << 20, Some(1 << 30)), 1 << 20);
        assert_eq!(sendable(1 << 30, Some(1 << 30)), (1 << 30) - WITHHELD_BYTES);
    }

    #[test]
    fn the_end_of_a_fill_is_final() {
        let digest = Digest::of(crate::digest::Algorithm::Sha256, b"");
        let fill = Fill::new(
            digest,
            "a/b",
            Authority::Cache,
            Trail::default(),
            OnRange::Complete,
        );
        fill.finish(Done::Passed { size_bytes: 7 });
        fill.fail(Failure::Lost);
        assert!(matches!(
            *fill.phase.lock(),
            Phase::Passed { size_bytes: 7 }
        ));
        assert_eq!(fill.filled.load(Ordering::Relaxed), 7);
    }
}

//! What an operator is shown of fills: those that run, and what became of the last ones.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::{Failure, Fill, Fills};
use crate::digest::Digest;
use crate::limits::FILLS_REMEMBERED;
use crate::metrics::FillOutcome;

/// What a fill's task tells of itself as it goes. Its core alone writes.
#[derive(Debug)]
pub(super) struct Story {
    began: Instant,
    upstream: OnceLock<Arc<str>>,
    streams: AtomicUsize,
    received: AtomicU64,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            upstream: OnceLock::new(),
            streams: AtomicUsize::new(0),
            received: AtomicU64::new(0),
        }
    }
}

impl Story {
    pub(super) fn set_upstream(&self, hop: &str) {
        drop(self.upstream.set(hop.into()));
    }

    /// Returns the next hop that answered first, once one has.
    pub(super) fn upstream(&self) -> Option<Arc<str>> {
        self.upstream.get().cloned()
    }

    pub(super) fn set_streams(&self, streams: usize) {
        self.streams.store(streams, Ordering::Relaxed);
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn set_received(&self, bytes: u64) {
        self.received.store(bytes, Ordering::Relaxed);
    }
}

/// A fill that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// The blob.
    pub digest: Digest,
    /// The repository that it is fetched from.
    pub repository: String,
    /// The next hop that answered first, once one has.
    pub upstream: Option<Arc<str>>,
    /// The blob's size where it was told.
    pub size_bytes: Option<u64>,
    /// Bytes that its followers may have.
    pub filled_bytes: u64,
    /// Bytes that have come from next hops; what an earlier fill has left is not among them.
    pub received_bytes: u64,
    /// Responses that are sent from it.
    pub followers: usize,
    /// Requests to next hops that are being answered.
    pub streams: usize,
    /// How long it has run.
    pub age: Duration,
}

/// A fill that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The blob.
    pub digest: Digest,
    /// The repository that it was fetched from.
    pub repository: String,
    /// The next hop that answered first, if one did.
    pub upstream: Option<Arc<str>>,
    /// When it ended.
    pub at: SystemTime,
    /// How long it ran.
    pub took: Duration,
    /// Bytes that came from next hops.
    pub received_bytes: u64,
    /// How it ended.
    pub outcome: FillOutcome,
    /// Why, if it failed.
    pub failure: Option<String>,
}

/// The fills that have ended last, the latest at the end.
#[derive(Debug, Default)]
pub(super) struct Past {
    ended: Mutex<VecDeque<Ended>>,
}

impl Past {
    pub(super) fn note(&self, fill: &Fill, outcome: FillOutcome, failure: Option<&Failure>) {
        let story = &fill.story;
        let ended = Ended {
            digest: fill.digest(),
            repository: fill.repository().to_owned(),
            upstream: story.upstream.get().cloned(),
            at: SystemTime::now(),
            took: story.began.elapsed(),
            received_bytes: story.received.load(Ordering::Relaxed),
            outcome,
            failure: failure.map(ToString::to_string),
        };
        let mut all = self.ended.lock();
        if all.len() >= FILLS_REMEMBERED {
            all.pop_front();
        }
        all.push_back(ended);
    }
}

impl Fills {
    /// Returns the fills that run, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Running> {
        let fills: Vec<_> = self.running.lock().values().map(Arc::clone).collect();
        let mut running: Vec<_> = fills.iter().map(|fill| running(fill)).collect();
        running.sort_by_key(|one| (std::cmp::Reverse(one.age), one.digest));
        running
    }

    /// Returns the fill of `digest` that runs.
    #[must_use]
    pub fn find(&self, digest: &Digest) -> Option<Running> {
        let fill = self.running.lock().get(digest).map(Arc::clone);
        fill.map(|fill| running(&fill))
    }

    /// Returns what became of the last fill of `digest`, if that is remembered.
    #[must_use]
    pub fn last(&self, digest: &Digest) -> Option<Ended> {
        let ended = self.past.ended.lock();
        ended
            .iter()
            .rev()
            .find(|one| one.digest == *digest)
            .cloned()
    }
}

fn running(fill: &Fill) -> Running {
    let story = &fill.story;
    Running {
        digest: fill.digest(),
        repository: fill.repository().to_owned(),
        upstream: story.upstream.get().cloned(),
        size_bytes: fill.size_bytes(),
        filled_bytes: fill.filled(),
        received_bytes: story.received.load(Ordering::Relaxed),
        followers: fill.held.lock().followers(),
        streams: story.streams.load(Ordering::Relaxed),
        age: story.began.elapsed(),
    }
}

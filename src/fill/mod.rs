//! One transfer of one blob from the next hop, shared by every client that wants it meanwhile.
//!
//! The first request for an absent blob leads, the others follow. The fill belongs to no client: it
//! runs as a task of its own on the leader's core, and goes on when every client has gone. A follower
//! has only a cursor: it is sent what lies below `filled`, straight from the growing file, and waits
//! there; so it may join late, lag or leave without anyone noticing.
//!
//! ```text
//!             head             digest equal, published
//! Connecting ──────▶ Streaming ──────────────────────▶ Committed
//!     │                 ├── digest equal, disk failed ─▶ Passed
//!     ╰──── fail ───────┴─ next hop breaks off, digest differs ─▶ Failed
//! ```
//!
//! ```text
//! next hop ─▶ stream ─╮ chunk, at its offset
//! next hop ─▶ stream ─┼────▶ sink (helper thread): write, tell followers, SHA-256 in order ─▶ commit
//! next hop ─▶ stream ─╯        few chunks in between
//!     leader's core: the schedule says which stream fetches what (plan, wants, pace, retries)
//! ```
//!
//! A stream that breaks off gives back what it has not fetched, which is asked for again by `Range`, at
//! whichever next hop the policy names, under the same responses. A follower of a part that lies ahead has it
//! fetched by a stream of its own and is sent it as it comes. What has come of a large blob when a fill fails,
//! or the process ends, is left in the store for the next fill to go on with.
//!
//! A disk that fails fails no client. The fill spills: what the disk does not take goes to a window of
//! memory (`held`, `spill`), and then the fill is for those alone who follow it. It waits for the slowest,
//! who has the send timeout, and ends when the last one leaves. Whoever comes when the first bytes are gone
//! starts a fill of its own. What cannot be had of a window is refused: ranges that go backwards, and a
//! size that only the end tells, each further than a window reaches.
//!
//! Invariants
//! - `filled` never falls. Until the digest is equal it stays [`WITHHELD_BYTES`] short of the blob's end (or at
//!   0), so no response is ever a complete corrupt blob. A part that lay ahead of `filled` when it was asked for
//!   is sent without that: by itself it is never the whole.
//! - `Committed`, `Passed` and `Failed` are final; a retry is a new fill.
//! - A blob is in the store before its fill leaves the list of running ones, so that at any moment a
//!   request finds one or the other.
//!
//! [`WITHHELD_BYTES`]: crate::limits::WITHHELD_BYTES

mod failure;
mod follower;
mod held;
mod landed;
mod options;
mod pace;
mod plan;
mod progress;
mod retries;
mod schedule;
mod sink;
mod spill;
mod stream;
mod transfer;
mod view;
mod wants;
mod watch;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

pub use failure::Failure;
pub use follower::Follower;
pub use held::Piece;
pub use options::{OnRange, Options};
pub use progress::{Fill, Order};
pub use view::{Ended, Running};
pub use wants::Wanted;
pub use watch::Watch;

use crate::digest::Digest;
use crate::limits::{FILLS_MAX, PROVING_THREADS, REFUSALS_LOGGED_A_SECOND};
use crate::live::Live;
use crate::metrics::Counters;
use crate::rt::{self, Pool};
use crate::store::Store;
use crate::upstream::{Authority, Span, Trail, Upstream};
use held::Permits;

#[cfg(test)]
mod tests;

/// What a request for a blob that it did not find becomes.
#[derive(Debug)]
pub enum Join {
    /// The first: it started this fill.
    Lead(Follower),
    /// One of several: this fill was running.
    Follow(Follower),
    /// Too late: the blob was committed in the meantime.
    Stored,
    /// Too many fills run; the client may come again.
    Busy,
}

/// What a wish for a blob that no client waits for becomes.
#[derive(Debug)]
pub enum Prefetch {
    /// A fill runs.
    Watched(Watch),
    /// It is here.
    Stored,
    /// Too many fills run.
    Busy,
}

/// What the fills of this process have to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Responses that follow them.
    pub followers: usize,
    /// Chunks that have come and are not written.
    pub chunks_waiting: usize,
    /// Fills that wait for a helper thread.
    pub sinks_waiting: usize,
}

/// Every fill that runs in this process.
#[derive(Debug)]
pub struct Fills {
    running: Mutex<HashMap<Digest, Arc<Fill>>>,
    store: Arc<Store>,
    upstream: Arc<Upstream>,
    sinks: Pool,
    /// Threads that hash again what earlier fills have left.
    resuming: Pool,
    spills: Permits,
    options: Live<Options>,
    /// How many streams were of use to the last large fill, for the next one to begin with.
    streams_of_use: AtomicUsize,
    /// Lines about failed fills that were logged in which second since when.
    logged: Mutex<(u64, u32)>,
    since: Instant,
    /// What became of the last ones.
    past: view::Past,
}

impl Fills {
    /// Returns an empty list, with `threads` helper threads that write and hash.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn new(
        store: Arc<Store>,
        upstream: Arc<Upstream>,
        options: Options,
        threads: usize,
    ) -> io::Result<Self> {
        let sinks = Pool::start("sink", threads)?;
        let resuming = Pool::start("resume", PROVING_THREADS)?;
        Ok(Self {
            running: Mutex::default(),
            store,
            upstream,
            sinks,
            resuming,
            spills: Permits::default(),
            options: Live::new(options),
            streams_of_use: AtomicUsize::new(1),
            logged: Mutex::default(),
            since: Instant::now(),
            past: view::Past::default(),
        })
    }

    /// Goes by `options` from the next fill on.
    pub fn reload(&self, options: Options) {
        self.options.set(options);
    }

    /// Joins the fill of `digest`, or starts one from `repository` on this core, in the name of
    /// `authority` and on behalf of a request that passed `trail`.
    ///
    /// - `wanted`: the part that is asked for; `None` is all of it.
    ///
    /// Whether a follower may have the blob is not asked here. Costs a lock that the hit path never
    /// takes.
    pub fn join(
        self: &Arc<Self>,
        digest: Digest,
        repository: &str,
        authority: &Authority,
        trail: &Trail,
        wanted: Option<Span>,
        counters: &Arc<Counters>,
    ) -> Join {
        let mut running = self.running.lock();
        // Joined under the lock: a fill leaves the list before it lets go of its first byte.
        if let Some(follower) = running.get(&digest).and_then(Follower::join) {
            follower.want_span(wanted);
            // It may have been begun for nobody, and now somebody waits.
            follower.call();
            return Join::Follow(follower);
        }
        // Looked up under the lock: a fill commits before it leaves the list.
        if self.store.lookup(&digest).is_some() {
            return Join::Stored;
        }
        if running.len() >= FILLS_MAX {
            return Join::Busy;
        }
        let fill = Arc::new(Fill::new(
            digest,
            repository,
            authority.clone(),
            trail.clone(),
            self.options.get().on_range,
        ));
        let Some(leader) = Follower::join(&fill) else {
            return Join::Busy;
        };
        leader.want_span(wanted);
        running.insert(digest, Arc::clone(&fill));
        drop(running);
        let opening = wanted.and_then(|span| self.options.get().opening(span));
        let fills = Arc::clone(self);
        let counters = Arc::clone(counters);
        rt::spawn(async move { transfer::run(&fills, &fill, opening, &counters).await });
        Join::Lead(leader)
    }

    /// Joins the fill of `digest` if one runs; begins none.
    pub fn follow(&self, digest: &Digest, wanted: Option<Span>) -> Option<Follower> {
        let running = self.running.lock();
        let follower = running.get(digest).and_then(Follower::join)?;
        follower.want_span(wanted);
        follower.call();
        Some(follower)
    }

    /// Has `digest` stored, from `repository` and in the name of `authority`, at the priority of what nobody
    /// waits for: by the fill that runs, or by one on this thread.
    pub fn prefetch(
        self: &Arc<Self>,
        digest: Digest,
        repository: &str,
        authority: &Authority,
        counters: &Arc<Counters>,
    ) -> Prefetch {
        let mut running = self.running.lock();
        if let Some(fill) = running.get(&digest) {
            return Prefetch::Watched(Watch::join(fill));
        }
        if self.store.lookup(&digest).is_some() {
            return Prefetch::Stored;
        }
        // Clients come first: half of the places are theirs alone.
        if running.len() >= FILLS_MAX / 2 {
            return Prefetch::Busy;
        }
        let fill = Arc::new(Fill::new(
            digest,
            repository,
            authority.clone(),
            Trail::default(),
            self.options.get().on_range,
        ));
        let watch = Watch::lead(&fill);
        running.insert(digest, Arc::clone(&fill));
        drop(running);
        let (fills, counters) = (Arc::clone(self), Arc::clone(counters));
        rt::spawn(async move { transfer::run(&fills, &fill, None, &counters).await });
        Prefetch::Watched(watch)
    }

    /// Says whether a fill of `digest` runs.
    #[must_use]
    pub fn is_running(&self, digest: &Digest) -> bool {
        self.running.lock().contains_key(digest)
    }

    /// Takes a look at what runs, for metrics: a lock that no hit takes, and one of each fill.
    #[must_use]
    pub fn load(&self) -> Load {
        let running: Vec<_> = self.running.lock().values().cloned().collect();
        let sinks = running.iter().filter_map(|fill| fill.sink.get()?.upgrade());
        Load {
            followers: running.iter().map(|f| f.held.lock().followers()).sum(),
            chunks_waiting: sinks.map(|sink| sink.waiting()).sum(),
            sinks_waiting: self.sinks.waiting(),
        }
    }

    /// Leaves what has come of blobs that are still being filled to the next process. For when the cores have
    /// ended: whatever runs fails. May block.
    pub fn leave_all(&self) {
        let running = std::mem::take(&mut *self.running.lock());
        let sinks = running.values().filter_map(|fill| fill.sink.get());
        sinks
            .filter_map(Weak::upgrade)
            .for_each(|sink| sink.leave());
    }

    /// Says whether another line about a failed fill may be logged: clients must not fill the log.
    fn may_log(&self) -> bool {
        let now = self.since.elapsed().as_secs();
        let mut logged = self.logged.lock();
        if logged.0 != now {
            *logged = (now, 0);
        }
        logged.1 += 1;
        logged.1 <= REFUSALS_LOGGED_A_SECOND
    }

    /// Says whether a fill runs that fetches something, or has a client.
    #[must_use]
    pub fn are_busy(&self) -> bool {
        let running = self.running.lock();
        running
            .values()
            .any(|fill| !fill.is_idle() || fill.is_followed())
    }

    /// Returns how many streams a large fill may begin with.
    fn streams_of_use(&self) -> usize {
        self.streams_of_use.load(Ordering::Relaxed)
    }

    /// Takes note of how many streams a large fill has settled for.
    fn note_streams(&self, streams: usize) {
        self.streams_of_use.store(streams, Ordering::Relaxed);
    }

    /// Lets `fill` go on in memory with the bytes from `from` on, as the disk said `error`.
    ///
    /// # Errors
    /// That, if too many do.
    fn spill(&self, fill: &Fill, from: u64, error: io::Error) -> Result<(), Failure> {
        tracing::debug!(digest = %fill.digest(), from, %error, "the disk failed a fill");
        let cause = Arc::new(error);
        let Some(permit) = self.spills.take() else {
            return Err(Failure::Disk(cause));
        };
        // One that is in its midst would make those who are there wait for whoever comes.
        if from > 0 {
            self.leave(fill);
        }
        fill.spill(from, cause, permit);
        Ok(())
    }

    /// Takes `fill` off the list, unless another one has its place.
    fn leave(&self, fill: &Fill) {
        let mut running = self.running.lock();
        if running
            .get(&fill.digest())
            .is_some_and(|found| std::ptr::eq(&raw const **found, fill))
        {
            running.remove(&fill.digest());
        }
    }
}

//! Which streams a fill runs: what is fetched when, in how many pieces at once, and how it goes on when one
//! breaks off.
//!
//! ```text
//!   plan: what is missing        wants: who waits for what        pace: how many streams
//!            ╰───────────────────────────┬─────────────────────────────╯
//!                                        ▼
//!  next hop ◀─ ask ─ stream … stream ─ chunk at its offset ─▶ sink
//!                       ╰─ broke off: its rest is missing again, after a pause
//! ```
//!
//! Parts that clients wait for have streams of their own beside those that fetch the rest in order. The first
//! answer is to a request for all of the blob, so that a next hop that knows no ranges is none the worse for
//! them. Where more streams would bring more, it is cut short and the rest asked for in ranges.
//!
//! A fill that the disk fails goes on with one stream, in order.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pace::{PACE_TICK, Pace};
use super::plan::{Key, Plan, Purpose};
use super::progress::Done;
use super::retries::Retries;
use super::sink::Sink;
use super::stream::Fault;
use super::{Failure, Fill, Fills, Options};
use crate::limits::{
    AHEAD_BYTES_MAX, AHEAD_BYTES_MIN, FILL_PATIENCE, PARTS_IDLE, RESUME_WAIT_MAX, STREAMS_BYTES_MIN,
};
use crate::metrics::{Counters, StreamKind};
use crate::rt::{self, Group};
use crate::upstream::{Error, Response, Share, Validator};

type Streams<'s> = Group<'s, (Key, Result<(), Fault>)>;

/// One fill's streams; see the module's header.
#[derive(Debug)]
pub(super) struct Schedule<'f> {
    pub(super) fills: &'f Fills,
    pub(super) fill: &'f Fill,
    pub(super) counters: &'f Counters,
    pub(super) sink: Arc<Sink>,
    pub(super) plan: RefCell<Plan>,
    pub(super) share: Share,
    pub(super) validator: RefCell<Option<Validator>>,
    pub(super) is_validator_of_use: Cell<bool>,
    /// A next hop has sent all when it was asked for a part.
    pub(super) ignores_ranges: Cell<bool>,
    /// Bytes that all streams have received.
    pub(super) received: Cell<u64>,
    options: Options,
    pace: RefCell<Pace>,
    retries: RefCell<Retries>,
    /// Streams whose answer has come.
    flowing: Cell<usize>,
    /// Nothing is asked for before this, as a stream has broken off.
    pause: Cell<Option<Instant>>,
    /// There have been several streams in order.
    is_parallel: Cell<bool>,
    mode: Cell<Mode>,
    /// A hop that has just refused what others may give, or made no sense.
    pub(super) avoided: RefCell<Option<String>>,
    /// When bytes came last.
    last_bytes: Cell<Instant>,
    heeded: Cell<u64>,
    /// Since when nobody has wanted anything.
    idle_since: Cell<Option<Instant>>,
}

/// What may be fetched just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The first answer is a part that a client waits for: while it does, and nobody waits for all of the blob,
    /// the rest does not get in its way.
    PartFirst,
    /// Parts and what comes next in order, side by side.
    Ordinary,
    /// The disk has failed: one stream, in order.
    Single,
}

/// A stream that receives, counted while it does.
pub(super) struct Flowing<'s>(&'s Cell<usize>, &'s Fill);

impl Drop for Flowing<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
        self.1.story.set_streams(self.0.get());
    }
}

impl<'f> Schedule<'f> {
    pub(super) fn new(
        fills: &'f Fills,
        fill: &'f Fill,
        counters: &'f Counters,
        sink: Arc<Sink>,
        plan: Plan,
    ) -> Self {
        let options = fills.options.get();
        let streams = fills.streams_of_use();
        sink.set_streams(2 * options.streams_max);
        Self {
            fills,
            fill,
            counters,
            sink,
            plan: RefCell::new(plan),
            share: fills.upstream.share(),
            validator: RefCell::default(),
            is_validator_of_use: Cell::new(true),
            ignores_ranges: Cell::new(false),
            received: Cell::new(0),
            options,
            pace: RefCell::new(Pace::new(streams, options.streams_max)),
            retries: RefCell::default(),
            flowing: Cell::new(0),
            pause: Cell::new(None),
            is_parallel: Cell::new(false),
            mode: Cell::new(Mode::Ordinary),
            avoided: RefCell::default(),
            last_bytes: Cell::new(Instant::now()),
            heeded: Cell::new(0),
            idle_since: Cell::new(None),
        }
    }

    /// Fetches what is missing, beginning with an answer that is there if it is of use; returns how it ended.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(super) async fn run(&self, opened: Option<(Key, Response)>) -> Result<Done, Failure> {
        let mut streams = Group::new();
        if let Some((key, response)) = opened {
            *self.validator.borrow_mut() = response.validator();
            let (rest, purpose) = (
                self.plan.borrow().rest(key),
                self.plan.borrow().purpose(key),
            );
            if purpose == Some(Purpose::Ahead) && rest.end - rest.start <= AHEAD_BYTES_MAX {
                self.mode.set(Mode::PartFirst);
            }
            self.counters.count_stream(StreamKind::First);
            streams.add(self.stream(key, Some(response)));
        }
        loop {
            // First: what the plan takes for received may have been lost.
            if self.fill.is_spilled() && self.mode.get() != Mode::Single {
                self.fall_back(&mut streams).await;
            }
            if self.plan.borrow().is_done() {
                streams.clear();
                self.sink.drain().await;
                if self.fill.is_spilled() && self.mode.get() != Mode::Single {
                    continue;
                }
                return self.sink.finish().await;
            }
            self.start(&mut streams);
            self.fill.set_idle(self.is_idle(&streams));
            let event = self.event(&mut streams).await;
            if self.fill.is_given_up() {
                return Err(Failure::Unwanted);
            }
            match event {
                Some((key, outcome)) => self.ended(key, outcome)?,
                None if self.is_unwanted(&streams) => return Err(Failure::Unwanted),
                None => {}
            }
            self.look_at_pace();
        }
    }

    /// Waits until a stream ends, the task is called, or it is time to look.
    async fn event<'s>(&'s self, streams: &mut Streams<'s>) -> Option<(Key, Result<(), Fault>)> {
        let patience = self.patience(streams);
        let called = pin!(self.fill.called(&self.heeded));
        let event = rt::unless(called, streams.next());
        match patience {
            None => event.await,
            Some(patience) => rt::timeout(patience, event).await.ok().flatten(),
        }
    }

    /// Returns after how long it has to be looked how things are, whatever happens.
    fn patience(&self, streams: &Streams<'_>) -> Option<Duration> {
        if let Some(until) = self.pause.get() {
            return Some(until.saturating_duration_since(Instant::now()));
        }
        if streams.is_empty() {
            return Some(PARTS_IDLE);
        }
        self.is_measured().then_some(PACE_TICK)
    }

    /// Says whether more streams may be of use.
    fn is_measured(&self) -> bool {
        let plan = self.plan.borrow();
        let is_large = plan.size_bytes().is_some() && plan.left() >= STREAMS_BYTES_MIN;
        is_large && !self.pace.borrow().is_settled() && !self.ignores_ranges.get()
    }

    /// Says whether nothing is being fetched, and nothing will be unless somebody wants more.
    fn is_idle(&self, streams: &Streams<'_>) -> bool {
        streams.is_empty() && self.pause.get().is_none() && !self.fill.is_for_all()
    }

    /// Says whether nothing is asked for any more: only parts were, and they have come.
    fn is_unwanted(&self, streams: &Streams<'_>) -> bool {
        if !self.is_idle(streams) || self.fill.is_followed() {
            self.idle_since.set(None);
            return false;
        }
        // A lazy puller comes back for the next part.
        let since = self.idle_since.get().unwrap_or_else(Instant::now);
        self.idle_since.set(Some(since));
        since.elapsed() >= PARTS_IDLE && self.fill.close_if_left()
    }

    /// Starts what streams there should be and are not.
    fn start<'s>(&'s self, streams: &mut Streams<'s>) {
        if let Some(until) = self.pause.get() {
            if Instant::now() < until {
                return;
            }
            self.pause.set(None);
        }
        self.start_ahead(streams);
        self.start_front(streams);
    }

    /// Fetches parts that clients wait for.
    fn start_ahead<'s>(&'s self, streams: &mut Streams<'s>) {
        if !self.may_ask_for_parts()
            || self.plan.borrow().claims(Purpose::Ahead) >= self.options.streams_max
        {
            return;
        }
        let wants = self.fill.wants.lock().parts();
        for wanted in wants {
            let mut plan = self.plan.borrow_mut();
            let Some(gap) = plan.gap_for(&wanted) else {
                continue;
            };
            if plan.claims(Purpose::Ahead) >= self.options.streams_max {
                return;
            }
            let least = gap.start.saturating_add(AHEAD_BYTES_MIN);
            let most = gap.start.saturating_add(AHEAD_BYTES_MAX);
            let end = wanted.end.max(least).min(most).min(gap.end);
            let key = plan.claim(gap.start..end, Purpose::Ahead);
            drop(plan);
            self.counters.count_stream(StreamKind::Ahead);
            streams.add(self.stream(key, None));
        }
    }

    /// Fetches the rest in order.
    fn start_front<'s>(&'s self, streams: &mut Streams<'s>) {
        if !self.is_front_wanted() {
            return;
        }
        let wanted = self.streams();
        loop {
            let mut plan = self.plan.borrow_mut();
            let fronts = plan.claims(Purpose::Front);
            // Without ranges two streams would fetch the same bytes.
            let is_alone = streams.is_empty();
            if fronts >= wanted || (!is_alone && !self.may_add(&plan)) {
                return;
            }
            let segment = match wanted {
                1 => u64::MAX,
                _ => self.pace.borrow().segment_bytes(plan.left()),
            };
            let Some(gap) = plan.front_gap().or_else(|| split(&mut plan, segment)) else {
                return;
            };
            let end = gap.end.min(gap.start.saturating_add(segment));
            let key = plan.claim(gap.start..end, Purpose::Front);
            drop(plan);
            let kind = match (is_alone, fronts) {
                (true, _) | (_, 0) => StreamKind::Resumed,
                _ => StreamKind::Parallel,
            };
            self.is_parallel
                .set(self.is_parallel.get() || kind == StreamKind::Parallel);
            self.counters.count_stream(kind);
            streams.add(self.stream(key, None));
        }
    }

    /// Says whether ranges can be asked for at all.
    fn may_ask_for_parts(&self) -> bool {
        !self.ignores_ranges.get()
            && self.mode.get() != Mode::Single
            && self.plan.borrow().size_bytes().is_some()
    }

    /// Says whether what comes next in order is to be fetched.
    fn is_front_wanted(&self) -> bool {
        if self.fill.is_part() {
            let gap = self.plan.borrow().front_gap();
            let wants = self.fill.wants.lock();
            return gap
                .is_some_and(|gap| wants.parts().iter().any(|part| part.contains(&gap.start)));
        }
        let is_waited_for = self.fill.is_followed();
        match self.mode.get() {
            Mode::Single => true,
            Mode::PartFirst if !self.fill.is_wanted_whole() && self.fill.has_parts() => false,
            // Parts come no other way from a next hop that knows none, or does not say how much there is.
            _ => self.fill.is_for_all() || is_waited_for && !self.may_ask_for_parts(),
        }
    }

    /// Returns how many streams there should be for what is fetched in order: what little is left needs no
    /// others, but is shared among those that there are.
    fn streams(&self) -> usize {
        let plan = self.plan.borrow();
        let is_large = plan.size_bytes().is_some() && plan.left() >= STREAMS_BYTES_MIN;
        match is_large || self.is_parallel.get() {
            true => self.pace.borrow().streams(),
            false => 1,
        }
    }

    /// Says whether there may be another stream beside those that there are.
    fn may_add(&self, plan: &Plan) -> bool {
        !self.ignores_ranges.get()
            && self.mode.get() != Mode::Single
            && plan.size_bytes().is_some()
            && self.fills.upstream.has_spare()
    }

    /// Does what the end of a stream asks for.
    fn ended(&self, key: Key, outcome: Result<(), Fault>) -> Result<(), Failure> {
        self.plan.borrow_mut().give_back(key);
        // Whatever became of it, the first answer keeps nobody waiting any more.
        if self.mode.get() == Mode::PartFirst {
            self.mode.set(Mode::Ordinary);
        }
        let failure = match outcome {
            Ok(()) => return Ok(()),
            Err(Fault::Ours(failure)) => return Err(failure),
            Err(Fault::RangesIgnored) => {
                self.pace.borrow_mut().settle_for_one();
                self.plan.borrow_mut().lengthen();
                return Ok(());
            }
            Err(Fault::GaveWay) => return Ok(()),
            Err(Fault::Hop(failure)) => failure,
        };
        // Its room is taken by clients, and this one waits in line: no failure of anybody's.
        if matches!(&failure, Failure::Upstream(error) if matches!(**error, Error::Full { .. }))
            && !self.patience_left().is_zero()
        {
            self.pause.set(Some(Instant::now() + RESUME_WAIT_MAX));
            return Ok(());
        }
        let received = self.received.get();
        let is_refusal = matches!(failure, Failure::Refused(_) | Failure::Nonsense(_));
        let spread = rt::spread();
        let wait = self.retries.borrow_mut().next(received, is_refusal, spread);
        let Some(wait) = wait.filter(|_| !self.patience_left().is_zero()) else {
            return Err(failure);
        };
        tracing::debug!(digest = %self.fill.digest(), received, %failure, "a fill goes on after a break");
        self.counters.fill_breaks.add(1);
        self.pause.set(Some(Instant::now() + wait));
        Ok(())
    }

    /// Takes note of bytes that have come.
    pub(super) fn note_received(&self, count: u64) {
        self.received.set(self.received.get() + count);
        self.last_bytes.set(Instant::now());
    }

    /// Returns how long it may take until the next bytes come, since the last ones did.
    pub(super) fn patience_left(&self) -> Duration {
        FILL_PATIENCE.saturating_sub(self.last_bytes.get().elapsed())
    }

    /// Looks whether more streams bring more.
    fn look_at_pace(&self) {
        if !self.is_measured() {
            return;
        }
        let left = self.plan.borrow().left();
        let mut pace = self.pace.borrow_mut();
        let (received, held_back) = (self.received.get(), self.sink.held_back());
        pace.heed(
            Instant::now(),
            self.flowing.get(),
            received,
            left,
            held_back,
        );
        if pace.is_settled() {
            self.fills.note_streams(pace.streams());
        }
    }

    /// Goes on with one stream, in order, as the disk has failed.
    async fn fall_back<'s>(&'s self, streams: &mut Streams<'s>) {
        self.mode.set(Mode::Single);
        self.pace.borrow_mut().settle_for_one();
        // What came ahead of its turn is not there any more, even if all before it has come since.
        let written = self.sink.drain().await;
        let mut plan = self.plan.borrow_mut();
        if plan.is_in_order() && plan.prefix() == written {
            return;
        }
        plan.start_over(written);
        drop(plan);
        streams.clear();
    }

    /// Counts a stream while it receives.
    pub(super) fn flow(&self) -> Flowing<'_> {
        self.flowing.set(self.flowing.get() + 1);
        self.fill.story.set_streams(self.flowing.get());
        Flowing(&self.flowing, self.fill)
    }
}

/// Takes a part of the longest claim in order for another stream, if it has much to come.
fn split(plan: &mut Plan, segment: u64) -> Option<std::ops::Range<u64>> {
    let (key, rest) = plan.longest_front()?;
    if rest < segment.saturating_mul(2) {
        return None;
    }
    plan.shorten(key, segment);
    plan.front_gap()
}

//! How many streams a fill has: more of them only while they bring more. Without a clock.
//!
//! ```text
//!            a window at n streams                 2 n bring enough more
//!  Measuring ─────────────────────▶ Measuring 2 n ───────────────────────▶ … until streams_max
//!      │ little is left                    │ they do not
//!      ╰──────────────▶ Settled ◀──────────╯ with n
//! ```
//!
//! A fill that waits for its disk or its hash is not faster with more streams, so that time is no measure of
//! the pipe.

use std::time::{Duration, Instant};

use crate::limits::{STREAM_WINDOW, STREAMS_WORTH};

/// Share of what twice as many streams could bring at best that they must bring, in per cent.
const GAIN_PERCENT: f64 = 30.0;
/// Shortest range that is asked for: a few times what a round trip costs on a long pipe.
const SEGMENT_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Longest range, where there are several: what is fetched ahead of its turn is read back to be hashed.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Time that a range should take, so that asking for the next one costs little beside it.
const SEGMENT_SECONDS: f64 = 1.0;

#[derive(Clone, Copy, Debug)]
enum State {
    /// Until all streams receive.
    Starting,
    Measuring {
        since: Instant,
        received: u64,
        held_back: u64,
    },
    Settled,
}

/// See the module's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    streams: usize,
    streams_max: usize,
    state: State,
    /// Bytes a second with the streams there were before these.
    before: Option<f64>,
    /// Bytes a second as measured last.
    rate: Option<f64>,
}

impl Pace {
    /// Returns the pace of a fill that begins with `streams`, as they were of use to the last one.
    pub(super) fn new(streams: usize, streams_max: usize) -> Self {
        Self {
            streams: streams.clamp(1, streams_max.max(1)),
            streams_max: streams_max.max(1),
            state: State::Starting,
            before: None,
            rate: None,
        }
    }

    /// Returns how many streams there should be for what is fetched in order.
    pub(super) const fn streams(&self) -> usize {
        self.streams
    }

    /// Says whether [`Pace::heed`] may still change its mind.
    pub(super) const fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled)
    }

    /// Settles for one stream: the next hop honours no ranges, or breaks those that it is asked for.
    pub(super) const fn settle_for_one(&mut self) {
        self.streams = 1;
        self.state = State::Settled;
    }

    /// Returns how long a range should be of which `left` bytes are to come.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rate is a guess, and clamped"
    )]
    pub(super) fn segment_bytes(&self, left: u64) -> u64 {
        let streams = self.streams as u64;
        let each = self.rate.unwrap_or_default() / streams as f64;
        let wanted = (each * SEGMENT_SECONDS) as u64;
        // Towards the end they get shorter, so that all streams end at about the same time.
        wanted
            .clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
            .min(left / (2 * streams))
            .max(SEGMENT_BYTES_MIN)
    }

    /// Looks at how it goes.
    ///
    /// - `running`: streams that receive.
    /// - `received`: bytes so far; `left`: bytes to come.
    /// - `held_back`: how often the disk or the hash made a stream wait so far.
    #[expect(
        clippy::cast_precision_loss,
        reason = "bytes and streams are far below 2^52"
    )]
    pub(super) fn heed(
        &mut self,
        now: Instant,
        running: usize,
        received: u64,
        left: u64,
        held_back: u64,
    ) {
        match self.state {
            State::Settled => {}
            State::Starting if running >= self.streams => {
                self.state = State::Measuring {
                    since: now,
                    received,
                    held_back,
                };
            }
            State::Starting => {}
            State::Measuring {
                since,
                received: at_first,
                held_back: held_at_first,
            } => {
                let took = now.saturating_duration_since(since);
                if took < STREAM_WINDOW {
                    return;
                }
                let came = received.saturating_sub(at_first);
                let rate = came as f64 / took.as_secs_f64();
                self.rate = Some(rate);
                // A chunk in four that has to wait: the pipe is not what is slow.
                let chunks = came / crate::limits::FILL_CHUNK_BYTES as u64;
                let is_held_back = 4 * held_back.saturating_sub(held_at_first) > chunks + 4;
                self.decide(rate, left, is_held_back);
            }
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "bytes are far below 2^52, streams few"
    )]
    fn decide(&mut self, rate: f64, left: u64, is_held_back: bool) {
        if let Some(before) = self.before
            && rate < before * (1.0 + GAIN_PERCENT / 100.0)
        {
            self.streams = self.streams.div_ceil(2);
            self.rate = Some(before);
            self.state = State::Settled;
            return;
        }
        let is_worth_it = left as f64 > rate * STREAMS_WORTH.as_secs_f64();
        if is_held_back || !is_worth_it || self.streams >= self.streams_max {
            self.state = State::Settled;
            return;
        }
        self.before = Some(rate);
        self.streams = (self.streams * 2).min(self.streams_max);
        self.state = State::Starting;
    }
}

/// How often [`Pace::heed`] is asked.
pub(super) const PACE_TICK: Duration = Duration::from_millis(100);

//! What is counted of fills.

use super::table::{FILL_BREAKS, FILL_STREAMS, FILLS, FILLS_RUNNING};
use super::{Cell, Counters, Metrics, Sample};

/// How a fill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillOutcome {
    /// The blob is in the store.
    Committed,
    /// The next hop answered that it will not give the blob (404, 401, 403).
    Refused,
    /// The next hop could not be reached, broke off, or broke the protocol.
    UpstreamFailed,
    /// The bytes were not those of the digest, or of another length than announced.
    Corrupt,
    /// The disk failed.
    DiskFailed,
    /// The disk failed, and what clients wanted of the blob went past it; nothing is stored.
    PassedThrough,
    /// Only parts of the blob were asked for (`transship.fill.on_range: only`), or the job that it was begun for was
    /// cancelled; nothing is stored.
    Unwanted,
}

impl FillOutcome {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 7] = [
        Self::Committed,
        Self::Refused,
        Self::UpstreamFailed,
        Self::Corrupt,
        Self::DiskFailed,
        Self::PassedThrough,
        Self::Unwanted,
    ];

    /// Returns the value of the `outcome` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Refused => "refused",
            Self::UpstreamFailed => "upstream_failed",
            Self::Corrupt => "corrupt",
            Self::DiskFailed => "disk_failed",
            Self::PassedThrough => "passed_through",
            Self::Unwanted => "unwanted",
        }
    }
}

/// What a stream of a fill was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// The fill's first one.
    First,
    /// A range beside others, as more bring more.
    Parallel,
    /// A part that a client waits for, ahead of its turn.
    Ahead,
    /// The rest of one that broke off or gave way.
    Resumed,
}

impl StreamKind {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 4] = [Self::First, Self::Parallel, Self::Ahead, Self::Resumed];

    /// Returns the value of the `kind` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Parallel => "parallel",
            Self::Ahead => "ahead",
            Self::Resumed => "resumed",
        }
    }
}

/// One core's numbers.
#[derive(Debug, Default)]
pub(super) struct FillCounters {
    ended: [Cell; FillOutcome::ALL.len()],
    streams: [Cell; StreamKind::ALL.len()],
}

impl Counters {
    /// Counts the end of one fill.
    pub fn count_fill(&self, outcome: FillOutcome) {
        self.fills.ended[outcome as usize].add(1);
    }

    /// Counts a stream of a fill.
    pub fn count_stream(&self, kind: StreamKind) {
        self.fills.streams[kind as usize].add(1);
    }
}

impl Metrics {
    pub(super) fn fill_samples(&self) -> Vec<Sample> {
        let mut samples = vec![
            FILLS_RUNNING.alone(self.sum(|core| &core.fills_running)),
            FILL_BREAKS.alone(self.sum(|core| &core.fill_breaks)),
        ];
        samples.extend(FillOutcome::ALL.into_iter().map(|outcome| {
            let value = self.sum(|core| &core.fills.ended[outcome as usize]);
            FILLS.sample([outcome.label()], value)
        }));
        samples.extend(StreamKind::ALL.into_iter().map(|kind| {
            let value = self.sum(|core| &core.fills.streams[kind as usize]);
            FILL_STREAMS.sample([kind.label()], value)
        }));
        samples
    }
}

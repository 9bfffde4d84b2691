//! What an operator may say about fills.

use crate::limits::{AHEAD_BYTES_MAX, AHEAD_BYTES_MIN};
use crate::live::Word;
use crate::upstream::Span;

/// How blobs are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most ranges of one blob that are fetched at once, at least 1 (`transship.upstream.streams_max`).
    pub streams_max: usize,
    /// What a request for a part of an absent blob sets off (`transship.fill.on_range`).
    pub on_range: OnRange,
}

/// What a request for a part of an absent blob sets off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRange {
    /// The whole blob is fetched, that part first.
    Complete,
    /// That part is fetched, and the rest when somebody asks for it.
    Only,
}

impl Options {
    /// Returns what a fill asks for first whose first client wants `span`; `None` is all of the blob, which
    /// begins with what the client wants, or nearly.
    pub(super) fn opening(&self, span: Span) -> Option<Span> {
        match (span, self.on_range) {
            (Span::Within(start, _) | Span::From(start), OnRange::Complete)
                if start < AHEAD_BYTES_MIN =>
            {
                None
            }
            (Span::Within(start, end), _) => {
                let most = start.saturating_add(AHEAD_BYTES_MAX);
                let least = start.saturating_add(AHEAD_BYTES_MIN);
                Some(Span::Within(start, end.clamp(least, most)))
            }
            (Span::From(start), _) => {
                let end = start.saturating_add(AHEAD_BYTES_MAX);
                Some(Span::Within(start, end))
            }
            (Span::Last(count), _) => Some(Span::Last(count.min(AHEAD_BYTES_MAX))),
        }
    }
}

/// In one word, so that both change at once.
impl Word for Options {
    fn to_word(self) -> u64 {
        (self.streams_max as u64) << 1 | u64::from(self.on_range == OnRange::Only)
    }

    fn of_word(word: u64) -> Self {
        Self {
            streams_max: usize::of_word(word >> 1),
            on_range: match word & 1 {
                0 => OnRange::Complete,
                _ => OnRange::Only,
            },
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            streams_max: 4,
            on_range: OnRange::Complete,
        }
    }
}

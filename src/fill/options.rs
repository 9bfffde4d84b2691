//! What an operator may say about fills.

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

impl Default for Options {
    fn default() -> Self {
        Self {
            streams_max: 4,
            on_range: OnRange::Complete,
        }
    }
}

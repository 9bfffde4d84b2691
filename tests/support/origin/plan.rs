//! What the origin shall do with one GET of one blob.

use super::Gate;

/// Built by chaining; offsets count bytes of the body.
#[derive(Clone)]
pub struct Plan {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) length: Length,
    pub(super) corrupt: Option<usize>,
    pub(super) extra: usize,
    pub(super) head_gate: Option<Gate>,
    pub(super) body_gates: Vec<(usize, Gate)>,
    pub(super) end: End,
}

/// What the head says of the body's length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    True,
    Claimed(usize),
    Chunked,
}

/// How the body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    Cut(usize),
    Reset(usize),
}

impl Plan {
    /// The honest answer, to be spoilt by the methods below.
    pub fn whole() -> Self {
        Self {
            status: 200,
            location: None,
            length: Length::True,
            corrupt: None,
            extra: 0,
            head_gate: None,
            body_gates: Vec::new(),
            end: End::Whole,
        }
    }

    /// An error with an OCI body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::whole()
        }
    }

    /// 307 to another place.
    pub fn redirect(location: impl Into<String>) -> Self {
        Self {
            status: 307,
            location: Some(location.into()),
            ..Self::whole()
        }
    }

    /// Waits before the status line.
    pub fn wait_before_head(mut self, gate: &Gate) -> Self {
        self.head_gate = Some(gate.clone());
        self
    }

    /// Waits before the byte at `offset`; all before it has been sent.
    pub fn wait_at(mut self, offset: usize, gate: &Gate) -> Self {
        self.body_gates.push((offset, gate.clone()));
        self.body_gates.sort_by_key(|(offset, _)| *offset);
        self
    }

    /// Flips the bits of the byte at `offset`.
    pub fn corrupt(mut self, offset: usize) -> Self {
        self.corrupt = Some(offset);
        self
    }

    /// Closes the connection (FIN) before the byte at `offset`.
    pub fn cut(mut self, offset: usize) -> Self {
        self.end = End::Cut(offset);
        self
    }

    /// Resets the connection (RST) before the byte at `offset`.
    pub fn reset(mut self, offset: usize) -> Self {
        self.end = End::Reset(offset);
        self
    }

    /// Claims this length whatever is sent.
    pub fn claim(mut self, length: usize) -> Self {
        self.length = Length::Claimed(length);
        self
    }

    /// Sends this many bytes more than the blob has.
    pub fn extra(mut self, count: usize) -> Self {
        self.extra = count;
        self
    }

    /// Sends chunks and no length.
    pub fn chunked(mut self) -> Self {
        self.length = Length::Chunked;
        self
    }

    pub(super) fn gates(&self) -> impl Iterator<Item = &Gate> {
        let body = self.body_gates.iter().map(|(_, gate)| gate);
        self.head_gate.iter().chain(body)
    }
}

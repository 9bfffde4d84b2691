//! What a response keeps of its hop: the room that it takes there, and where its end is told.

use std::sync::Arc;

use super::board::Board;
use super::budget::Permit;
use super::error::Error;
use super::request::Urgency;

/// Kept until the body has ended. Dropped before, it says nothing: whoever read has gone.
#[derive(Debug)]
pub(super) struct Lease {
    board: Arc<Board>,
    permit: Permit,
    is_own: bool,
}

impl Lease {
    /// - `is_own`: whether the hop itself sends the body.
    pub(super) const fn new(board: Arc<Board>, permit: Permit, is_own: bool) -> Self {
        Self {
            board,
            permit,
            is_own,
        }
    }

    /// Says who waits for the body from now on.
    pub(super) fn set_urgency(&self, urgency: Urgency) {
        self.permit.set_urgency(urgency);
    }

    /// Says whether the body is in the way of a client.
    pub(super) fn should_give_way(&self) -> bool {
        self.permit.should_give_way()
    }

    /// Counts bytes of the body.
    pub(super) fn count(&self, bytes: usize) {
        self.board.count_bytes(self.permit.hop(), bytes);
    }

    /// The body has ended exactly.
    pub(super) fn ended(self) {
        if self.is_own {
            self.board.ended(self.permit.hop());
        }
    }

    /// The body broke off.
    pub(super) fn broke(self, error: &Error) {
        let hop = self.permit.hop();
        self.board.broke(hop, self.is_own, &error.to_string());
    }
}

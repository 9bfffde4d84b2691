//! One client's hold on a fill.

use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::held::{Piece, Seat};
use super::progress::Order;
use super::wants::Wanted;
use super::{Failure, Fill};
use crate::upstream::Span;

/// One response's hold on a fill: what it may still want of a blob that the disk does not take is kept for
/// it in memory. Dropping it lets go.
///
/// It holds all of the blob until [`Follower::pass`] says less.
#[derive(Debug)]
pub struct Follower {
    fill: Arc<Fill>,
    seat: Seat,
    key: u64,
}

impl Deref for Follower {
    type Target = Fill;

    fn deref(&self) -> &Fill {
        &self.fill
    }
}

impl Follower {
    /// Joins `fill`, if its first byte is still there.
    pub(super) fn join(fill: &Arc<Fill>) -> Option<Self> {
        let (key, seat) = fill.held.lock().join()?;
        Some(Self {
            fill: Arc::clone(fill),
            seat,
            key,
        })
    }

    /// Says that what lies before `offset` is not wanted any more.
    pub fn pass(&self, offset: u64) {
        let before = self.seat.fetch_max(offset, Ordering::SeqCst);
        if before < offset {
            self.fill.heed_pass(before);
        }
    }

    /// Waits until more than the first `cursor` bytes may be sent, or all have been filled; returns
    /// how many may be sent. Equal to `cursor` only when the blob is complete and has no more.
    ///
    /// # Errors
    /// Why the fill failed; what was filled before stays valid. Also that the disk failed, where this very
    /// follower holds bytes that leave no room for those it waits for: ranges that go backwards.
    pub async fn more(&self, cursor: u64, order: Order) -> Result<u64, Failure> {
        let outcome = self.fill.more(cursor, order, || {
            let hold = self.seat.load(Ordering::SeqCst);
            hold < cursor && self.fill.waits_for(hold)
        });
        outcome.await
    }

    /// Waits for the end, and returns the blob's size.
    ///
    /// # Errors
    /// As [`Follower::more`]: a blob that the disk does not take ends for this follower when it leaves no
    /// more room.
    pub async fn size(&self) -> Result<u64, Failure> {
        self.more(u64::MAX, Order::InTurn).await
    }

    /// Wants all of the blob, unless it is a part.
    pub(super) fn want_span(&self, span: Option<Span>) {
        if matches!(span, None | Some(Span::From(0))) {
            self.fill.wants.lock().want_whole();
            self.fill.call();
        }
    }

    /// Wants parts of the blob before all else, until what is returned is dropped.
    pub fn want(&self, ranges: &[Range<u64>]) -> Wanted<'_> {
        let fill = &self.fill;
        let keys = {
            let mut wants = fill.wants.lock();
            // A part that is all of it is no part: its end is withheld until it is proved.
            if let (&[Range { start: 0, end }], Some(size_bytes)) = (ranges, fill.size_bytes())
                && end >= size_bytes
            {
                wants.want_whole();
            }
            wants.add(ranges, &self.seat)
        };
        fill.call();
        Wanted { fill, keys }
    }

    /// Says how this follower comes to the bytes from `start` on.
    #[must_use]
    pub fn order_of(&self, start: u64) -> Order {
        self.fill.order_of(start)
    }

    /// Returns where the first bytes from `start` on lie, which have been filled up to `end`.
    #[must_use]
    pub fn piece(&self, start: u64, end: u64) -> Option<Piece> {
        self.fill.held.lock().piece(start..end)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.fill.held.lock().leave(self.key);
        self.fill.heed_leave();
        self.fill.call();
    }
}

//! Which of a fill's bytes are still there, where, and for whom.
//!
//! They are in the file that the store began, until the disk fails it. From there on they are in files in
//! memory, a window of them: one is let go when the slowest follower has passed its end.
//!
//! ```text
//!  0                  from                           slowest                   written
//!  ├─ file of the store ┼╌╌╌╌ let go ╌╌╌╌╌╌┬─ segment ──┴──┬─ segment ─┬─ segment ──┤
//!                                         start            ╰─ SPILL_SEGMENT_BYTES each
//! ```
//!
//! Segments are files of their own, not parts of one with holes: a hole would be made by zeroing pages
//! that the kernel may still be sending, where a page belongs to a larger folio. A file that is let go
//! leaves such pages to the socket.
//!
//! Invariants
//! - Of what lies at or above the slowest follower's hold nothing is let go.
//! - Nobody joins once something was let go, or once it was found that nobody follows.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::limits::{SPILL_SEGMENT_BYTES, SPILL_WINDOW_BYTES, SPILLS_MAX, WITHHELD_BYTES};

// Else a follower would wait for withheld bytes, which wait for the window, which waits for the follower.
const _: () = assert!(SPILL_WINDOW_BYTES > WITHHELD_BYTES);

/// A follower's place: the first byte that it may still want. Never falls.
pub(super) type Seat = Arc<AtomicU64>;

/// Bytes of a fill in one file.
#[derive(Debug)]
pub struct Piece {
    /// The file, which may still grow.
    pub file: Arc<File>,
    /// Where in it the bytes lie.
    pub range: Range<u64>,
}

/// Whether a fill may take more from the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Ample,
    /// The window is full; whoever holds these bytes must pass first.
    Behind(u64),
}

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Held {
    disk: Option<Arc<File>>,
    memory: Option<Memory>,
    seats: HashMap<u64, Seat>,
    seats_given: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Memory {
    /// First byte that is not in the store's file.
    from: u64,
    /// First byte of the first segment.
    start: u64,
    segments: VecDeque<Arc<File>>,
    /// What the disk said.
    cause: Arc<io::Error>,
    _permit: Permit,
}

impl Held {
    /// Gives a follower a seat at the blob's first byte, if that is still there.
    pub(super) fn join(&mut self) -> Option<(u64, Seat)> {
        if self.is_closed {
            return None;
        }
        let (key, seat) = (self.seats_given, Seat::default());
        self.seats_given += 1;
        self.seats.insert(key, Arc::clone(&seat));
        Some((key, seat))
    }

    /// Takes a seat back.
    pub(super) fn leave(&mut self, key: u64) {
        self.seats.remove(&key);
    }

    pub(super) fn set_disk(&mut self, file: Arc<File>) {
        self.disk = Some(file);
    }

    /// Goes over to memory with the bytes from `from` on, because of `cause`.
    pub(super) fn spill(&mut self, from: u64, cause: Arc<io::Error>, permit: Permit) {
        if from == 0 {
            self.disk = None;
        }
        self.memory = Some(Memory {
            from,
            start: from,
            segments: VecDeque::new(),
            cause,
            _permit: permit,
        });
    }

    /// Has memory begin with the byte at `start`, before anything was written to it.
    pub(super) fn begin_at(&mut self, start: u64) {
        if let Some(memory) = &mut self.memory {
            (memory.from, memory.start) = (start, start);
        }
    }

    /// Says what the disk said, if it has failed.
    pub(super) fn cause(&self) -> Option<Arc<io::Error>> {
        self.memory.as_ref().map(|m| Arc::clone(&m.cause))
    }

    /// Takes no more followers if the fill is for those alone who are there and there are none.
    pub(super) fn close_if_idle(&mut self) -> bool {
        // One that goes to disk ends by itself, also where nobody wants it any more.
        let is_idle = self.memory.is_some() && self.seats.is_empty();
        self.is_closed |= is_idle;
        is_idle
    }

    /// Returns how many follow.
    pub(super) fn followers(&self) -> usize {
        self.seats.len()
    }

    /// Says whether anybody follows.
    pub(super) fn is_followed(&self) -> bool {
        !self.seats.is_empty()
    }

    /// Takes no more followers if there are none; says so.
    pub(super) fn close_if_left(&mut self) -> bool {
        self.is_closed |= self.seats.is_empty();
        self.seats.is_empty()
    }

    /// Takes no followers any more if there has never been one; says so.
    pub(super) fn close_if_new(&mut self) -> bool {
        self.is_closed |= self.seats_given == 0;
        self.seats_given == 0
    }

    /// Returns the segment in which the byte at `offset` belongs, and its place there; `None` before there
    /// is such a segment.
    pub(super) fn segment(&self, offset: u64) -> Option<Piece> {
        let memory = self.memory.as_ref()?;
        let past = offset.checked_sub(memory.start)?;
        let index = usize::try_from(past / SPILL_SEGMENT_BYTES).ok()?;
        let file = Arc::clone(memory.segments.get(index)?);
        let range = past % SPILL_SEGMENT_BYTES..SPILL_SEGMENT_BYTES;
        Some(Piece { file, range })
    }

    /// Adds an empty segment at the end.
    pub(super) fn add_segment(&mut self, file: Arc<File>) {
        if let Some(memory) = &mut self.memory {
            memory.segments.push_back(file);
        }
    }

    /// Returns where the first bytes of `wanted` lie, as many as lie together. They have been filled.
    pub(super) fn piece(&self, wanted: Range<u64>) -> Option<Piece> {
        let disk_end = self.memory.as_ref().map_or(u64::MAX, |memory| memory.from);
        if wanted.start < disk_end {
            let file = self.disk.clone()?;
            let range = wanted.start..wanted.end.min(disk_end);
            return Some(Piece { file, range });
        }
        let mut piece = self.segment(wanted.start)?;
        let most = piece.range.start + (wanted.end - wanted.start);
        piece.range.end = piece.range.end.min(most);
        Some(piece)
    }

    /// Returns the lowest byte that any follower may still want.
    fn slowest(&self) -> Option<u64> {
        let holds = self.seats.values().map(|seat| seat.load(Ordering::SeqCst));
        holds.min()
    }

    /// Says whether more may be taken after `taken` bytes.
    pub(super) fn room(&self, taken: u64) -> Room {
        match (&self.memory, self.slowest()) {
            (Some(memory), Some(slowest))
                if taken >= slowest.max(memory.from) + SPILL_WINDOW_BYTES =>
            {
                Room::Behind(slowest)
            }
            _ => Room::Ample,
        }
    }

    /// Says whether [`Held::let_go`] would let go of something. Without followers it lets go of nothing:
    /// the fill is about to end.
    pub(super) fn has_passed(&self, written: u64) -> bool {
        let (Some(memory), Some(slowest)) = (&self.memory, self.slowest()) else {
            return false;
        };
        let end = memory.start + SPILL_SEGMENT_BYTES;
        self.disk.is_some() && memory.from <= slowest || end <= slowest.min(written)
    }

    /// Takes out what every follower has passed, to be closed, and lets nobody join from here on.
    /// `written` bytes have been.
    pub(super) fn let_go(&mut self, written: u64) -> Vec<Arc<File>> {
        let mut gone = Vec::new();
        let slowest = self.slowest();
        let (Some(memory), Some(slowest)) = (&mut self.memory, slowest) else {
            return gone;
        };
        if memory.from <= slowest {
            gone.extend(self.disk.take());
        }
        // A follower of a range may be ahead of what was written.
        while memory.start + SPILL_SEGMENT_BYTES <= slowest.min(written) {
            gone.extend(memory.segments.pop_front());
            memory.start += SPILL_SEGMENT_BYTES;
        }
        self.is_closed |= !gone.is_empty();
        gone
    }
}

/// The right to one window; see [`SPILLS_MAX`].
#[derive(Debug)]
pub(super) struct Permit(Arc<AtomicUsize>);

/// How many windows there are.
#[derive(Debug, Default)]
pub(super) struct Permits(Arc<AtomicUsize>);

impl Permits {
    /// Takes one, if there is one left.
    pub(super) fn take(&self) -> Option<Permit> {
        let permit = Permit(Arc::clone(&self.0));
        (self.0.fetch_add(1, Ordering::Relaxed) < SPILLS_MAX).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

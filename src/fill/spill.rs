//! How a fill goes on when the disk fails it: through memory, at the pace of its slowest follower.
//!
//! The sink writes and lets go, the task waits for room, followers say how far they are. Who waits is told
//! by whoever changes what it waits for: [`Fill::heed_pass`] and [`Fill::heed_leave`] the task, and the task
//! those followers that keep the window full and wait for what it has no room for.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::held::{Permit, Piece, Room};
use super::{Failure, Fill};
use crate::rt;

impl Fill {
    /// Goes over to memory with the bytes from `from` on, because of `cause`.
    pub(super) fn spill(&self, from: u64, cause: Arc<io::Error>, permit: Permit) {
        self.held.lock().spill(from, cause, permit);
        self.passed.wake_all();
    }

    /// Writes `bytes` at `offset` to memory, just behind what was written before.
    pub(super) fn write_to_memory(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let Piece { file, range } = self.segment(offset)?;
            let room = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let (here, rest) = bytes.split_at(room.min(bytes.len()));
            file.write_all_at(here, range.start)?;
            offset += here.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Returns the segment of `offset`. The sink alone adds segments, one after the other.
    fn segment(&self, offset: u64) -> io::Result<Piece> {
        if let Some(found) = self.held.lock().segment(offset) {
            return Ok(found);
        }
        let file = Arc::new(rt::memory_file()?);
        let mut held = self.held.lock();
        held.add_segment(file);
        held.segment(offset)
            .ok_or_else(|| io::Error::other("bytes out of their order"))
    }

    /// Lets go of what every follower has passed, having seen to it by `leave` that nobody joins. The files
    /// are closed here, on a helper thread, where that costs no core time.
    pub(super) fn let_go(&self, written: u64, leave: impl FnOnce()) {
        if !self.held.lock().has_passed(written) {
            return;
        }
        leave();
        // Looked at again: somebody may have joined before it left the list.
        let gone = self.held.lock().let_go(written);
        drop(gone);
    }

    /// Says whether there is room for more after `taken` bytes.
    pub(super) fn has_room(&self, taken: u64) -> bool {
        self.held.lock().room(taken) == Room::Ample
    }

    /// Waits until there is room for more after `taken` bytes: always, unless the fill spills.
    pub(super) async fn room(&self, taken: u64) {
        self.passed
            .wait(|| {
                loop {
                    let room = self.held.lock().room(taken);
                    let (waits_for, is_ample) = match room {
                        Room::Ample => (0, true),
                        Room::Behind(hold) => (hold + 1, false),
                    };
                    if self.waits_for.swap(waits_for, Ordering::SeqCst) == waits_for || is_ample {
                        return is_ample.then_some(());
                    }
                    // One of these may wait for itself. And one may have passed before it could know
                    // that it is waited for: looked at again.
                    self.changed.wake_all();
                }
            })
            .await;
    }

    /// Waits until the fill spills and has no followers; then nobody joins any more.
    pub(super) async fn idle(&self) {
        self.passed
            .wait(|| self.held.lock().close_if_idle().then_some(()))
            .await;
    }

    /// Says whether the disk has failed the fill.
    pub(super) fn is_spilled(&self) -> bool {
        self.held.lock().cause().is_some()
    }

    /// Says whether anybody follows.
    pub(super) fn is_followed(&self) -> bool {
        self.held.lock().is_followed()
    }

    /// Lets nobody join any more, if nobody follows; says whether it did.
    pub(super) fn close_if_left(&self) -> bool {
        self.held.lock().close_if_left()
    }

    /// Says whether the fill has no room before whoever holds `hold` has passed.
    pub(super) fn waits_for(&self, hold: u64) -> bool {
        self.waits_for.load(Ordering::SeqCst) == hold.saturating_add(1)
    }

    /// Heeds that a follower's hold is not at `before` any more.
    pub(super) fn heed_pass(&self, before: u64) {
        if self.waits_for(before) {
            self.passed.wake_all();
        }
    }

    /// Heeds that a follower has left.
    pub(super) fn heed_leave(&self) {
        self.passed.wake_all();
    }

    /// Returns the failure that the disk's is to followers who cannot get their bytes without it.
    pub(super) fn disk_failure(&self) -> Failure {
        let cause = self.held.lock().cause();
        cause.map_or(Failure::Lost, Failure::Disk)
    }
}

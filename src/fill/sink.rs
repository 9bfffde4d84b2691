//! Where a fill's bytes go: to disk and through the hash, on helper threads. Where the disk fails, they go to
//! memory instead, from the first byte on that it did not take whole.
//!
//! The fill's streams hand over chunks and get empty buffers back; there are few of both, so a slow disk or
//! hash slows the next hop's connections and nothing else. At most one helper thread works for a sink at a
//! time; it returns to the end of the pool's queue after a few chunks, so that many fills share few threads.
//!
//! The hash takes bytes in their order. What comes ahead of its turn is written at its place, and read back
//! from there once all before it has come.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::progress::Done;
use super::{Failure, Fill, Fills};
use crate::digest::Hasher;
use crate::limits::{FILL_CHUNK_BYTES, FILL_CHUNKS_MAX, KEPT_MARK_BYTES};
use crate::rt::Notify;
use crate::store::{Kept, Partial, Progress};

/// Chunks that a helper thread takes from one sink before others get their turn.
const TURN_CHUNKS: usize = 4;
/// Bytes that are read back and hashed between two chunks: more than a chunk has, so that the hash comes
/// nearer.
const CATCH_UP_BYTES: usize = 2 * FILL_CHUNK_BYTES;

/// The way of one fill's bytes to the store.
#[derive(Debug)]
pub(super) struct Sink {
    queue: Mutex<Queue>,
    changed: Notify,
    /// Locked by the one helper thread that works.
    work: Mutex<Work>,
    fill: Arc<Fill>,
    fills: Arc<Fills>,
    size_bytes: Option<u64>,
    begun_with: u64,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    free: Vec<Vec<u8>>,
    /// Buffers that exist, wherever they are.
    buffers: usize,
    /// Streams besides the first one: each holds a buffer while it receives.
    more_streams: usize,
    /// How often a stream had to wait for a buffer.
    held_back: u64,
    /// A helper thread works, or is about to.
    is_running: bool,
    /// No more chunks will come.
    is_ended: bool,
    outcome: Option<Result<Done, Failure>>,
}

/// Bytes of the blob, and where in it they belong.
#[derive(Debug)]
struct Chunk {
    offset: u64,
    bytes: Vec<u8>,
}

/// Invariant: `hashed <= written`; equal as soon as bytes go to memory.
struct Work {
    /// The store's file; without one, bytes go to memory.
    partial: Option<Partial>,
    hasher: Option<Hasher>,
    /// Bytes that have been written from the first one on without a gap.
    written: u64,
    /// Bytes that the hash has taken.
    hashed: u64,
    /// How many it had when the file was last marked, to be gone on with should the process end.
    marked: u64,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Takes what an earlier fill has left of a blob, if it is of that size. What cannot be had is no loss.
fn take_kept(fills: &Fills, fill: &Fill, size_bytes: Option<u64>) -> Option<Kept> {
    let digest = fill.digest();
    let taken = fills.store.take_kept(&digest, Some(size_bytes?));
    taken.unwrap_or_else(|error| {
        tracing::debug!(%digest, %error, "an unfinished blob could not be taken");
        None
    })
}

/// A buffer on loan. Dropped with its bytes in it, or while somebody else has them, it is replaced.
#[derive(Debug)]
pub(super) struct Buffer {
    sink: Arc<Sink>,
    bytes: Vec<u8>,
    is_lent: bool,
}

impl Buffer {
    /// Takes its empty bytes, to be given to [`Buffer::hand_over`].
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Hands over bytes of the blob that belong at `offset`.
    pub(super) fn hand_over(mut self, offset: u64, bytes: Vec<u8>) {
        self.is_lent = false;
        if bytes.is_empty() {
            self.sink.give_back(bytes, Ok(()));
        } else {
            self.sink.push(offset, bytes);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.is_lent {
            self.sink.queue.lock().buffers -= 1;
            self.sink.changed.wake_all();
        }
    }
}

impl Work {
    /// Begins a file, or goes over to memory at once.
    fn begin(fills: &Fills, fill: &Fill, room_bytes: Option<u64>) -> Result<Self, Failure> {
        let partial = match fills.store.begin(room_bytes) {
            Ok(partial) => Some(partial),
            Err(error) => {
                fills.spill(fill, 0, error)?;
                None
            }
        };
        Ok(Self {
            partial,
            hasher: Some(Hasher::new(fill.digest().algorithm())),
            written: 0,
            hashed: 0,
            marked: 0,
        })
    }

    fn going_on(kept: Kept) -> Self {
        Self {
            partial: Some(kept.partial),
            hasher: Some(kept.hasher),
            written: kept.prefix_bytes,
            hashed: kept.prefix_bytes,
            marked: kept.prefix_bytes,
        }
    }

    /// Says whether bytes wait to be read back and hashed: not once nobody wants to know what they hash to.
    const fn lags(&self) -> bool {
        self.hashed < self.written && self.hasher.is_some() && self.partial.is_some()
    }

    /// Hashes bytes at `offset`, if it is their turn.
    fn hash(&mut self, offset: u64, bytes: &[u8]) {
        if offset == self.hashed
            && let Some(hasher) = &mut self.hasher
        {
            hasher.update(bytes);
            self.hashed += bytes.len() as u64;
        }
    }

    /// Reads back and hashes at most `most` of the bytes that came ahead of their turn.
    fn catch_up(&mut self, most: usize) -> Result<(), Failure> {
        let lag = usize::try_from(self.written - self.hashed).unwrap_or(usize::MAX);
        let Some(partial) = self.partial.as_ref().filter(|_| lag > 0) else {
            return Ok(());
        };
        let mut bytes = vec![0; lag.min(most)];
        partial.file().read_exact_at(&mut bytes, self.hashed)?;
        self.hash(self.hashed, &bytes);
        Ok(())
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Work({} bytes written)", self.written)
    }
}

/// Fails the sink if its helper thread panics, so that nobody waits for it for ever.
struct TellIfLost<'s>(&'s Sink);

impl Drop for TellIfLost<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queue.lock().outcome = Some(Err(Failure::Lost));
            self.0.changed.wake_all();
        }
    }
}

impl Sink {
    /// Begins the file of a blob that has `size_bytes`, if that is known, or goes over to memory at once. May
    /// block.
    ///
    /// - `room_bytes`: how much room it takes at once; `None` is as it grows.
    /// - `goes_on`: whether with a file that an earlier fill has left, if there is one.
    ///
    /// # Errors
    /// Why neither can be done.
    pub(super) fn begin(
        fills: Arc<Fills>,
        fill: Arc<Fill>,
        size_bytes: Option<u64>,
        room_bytes: Option<u64>,
        goes_on: bool,
    ) -> Result<Arc<Self>, Failure> {
        let kept = goes_on.then(|| take_kept(&fills, &fill, size_bytes));
        let work = match kept.flatten() {
            Some(kept) => Work::going_on(kept),
            None => Work::begin(&fills, &fill, room_bytes)?,
        };
        if let Some(partial) = &work.partial {
            fill.held.lock().set_disk(partial.file());
            fill.land(0..work.written, size_bytes);
        }
        let sink = Arc::new(Self {
            begun_with: work.written,
            queue: Mutex::default(),
            changed: Notify::default(),
            work: Mutex::new(work),
            fill,
            fills,
            size_bytes,
        });
        let _ = sink.fill.sink.set(Arc::downgrade(&sink));
        Ok(sink)
    }

    /// Leaves what has come to the next fill of the blob, if it is worth it. This one cannot go on then.
    pub(super) fn leave(&self) {
        let mut work = self.work.lock();
        let progress = self.progress(&work);
        if let (Some(partial), Some(progress)) = (work.partial.take(), progress) {
            drop(work);
            self.fills.store.keep(partial, &progress);
        }
    }

    /// Returns how many bytes were there when it was begun.
    pub(super) const fn begun_with(&self) -> u64 {
        self.begun_with
    }

    /// Begins with the byte at `start`, of a part that goes past the disk: what it is of is never proved.
    pub(super) fn begin_at(&self, start: u64) {
        let mut work = self.work.lock();
        (work.written, work.hashed, work.hasher) = (start, start, None);
        self.fill.pass_part(start);
    }

    /// Sees to it that nobody goes on with what has come: it is not the blob.
    pub(super) fn spoil(&self) {
        self.work.lock().hasher = None;
    }

    /// Returns how many chunks have come and were not taken by a helper thread.
    pub(super) fn waiting(&self) -> usize {
        self.queue.lock().chunks.len()
    }

    /// Waits for an empty buffer.
    ///
    /// # Errors
    /// Why the sink failed; nothing more can be given to it then.
    pub(super) async fn buffer(self: &Arc<Self>) -> Result<Buffer, Failure> {
        let mut is_held_back = false;
        let bytes = self
            .changed
            .wait(|| {
                let mut queue = self.queue.lock();
                if let Some(Err(failure)) = &queue.outcome {
                    return Some(Err(failure.clone()));
                }
                if let Some(buffer) = queue.free.pop() {
                    return Some(Ok(buffer));
                }
                if queue.buffers < FILL_CHUNKS_MAX + queue.more_streams {
                    queue.buffers += 1;
                    return Some(Ok(Vec::with_capacity(self.buffer_bytes())));
                }
                queue.held_back += u64::from(!std::mem::replace(&mut is_held_back, true));
                None
            })
            .await?;
        Ok(Buffer {
            sink: Arc::clone(self),
            bytes,
            is_lent: true,
        })
    }

    /// Makes room for as many streams: each may hold a buffer that its next hop is slow to fill.
    pub(super) fn set_streams(&self, streams: usize) {
        let mut queue = self.queue.lock();
        queue.more_streams = queue.more_streams.max(streams.saturating_sub(1));
    }

    /// Returns how often streams had to wait for disk or hash.
    pub(super) fn held_back(&self) -> u64 {
        self.queue.lock().held_back
    }

    /// Waits until nothing is left of what was handed over; returns how many bytes have been written from the
    /// first one on.
    pub(super) async fn drain(&self) -> u64 {
        self.changed
            .wait(|| {
                let queue = self.queue.lock();
                let has_failed = matches!(queue.outcome, Some(Err(_)));
                (has_failed || !queue.is_running && queue.chunks.is_empty()).then_some(())
            })
            .await;
        self.work.lock().written
    }

    /// A small blob needs no large buffer; a size is never trusted for more than one chunk.
    fn buffer_bytes(&self) -> usize {
        let size = self.size_bytes.and_then(|size| usize::try_from(size).ok());
        size.unwrap_or(FILL_CHUNK_BYTES).clamp(1, FILL_CHUNK_BYTES)
    }

    /// Says whether the helper threads have nothing of this fill to do, so that a chunk that is not
    /// full is better handed over now.
    pub(super) fn is_hungry(&self) -> bool {
        let queue = self.queue.lock();
        !queue.is_running && queue.chunks.is_empty()
    }

    /// Hands over bytes of the blob that belong at `offset`.
    fn push(self: &Arc<Self>, offset: u64, bytes: Vec<u8>) {
        let chunk = Chunk { offset, bytes };
        self.queue.lock().chunks.push_back(chunk);
        self.wake();
    }

    /// Hands over the end of the blob, and waits until it is proved and, where the disk takes it, committed.
    ///
    /// # Errors
    /// Why it was not.
    pub(super) async fn finish(self: &Arc<Self>) -> Result<Done, Failure> {
        self.queue.lock().is_ended = true;
        self.wake();
        self.changed
            .wait(|| self.queue.lock().outcome.clone())
            .await
    }

    /// Makes sure that a helper thread comes.
    fn wake(self: &Arc<Self>) {
        let was_running = std::mem::replace(&mut self.queue.lock().is_running, true);
        if !was_running {
            self.submit();
        }
    }

    fn submit(self: &Arc<Self>) {
        let this = Arc::clone(self);
        self.fills.sinks.submit(move || this.work());
    }

    /// Takes a turn at the queue, on a helper thread.
    fn work(self: &Arc<Self>) {
        let _lost = TellIfLost(self);
        let mut work = self.work.lock();
        for _ in 0..TURN_CHUNKS {
            let mut queue = self.queue.lock();
            let chunk = queue.chunks.pop_front();
            let has_failed = queue.outcome.is_some();
            if chunk.is_none() && (has_failed || !work.lags()) {
                if queue.is_ended && !has_failed {
                    drop(queue);
                    let outcome = self.commit(&mut work);
                    queue = self.queue.lock();
                    queue.outcome = Some(outcome);
                }
                queue.is_running = false;
                drop(queue);
                self.changed.wake_all();
                return;
            }
            drop(queue);
            let mut outcome = Ok(());
            if !has_failed {
                if let Some(chunk) = &chunk {
                    outcome = self.take(&mut work, chunk);
                }
                outcome = outcome.and_then(|()| work.catch_up(CATCH_UP_BYTES));
            }
            self.ended(chunk, outcome);
        }
        drop(work);
        self.submit();
    }

    /// Writes, lets followers have it, then hashes: followers do not wait for the hash.
    fn take(&self, work: &mut Work, chunk: &Chunk) -> Result<(), Failure> {
        if !self.write(work, chunk)? {
            return Ok(());
        }
        let Chunk { offset, bytes } = chunk;
        let range = *offset..*offset + bytes.len() as u64;
        work.written = self.fill.land(range, self.size_bytes);
        work.hash(*offset, bytes);
        self.mark(work);
        if work.partial.is_none() {
            let leave = || self.fills.leave(&self.fill);
            self.fill.let_go(work.written, leave);
        }
        Ok(())
    }

    /// Writes to disk or, from the first chunk on that the disk does not take, to memory. Memory takes bytes in
    /// their order only: says whether it did.
    fn write(&self, work: &mut Work, chunk: &Chunk) -> Result<bool, Failure> {
        // Bytes that were written are not written again: they may have been hashed, and sent.
        if chunk.offset < work.written {
            tracing::error!(digest = %self.fill.digest(), offset = chunk.offset, "bytes came twice: this is a bug");
            return Ok(false);
        }
        if let Some(partial) = &mut work.partial {
            let Err(error) = self.fills.store.write(partial, &chunk.bytes, chunk.offset) else {
                return Ok(true);
            };
            self.spill(work, error)?;
        }
        if chunk.offset != work.written {
            return Ok(false);
        }
        self.fill.write_to_memory(&chunk.bytes, chunk.offset)?;
        Ok(true)
    }

    /// Has the file outlive the process, should that be killed.
    fn mark(&self, work: &mut Work) {
        if work.hashed - work.marked < KEPT_MARK_BYTES {
            return;
        }
        work.marked = work.hashed;
        let progress = self.progress(work);
        if let (Some(partial), Some(progress)) = (&mut work.partial, progress)
            && let Err(error) = self.fills.store.mark(partial, &progress)
        {
            tracing::debug!(digest = %progress.digest, %error, "an unfinished blob could not be marked");
        }
    }

    /// Returns how far it has come, where that is known to be the beginning of a blob of known size.
    fn progress(&self, work: &Work) -> Option<Progress> {
        let hasher = work.hasher.clone()?;
        Some(Progress {
            digest: self.fill.digest(),
            size_bytes: self.size_bytes?,
            prefix_bytes: work.hashed,
            prefix_digest: hasher.finish(),
        })
    }

    /// Goes over to memory with all that has not come in order yet. What came ahead is forgotten: its turn is
    /// asked for again.
    fn spill(&self, work: &mut Work, error: std::io::Error) -> Result<(), Failure> {
        while work.lags() {
            work.catch_up(CATCH_UP_BYTES)?;
        }
        // The store counts on its room no more; followers have its file open for as long as they need.
        work.partial = None;
        self.fill.landed.lock().cut(work.written);
        self.fills.spill(&self.fill, work.written, error)?;
        self.fill.call();
        Ok(())
    }

    /// Takes note of what became of a chunk.
    fn ended(&self, chunk: Option<Chunk>, outcome: Result<(), Failure>) {
        match chunk {
            Some(chunk) => self.give_back(chunk.bytes, outcome),
            None if outcome.is_err() => self.give_back(Vec::new(), outcome),
            None => {}
        }
    }

    fn give_back(&self, mut buffer: Vec<u8>, outcome: Result<(), Failure>) {
        buffer.clear();
        let mut queue = self.queue.lock();
        if buffer.capacity() > 0 {
            queue.free.push(buffer);
        }
        if let Err(failure) = outcome {
            queue.outcome = Some(Err(failure));
        }
        drop(queue);
        self.changed.wake_all();
    }

    fn commit(&self, work: &mut Work) -> Result<Done, Failure> {
        // There is nothing to prove of it, and nothing wrong with it.
        if self.fill.is_part() {
            return Err(Failure::Unwanted);
        }
        let size_bytes = work.written;
        if self.size_bytes.is_some_and(|size| size != size_bytes) {
            return Err(Failure::Corrupt("another length than announced"));
        }
        let digest = self.fill.digest();
        let found = work.hasher.take().map(Hasher::finish);
        if found != Some(digest) {
            return Err(Failure::Corrupt("the digest differs"));
        }
        let Some(partial) = work.partial.take() else {
            return Ok(Done::Passed { size_bytes });
        };
        match self.fills.store.commit(&digest, partial, size_bytes) {
            Ok(entry) => Ok(Done::Stored { size_bytes, entry }),
            // All of it is in the file, which followers have open.
            Err(error) => {
                tracing::debug!(%digest, %error, "fill not committed: what was proved passes through");
                Ok(Done::Passed { size_bytes })
            }
        }
    }
}

//! Where a fill's bytes go: to disk and through the hash, in order, on helper threads. Where the disk fails,
//! they go to memory instead, from the first byte on that it did not take whole.
//!
//! The fill's task hands over chunks and gets empty buffers back; there are at most
//! [`FILL_CHUNKS_MAX`] of both, so a slow disk or hash slows the next hop's connection and nothing
//! else. At most one helper thread works for a sink at a time, which keeps the chunks in order; it
//! returns to the end of the pool's queue after a few, so that many fills share few threads.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::progress::Done;
use super::{Failure, Fill, Fills};
use crate::digest::Hasher;
use crate::limits::{FILL_CHUNK_BYTES, FILL_CHUNKS_MAX};
use crate::rt::Notify;
use crate::store::Partial;

/// Chunks that a helper thread takes from one sink before others get their turn.
const TURN_CHUNKS: usize = 4;

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
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Vec<u8>>,
    free: Vec<Vec<u8>>,
    /// Buffers that exist, wherever they are; at most [`FILL_CHUNKS_MAX`].
    buffers: usize,
    /// A helper thread works, or is about to.
    is_running: bool,
    /// No more chunks will come.
    is_ended: bool,
    outcome: Option<Result<Done, Failure>>,
}

struct Work {
    /// The store's file; without one, bytes go to memory.
    partial: Option<Partial>,
    hasher: Option<Hasher>,
    written: u64,
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
    /// # Errors
    /// Why neither can be done.
    pub(super) fn begin(
        fills: Arc<Fills>,
        fill: Arc<Fill>,
        size_bytes: Option<u64>,
    ) -> Result<Arc<Self>, Failure> {
        let partial = match fills.store.begin(size_bytes) {
            Ok(partial) => {
                fill.held.lock().set_disk(partial.file());
                Some(partial)
            }
            Err(error) => {
                fills.spill(&fill, 0, error)?;
                None
            }
        };
        let hasher = Some(Hasher::new(fill.digest().algorithm()));
        Ok(Arc::new(Self {
            queue: Mutex::default(),
            changed: Notify::default(),
            work: Mutex::new(Work {
                partial,
                hasher,
                written: 0,
            }),
            fill,
            fills,
            size_bytes,
        }))
    }

    /// Waits for an empty buffer.
    ///
    /// # Errors
    /// Why the sink failed; nothing more can be given to it then.
    pub(super) async fn buffer(&self) -> Result<Vec<u8>, Failure> {
        self.changed
            .wait(|| {
                let mut queue = self.queue.lock();
                if let Some(Err(failure)) = &queue.outcome {
                    return Some(Err(failure.clone()));
                }
                if let Some(buffer) = queue.free.pop() {
                    return Some(Ok(buffer));
                }
                (queue.buffers < FILL_CHUNKS_MAX).then(|| {
                    queue.buffers += 1;
                    Ok(Vec::with_capacity(self.buffer_bytes()))
                })
            })
            .await
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

    /// Hands over the next bytes of the blob.
    pub(super) fn push(self: &Arc<Self>, chunk: Vec<u8>) {
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
            let Some(chunk) = queue.chunks.pop_front() else {
                if queue.is_ended && queue.outcome.is_none() {
                    drop(queue);
                    let outcome = self.commit(&mut work);
                    queue = self.queue.lock();
                    queue.outcome = Some(outcome);
                }
                queue.is_running = false;
                drop(queue);
                self.changed.wake_all();
                return;
            };
            let has_failed = queue.outcome.is_some();
            drop(queue);
            let outcome = if has_failed {
                Ok(())
            } else {
                self.take(&mut work, &chunk)
            };
            self.give_back(chunk, outcome);
        }
        drop(work);
        self.submit();
    }

    /// Writes, lets followers have it, then hashes: followers do not wait for the hash.
    fn take(&self, work: &mut Work, chunk: &[u8]) -> Result<(), Failure> {
        self.write(work, chunk)?;
        work.written += chunk.len() as u64;
        self.fill.raise(work.written, self.size_bytes);
        if let Some(hasher) = &mut work.hasher {
            hasher.update(chunk);
        }
        if work.partial.is_none() {
            let leave = || self.fills.leave(&self.fill);
            self.fill.let_go(work.written, leave);
        }
        Ok(())
    }

    /// Writes to disk or, from the first chunk on that the disk does not take, to memory.
    fn write(&self, work: &mut Work, chunk: &[u8]) -> Result<(), Failure> {
        if let Some(partial) = &mut work.partial {
            let Err(error) = self.fills.store.write(partial, chunk, work.written) else {
                return Ok(());
            };
            // The store counts on its room no more; followers have its file open for as long as they need.
            work.partial = None;
            self.fills.spill(&self.fill, work.written, error)?;
        }
        Ok(self.fill.write_to_memory(chunk, work.written)?)
    }

    fn give_back(&self, mut chunk: Vec<u8>, outcome: Result<(), Failure>) {
        chunk.clear();
        let mut queue = self.queue.lock();
        queue.free.push(chunk);
        if let Err(failure) = outcome {
            queue.outcome = Some(Err(failure));
        }
        drop(queue);
        self.changed.wake_all();
    }

    fn commit(&self, work: &mut Work) -> Result<Done, Failure> {
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

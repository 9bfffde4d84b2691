//! Where a fill's bytes go: to disk and through the hash, in order, on helper threads.
//!
//! The fill's task hands over chunks and gets empty buffers back; there are at most
//! [`FILL_CHUNKS_MAX`] of both, so a slow disk or hash slows the next hop's connection and nothing
//! else. At most one helper thread works for a sink at a time, which keeps the chunks in order; it
//! returns to the end of the pool's queue after a few, so that many fills share few threads.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Failure, Fill};
use crate::digest::Hasher;
use crate::limits::{FILL_CHUNK_BYTES, FILL_CHUNKS_MAX};
use crate::rt::{Notify, Pool};
use crate::store::{Partial, Store};

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
    store: Arc<Store>,
    pool: Pool,
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
    outcome: Option<Result<u64, Failure>>,
}

struct Work {
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
    pub(super) fn new(
        fill: Arc<Fill>,
        store: Arc<Store>,
        pool: Pool,
        size_bytes: Option<u64>,
    ) -> Arc<Self> {
        let hasher = Some(Hasher::new(fill.digest().algorithm()));
        Arc::new(Self {
            queue: Mutex::default(),
            changed: Notify::default(),
            work: Mutex::new(Work {
                partial: None,
                hasher,
                written: 0,
            }),
            fill,
            store,
            pool,
            size_bytes,
        })
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

    /// Hands over the end of the blob, waits until it is committed, and returns its size.
    ///
    /// # Errors
    /// Why it was not.
    pub(super) async fn finish(self: &Arc<Self>) -> Result<u64, Failure> {
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
        self.pool.submit(move || this.work());
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
        let partial = match &mut work.partial {
            Some(partial) => partial,
            none => none.insert(self.begin()?),
        };
        self.store.write(partial, chunk, work.written)?;
        work.written += chunk.len() as u64;
        self.fill.raise(work.written, self.size_bytes);
        if let Some(hasher) = &mut work.hasher {
            hasher.update(chunk);
        }
        Ok(())
    }

    fn begin(&self) -> Result<Partial, Failure> {
        let partial = self.store.begin(self.size_bytes)?;
        self.fill.set_file(partial.file());
        Ok(partial)
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

    fn commit(&self, work: &mut Work) -> Result<u64, Failure> {
        if self.size_bytes.is_some_and(|size| size != work.written) {
            return Err(Failure::Corrupt("another length than announced"));
        }
        let found = work.hasher.take().map(Hasher::finish);
        if found != Some(self.fill.digest()) {
            return Err(Failure::Corrupt("the digest differs"));
        }
        let partial = match work.partial.take() {
            Some(partial) => partial,
            None => self.begin()?,
        };
        self.store
            .commit(&self.fill.digest(), partial, work.written)?;
        Ok(work.written)
    }
}

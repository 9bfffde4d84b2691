//! Opening stored blobs on helper threads, each damaged-looking one by one client at a time.
//!
//! A blob that a power cut may have damaged is hashed when it is opened, which takes seconds for a large
//! one. Many clients of it wait for the first one's hash; they do not each hash it, and they do not take
//! the helper threads that everything else needs.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::open_blobs::{CoreBlob, read_small};
use crate::digest::Digest;
use crate::limits::PROVING_THREADS;
use crate::rt::{Notify, Pool, blocking};
use crate::store::{Opened, Store};

/// The blobs that are being proved, over all cores.
#[derive(Debug)]
pub(super) struct Opening {
    proving: Mutex<HashSet<Digest>>,
    done: Notify,
    pool: Pool,
}

impl Opening {
    /// Starts the threads that prove.
    pub(super) fn new() -> io::Result<Self> {
        let pool = Pool::start("prove", PROVING_THREADS)?;
        Ok(Self {
            proving: Mutex::default(),
            done: Notify::default(),
            pool,
        })
    }

    /// Opens a blob that is here, and says what a core wants to have of it; `None` is absent.
    pub(super) async fn open(
        &self,
        store: &Arc<Store>,
        digest: Digest,
    ) -> io::Result<Option<CoreBlob>> {
        let opened = {
            let store = Arc::clone(store);
            blocking(move || read(digest, store.open_blob(&digest)?)).await??
        };
        if let Found::Is(blob) = opened {
            return Ok(blob);
        }
        let _turn = self.turn(digest).await;
        let store = Arc::clone(store);
        // Whoever had the turn before may have proved it.
        let job = move || match read(digest, store.open_blob(&digest)?)? {
            Found::Doubtful => read(digest, store.prove_blob(&digest)?),
            found => Ok(found),
        };
        match self.pool.run(job).await?? {
            Found::Is(blob) => Ok(blob),
            Found::Doubtful => Ok(None),
        }
    }

    /// Waits until nobody else proves `digest`.
    async fn turn(&self, digest: Digest) -> Turn<'_> {
        self.done
            .wait(|| self.proving.lock().insert(digest).then_some(()))
            .await;
        Turn {
            opening: self,
            digest,
        }
    }
}

/// A blob as a core wants it, if it is here.
enum Found {
    Is(Option<CoreBlob>),
    Doubtful,
}

fn read(digest: Digest, opened: Opened) -> io::Result<Found> {
    Ok(match opened {
        Opened::Absent => Found::Is(None),
        Opened::Doubtful => Found::Doubtful,
        Opened::Here(blob) => {
            let small = read_small(&blob)?;
            Found::Is(Some(CoreBlob::new(digest, blob, small)))
        }
    })
}

/// The right to prove one blob, given back when it is dropped.
struct Turn<'o> {
    opening: &'o Opening,
    digest: Digest,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.opening.proving.lock().remove(&self.digest);
        self.opening.done.wake_all();
    }
}

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

    /// Opens a blob that is here, and says what a core wants to have of it; `None` is absent, also because it
    /// was found that it cannot be read.
    ///
    /// # Errors
    /// A shortage, as [`is_shortage`] says, or a panic: nothing that is wrong with the blob.
    pub(super) async fn open(
        &self,
        store: &Arc<Store>,
        digest: Digest,
    ) -> io::Result<Option<CoreBlob>> {
        let ours = Arc::clone(store);
        if let Found::Is(blob) = blocking(move || open_and_read(&ours, digest, false)).await?? {
            return Ok(blob.map(|blob| *blob));
        }
        let _turn = self.turn(digest).await;
        let ours = Arc::clone(store);
        // Whoever had the turn before may have proved it.
        match self
            .pool
            .run(move || open_and_read(&ours, digest, true))
            .await??
        {
            Found::Is(blob) => Ok(blob.map(|blob| *blob)),
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
    Is(Option<Box<CoreBlob>>),
    Doubtful,
}

/// Opens a blob, and hashes it first if it has to be and `proves`. One that cannot be read is taken away, and
/// absent. May block.
fn open_and_read(store: &Store, digest: Digest, proves: bool) -> io::Result<Found> {
    let opened = store.open_blob(&digest).and_then(|opened| match opened {
        Opened::Doubtful if proves => store.prove_blob(&digest),
        opened => Ok(opened),
    });
    let found = opened.and_then(|opened| {
        Ok(match opened {
            Opened::Absent => Found::Is(None),
            Opened::Doubtful => Found::Doubtful,
            Opened::Here(blob) => {
                let small = read_small(&blob)?;
                Found::Is(Some(Box::new(CoreBlob::new(digest, blob, small))))
            }
        })
    });
    match found {
        Err(error) if !is_shortage(&error) => {
            store.quarantine(&digest, &error);
            Ok(Found::Is(None))
        }
        found => found,
    }
}

/// Says whether the process or the host is short of something, which says nothing of the blob.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::NOBUFS,
        Errno::AGAIN,
        Errno::INTR,
    ];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}

/// Takes a blob that cannot be read out of the store, on a helper thread: the next request fills it anew.
pub(super) async fn give_up(store: &Arc<Store>, blob: &CoreBlob, error: io::Error) {
    // Somebody did so before, and what is in the store by now is another file.
    if blob.entry.is_gone() {
        return;
    }
    let (store, digest) = (Arc::clone(store), blob.digest);
    // A panic is logged by nobody else, and leaves the blob where it is.
    if let Err(error) = blocking(move || store.quarantine(&digest, &error)).await {
        tracing::error!(%digest, %error, "a blob could not be taken away");
    }
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

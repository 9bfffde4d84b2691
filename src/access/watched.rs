//! What some files hold, read again when one of them changes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use crate::rt::{Stamp, blocking};

/// How often the files are looked at, if anybody wants to know what is in them.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Read<T> = dyn Fn(&[PathBuf]) -> io::Result<T> + Send + Sync;

/// The content of some files. A change that is of no use keeps the old.
pub(super) struct Watched<T> {
    paths: Vec<PathBuf>,
    read: Arc<Read<T>>,
    current: ArcSwap<T>,
    generation: AtomicU64,
    seen: Mutex<Seen>,
}

/// The files as they were when last looked at.
struct Seen {
    stamps: Vec<Option<Stamp>>,
    looked: Instant,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the files.
    ///
    /// # Errors
    /// What `read` says.
    pub(super) fn new(
        paths: Vec<PathBuf>,
        read: impl Fn(&[PathBuf]) -> io::Result<T> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let stamps = stamps(&paths);
        Ok(Self {
            current: ArcSwap::from_pointee(read(&paths)?),
            generation: AtomicU64::new(0),
            seen: Mutex::new(Seen {
                stamps,
                looked: Instant::now(),
            }),
            read: Arc::new(read),
            paths,
        })
    }

    /// Returns what the files held when they were last of use.
    pub(super) fn current(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    /// Returns a number that grows whenever the files were read again. Taken before [`Self::current`], it
    /// never says of something old that it is new.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reads the files again if they changed, unless they were looked at within [`LOOK_EVERY`].
    pub(super) async fn look(&self) {
        if self.seen.lock().looked.elapsed() >= LOOK_EVERY {
            self.look_now().await;
        }
    }

    /// Reads the files again if they changed, on a helper thread.
    pub(super) async fn look_now(&self) {
        let known = {
            let mut seen = self.seen.lock();
            seen.looked = Instant::now();
            seen.stamps.clone()
        };
        let (paths, read) = (self.paths.clone(), Arc::clone(&self.read));
        let changed = blocking(move || {
            let stamps = stamps(&paths);
            (stamps != known).then(|| (stamps, read(&paths)))
        });
        let Ok(Some((stamps, outcome))) = changed.await else {
            return;
        };
        match outcome {
            Ok(value) => {
                self.current.store(Arc::new(value));
                self.generation.fetch_add(1, Ordering::Release);
                tracing::info!(paths = ?self.paths, "read again");
            }
            Err(error) => {
                tracing::error!(%error, "changed, and of no use: what was read before stays");
                // What could not be read for want of descriptors, say, is tried again.
                if !matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::NotFound
                ) {
                    return;
                }
            }
        }
        self.seen.lock().stamps = stamps;
    }
}

impl<T> std::fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    paths.iter().map(|path| Stamp::of(path)).collect()
}

//! The threads that keep the store in order while it is served, and their end.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::limits::{RESCAN_EVERY_MIN, RESCAN_SHARE};
use crate::store::{House, Store};

/// Between two looks whether a scan is wanted.
const SCAN_TICK: Duration = Duration::from_millis(500);

/// Threads at work for one store.
pub(super) struct Housekeeping {
    /// Dropped to end them all.
    stop: Sender<()>,
    house: JoinHandle<House>,
}

impl Housekeeping {
    /// Starts a thread for each thing that can take long, so that none waits for another.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn start(store: &Arc<Store>, house: House) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let ends = stopped.clone();
        let house = thread("house", move || keep_house(house, &ends))?;
        if let Some(every) = store.checkpoint_every() {
            let (store, ends) = (Arc::clone(store), stopped.clone());
            thread("sync", move || sync(&store, every, &ends))?;
        }
        let store = Arc::clone(store);
        thread("scan", move || scan(&store, &stopped))?;
        Ok(Self { stop, house })
    }

    /// Ends the threads, and the store in order.
    pub(super) fn end(self) {
        drop(self.stop);
        if let Ok(house) = self.house.join() {
            house.close();
        }
    }
}

fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
}

/// Waits; says whether the end came first.
fn is_over(stopped: &Receiver<()>, wait: Duration) -> bool {
    stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout)
}

fn keep_house(mut house: House, stopped: &Receiver<()>) -> House {
    loop {
        let wait = house.tick(Instant::now(), SystemTime::now());
        if is_over(stopped, wait) {
            return house;
        }
    }
}

fn sync(store: &Store, every: Duration, stopped: &Receiver<()>) {
    while !is_over(stopped, every) {
        if let Err(error) = store.checkpoint() {
            tracing::warn!(%error, "the store could not be synced");
        }
    }
}

/// Scans when that is wanted and, where others write to the directory too, now and then.
fn scan(store: &Store, stopped: &Receiver<()>) {
    let mut next = None;
    loop {
        let begun = Instant::now();
        let is_due = store.has_company() && next.is_some_and(|next| next <= begun);
        if store.wants_scan() || is_due {
            match store.scan() {
                Ok(scanned) => tracing::info!(
                    files = scanned.files,
                    found = scanned.found,
                    vanished = scanned.vanished,
                    milliseconds = begun.elapsed().as_millis(),
                    "the storage directory was scanned"
                ),
                Err(error) => tracing::warn!(%error, "the storage directory could not be scanned"),
            }
            let pause = (begun.elapsed() * RESCAN_SHARE).max(RESCAN_EVERY_MIN);
            next = Some(Instant::now() + pause);
        }
        if is_over(stopped, SCAN_TICK) {
            return;
        }
    }
}

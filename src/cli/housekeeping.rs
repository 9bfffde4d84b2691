//! The threads that keep the store in order while it is served, and their end.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::limits::{RESCAN_EVERY_MIN, RESCAN_SHARE};
use crate::store::scrub::{Pace, Scrub};
use crate::store::{House, Store};

/// Between two looks whether a scan is wanted.
const SCAN_TICK: Duration = Duration::from_millis(500);
/// Before the scrub begins, and longest wait between two looks of it.
const SCRUB_PAUSE: Duration = Duration::from_secs(5);

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
        let (ours, ends) = (Arc::clone(store), stopped.clone());
        thread("sync", move || sync(&ours, &ends))?;
        let (ours, ends) = (Arc::clone(store), stopped.clone());
        thread("scrub", move || scrub(&ours, &ends))?;
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

fn sync(store: &Store, stopped: &Receiver<()>) {
    while !is_over(stopped, store.checkpoint_every()) {
        // The store itself says, once, that the disk fails.
        if let Err(error) = store.checkpoint() {
            tracing::debug!(%error, "the store could not be synced");
        }
    }
}

/// Hashes again what is stored, as long as this process keeps house.
fn scrub(store: &Store, stopped: &Receiver<()>) {
    let mut told = None;
    let root = store.root();
    let mut scrub = None;
    let mut wait = SCRUB_PAUSE;
    while !is_over(stopped, wait) {
        let now = SystemTime::now();
        let Some(pace) = store.scrub_pace().filter(|_| store.is_keeper()) else {
            if let Some(mut scrub) = scrub.take().filter(|_| store.is_keeper()) {
                Scrub::save(&mut scrub, now);
            }
            wait = SCRUB_PAUSE;
            continue;
        };
        if told.replace(pace) != Some(pace) {
            warn_if_too_slow(store, pace);
        }
        let scrub = scrub.get_or_insert_with(|| Scrub::open(&root, pace, now));
        scrub.set_pace(pace);
        let stepped = scrub.step(now, store.holdings());
        store.note_scrubbed(stepped.read_bytes, stepped.checked.as_ref());
        wait = stepped.wait.min(SCRUB_PAUSE);
    }
    if let Some(mut scrub) = scrub {
        scrub.save(SystemTime::now());
    }
}

fn warn_if_too_slow(store: &Store, pace: Pace) {
    if store.holdings().round_min(pace) > pace.every {
        tracing::warn!(
            "what is stored cannot be scrubbed within transship.store.scrub at scrub_rate: a round takes longer"
        );
    }
}

/// Scans when that is wanted and, where others write to the directory too, now and then.
fn scan(store: &Store, stopped: &Receiver<()>) {
    let mut next = Instant::now();
    let mut rests = None;
    loop {
        let begun = Instant::now();
        let is_due = store.has_company() && next <= begun;
        let rests_still = rests.is_some_and(|until| begun < until);
        if (store.wants_scan() || is_due) && !rests_still {
            let outcome = store.scan();
            rests = outcome.is_err().then(|| begun + RESCAN_EVERY_MIN);
            match outcome {
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
            next = Instant::now() + pause;
        }
        if is_over(stopped, SCAN_TICK) {
            return;
        }
    }
}

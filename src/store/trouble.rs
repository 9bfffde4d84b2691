//! What keeps blobs from being stored, and when the disk is tried again.
//!
//! ```text
//!            an operation fails                  a trial works
//!  Well ───────────────────────▶ Troubled ───────────────────────▶ Well
//!                                 │     ▲ a trial fails: the wait doubles
//!                                 ╰─────╯
//! ```
//!
//! While it lasts nothing is written but the trials: fills pass through without being stored. Otherwise a
//! disk that is full would be filled to the brim again with each blob that is begun.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::limits::{DISK_WAIT_MAX, DISK_WAIT_MIN};
use crate::metrics::{DiskTrouble, StoreNumbers};

/// Whether the disk takes what it is given.
#[derive(Debug)]
pub(super) struct Trouble {
    state: Mutex<State>,
    numbers: Arc<StoreNumbers>,
}

#[derive(Debug)]
struct State {
    current: Option<Current>,
    /// The wait before the next trial, should there be trouble.
    wait: Duration,
    /// When the last trouble ended: one that comes back soon goes on with its wait.
    ended: Option<Instant>,
}

#[derive(Debug)]
struct Current {
    kind: DiskTrouble,
    error: String,
    since: Instant,
    trial: Instant,
}

/// Returns what `error` says of the disk; `None` where it says nothing: a shortage of our own, a limit on the
/// size of one file, a bug.
fn kind_of(error: &io::Error) -> Option<DiskTrouble> {
    match Errno::from_io_error(error)? {
        Errno::NOSPC | Errno::DQUOT => Some(DiskTrouble::Full),
        Errno::ROFS => Some(DiskTrouble::ReadOnly),
        Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::NOTCONN => Some(DiskTrouble::Missing),
        Errno::MFILE
        | Errno::NFILE
        | Errno::NOMEM
        | Errno::INTR
        | Errno::FBIG
        | Errno::ISDIR
        | Errno::AGAIN => None,
        _ => Some(DiskTrouble::Failing),
    }
}

impl Trouble {
    pub(super) fn new(numbers: Arc<StoreNumbers>) -> Self {
        let state = State {
            current: None,
            wait: DISK_WAIT_MIN,
            ended: None,
        };
        Self {
            state: Mutex::new(state),
            numbers,
        }
    }

    /// Refuses while the disk is in trouble.
    ///
    /// # Errors
    /// `StorageFull` or `Other`, naming the trouble.
    pub(super) fn check(&self) -> io::Result<()> {
        match &self.state.lock().current {
            None => Ok(()),
            Some(Current {
                kind: DiskTrouble::Full,
                error,
                ..
            }) => Err(io::Error::new(io::ErrorKind::StorageFull, error.clone())),
            Some(current) => Err(io::Error::other(current.error.clone())),
        }
    }

    /// Takes note of an operation that failed; says whether that began a trouble, and which.
    pub(super) fn note(&self, error: &io::Error, doing: &str, now: Instant) -> Option<DiskTrouble> {
        let kind = kind_of(error)?;
        let mut state = self.state.lock();
        if state.current.is_some() {
            return None;
        }
        // One that comes back at once is the same one: nothing is won by trying it sooner.
        let is_back = state
            .ended
            .is_some_and(|ended| now < ended + 2 * state.wait);
        state.wait = if is_back {
            (2 * state.wait).min(DISK_WAIT_MAX)
        } else {
            DISK_WAIT_MIN
        };
        state.current = Some(Current {
            kind,
            error: format!("{doing}: {error}"),
            since: now,
            trial: now + state.wait,
        });
        drop(state);
        self.numbers.set_trouble(Some(kind));
        tracing::error!(kind = kind.label(), %error, doing, "the storage directory takes no blobs: they pass through without being stored until it does");
        Some(kind)
    }

    /// Says whether the disk is to be tried now.
    pub(super) fn is_trial_due(&self, now: Instant) -> bool {
        let state = self.state.lock();
        state
            .current
            .as_ref()
            .is_some_and(|current| current.trial <= now)
    }

    /// Has the disk tried at the next chance: something has changed.
    pub(super) fn hasten(&self, now: Instant) {
        if let Some(current) = &mut self.state.lock().current {
            current.trial = now;
        }
    }

    /// Takes note of a trial; says whether the trouble is over, and which it was.
    pub(super) fn tried(&self, outcome: io::Result<()>, now: Instant) -> Option<DiskTrouble> {
        let mut state = self.state.lock();
        let wait = (2 * state.wait).min(DISK_WAIT_MAX);
        let current = state.current.as_mut()?;
        if let Err(error) = outcome {
            current.trial = now + wait;
            current.error = error.to_string();
            if let Some(kind) = kind_of(&error) {
                current.kind = kind;
            }
            let kind = current.kind;
            state.wait = wait;
            drop(state);
            self.numbers.set_trouble(Some(kind));
            return None;
        }
        let ended = state.current.take()?;
        state.ended = Some(now);
        drop(state);
        self.numbers.set_trouble(None);
        let seconds = now.saturating_duration_since(ended.since).as_secs();
        tracing::info!(
            kind = ended.kind.label(),
            seconds,
            "the storage directory takes blobs again"
        );
        Some(ended.kind)
    }

    /// Says whether files can be deleted, as far as is known: of a full disk they can.
    pub(super) fn lets_delete(&self) -> bool {
        let state = self.state.lock();
        let current = state.current.as_ref();
        current.is_none_or(|current| current.kind == DiskTrouble::Full)
    }

    /// Returns the trouble for an operator's eyes, if there is one.
    pub(super) fn describe(&self) -> Option<(DiskTrouble, String)> {
        let state = self.state.lock();
        let current = state.current.as_ref()?;
        Some((current.kind, current.error.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: Errno) -> io::Error {
        errno.into()
    }

    #[test]
    fn a_trouble_ends_with_a_trial_that_works_and_one_that_comes_back_waits_longer() {
        let trouble = Trouble::new(Arc::default());
        let start = Instant::now();
        assert!(trouble.check().is_ok());
        assert_eq!(
            trouble.note(&error(Errno::NOSPC), "write", start),
            Some(DiskTrouble::Full)
        );
        assert_eq!(
            trouble.note(&error(Errno::IO), "write", start),
            None,
            "told once"
        );
        assert_eq!(
            trouble.check().unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        assert!(!trouble.is_trial_due(start));
        let later = start + DISK_WAIT_MIN;
        assert!(trouble.is_trial_due(later));
        assert_eq!(trouble.tried(Err(error(Errno::NOSPC)), later), None);
        assert!(!trouble.is_trial_due(later + DISK_WAIT_MIN));
        let later = later + 2 * DISK_WAIT_MIN;
        assert!(trouble.is_trial_due(later));
        assert_eq!(trouble.tried(Ok(()), later), Some(DiskTrouble::Full));
        assert!(trouble.check().is_ok());
        trouble.note(&error(Errno::ROFS), "open", later);
        assert!(
            !trouble.is_trial_due(later + 3 * DISK_WAIT_MIN),
            "it came back"
        );
        assert_eq!(
            trouble.describe().map(|(kind, _)| kind),
            Some(DiskTrouble::ReadOnly)
        );
    }

    #[test]
    fn what_is_our_own_shortage_or_one_blob_s_size_is_no_trouble_of_the_disk() {
        let trouble = Trouble::new(Arc::default());
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::FBIG] {
            assert_eq!(trouble.note(&error(errno), "open", Instant::now()), None);
            assert!(trouble.check().is_ok(), "{errno:?}");
        }
        let ours = io::Error::other("no errno");
        assert_eq!(trouble.note(&ours, "open", Instant::now()), None);
    }
}

//! Feeds systemd's watchdog for as long as every core goes through its loop.
//!
//! A core that is wedged leaves a part of the clients without service, while the others look well. So each core
//! has a task that counts, and one thread looks at the counts: it feeds only if all have moved since it last did.
//! Else systemd ends the process after `WatchdogSec`, and starts it again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::rt;

/// The count of a core that has ended in order.
const ENDED: u64 = u64::MAX;

/// How often is looked within `WatchdogSec`: systemd wants to be told at least twice.
const LOOKS: u32 = 4;

/// How often a core counts within a look.
const BEATS: u32 = 2;

/// The counts of all cores.
#[derive(Debug)]
pub(super) struct Watchdog {
    beats: Box<[AtomicU64]>,
    look_every: Duration,
}

impl Watchdog {
    /// Returns what watches `cores` cores, if systemd asked for it.
    pub(super) fn asked(cores: usize) -> Option<Arc<Self>> {
        let within = sd_notify::watchdog_enabled()?;
        Some(Arc::new(Self {
            beats: (0..cores).map(|_| AtomicU64::new(0)).collect(),
            look_every: within / LOOKS,
        }))
    }

    /// Counts on this core, until its end.
    pub(super) async fn beat(self: Arc<Self>, core: usize) {
        loop {
            rt::sleep(self.look_every / BEATS).await;
            self.beats[core].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that a core has ended in order, and will not count any more.
    pub(super) fn end(&self, core: usize) {
        self.beats[core].store(ENDED, Ordering::Relaxed);
    }

    /// Looks, and feeds, on a thread of its own until the process ends.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn keep(self: Arc<Self>) -> io::Result<()> {
        let mut keeper = Keeper::new(self.beats.len());
        std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || {
                loop {
                    std::thread::sleep(self.look_every);
                    let beats = self.beats.iter().map(|beat| beat.load(Ordering::Relaxed));
                    let stuck = keeper.look(beats);
                    if stuck.is_empty() {
                        super::serve::notify(&[sd_notify::NotifyState::Watchdog]);
                    } else {
                        tracing::error!(cores = ?stuck, "cores are stuck: systemd's watchdog is not fed");
                    }
                }
            })?;
        Ok(())
    }
}

/// What the counts were when the watchdog was last fed.
#[derive(Debug)]
struct Keeper {
    fed_at: Vec<u64>,
}

impl Keeper {
    fn new(cores: usize) -> Self {
        Self {
            fed_at: vec![0; cores],
        }
    }

    /// Returns the cores that have not counted since the last time that there were none.
    fn look(&mut self, beats: impl Iterator<Item = u64>) -> Vec<usize> {
        let beats: Vec<_> = beats.collect();
        let both = beats.iter().zip(&self.fed_at).enumerate();
        let stuck: Vec<_> = both
            .filter(|(_, (now, then))| now == then && **now != ENDED)
            .map(|(core, _)| core)
            .collect();
        if stuck.is_empty() {
            self.fed_at = beats;
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fed_only_when_every_core_has_counted_since_the_last_time() {
        let mut keeper = Keeper::new(2);
        let mut look = |beats: [u64; 2]| keeper.look(beats.into_iter());
        assert_eq!(look([0, 0]), [0, 1], "none has run yet");
        assert_eq!(look([1, 0]), [1]);
        assert!(look([2, 1]).is_empty());
        // The first one is wedged; what the second one does meanwhile feeds nothing.
        assert_eq!(look([2, 2]), [0]);
        assert_eq!(look([2, 9]), [0]);
        assert!(look([3, 10]).is_empty());
        assert_eq!(look([4, 10]), [1]);
    }

    #[test]
    fn cores_that_have_ended_are_not_waited_for() {
        // A drain that takes minutes would be cut short while the last core finishes.
        let mut keeper = Keeper::new(2);
        let mut look = |beats: [u64; 2]| keeper.look(beats.into_iter());
        assert!(look([ENDED, 1]).is_empty());
        assert_eq!(look([ENDED, 1]), [1]);
        assert!(look([ENDED, ENDED]).is_empty());
        assert!(look([ENDED, ENDED]).is_empty());
    }
}

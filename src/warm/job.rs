//! One job: what it was asked for, how far each image is, and whether anybody wants it still.
//!
//! ```text
//!  Queued ──▶ Running ──▶ Done       every image is here
//!     │          ├──────▶ Failed     one at least is not
//!     ╰──────────┴──────▶ Cancelled
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::failure::Failure;
use super::image::Image;
use super::platform::Platform;
use super::progress::Progress;
use crate::fill::Fill;
use crate::metrics::WarmOutcome;
use crate::rt::Notify;
use crate::upstream::Authority;

/// What a job is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// The images, in order.
    pub images: Vec<Image>,
    /// Which platforms of each; none is all of them.
    pub platforms: Vec<Platform>,
    /// In whose name next hops are asked. A job has it apart, and forgets it when it ends.
    pub authority: Authority,
    /// Each image is pinned as soon as there is one.
    pub pin: bool,
    /// How long an image is tried while nothing of it comes.
    pub patience: Duration,
}

/// Where a job is in its life; see the module's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Queued,
    Running,
    Ended(WarmOutcome),
}

impl Phase {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Ended(outcome) => outcome.label(),
        }
    }
}

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Queued,
    /// Its manifests are asked for.
    Resolving,
    /// Its blobs are.
    Fetching,
    /// It is tried again in a while, because of this.
    Waiting(Failure),
    Done,
    Failed(Failure),
    Cancelled,
}

/// How far one image is.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) stage: Stage,
    pub(super) progress: Progress,
    /// Fills that are watched for it.
    pub(super) active: Vec<Arc<Fill>>,
}

/// One job. Shared by whoever does it and whoever asks how far it is.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) order: Order,
    /// Seconds since the epoch.
    pub(super) asked: u64,
    state: Mutex<State>,
    /// Of the order, from where it is taken.
    authority: Mutex<Authority>,
    is_cancelled: AtomicBool,
    cancelled: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    began: Option<u64>,
    ended: Option<u64>,
    tracks: Vec<Track>,
    last_come: Instant,
}

impl Job {
    /// - `now`: seconds since the epoch.
    pub(super) fn new(id: u64, mut order: Order, now: u64) -> Self {
        let track = |_: &Image| Track {
            stage: Stage::Queued,
            progress: Progress::default(),
            active: Vec::new(),
        };
        let tracks = order.images.iter().map(track).collect();
        let authority = std::mem::replace(&mut order.authority, Authority::Cache);
        Self {
            id,
            order,
            asked: now,
            state: Mutex::new(State {
                phase: Phase::Queued,
                began: None,
                ended: None,
                tracks,
                last_come: Instant::now(),
            }),
            authority: Mutex::new(authority),
            is_cancelled: AtomicBool::new(false),
            cancelled: Notify::default(),
        }
    }

    pub(super) fn begin(&self, now: u64) {
        let mut state = self.state.lock();
        state.phase = Phase::Running;
        state.began = Some(now);
    }

    /// Returns in whose name next hops are asked, as long as the job has not ended.
    pub(super) fn authority(&self) -> Authority {
        self.authority.lock().clone()
    }

    /// Ends the job by what became of its images; returns how.
    pub(super) fn end(&self, now: u64) -> WarmOutcome {
        // It is remembered for long, and shall not keep a password in memory for that.
        *self.authority.lock() = Authority::Cache;
        let mut state = self.state.lock();
        for track in &mut state.tracks {
            track.active.clear();
            if !matches!(track.stage, Stage::Done | Stage::Failed(_)) {
                track.stage = Stage::Cancelled;
            }
        }
        let has = |is: fn(&Stage) -> bool| state.tracks.iter().any(|track| is(&track.stage));
        let outcome = if has(|stage| *stage == Stage::Cancelled) {
            WarmOutcome::Cancelled
        } else if has(|stage| matches!(stage, Stage::Failed(_))) {
            WarmOutcome::Failed
        } else {
            WarmOutcome::Done
        };
        state.phase = Phase::Ended(outcome);
        state.ended = Some(now);
        outcome
    }

    pub(super) fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    /// Returns when it began and when it ended, in seconds since the epoch.
    pub(super) fn times(&self) -> (Option<u64>, Option<u64>) {
        let state = self.state.lock();
        (state.began, state.ended)
    }

    /// Nobody wants it any more.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
        self.cancelled.wake_all();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    pub(super) async fn until_cancelled(&self) {
        let is_so = || self.is_cancelled().then_some(());
        self.cancelled.wait(is_so).await;
    }

    /// Changes what is known of an image.
    pub(super) fn track<T>(&self, image: usize, change: impl FnOnce(&mut Track) -> T) -> Option<T> {
        self.state.lock().tracks.get_mut(image).map(change)
    }

    /// Looks at each image.
    pub(super) fn tracks<T>(&self, look: impl Fn(&Image, &Track) -> T) -> Vec<T> {
        let state = self.state.lock();
        let images = self.order.images.iter().zip(&state.tracks);
        images.map(|(image, track)| look(image, track)).collect()
    }

    /// Takes note that something has come.
    pub(super) fn note_come(&self) {
        self.state.lock().last_come = Instant::now();
    }

    /// Returns when something came last.
    pub(super) fn last_come(&self) -> Instant {
        self.state.lock().last_come
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Credentials;
    use crate::warm::failure::Kind;

    fn job(images: &[&str]) -> Job {
        let order = Order {
            images: images.iter().map(|image| image.parse().unwrap()).collect(),
            platforms: Vec::new(),
            authority: Authority::Cache,
            pin: false,
            patience: Duration::ZERO,
        };
        Job::new(1, order, 5)
    }

    #[test]
    fn a_login_is_forgotten_when_its_job_has_ended() {
        let login = Arc::new(Credentials {
            username: "u".to_owned(),
            password: "s3cret".to_owned(),
        });
        let order = Order {
            authority: Authority::Login(Arc::clone(&login)),
            ..job(&["a"]).order
        };
        let job = Job::new(1, order, 5);
        job.begin(6);
        assert!(matches!(job.authority(), Authority::Login(_)));
        job.end(7);
        assert_eq!(Arc::strong_count(&login), 1, "nobody else has it");
    }

    fn stage(job: &Job, image: usize, stage: Stage) {
        job.track(image, |track| track.stage = stage).unwrap();
    }

    #[test]
    fn a_job_ends_as_its_images_did() {
        let failed = || Stage::Failed(Failure::new(Kind::Absent, "gone"));
        for (first, second, outcome) in [
            (Stage::Done, Stage::Done, WarmOutcome::Done),
            (Stage::Done, failed(), WarmOutcome::Failed),
            (failed(), Stage::Queued, WarmOutcome::Cancelled),
            (Stage::Fetching, Stage::Done, WarmOutcome::Cancelled),
        ] {
            let job = job(&["a", "b"]);
            assert_eq!(job.phase(), Phase::Queued);
            job.begin(6);
            assert_eq!(job.phase(), Phase::Running);
            stage(&job, 0, first);
            stage(&job, 1, second);
            assert_eq!(job.end(7), outcome);
            assert_eq!(job.times(), (Some(6), Some(7)));
            assert_eq!(job.phase().label(), outcome.label());
        }
    }
}

//! What is shown of jobs. No login is among it.

use serde::Serialize;

use super::job::{Job, Stage, Track};
use super::progress::Count;
use super::{Image, Platform};

/// A job, in a few numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Its number, from 1 since the process began.
    pub id: u64,
    /// `queued`, `running`, `done`, `failed` or `cancelled`.
    pub state: &'static str,
    /// When it was asked for, in seconds since the epoch.
    pub asked: u64,
    /// When it began.
    pub began: Option<u64>,
    /// When it ended.
    pub ended: Option<u64>,
    /// How many images it is for.
    pub images: usize,
    /// How many of them are here.
    pub images_done: usize,
    /// How many cannot be had.
    pub images_failed: usize,
    /// Blobs of all images.
    pub blobs: Numbers,
    /// Their bytes, as the manifests say.
    pub bytes: Numbers,
    /// Bytes that have come of blobs that are not complete.
    pub arriving_bytes: u64,
}

/// A job, image by image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The job as in the list.
    #[serde(flatten)]
    pub summary: Summary,
    /// Which platforms it is for; none is all of them.
    pub platforms: Vec<String>,
    /// Each image is pinned.
    pub pin: bool,
    /// Each image, in order.
    pub references: Vec<ImageView>,
}

/// One image of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageView {
    /// What was asked for.
    pub reference: String,
    /// `queued`, `resolving`, `fetching`, `waiting`, `done`, `failed` or `cancelled`.
    pub state: &'static str,
    /// Digest of its manifest, once that is known.
    pub digest: Option<String>,
    /// Its manifests.
    pub manifests: Numbers,
    /// Its blobs.
    pub blobs: Numbers,
    /// Their bytes.
    pub bytes: Numbers,
    /// Layers that are to be had elsewhere, and that no registry is asked for.
    pub foreign_layers: u64,
    /// Platforms that were asked for, of which it has none.
    pub missing_platforms: Vec<String>,
    /// Why it is not here, or not yet.
    pub error: Option<Trouble>,
}

/// Why an image is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// How many there are, are here, and were here before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Numbers {
    /// As far as manifests have been read.
    pub total: u64,
    /// Those that are here.
    pub done: u64,
    /// Those of them that were here already.
    pub here: u64,
}

impl Numbers {
    const fn add(&mut self, count: Count) {
        self.total = self.total.saturating_add(count.total);
        self.done = self.done.saturating_add(count.done);
        self.here = self.here.saturating_add(count.here);
    }
}

impl From<Count> for Numbers {
    fn from(count: Count) -> Self {
        let mut numbers = Self::default();
        numbers.add(count);
        numbers
    }
}

impl Stage {
    const fn label(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Resolving => "resolving",
            Self::Fetching => "fetching",
            Self::Waiting(_) => "waiting",
            Self::Done => "done",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

pub(super) fn summary(job: &Job) -> Summary {
    let (began, ended) = job.times();
    let mut summary = Summary {
        id: job.id,
        state: job.phase().label(),
        asked: job.asked,
        began,
        ended,
        images: job.order.images.len(),
        images_done: 0,
        images_failed: 0,
        blobs: Numbers::default(),
        bytes: Numbers::default(),
        arriving_bytes: 0,
    };
    for (stage, blobs, bytes, arriving) in job.tracks(numbers) {
        summary.images_done += usize::from(stage == "done");
        summary.images_failed += usize::from(stage == "failed");
        summary.blobs.add(blobs);
        summary.bytes.add(bytes);
        summary.arriving_bytes += arriving;
    }
    summary
}

fn numbers(_: &Image, track: &Track) -> (&'static str, Count, Count, u64) {
    let arriving = track.active.iter().map(|fill| fill.filled()).sum();
    let progress = &track.progress;
    (
        track.stage.label(),
        progress.blobs,
        progress.bytes,
        arriving,
    )
}

pub(super) fn shown(job: &Job) -> Shown {
    Shown {
        summary: summary(job),
        platforms: job
            .order
            .platforms
            .iter()
            .map(Platform::to_string)
            .collect(),
        pin: job.order.pin,
        references: job.tracks(image),
    }
}

fn image(image: &Image, track: &Track) -> ImageView {
    let progress = &track.progress;
    let error = match &track.stage {
        Stage::Waiting(failure) | Stage::Failed(failure) => Some(Trouble {
            code: failure.kind.label(),
            message: failure.message.clone(),
        }),
        _ => None,
    };
    ImageView {
        reference: image.to_string(),
        state: track.stage.label(),
        digest: progress.digest.map(|digest| digest.to_string()),
        manifests: progress.manifests.into(),
        blobs: progress.blobs.into(),
        bytes: progress.bytes.into(),
        foreign_layers: progress.foreign,
        missing_platforms: progress.missing.clone(),
        error,
    }
}

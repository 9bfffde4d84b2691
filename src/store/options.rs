//! What an operator may say about the store.

use std::path::PathBuf;
use std::time::Duration;

use super::scrub::Pace;
use crate::live::{Live, Word};

/// Where blobs live, for how long, and how much room they may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Root directory (`storage.filesystem.rootdirectory`); made if it is missing.
    pub root: PathBuf,
    /// A blob not pulled for this long is deleted (`blobttl`); `None` keeps blobs for good.
    pub blob_ttl: Option<Duration>,
    /// Most bytes that are stored (`transship.store.bytes_max`).
    pub bytes_max: Amount,
    /// Per cent of `bytes_max` above which the least useful blobs are evicted (`high_watermark`).
    pub high_watermark: u8,
    /// Per cent of `bytes_max` down to which that goes (`low_watermark`).
    pub low_watermark: u8,
    /// What stays free on the file system, whoever fills it (`transship.store.free_min`).
    pub free_min: Amount,
    /// When blobs are forced to the medium (`transship.store.durability`).
    pub durability: Durability,
    /// Every stored blob is hashed again within this time (`transship.store.scrub`); `None` never does it.
    pub scrub_every: Option<Duration>,
    /// Most bytes a second that are read for that (`transship.store.scrub_rate`).
    pub scrub_bytes_per_second: u64,
}

impl Options {
    /// Returns the defaults for a root directory.
    #[must_use]
    pub const fn new(root: PathBuf) -> Self {
        Self {
            root,
            blob_ttl: None,
            bytes_max: Amount::Percent(90),
            high_watermark: 95,
            low_watermark: 90,
            free_min: Amount::Percent(1),
            durability: Durability::Group,
            scrub_every: Some(Duration::from_secs(30 * 24 * 3600)),
            scrub_bytes_per_second: 32 * 1024 * 1024,
        }
    }
}

/// Those of the options that may change while the store is open, but for the bounds of its room.
#[derive(Debug)]
pub(super) struct Tuned {
    pub(super) blob_ttl: Live<Option<Duration>>,
    pub(super) durability: Live<Durability>,
    scrub_every: Live<Option<Duration>>,
    scrub_bytes_per_second: Live<u64>,
}

impl Tuned {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            blob_ttl: Live::new(options.blob_ttl),
            durability: Live::new(options.durability),
            scrub_every: Live::new(options.scrub_every),
            scrub_bytes_per_second: Live::new(options.scrub_bytes_per_second),
        }
    }

    pub(super) fn set(&self, options: &Options) {
        self.blob_ttl.set(options.blob_ttl);
        self.durability.set(options.durability);
        self.scrub_every.set(options.scrub_every);
        self.scrub_bytes_per_second
            .set(options.scrub_bytes_per_second);
    }

    pub(super) fn scrub(&self) -> Option<Pace> {
        Some(Pace {
            every: self.scrub_every.get()?,
            rate_bytes_max: self.scrub_bytes_per_second.get(),
        })
    }
}

impl Word for Durability {
    fn to_word(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Group => 1,
            Self::Each => 2,
        }
    }

    fn of_word(word: u64) -> Self {
        match word {
            0 => Self::None,
            1 => Self::Group,
            _ => Self::Each,
        }
    }
}

/// So many bytes, or a share of the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Bytes.
    Bytes(u64),
    /// Per cent of the file system's size, 0 to 100.
    Percent(u8),
}

impl Amount {
    /// Returns the amount in bytes on a file system of `total` bytes.
    #[must_use]
    pub const fn of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => total / 100 * percent as u64,
        }
    }
}

/// When a committed blob is forced to the medium. Whatever is chosen, no wrong byte is ever served: what a
/// power cut may have damaged is hashed before it is served again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Never while the process runs. A power cut may cost everything since the start.
    None,
    /// Many blobs at once, every few seconds. A power cut may cost those seconds.
    Group,
    /// Each blob before it counts as stored. A power cut costs nothing that was committed.
    Each,
}

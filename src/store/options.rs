//! What an operator may say about the store.

use std::path::PathBuf;
use std::time::Duration;

/// Where blobs live, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Root directory (`storage.filesystem.rootdirectory`); made if it is missing.
    pub root: PathBuf,
    /// A blob not pulled for this long is deleted (`blobttl`); `None` keeps blobs for good.
    pub blob_ttl: Option<Duration>,
}

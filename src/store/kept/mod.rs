//! Unfinished files that outlive their fill or their process.

use std::io;

use super::{Partial, Store};
use crate::digest::{Digest, Hasher};

/// How far a fill has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What the whole blob is to hash to.
    pub digest: Digest,
    /// Length of the whole blob, in bytes.
    pub size_bytes: u64,
    /// How many bytes from the first one on were written and hashed.
    pub prefix_bytes: u64,
    /// What those hash to, by the digest's own algorithm.
    pub prefix_digest: Digest,
}

/// An unfinished file that was kept, to be gone on with.
pub struct Kept {
    /// The file, in room that is reserved for the whole blob.
    pub partial: Partial,
    /// Bytes from the first one on that are there and were hashed just now.
    pub prefix_bytes: u64,
    /// Length of the whole blob, in bytes, as its next hop said when it was begun.
    pub size_bytes: u64,
    /// Has been fed those bytes.
    pub hasher: Hasher,
}

impl Store {
    /// Makes sure that an unfinished file outlives the process, up to `progress`. May block, for about as long
    /// as two small files take; forces nothing to the medium.
    ///
    /// Does nothing for a prefix that is not worth it.
    ///
    /// # Errors
    /// The disk's. The fill can go on: at worst its file is what the last mark has made of it.
    pub fn mark(&self, partial: &mut Partial, progress: &Progress) -> io::Result<()> {
        let _ = (self, partial, progress);
        Ok(())
    }

    /// Leaves an unfinished file to the next fill of its blob, if it is worth it, and drops it otherwise. May
    /// block.
    ///
    /// Not to be called where the digest of the whole was found to differ.
    pub fn keep(&self, partial: Partial, progress: &Progress) {
        let _ = (self, partial, progress);
    }

    /// Returns the unfinished file of a blob to go on with, and its prefix hashed again. Nobody else gets the
    /// same one. Blocks for as long as it takes to read and hash the prefix.
    ///
    /// One that is damaged in any way is removed, and `None`.
    ///
    /// # Errors
    /// As [`Store::begin`]; it is kept then.
    pub fn take_kept(&self, digest: &Digest) -> io::Result<Option<Kept>> {
        let _ = (self, digest);
        Ok(None)
    }

    /// Says whether there may be an unfinished file of a blob. Never blocks on disk.
    #[must_use]
    pub fn has_kept(&self, digest: &Digest) -> bool {
        let _ = (self, digest);
        false
    }
}

//! What each tag was when the origin was last asked, so that asking again costs no body.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::digest::Digest;

/// Most tags remembered; when there are more, memory starts anew, which costs one body each.
const TAGS_MAX: usize = 65_536;

/// A tag as one kind of client sees it: an origin may answer differently for each `Accept`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TagKey {
    pub(super) repository: String,
    pub(super) tag: String,
    /// Of the sorted list: a client chooses its length, not what it costs here.
    pub(super) accept: Digest,
}

/// Digests by tag. Never served from without asking the origin.
#[derive(Debug, Default)]
pub(super) struct Tags {
    digests: Mutex<HashMap<TagKey, Digest>>,
}

impl Tags {
    pub(super) fn find(&self, key: &TagKey) -> Option<Digest> {
        self.digests.lock().get(key).copied()
    }

    pub(super) fn remember(&self, key: TagKey, digest: Digest) {
        let mut digests = self.digests.lock();
        if digests.len() >= TAGS_MAX {
            digests.clear();
        }
        digests.insert(key, digest);
    }

    pub(super) fn forget(&self, key: &TagKey) {
        self.digests.lock().remove(key);
    }
}

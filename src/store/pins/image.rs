//! What an image consists of, by the manifests that are stored.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use serde::Deserialize;

use crate::digest::Digest;
use crate::store::manifest::Manifest;

/// The parts of a manifest or index that name others (OCI image specification, manifest.md and
/// image-index.md; Docker's schemas 1 and 2). What is missing names nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Names {
    config: Option<Descriptor>,
    layers: Vec<Descriptor>,
    manifests: Vec<Descriptor>,
    blobs: Vec<Descriptor>,
    #[serde(rename = "fsLayers")]
    fs_layers: Vec<FsLayer>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: String,
}

#[derive(Debug, Deserialize)]
struct FsLayer {
    #[serde(rename = "blobSum")]
    blob_sum: String,
}

/// Returns what a manifest names. What is no manifest names nothing.
fn named(manifest: &Manifest) -> Vec<Digest> {
    let names: Names = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    let descriptors = names.config.iter().chain(&names.layers);
    let descriptors = descriptors.chain(&names.manifests).chain(&names.blobs);
    let texts = descriptors.map(|one| one.digest.as_str());
    let texts = texts.chain(names.fs_layers.iter().map(|one| one.blob_sum.as_str()));
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// Returns `roots` and all that they name, through manifests that are stored; at most `most` digests.
///
/// # Errors
/// The disk's.
pub(super) fn closure(
    roots: Vec<Digest>,
    most: usize,
    manifest: impl Fn(&Digest) -> io::Result<Option<Arc<Manifest>>>,
) -> io::Result<HashSet<Digest>> {
    let mut found = HashSet::new();
    let mut open = roots;
    while let Some(digest) = open.pop() {
        if found.len() >= most {
            tracing::warn!(
                most,
                "more is pinned than can be kept count of: the rest is not pinned"
            );
            break;
        }
        if found.insert(digest)
            && let Some(manifest) = manifest(&digest)?
        {
            open.extend(named(&manifest));
        }
    }
    Ok(found)
}

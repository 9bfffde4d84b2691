//! Manifests: small, so kept whole in memory as well as on disk.
//!
//! On disk a manifest is one line with its media type, a line feed, and its bytes. The digest is
//! proved whenever one is read from disk, so a damaged file is never served.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

use super::layout::{Kind, Layout};
use crate::digest::Digest;

/// Bytes of manifests kept in memory; when they are exceeded, memory starts anew from disk.
const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A manifest or index, as the origin sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The `Content-Type` it was sent with: a media type without parameters, no control characters.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Memory {
    by_digest: HashMap<Digest, Arc<Manifest>>,
    bytes: usize,
}

/// What came of looking for a manifest.
#[derive(Debug)]
pub(super) enum Loaded {
    Here(Arc<Manifest>, Metadata),
    Absent,
    Damaged(Metadata),
}

/// The manifests of one store.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    memory: RwLock<Memory>,
}

impl Manifests {
    pub(super) fn in_memory(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        self.memory.read().by_digest.get(digest).cloned()
    }

    pub(super) fn load(&self, layout: &Layout, digest: &Digest) -> io::Result<Loaded> {
        let path = layout.path(Kind::Manifest, digest);
        let (content, metadata) = match read(&path) {
            Ok(found) => found,
            Err(error) if super::is_vanished(&error) => return Ok(Loaded::Absent),
            Err(error) => return Err(super::about(&path, &error)),
        };
        let Some(manifest) = decode(&content).filter(|m| is_proved(digest, m)) else {
            return Ok(Loaded::Damaged(metadata));
        };
        let manifest = Arc::new(manifest);
        self.remember(digest, &manifest);
        Ok(Loaded::Here(manifest, metadata))
    }

    pub(super) fn remember(&self, digest: &Digest, manifest: &Arc<Manifest>) {
        let mut memory = self.memory.write();
        if memory.bytes + manifest.bytes.len() > MEMORY_BYTES_MAX {
            *memory = Memory::default();
        }
        if memory
            .by_digest
            .insert(*digest, Arc::clone(manifest))
            .is_none()
        {
            memory.bytes += manifest.bytes.len();
        }
    }

    pub(super) fn forget(&self, digest: &Digest) {
        let mut memory = self.memory.write();
        if let Some(manifest) = memory.by_digest.remove(digest) {
            memory.bytes -= manifest.bytes.len();
        }
    }
}

fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let mut file = super::open_regular(path)?;
    let metadata = file.metadata()?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok((content, metadata))
}

impl Manifest {
    /// Returns the content of its file.
    pub(super) fn encode(&self) -> Vec<u8> {
        [self.media_type.as_bytes(), b"\n", &self.bytes].concat()
    }
}

fn is_proved(digest: &Digest, manifest: &Manifest) -> bool {
    Digest::of(digest.algorithm(), &manifest.bytes) == *digest
}

pub(super) fn decode(content: &[u8]) -> Option<Manifest> {
    let end = memchr::memchr(b'\n', content)?;
    let media_type = std::str::from_utf8(&content[..end]).ok()?;
    let is_clean = media_type.bytes().all(|byte| byte.is_ascii_graphic());
    is_clean.then(|| Manifest {
        media_type: media_type.to_owned(),
        bytes: content[end + 1..].to_vec(),
    })
}

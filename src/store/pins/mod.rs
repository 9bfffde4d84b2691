//! What is never evicted and never expires, because an operator said so.
//!
//! ```text
//!  <root>/pins            one reference a line: the operator's, or `transship pin`'s
//!        │  tags: what they meant when they were last pulled (<root>/pins.resolved)
//!        ▼
//!     digests ──manifests in the store──▶ every digest that they name ──▶ a mark on each entry
//! ```
//!
//! A reference is `sha256:…`, `name@sha256:…` or `name:tag`. What a pinned manifest names is pinned with it,
//! platforms of an index included, as far as the manifests are stored; the rest follows when they are.

mod image;
mod reference;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

pub use reference::{Reference, ReferenceError};

use super::manifest::Manifest;
use crate::digest::Digest;
use crate::limits::{PINNED_DIGESTS_MAX, PINS_BYTES_MAX, PULLED_TAGS_MAX};
use crate::rt::Stamp;

/// The pins of one store.
#[derive(Debug)]
pub(super) struct Pins {
    path: PathBuf,
    /// Nothing is pinned: who asks needs no lock.
    is_empty: AtomicBool,
    /// Something has changed since the digests were last gathered.
    is_stale: AtomicBool,
    digests: RwLock<HashSet<Digest>>,
    listed: Mutex<Listed>,
    /// What tags meant that were pulled since the start, in case one of them is pinned.
    pulled: Mutex<HashMap<String, Digest>>,
}

/// What is to be pinned.
#[derive(Debug, Default)]
struct Listed {
    stamp: Option<Stamp>,
    references: Vec<Reference>,
    /// What pinned tags meant when they were last pulled, and whether that is on disk.
    resolved: BTreeMap<String, Digest>,
    is_unwritten: bool,
}

/// Entries whose mark has to change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) pinned: Vec<Digest>,
    pub(super) released: Vec<Digest>,
}

impl Pins {
    /// Returns the pins that stand at `path`, none of them gathered yet.
    pub(super) fn new(path: PathBuf) -> Self {
        let pins = Self {
            is_empty: AtomicBool::new(true),
            is_stale: AtomicBool::new(true),
            digests: RwLock::default(),
            listed: Mutex::default(),
            pulled: Mutex::default(),
            path,
        };
        pins.listed.lock().resolved = read_resolved(&pins.resolved_path());
        pins
    }

    /// Says whether a digest is pinned. Costs no lock while nothing is.
    pub(super) fn holds(&self, digest: &Digest) -> bool {
        !self.is_empty.load(Ordering::Acquire) && self.digests.read().contains(digest)
    }

    /// Returns how many digests are pinned.
    pub(super) fn len(&self) -> usize {
        self.digests.read().len()
    }

    /// Takes note that a manifest was stored: if it is pinned, what it names is pinned too.
    pub(super) fn note_manifest(&self, digest: &Digest) {
        if self.holds(digest) {
            self.is_stale.store(true, Ordering::Release);
        }
    }

    /// Takes note of what a tag means. Costs a lock that is never held for long.
    pub(super) fn note_tag(&self, repository: &str, tag: &str, digest: &Digest) {
        let mut pulled = self.pulled.lock();
        if pulled.len() >= PULLED_TAGS_MAX {
            pulled.clear();
        }
        let before = pulled.insert(format!("{repository}:{tag}"), *digest);
        drop(pulled);
        if before != Some(*digest) && !self.is_empty.load(Ordering::Acquire) {
            self.is_stale.store(true, Ordering::Release);
        }
    }

    /// Reads the file if it has changed, and gathers what is pinned if anything has; returns what is
    /// different then.
    ///
    /// - `manifest`: returns a stored manifest.
    pub(super) fn look(
        &self,
        manifest: impl Fn(&Digest) -> io::Result<Option<Arc<Manifest>>>,
    ) -> Changed {
        self.reread();
        if !self.is_stale.swap(false, Ordering::AcqRel) {
            return Changed::default();
        }
        let gathered = match image::closure(self.roots(), PINNED_DIGESTS_MAX, manifest) {
            Ok(gathered) => gathered,
            Err(error) => {
                tracing::debug!(%error, "what is pinned could not be gathered, and stays as it was");
                self.is_stale.store(true, Ordering::Release);
                return Changed::default();
            }
        };
        let mut digests = self.digests.write();
        let changed = Changed {
            pinned: gathered.difference(&digests).copied().collect(),
            released: digests.difference(&gathered).copied().collect(),
        };
        *digests = gathered;
        changed
    }

    /// Returns the pins that keep a digest, by itself or by a manifest that names it.
    pub(super) fn holders(
        &self,
        digest: &Digest,
        manifest: impl Fn(&Digest) -> io::Result<Option<Arc<Manifest>>>,
    ) -> Vec<String> {
        let listed: Vec<(String, Digest)> = {
            let listed = self.listed.lock();
            let named = |pin: &Reference| Some((pin.to_string(), pin.digest(&listed.resolved)?));
            listed.references.iter().filter_map(named).collect()
        };
        let keeps = |root: &Digest| {
            let closure = image::closure(vec![*root], PINNED_DIGESTS_MAX, &manifest);
            closure.is_ok_and(|closure| closure.contains(digest))
        };
        let holders = listed.into_iter().filter(|(_, root)| keeps(root));
        holders.map(|(name, _)| name).collect()
    }

    /// Returns what is pinned by itself, tags as they were last pulled.
    fn roots(&self) -> Vec<Digest> {
        let mut listed = self.listed.lock();
        let listed = &mut *listed;
        let pulled = self.pulled.lock();
        for pin in &listed.references {
            if let Some((name, digest)) = pulled.get_key_value(&pin.to_string()) {
                let before = listed.resolved.insert(name.clone(), *digest);
                listed.is_unwritten |= before != Some(*digest);
            }
        }
        drop(pulled);
        if listed.is_unwritten {
            let written = write_resolved(&self.resolved_path(), &listed.resolved);
            listed.is_unwritten = written.is_err();
            if let Err(error) = written {
                tracing::debug!(%error, "what pinned tags mean could not be written");
            }
        }
        let digest = |pin: &Reference| pin.digest(&listed.resolved);
        listed.references.iter().filter_map(digest).collect()
    }

    fn reread(&self) {
        let stamp = Stamp::of(&self.path);
        let mut listed = self.listed.lock();
        if listed.stamp == stamp {
            return;
        }
        let text = match read(&self.path) {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the pins could not be read: they stay as they were");
                listed.stamp = stamp;
                return;
            }
        };
        let (references, wrong) = reference::parse_lines(&text);
        for (line, error) in wrong {
            tracing::warn!(path = %self.path.display(), line, %error, "a pin makes no sense, and pins nothing");
        }
        tracing::info!(pins = references.len(), "pins were read");
        self.is_empty
            .store(references.is_empty(), Ordering::Release);
        *listed = Listed {
            stamp,
            references,
            ..std::mem::take(&mut *listed)
        };
        self.is_stale.store(true, Ordering::Release);
    }

    fn resolved_path(&self) -> PathBuf {
        self.path.with_extension("resolved")
    }
}

/// Adds references to the pins of the store at `root`; says how many were not there.
///
/// A running transship notices within seconds.
///
/// # Errors
/// The disk's.
pub fn pin(root: &Path, references: &[Reference]) -> io::Result<usize> {
    edit(root, |listed| {
        let before = listed.len();
        for reference in references {
            if !listed.contains(reference) {
                listed.push(reference.clone());
            }
        }
        listed.len() - before
    })
}

/// Takes references out of the pins of the store at `root`; says how many were there.
///
/// # Errors
/// The disk's.
pub fn unpin(root: &Path, references: &[Reference]) -> io::Result<usize> {
    edit(root, |listed| {
        let before = listed.len();
        listed.retain(|pin| !references.contains(pin));
        before - listed.len()
    })
}

/// Returns the pins of the store at `root`.
///
/// # Errors
/// The disk's.
pub fn pins(root: &Path) -> io::Result<Vec<Reference>> {
    Ok(reference::parse_lines(&read(&root.join("pins"))?).0)
}

/// Rewrites the file if `change` does something. Lines that make no sense stay, and so do comments.
fn edit(root: &Path, change: impl FnOnce(&mut Vec<Reference>) -> usize) -> io::Result<usize> {
    let path = root.join("pins");
    let folder = fs::File::open(root)?;
    rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)?;
    let text = read(&path)?;
    let mut listed = reference::parse_lines(&text).0;
    let count = change(&mut listed);
    if count > 0 {
        let next = path.with_extension("next");
        fs::write(&next, reference::rewrite_lines(&text, &listed))?;
        fs::rename(next, path)?;
    }
    Ok(count)
}

/// Returns the text of the pins; none are an empty text.
fn read(path: &Path) -> io::Result<String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Ok(found) if !found.is_file() => return Err(io::Error::other("not a file")),
        Ok(found) if found.len() > PINS_BYTES_MAX => {
            return Err(io::Error::other("too large for a list of pins"));
        }
        _ => {}
    }
    let bytes = fs::read(path)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("not a text file"))
}

fn read_resolved(path: &Path) -> BTreeMap<String, Digest> {
    let text = read(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .filter_map(|(name, digest)| Some((name.to_owned(), digest.parse().ok()?)))
        .collect()
}

fn write_resolved(path: &Path, resolved: &BTreeMap<String, Digest>) -> io::Result<()> {
    let lines: String = resolved
        .iter()
        .map(|(name, digest)| format!("{name} {digest}\n"))
        .collect();
    let next = path.with_extension("resolved.next");
    fs::write(&next, lines)?;
    fs::rename(next, path)
}

//! What can be imported: the storage of a Docker registry, or another root of ours.
//!
//! ```text
//! <dir>/docker/registry/v2/blobs/<algorithm>/<2 hex>/<hex>/data                          every blob
//! <dir>/docker/registry/v2/repositories/<name>/_manifests/revisions/<algorithm>/<hex>/link  the manifests
//!
//! <dir>/blobs/<algorithm>/<2 hex>/<hex>    <dir>/manifests/<algorithm>/<2 hex>/<hex>     ours
//! ```
//!
//! A Docker registry keeps manifests among its blobs; one is a manifest because a repository says so. What
//! else lies there (`_layers`, `_uploads`, tags, `scheduler-state.json` of a pull-through cache) is not looked
//! at. Source: distribution, `registry/storage/paths.go`.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::{Algorithm, Digest, TEXT_BYTES_MAX};
use crate::store::about;
use crate::store::is_vanished;
use crate::store::layout::Kind;
use crate::store::walk::{Stored, Walk};

/// Folders that lead from a registry's root directory to its `blobs`, as far as one may be named.
const WAY_DOWN: [&str; 4] = ["docker/registry/v2", "registry/v2", "v2", "."];

/// Whose files they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A Docker registry's (distribution's `filesystem` driver).
    Registry,
    /// Another transship's.
    Transship,
}

/// A directory that can be imported.
#[derive(Clone, Debug)]
pub struct Source {
    /// What holds `blobs`.
    base: PathBuf,
    form: Form,
}

impl Source {
    /// Recognises a directory: a registry's root, anything on the way down to its `blobs`, or a root of ours.
    #[must_use]
    pub fn find(dir: &Path) -> Option<Self> {
        let has = |base: &Path, name: &str| base.join(name).is_dir();
        let above = match dir.file_name() {
            Some(name) if name == "blobs" => dir.parent(),
            _ => None,
        };
        let bases = WAY_DOWN.iter().map(|way| dir.join(way));
        bases.chain(above.map(Path::to_owned)).find_map(|base| {
            match () {
                () if !has(&base, "blobs") => None,
                () if has(&base, "repositories") => Some(Form::Registry),
                () if has(&base, "manifests") => Some(Form::Transship),
                // A registry in which nothing was ever pushed under a name has blobs alone.
                () if has(&base, "blobs/sha256") && base.ends_with("v2") => Some(Form::Registry),
                () => None,
            }
            .map(|form| Self { base, form })
        })
    }

    /// Returns the directory that holds `blobs`.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Returns whose files they are.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Prepares the walk over its files: reads who calls what a manifest.
    pub(super) fn read(&self) -> io::Result<Contents> {
        let manifests = match self.form {
            Form::Registry => revisions(&self.base.join("repositories"))?,
            Form::Transship => HashSet::new(),
        };
        Ok(Contents {
            source: self.clone(),
            manifests: Arc::new(manifests),
        })
    }
}

/// A source whose manifests are known.
pub(super) struct Contents {
    source: Source,
    manifests: Arc<HashSet<Digest>>,
}

impl Contents {
    /// Yields the files. An error is about one file or folder; the walk goes on behind it.
    pub(super) fn files(&self) -> Box<dyn Iterator<Item = io::Result<Stored>> + Send> {
        match self.source.form {
            Form::Transship => Box::new(Walk::new(&self.source.base, None)),
            Form::Registry => Box::new(RegistryWalk::new(
                &self.source.base.join("blobs"),
                Arc::clone(&self.manifests),
            )),
        }
    }
}

/// The walk over the blobs of a Docker registry, a folder at a time.
struct RegistryWalk {
    folders: Vec<(Algorithm, PathBuf)>,
    /// Of one folder.
    names: Vec<(Digest, PathBuf)>,
    manifests: Arc<HashSet<Digest>>,
}

impl RegistryWalk {
    fn new(blobs: &Path, manifests: Arc<HashSet<Digest>>) -> Self {
        let mut folders = Vec::new();
        for algorithm in [Algorithm::Sha512, Algorithm::Sha256] {
            let tree = blobs.join(algorithm.name());
            folders.extend(
                (0..=u8::MAX)
                    .rev()
                    .map(|byte| (algorithm, tree.join(format!("{byte:02x}")))),
            );
        }
        Self {
            folders,
            names: Vec::new(),
            manifests,
        }
    }

    fn stat(&self, digest: Digest, folder: &Path) -> Option<io::Result<Stored>> {
        let path = folder.join("data");
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Some(Ok(Stored {
                kind: match self.manifests.contains(&digest) {
                    true => Kind::Manifest,
                    false => Kind::Blob,
                },
                digest,
                path,
                metadata,
            })),
            Ok(_) => None,
            Err(error) if is_vanished(&error) => None,
            Err(error) => Some(Err(about(&path, &error))),
        }
    }
}

impl Iterator for RegistryWalk {
    type Item = io::Result<Stored>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some((digest, folder)) = self.names.pop() {
                let found = self.stat(digest, &folder);
                if found.is_some() {
                    return found;
                }
            }
            let (algorithm, folder) = self.folders.pop()?;
            match digests(&folder, algorithm) {
                Ok(names) => self.names = names,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Returns what in a folder is named for a digest.
fn digests(folder: &Path, algorithm: Algorithm) -> io::Result<Vec<(Digest, PathBuf)>> {
    let items = match fs::read_dir(folder) {
        Ok(items) => items,
        Err(error) if is_vanished(&error) => return Ok(Vec::new()),
        Err(error) => return Err(about(folder, &error)),
    };
    let mut found = Vec::new();
    for item in items {
        let item = item.map_err(|error| about(folder, &error))?;
        let name = item.file_name();
        let text = format!("{}:{}", algorithm.name(), name.to_string_lossy());
        if let Ok(digest) = text.parse() {
            found.push((digest, item.path()));
        }
    }
    Ok(found)
}

/// Returns every digest that a repository calls a manifest.
fn revisions(repositories: &Path) -> io::Result<HashSet<Digest>> {
    let mut found = HashSet::new();
    let mut folders = vec![repositories.to_owned()];
    while let Some(folder) = folders.pop() {
        let items = match fs::read_dir(&folder) {
            Ok(items) => items,
            Err(error) if is_vanished(&error) => continue,
            Err(error) => return Err(about(&folder, &error)),
        };
        for item in items {
            let item = item.map_err(|error| about(&folder, &error))?;
            // A symbolic link is no folder here: it could lead in a circle.
            if !item.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            match item.file_name().to_string_lossy() {
                name if name == "_manifests" => read_links(&item.path(), &mut found)?,
                // No component of a repository's name starts with one.
                name if name.starts_with('_') => {}
                _ => folders.push(item.path()),
            }
        }
    }
    Ok(found)
}

fn read_links(manifests: &Path, found: &mut HashSet<Digest>) -> io::Result<()> {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let folder = manifests.join("revisions").join(algorithm.name());
        for (digest, folder) in digests(&folder, algorithm)? {
            // A manifest that was deleted leaves its folder without the link.
            if is_link_to(&folder.join("link"), &digest) {
                found.insert(digest);
            }
        }
    }
    Ok(())
}

fn is_link_to(path: &Path, digest: &Digest) -> bool {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| {
        file.take(TEXT_BYTES_MAX as u64 + 1)
            .read_to_string(&mut text)
    });
    read.is_ok() && text.trim_end().parse() == Ok(*digest)
}

/// Returns the command's argument that imports the storage of an old registry, if `dir` holds one and nothing
/// is stored under `root` yet: for a log line at the start.
///
/// Costs at most a `readdir` for each folder of the store, and none where there is no old registry.
#[must_use]
pub fn old_registry(root: &Path, dir: &Path) -> Option<PathBuf> {
    let is_registry = dir.join("docker/registry/v2/blobs").is_dir();
    let is_empty = || Walk::new(root, None).next().is_none();
    (is_registry && is_empty()).then(|| dir.to_owned())
}

//! Where each file of the store lies, and the walk over all of them.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::{Algorithm, Digest};

/// Which tree a digest is looked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A layer, a configuration: any bytes.
    Blob,
    /// A manifest or an index, kept with its media type.
    Manifest,
}

impl Kind {
    /// Both, in the order in which the store is walked.
    pub(super) const ALL: [Self; 2] = [Self::Blob, Self::Manifest];

    /// Returns the word for messages.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Manifest => "manifest",
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::Blob => "blobs",
            Self::Manifest => "manifests",
        }
    }
}

/// Paths below one root.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn partials(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(super) fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Returns where damaged files are put: see `quarantine`.
    pub(super) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub(super) fn tree(&self, kind: Kind, algorithm: Algorithm) -> PathBuf {
        self.root.join(kind.folder()).join(algorithm.name())
    }

    /// Returns the path of a digest. It holds nothing but hex digits below the tree's own folder.
    pub(super) fn path(&self, kind: Kind, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.tree(kind, digest.algorithm())
            .join(&hex[..2])
            .join(hex)
    }

    /// Makes every directory. The 256 of a tree are made at once, so that a commit never has to.
    pub(super) fn make(&self) -> io::Result<()> {
        fs::create_dir_all(self.partials())?;
        for kind in [Kind::Blob, Kind::Manifest] {
            for byte in 0..=u8::MAX {
                let tree = self.tree(kind, Algorithm::Sha256);
                fs::create_dir_all(tree.join(format!("{byte:02x}")))?;
            }
        }
        Ok(())
    }

    /// Deletes what unfinished fills of a killed process left.
    pub(super) fn clear_partials(&self) -> io::Result<()> {
        for item in fs::read_dir(self.partials())? {
            fs::remove_file(item?.path())?;
        }
        Ok(())
    }

    /// Calls `found` for every file of a tree whose name is a digest; other files are left alone.
    pub(super) fn scan(
        &self,
        kind: Kind,
        mut found: impl FnMut(Digest, &Metadata),
    ) -> io::Result<()> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let tree = self.tree(kind, algorithm);
            let Ok(folders) = fs::read_dir(&tree) else {
                continue;
            };
            for folder in folders {
                scan_folder(&folder?.path(), algorithm, &mut found)?;
            }
        }
        Ok(())
    }
}

fn scan_folder(
    folder: &Path,
    algorithm: Algorithm,
    found: &mut impl FnMut(Digest, &Metadata),
) -> io::Result<()> {
    let Ok(items) = fs::read_dir(folder) else {
        return Ok(());
    };
    for item in items {
        let item = item?;
        let name = item.file_name();
        let digest = name
            .to_str()
            .and_then(|hex| format!("{}:{hex}", algorithm.name()).parse().ok());
        let Some(digest) = digest else { continue };
        match item.metadata() {
            Ok(metadata) if metadata.is_file() => found(digest, &metadata),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

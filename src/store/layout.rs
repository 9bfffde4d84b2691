//! Where each file of the store lies, and the walk over all of them.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

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

    pub(super) fn tags(&self) -> PathBuf {
        self.root.join("tags")
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

    pub(super) fn pins(&self) -> PathBuf {
        self.root.join("pins")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.root.join("index")
    }

    /// Returns the device of the root directory.
    pub(super) fn device(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.root)?.dev())
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

    /// Makes the directories that have gone, if the root is there and is what it was: below a mount that has
    /// gone, nothing is made.
    ///
    /// - `device`: what [`Layout::device`] said at start.
    pub(super) fn remake(&self, device: u64) -> io::Result<()> {
        let found = self.device()?;
        if found != device && !self.root.join(Kind::Blob.folder()).is_dir() {
            // Told as the absence that it is.
            return Err(rustix::io::Errno::NOENT.into());
        }
        self.make()
    }

    /// Says whether names have come or gone in some folder since `then`, by the clock of the file system.
    pub(super) fn has_changed_since(&self, then: SystemTime) -> bool {
        let trees = Kind::ALL.map(|kind| self.tree(kind, Algorithm::Sha256));
        trees.into_iter().any(|tree| {
            (0..=u8::MAX).any(|byte| {
                let folder = fs::metadata(tree.join(format!("{byte:02x}")));
                folder
                    .and_then(|folder| folder.modified())
                    .is_ok_and(|changed| changed > then)
            })
        })
    }

    /// Returns the files of one folder whose names are digests; other files are left alone. A folder that is
    /// not there has none.
    pub(super) fn list(
        &self,
        kind: Kind,
        algorithm: Algorithm,
        folder: u8,
    ) -> io::Result<Vec<(Digest, Metadata)>> {
        let folder = self.tree(kind, algorithm).join(format!("{folder:02x}"));
        let items = match fs::read_dir(&folder) {
            Ok(items) => items,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for item in items {
            let item = item?;
            let name = item.file_name();
            let digest = name
                .to_str()
                .and_then(|hex| format!("{}:{hex}", algorithm.name()).parse().ok());
            let Some(digest) = digest else { continue };
            match item.metadata() {
                Ok(metadata) if metadata.is_file() => found.push((digest, metadata)),
                Ok(_) => {}
                Err(error) if super::is_vanished(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// Forces the names in the folder of `path` to the medium.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

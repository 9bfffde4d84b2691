//! The walk over all that is stored, in an order that never changes.
//!
//! ```text
//! blobs/sha256/00 … ff   blobs/sha512/00 … ff   manifests/sha256/00 … ff   manifests/sha512/00 … ff
//!                 each folder by name, which is the order of the digests
//! ```
//!
//! One folder's names are in memory at a time: 65 bytes for each of the 1/256 of all files. What is
//! stored behind the walk's back is seen if it lies ahead, and else at the next walk.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::vec;

use super::layout::{Kind, Layout};
use crate::digest::{Algorithm, Digest};

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// A file that the walk came by.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) kind: Kind,
    pub(super) digest: Digest,
    pub(super) path: PathBuf,
    pub(super) metadata: Metadata,
}

impl Stored {
    /// Returns the file of a digest, if there is one.
    ///
    /// # Errors
    /// The disk's, other than "not found".
    pub(super) fn find(layout: &Layout, kind: Kind, digest: Digest) -> io::Result<Option<Self>> {
        let path = layout.path(kind, &digest);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(Self {
                kind,
                digest,
                path,
                metadata,
            })),
            Ok(_) => Ok(None),
            Err(error) if super::is_vanished(&error) => Ok(None),
            Err(error) => Err(super::about(&path, &error)),
        }
    }

    pub(super) fn place(&self) -> Place {
        (self.kind, self.digest)
    }
}

/// Where a walk stands: the last file that it is done with. Ordered as the walk goes.
pub(super) type Place = (Kind, Digest);

/// Yields stored files. An error is about one file or folder; the walk goes on behind it.
#[derive(Debug)]
pub(super) struct Walk {
    layout: Layout,
    folders: vec::IntoIter<(Kind, Algorithm, u8)>,
    files: vec::IntoIter<Place>,
    after: Option<Place>,
}

impl Walk {
    /// Starts behind `after`, or at the start of all.
    pub(super) fn new(root: &Path, after: Option<Place>) -> Self {
        let mut folders = Vec::with_capacity(4 * 256);
        for kind in Kind::ALL {
            for algorithm in ALGORITHMS {
                folders.extend((0..=u8::MAX).map(|byte| (kind, algorithm, byte)));
            }
        }
        folders.retain(|folder| {
            after
                .is_none_or(|(kind, digest)| *folder >= (kind, digest.algorithm(), digest.raw()[0]))
        });
        Self {
            layout: Layout::new(root.to_owned()),
            folders: folders.into_iter(),
            files: Vec::new().into_iter(),
            after,
        }
    }

    /// Returns what of a folder lies ahead, in order.
    fn list(&self, kind: Kind, algorithm: Algorithm, byte: u8) -> io::Result<Vec<Place>> {
        let folder = self
            .layout
            .tree(kind, algorithm)
            .join(format!("{byte:02x}"));
        let about = |error| super::about(&folder, &error);
        let items = match fs::read_dir(&folder) {
            Ok(items) => items,
            Err(error) if super::is_vanished(&error) => return Ok(Vec::new()),
            Err(error) => return Err(about(error)),
        };
        let mut found = Vec::new();
        for item in items {
            let name = item.map_err(about)?.file_name();
            let digest = name
                .to_str()
                .and_then(|hex| format!("{}:{hex}", algorithm.name()).parse::<Digest>().ok());
            // A file in another's folder is not found by its digest: it is not stored.
            let Some(digest) = digest.filter(|digest| digest.raw()[0] == byte) else {
                continue;
            };
            if self.after.is_none_or(|after| (kind, digest) > after) {
                found.push((kind, digest));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

impl Iterator for Walk {
    type Item = io::Result<Stored>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for (kind, digest) in self.files.by_ref() {
                let found = Stored::find(&self.layout, kind, digest).transpose();
                if found.is_some() {
                    return found;
                }
            }
            let (kind, algorithm, byte) = self.folders.next()?;
            match self.list(kind, algorithm, byte) {
                Ok(files) => self.files = files.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(root: &Path, after: Option<Place>) -> Vec<Place> {
        Walk::new(root, after)
            .map(|found| found.unwrap().place())
            .collect()
    }

    fn store(root: &Path, kind: Kind, digest: &Digest) {
        let path = Layout::new(root.to_owned()).path(kind, digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_walk_that_is_broken_off_anywhere_goes_on_with_the_next_file(
            files in prop::collection::btree_set((any::<bool>(), any::<bool>(), 0u32..2000), 0..40),
            stop in any::<prop::sample::Index>(),
        ) {
            let root = tempfile::tempdir().unwrap();
            let mut wanted: Vec<Place> = files.iter().map(|(manifest, long, seed)| {
                let kind = if *manifest { Kind::Manifest } else { Kind::Blob };
                let algorithm = if *long { Algorithm::Sha512 } else { Algorithm::Sha256 };
                (kind, Digest::of(algorithm, &seed.to_le_bytes()))
            }).collect();
            wanted.iter().for_each(|(kind, digest)| store(root.path(), *kind, digest));
            wanted.sort_unstable();
            prop_assert_eq!(&places(root.path(), None), &wanted);
            if !wanted.is_empty() {
                let at = stop.index(wanted.len());
                prop_assert_eq!(places(root.path(), Some(wanted[at])), &wanted[at + 1..]);
            }
        }
    }

    #[test]
    fn only_files_under_their_own_digest_are_stored() {
        // A stray folder or a half-made name would be hashed, condemned and told of for ever.
        let root = tempfile::tempdir().unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"x");
        store(root.path(), Kind::Blob, &digest);
        let tree = Layout::new(root.path().to_owned()).tree(Kind::Blob, Algorithm::Sha256);
        let folder = tree.join(&digest.hex()[..2]);
        let other = Digest::of(Algorithm::Sha256, b"other");
        fs::write(folder.join(other.hex()), b"other").unwrap();
        fs::write(folder.join(format!("{}.12-3", digest.hex())), b"").unwrap();
        let elsewhere = tree.join(&other.hex()[..2]);
        fs::create_dir_all(elsewhere.join(other.hex())).unwrap();
        fs::write(tree.join("no-folder"), b"").unwrap();
        assert_eq!(places(root.path(), None), [(Kind::Blob, digest)]);
        assert_eq!(places(&root.path().join("absent"), None), []);
    }
}

//! Where a damaged file goes, so that an operator may look at it: `<root>/quarantine/<algorithm>-<hex>[.n]`.
//!
//! What lies there is never served, walked or counted. Room is precious: at most [`FILES_MAX`] files and
//! [`BYTES_MAX`] bytes are kept, the oldest go first, and a file that alone is larger is deleted at once. So
//! is one that cannot be moved, on a disk that is full or read-only for one: what is damaged must go. An empty
//! `<algorithm>-<hex>.deleted` tells of it then, if that can be made.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::is_vanished;
use super::layout::{Kind, Layout};
use crate::digest::Digest;

/// Most files kept.
const FILES_MAX: usize = 16;
/// Most bytes kept.
const BYTES_MAX: u64 = 1 << 30;

/// What became of a damaged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lies here now.
    Moved(PathBuf),
    /// It could not be kept.
    Deleted,
    /// It was gone already.
    Absent,
}

/// Takes the file of a digest away from where it is served from.
///
/// # Errors
/// The file could neither be moved nor deleted: it still has its name.
pub(super) fn put(layout: &Layout, kind: Kind, digest: &Digest) -> io::Result<Fate> {
    let from = layout.path(kind, digest);
    let moved = match fs::symlink_metadata(&from) {
        Ok(metadata) if metadata.len() <= BYTES_MAX => {
            move_to(&from, &layout.quarantine(), digest, metadata.len())
        }
        Ok(_) => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
        Err(error) => Err(error),
    };
    let error = match moved {
        Ok(to) => return Ok(Fate::Moved(to)),
        Err(error) if is_vanished(&error) => return Ok(Fate::Absent),
        Err(error) => error,
    };
    match fs::remove_file(&from) {
        Ok(()) => {
            tracing::debug!(%digest, %error, "a damaged file was not kept");
            leave_note(&layout.quarantine(), digest);
            Ok(Fate::Deleted)
        }
        Err(gone) if is_vanished(&gone) => Ok(Fate::Absent),
        Err(error) => Err(super::about(&from, &error)),
    }
}

fn move_to(from: &Path, folder: &Path, digest: &Digest, size_bytes: u64) -> io::Result<PathBuf> {
    make(folder)?;
    make_room(folder, size_bytes)?;
    let name = name(digest);
    // One name more than there may be files: one is free, unless another process is at it as well, whose
    // file of the same digest is then replaced.
    let to = (0..=FILES_MAX)
        .map(|number| match number {
            0 => folder.join(&name),
            _ => folder.join(format!("{name}.{number}")),
        })
        .find(|path| fs::symlink_metadata(path).is_err())
        .unwrap_or_else(|| folder.join(&name));
    fs::rename(from, &to)?;
    Ok(to)
}

fn name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// Returns the names of the files of a digest that lie here, and of notes on those that were deleted.
pub(super) fn named(layout: &Layout, digest: &Digest) -> Vec<String> {
    let stem = name(digest);
    let items = fs::read_dir(layout.quarantine()).into_iter().flatten();
    let names = items
        .flatten()
        .filter_map(|item| item.file_name().into_string().ok());
    let is_of = |name: &String| {
        name.strip_prefix(&stem)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let mut names: Vec<_> = names.filter(is_of).collect();
    names.sort_unstable();
    names
}

/// Tells whoever looks that a file was deleted. Best effort.
fn leave_note(folder: &Path, digest: &Digest) {
    let note = folder.join(format!("{}.deleted", name(digest)));
    let made = make(folder)
        .and_then(|()| make_room(folder, 0))
        .and_then(|()| fs::write(note, ""));
    if let Err(error) = made {
        tracing::debug!(%digest, %error, "no note in the quarantine");
    }
}

/// Watches what another process (`transship verify`) takes away, which whoever has the file open does not
/// see: a file that was moved has its name still, elsewhere.
#[derive(Debug, Default)]
pub(super) struct Watch {
    changed: Option<SystemTime>,
}

impl Watch {
    /// Returns digests whose files may have been taken away since the last look: to be dropped from the
    /// index, unless they are stored anew.
    ///
    /// The first look takes all that lies there for old. Costs one `stat` as long as nothing changes.
    pub(super) fn look(&mut self, root: &Path) -> Vec<Digest> {
        let folder = Layout::new(root.to_owned()).quarantine();
        let changed = fs::metadata(&folder).and_then(|folder| folder.modified());
        let changed = changed.unwrap_or(SystemTime::UNIX_EPOCH);
        match self.changed.replace(changed) {
            Some(before) if before != changed => {}
            _ => return Vec::new(),
        }
        let items = fs::read_dir(folder).into_iter().flatten().flatten();
        items
            .filter_map(|item| {
                let name = item.file_name().into_string().ok()?;
                let stem = name.split_once('.').map_or(&*name, |(stem, _)| stem);
                stem.replacen('-', ":", 1).parse().ok()
            })
            .collect()
    }
}

/// Makes the folder, for whom the root belongs to: root verifies what a service serves.
fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => {
            if let Some(root) = folder.parent() {
                super::import::owner::hand_over(root, folder);
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes the oldest until one more of `size_bytes` fits.
fn make_room(folder: &Path, size_bytes: u64) -> io::Result<()> {
    let mut kept: Vec<(PathBuf, Metadata)> = Vec::new();
    for item in fs::read_dir(folder)? {
        let item = item?;
        let metadata = item.metadata()?;
        if metadata.is_file() {
            kept.push((item.path(), metadata));
        }
    }
    // Nobody can set the time of the last status change: the move set it.
    kept.sort_by_key(|(_, metadata)| (metadata.ctime(), metadata.ctime_nsec()));
    let mut bytes: u64 = kept.iter().map(|(_, metadata)| metadata.len()).sum();
    let mut files = kept.len();
    for (path, metadata) in kept {
        if files < FILES_MAX && bytes.saturating_add(size_bytes) <= BYTES_MAX {
            break;
        }
        fs::remove_file(path)?;
        files -= 1;
        bytes -= metadata.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    fn damaged(layout: &Layout, seed: u32, size_bytes: u64) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, &seed.to_le_bytes());
        let path = layout.path(Kind::Blob, &digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(path).unwrap();
        file.set_len(size_bytes).unwrap();
        digest
    }

    fn kept(layout: &Layout) -> Vec<String> {
        let items = fs::read_dir(layout.quarantine()).unwrap();
        let names = items.map(|item| item.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_damaged_file_loses_its_name_and_is_kept_beside() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path().to_owned());
        for turn in 0..3 {
            let digest = damaged(&layout, 1, 3);
            let fate = put(&layout, Kind::Blob, &digest).unwrap();
            let Fate::Moved(to) = fate else {
                panic!("{fate:?}")
            };
            assert!(!layout.path(Kind::Blob, &digest).exists());
            assert_eq!(fs::metadata(to).unwrap().len(), 3);
            assert_eq!(kept(&layout).len(), turn + 1);
        }
        let digest = Digest::of(Algorithm::Sha256, b"nothing");
        assert_eq!(put(&layout, Kind::Blob, &digest).unwrap(), Fate::Absent);
    }

    #[test]
    fn the_quarantine_stays_small_and_the_oldest_go_first() {
        // A dying disk would fill the room of good blobs with bad ones.
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path().to_owned());
        let first = damaged(&layout, 0, 1);
        put(&layout, Kind::Blob, &first).unwrap();
        let first = format!("sha256-{}", first.hex());
        for seed in (1u32..).take(FILES_MAX - 1) {
            put(&layout, Kind::Blob, &damaged(&layout, seed, 1)).unwrap();
        }
        assert_eq!(kept(&layout).len(), FILES_MAX);
        assert!(kept(&layout).contains(&first));
        put(&layout, Kind::Blob, &damaged(&layout, 100, 1)).unwrap();
        assert_eq!(kept(&layout).len(), FILES_MAX);
        assert!(!kept(&layout).contains(&first));

        let large = damaged(&layout, 101, BYTES_MAX);
        put(&layout, Kind::Blob, &large).unwrap();
        assert_eq!(kept(&layout), [format!("sha256-{}", large.hex())]);
        let larger = damaged(&layout, 102, BYTES_MAX + 1);
        let fate = put(&layout, Kind::Blob, &larger).unwrap();
        assert_eq!(fate, Fate::Deleted);
        assert!(!layout.path(Kind::Blob, &larger).exists());
        assert!(kept(&layout).contains(&format!("sha256-{}.deleted", larger.hex())));
    }

    #[test]
    fn another_process_sees_what_was_taken_away() {
        // A core that has the file open would serve the damage for as long as it is asked for.
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path().to_owned());
        let mut watch = Watch::default();
        assert_eq!(watch.look(root.path()), []);
        let (small, large) = (damaged(&layout, 1, 1), damaged(&layout, 2, BYTES_MAX + 1));
        put(&layout, Kind::Blob, &small).unwrap();
        put(&layout, Kind::Blob, &large).unwrap();
        fs::write(layout.quarantine().join("notes.txt"), "").unwrap();
        let mut seen = watch.look(root.path());
        seen.sort_unstable();
        let mut wanted = [small, large];
        wanted.sort_unstable();
        assert_eq!(seen, wanted);
        assert_eq!(watch.look(root.path()), []);
        assert_eq!(Watch::default().look(root.path()), []);
    }

    #[test]
    fn what_cannot_be_moved_is_deleted_and_what_cannot_be_deleted_is_told() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path().to_owned());
        fs::write(layout.quarantine(), b"a file where the folder should be").unwrap();
        let digest = damaged(&layout, 1, 3);
        assert_eq!(put(&layout, Kind::Blob, &digest).unwrap(), Fate::Deleted);
        assert!(!layout.path(Kind::Blob, &digest).exists());
        // A folder under the name can be neither moved nor deleted as a file.
        let digest = Digest::of(Algorithm::Sha256, b"folder");
        fs::create_dir_all(layout.path(Kind::Blob, &digest)).unwrap();
        assert!(put(&layout, Kind::Blob, &digest).is_err());
    }
}

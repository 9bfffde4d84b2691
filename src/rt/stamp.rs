//! How one tells that a file is not the one that was read.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is different when a file was replaced, by a rename or by another target of a link on the way, or
/// written over: also when its new modification time is not newer, as after `cp -p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Returns the stamp of what `path` leads to, links followed; `None` where it leads nowhere.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_elsewhere_and_a_file_that_is_replaced_are_noticed() {
        // Kubernetes swaps `..data`, certbot the link itself, others rename over the file.
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["one", "two"] {
            std::fs::create_dir(at(name)).unwrap();
            std::fs::write(at(name).join("tls.crt"), "same bytes").unwrap();
        }
        std::os::unix::fs::symlink("one", at("..data")).unwrap();
        let path = at("..data").join("tls.crt");
        let first = Stamp::of(&path).unwrap();
        assert_eq!(Stamp::of(&path), Some(first));
        std::os::unix::fs::symlink("two", at("new")).unwrap();
        std::fs::rename(at("new"), at("..data")).unwrap();
        let second = Stamp::of(&path).unwrap();
        assert_ne!(second, first);
        std::fs::rename(at("one").join("tls.crt"), &path).unwrap();
        assert_ne!(Stamp::of(&path), Some(second));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Stamp::of(&path), None);
    }
}

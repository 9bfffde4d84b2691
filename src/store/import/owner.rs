//! Whose the files of a store are: the owner's of its root directory, which is who serves it.
//!
//! Root may import and verify for a service that runs as somebody else. What root makes is then given to that
//! user, and what that user could not read is not linked.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, chown, fchown};
use std::path::Path;

/// The user that serves a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// Returns the owner of a root directory.
    pub(super) fn of(root: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(root)?;
        Ok(Self {
            uid: metadata.uid(),
            gid: metadata.gid(),
        })
    }

    /// Says whether the mode of a file lets this user read it.
    pub(super) fn may_read(self, file: &Metadata) -> bool {
        let (mode, uid, gid) = (file.mode(), file.uid(), file.gid());
        match () {
            () if self.uid == 0 => true,
            () if self.uid == uid => mode & 0o400 != 0,
            () if self.gid == gid => mode & 0o040 != 0,
            () => mode & 0o004 != 0,
        }
    }

    /// Gives a new file to this user, if this process is another one that may.
    pub(super) fn adopt(self, file: &File) -> io::Result<()> {
        match is_root() && self.uid != 0 {
            true => fchown(file, Some(self.uid), Some(self.gid)),
            false => Ok(()),
        }
    }

    /// Gives the folders of a tree that root has made to this user.
    pub(super) fn adopt_folders(self, folder: &Path) -> io::Result<()> {
        if !is_root() || self.uid == 0 {
            return Ok(());
        }
        chown(folder, Some(self.uid), Some(self.gid))?;
        for item in fs::read_dir(folder)? {
            let item = item?;
            let metadata = item.metadata()?;
            if metadata.is_dir() && metadata.uid() == 0 {
                self.adopt_folders(&item.path())?;
            }
        }
        Ok(())
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives `path`, just made, to the owner of `root`, if that can be done.
pub(in crate::store) fn hand_over(root: &Path, path: &Path) {
    if let Ok(owner) = Owner::of(root)
        && is_root()
        && owner.uid != 0
        && let Err(error) = chown(path, Some(owner.uid), Some(owner.gid))
    {
        tracing::debug!(%error, path = %path.display(), "could not be given to the owner of the root");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_readable_by_the_first_of_user_group_and_others_that_fits() {
        // A linked file that the service cannot open would be a blob that is never served.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"x").unwrap();
        let of = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            fs::metadata(&path).unwrap()
        };
        let file = of(0o644);
        let (uid, gid) = (file.uid(), file.gid());
        let stranger = Owner {
            uid: uid + 1,
            gid: gid + 1,
        };
        let same_group = Owner { uid: uid + 1, gid };
        assert!(stranger.may_read(&file) && same_group.may_read(&file));
        assert!(!stranger.may_read(&of(0o640)) && same_group.may_read(&of(0o640)));
        assert!(!same_group.may_read(&of(0o604)) && stranger.may_read(&of(0o604)));
        assert!(Owner { uid: 0, gid: 0 }.may_read(&of(0)));
    }
}

//! A small file system of its own, on a loop device.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::process::{output, run};

/// A mounted ext4. Dropping it unmounts it: whatever uses it must be dropped first.
pub(super) struct Volume {
    dir: TempDir,
}

impl Volume {
    pub(super) fn of_bytes(size: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let this = Self { dir };
        let image = fs::File::create(this.image()).unwrap();
        image.set_len(size).unwrap();
        fs::create_dir(this.path()).unwrap();
        run(Command::new("mkfs.ext4")
            .args(["-q", "-m", "0", "-N", "4096", "-O", "^has_journal"])
            .arg(this.image()));
        run(Command::new("mount")
            .args(["-o", "loop,errors=remount-ro"])
            .arg(this.image())
            .arg(this.path()));
        this
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    pub(super) fn storage(&self) -> PathBuf {
        self.path().join("storage")
    }

    /// Takes all the room but for about this many bytes; returns the file that holds it.
    pub(super) fn fill_up(&self, but: u64) -> PathBuf {
        let path = self.path().join("ballast");
        let ballast = fs::File::create(&path).unwrap();
        let mut offset = 0;
        for piece in [1 << 16, 1 << 12, 1] {
            let bytes = vec![1; piece];
            while let Ok(count) = ballast.write_at(&bytes, offset) {
                offset += count as u64;
            }
        }
        ballast.set_len(offset.saturating_sub(but)).unwrap();
        ballast.sync_all().unwrap();
        path
    }

    /// Makes the kernel find an error, after which it takes no more writes.
    pub(super) fn turn_read_only(&self) {
        let device = run(Command::new("findmnt")
            .args(["--noheadings", "--output", "SOURCE"])
            .arg(self.path()));
        let name = Path::new(device.trim()).file_name().unwrap().to_owned();
        let trigger = Path::new("/sys/fs/ext4").join(name);
        fs::write(trigger.join("trigger_fs_error"), "1").unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily where something still has a file open: the loop device goes with the last one.
        if !output(Command::new("umount").arg(self.path()))
            .status
            .success()
        {
            output(Command::new("umount").arg("--lazy").arg(self.path()));
        }
    }
}

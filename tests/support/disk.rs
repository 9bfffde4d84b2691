//! A file system of its own size in an image file, on a loop device: it can be filled to the brim, cut
//! off from its power, made read-only and damaged without harm to anything else.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::StatVfs;
use tempfile::TempDir;

use super::process::{output, run, until};

const MIB: u64 = 1 << 20;

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing since the last flush of the log: names and bytes are gone.
    Abrupt,
    /// The names, and files whose bytes never arrived: empty or full of zeros.
    NamesOnly,
}

/// A mounted image; dropping it unmounts it.
pub struct LoopDisk {
    image: PathBuf,
    path: PathBuf,
    /// Unmounted after it, if the image lies on one of its own.
    _below: Option<Tmpfs>,
    _dir: TempDir,
}

impl LoopDisk {
    /// No room is kept for root, and an error makes it read-only.
    const EXT4: [&str; 7] = ["mkfs.ext4", "-q", "-F", "-m", "0", "-e", "remount-ro"];

    pub fn ext4(mib: u64) -> Self {
        Self::make(mib, &Self::EXT4)
    }

    /// One on which no more than about `inodes` files and directories fit.
    pub fn ext4_with_inodes(mib: u64, inodes: u32) -> Self {
        let inodes = inodes.to_string();
        let mkfs = [&Self::EXT4[..], &["-N", &inodes]].concat();
        Self::make(mib, &mkfs)
    }

    /// XFS; below 300 MiB it has to be told that this is a test.
    pub fn xfs(mib: u64) -> Self {
        Self::make(mib, &["mkfs.xfs", "-q", "-f", "--unsupported"])
    }

    /// An ext4 of `mib` MiB for which there are only `real_mib`: what is too much is lost at write-back.
    pub fn ext4_on_too_little(mib: u64, real_mib: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let below = Tmpfs::mount(&dir.path().join("below"), real_mib);
        let image = below.path.join("image");
        let mkfs = Self::EXT4;
        Self::make_at(dir, image, Some(below), mib, &mkfs)
    }

    fn make(mib: u64, mkfs: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let image = dir.path().join("image");
        Self::make_at(dir, image, None, mib, mkfs)
    }

    fn make_at(
        dir: TempDir,
        image: PathBuf,
        below: Option<Tmpfs>,
        mib: u64,
        mkfs: &[&str],
    ) -> Self {
        let path = dir.path().join("disk");
        File::create(&image).unwrap().set_len(mib * MIB).unwrap();
        fs::create_dir(&path).unwrap();
        run(Command::new(mkfs[0]).args(&mkfs[1..]).arg(&image));
        let disk = Self {
            image,
            path,
            _below: below,
            _dir: dir,
        };
        disk.mount();
        disk
    }

    /// Lets the kernel forget all pages that it could read again.
    pub fn forget_pages(&self) {
        fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory on it for a store. (The mount point itself has a `lost+found`.)
    pub fn storage(&self) -> PathBuf {
        self.path.join("storage")
    }

    pub fn space(&self) -> StatVfs {
        rustix::fs::statvfs(&self.path).unwrap()
    }

    /// Bytes of the whole file system.
    pub fn total_bytes(&self) -> u64 {
        let space = self.space();
        space.f_blocks * space.f_frsize
    }

    /// Takes all the room that is left, until the file is dropped.
    pub fn fill_up(&self) -> Ballast {
        let path = self.path.join("ballast");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        for piece in [MIB, 4096, 1] {
            let bytes = vec![7; usize::try_from(piece).unwrap()];
            while file.write_all(&bytes).is_ok() {}
        }
        // What was not written back yet may still be refused, or turn out to need less.
        let _ = file.sync_all();
        Ballast { path }
    }

    pub fn make_read_only(&self) {
        // A write in flight makes it busy for a moment.
        until("the disk is read-only", || self.remount("ro"));
    }

    pub fn make_writable(&self) {
        until("the disk is writable", || self.remount("rw"));
    }

    fn remount(&self, how: &str) -> bool {
        let options = format!("remount,{how}");
        let mut command = Command::new("mount");
        let ended = output(command.args(["-o", &options]).arg(&self.path));
        ended.status.success()
    }

    /// Makes ext4 believe that it has found an error in itself: it is read-only from here on, whoever has
    /// files open for writing.
    pub fn trip_over_itself(&self) {
        let mut find = Command::new("findmnt");
        let device = run(find.args(["-n", "-o", "SOURCE"]).arg(&self.path));
        let name = device.trim().rsplit('/').next().unwrap();
        let trigger = format!("/sys/fs/ext4/{name}/trigger_fs_error");
        fs::write(trigger, "a test wants it").unwrap();
    }

    /// Cuts XFS off: from here on nothing reaches the medium, and every operation fails.
    pub fn cut_power(&self, cut: Cut) {
        let mut command = Command::new("xfs_io");
        let shutdown = match cut {
            Cut::Abrupt => "shutdown",
            Cut::NamesOnly => "shutdown -f",
        };
        run(command.args(["-x", "-c", shutdown]).arg(&self.path));
    }

    /// Mounts it anew, as a machine does that starts. Nobody may have anything open on it.
    pub fn power_up(&self) {
        self.unmount();
        self.mount();
    }

    fn mount(&self) {
        let mut command = Command::new("mount");
        run(command
            .args(["-o", "loop"])
            .arg(&self.image)
            .arg(&self.path));
    }

    fn unmount(&self) {
        until("nobody uses the disk", || {
            output(Command::new("umount").arg(&self.path))
                .status
                .success()
        });
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

/// A small file system in memory.
struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    fn mount(path: &Path, mib: u64) -> Self {
        fs::create_dir(path).unwrap();
        let options = format!("size={mib}m");
        let mut command = Command::new("mount");
        run(command
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path));
        let path = path.to_owned();
        Self { path }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

fn unmount(path: &Path) {
    if !output(Command::new("umount").arg(path)).status.success() {
        output(Command::new("umount").arg("--lazy").arg(path));
    }
}

/// A file that takes all the room; dropping it gives the room back.
pub struct Ballast {
    path: PathBuf,
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

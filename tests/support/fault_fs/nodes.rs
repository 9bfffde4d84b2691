//! The files and directories that the kernel knows of, and the ones that are open.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat};
use rustix::io::Result;

/// A file or directory below, whatever it is called by now.
struct Node {
    /// Opened for nothing but its identity (`O_PATH`).
    identity: Arc<OwnedFd>,
    /// Below the root, as it was last named.
    path: String,
    lookups: u64,
}

/// All of them, by number.
pub(super) struct Nodes {
    known: Mutex<HashMap<u64, Node>>,
}

impl Nodes {
    pub(super) fn new(root: &Path) -> Result<Self> {
        let identity = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let root = Node {
            identity: Arc::new(identity),
            path: String::new(),
            lookups: 1,
        };
        Ok(Self {
            known: Mutex::new(HashMap::from([(INodeNo::ROOT.0, root)])),
        })
    }

    pub(super) fn identity(&self, number: INodeNo) -> Result<Arc<OwnedFd>> {
        let known = self.known.lock().unwrap();
        let node = known.get(&number.0).ok_or(rustix::io::Errno::STALE)?;
        Ok(Arc::clone(&node.identity))
    }

    pub(super) fn path(&self, number: INodeNo) -> String {
        let known = self.known.lock().unwrap();
        known
            .get(&number.0)
            .map_or_else(String::new, |node| node.path.clone())
    }

    /// The path that `name` has in `parent`.
    pub(super) fn path_in(&self, parent: INodeNo, name: &OsStr) -> String {
        format!("{}/{}", self.path(parent), name.to_string_lossy())
    }

    /// Finds what is called `name` in `parent`, for the kernel to keep until it forgets it.
    pub(super) fn look_up(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr> {
        let folder = self.identity(parent)?;
        let path = self.path_in(parent, name);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let identity = rustix::fs::openat(&folder, name, flags, Mode::empty())?;
        let attributes = attributes(identity.as_fd())?;
        let mut known = self.known.lock().unwrap();
        let node = known.entry(attributes.ino.0).or_insert_with(|| Node {
            identity: Arc::new(identity),
            path: String::new(),
            lookups: 0,
        });
        node.path = path;
        node.lookups += 1;
        Ok(attributes)
    }

    /// Takes note of a new name.
    pub(super) fn renamed(&self, number: INodeNo, path: String) {
        if let Some(node) = self.known.lock().unwrap().get_mut(&number.0) {
            node.path = path;
        }
    }

    pub(super) fn forget(&self, number: INodeNo, lookups: u64) {
        if number == INodeNo::ROOT {
            return;
        }
        let mut known = self.known.lock().unwrap();
        if let Some(node) = known.get_mut(&number.0) {
            node.lookups = node.lookups.saturating_sub(lookups);
            if node.lookups == 0 {
                known.remove(&number.0);
            }
        }
    }

    pub(super) fn attributes(&self, number: INodeNo) -> Result<FileAttr> {
        let attributes = attributes(self.identity(number)?.as_fd())?;
        Ok(FileAttr {
            ino: number,
            ..attributes
        })
    }

    /// A path by which what `number` stands for can be opened, changed and linked.
    pub(super) fn handle(&self, number: INodeNo) -> Result<(Arc<OwnedFd>, PathBuf)> {
        let identity = self.identity(number)?;
        let path = format!("/proc/self/fd/{}", identity.as_raw_fd());
        Ok((identity, path.into()))
    }
}

pub(super) fn attributes(identity: BorrowedFd<'_>) -> Result<FileAttr> {
    let stat = rustix::fs::statat(identity, "", AtFlags::EMPTY_PATH)?;
    Ok(described(&stat))
}

pub(super) fn attributes_at(folder: &OwnedFd, name: &OsStr) -> Result<FileAttr> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(described(&stat))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what the kernel gave"
)]
fn described(stat: &Stat) -> FileAttr {
    let time = |seconds: i64, nanoseconds: u64| -> SystemTime {
        UNIX_EPOCH + Duration::new(seconds.max(0) as u64, nanoseconds as u32)
    };
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    FileAttr {
        ino: INodeNo(stat.st_ino),
        size: stat.st_size as u64,
        blocks: stat.st_blocks as u64,
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: match kind {
            rustix::fs::FileType::Directory => FileType::Directory,
            rustix::fs::FileType::Symlink => FileType::Symlink,
            _ => FileType::RegularFile,
        },
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: stat.st_nlink as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// Open files and listings, by the number that the kernel names them with.
pub(super) struct Handles<T> {
    open: Mutex<HashMap<u64, Arc<T>>>,
    next: AtomicU64,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }
}

impl<T> Handles<T> {
    pub(super) fn add(&self, what: T) -> fuser::FileHandle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().unwrap().insert(number, Arc::new(what));
        fuser::FileHandle(number)
    }

    pub(super) fn get(&self, handle: fuser::FileHandle) -> Result<Arc<T>> {
        let open = self.open.lock().unwrap();
        open.get(&handle.0).cloned().ok_or(rustix::io::Errno::BADF)
    }

    pub(super) fn close(&self, handle: fuser::FileHandle) {
        self.open.lock().unwrap().remove(&handle.0);
    }
}

/// Opens a file for what `flags` say, however the kernel will use it.
pub(super) fn open(path: &Path, flags: i32) -> Result<File> {
    let access = OFlags::from_bits_retain(flags.cast_unsigned()) & OFlags::RWMODE;
    rustix::fs::openat(CWD, path, access | OFlags::CLOEXEC, Mode::empty()).map(File::from)
}

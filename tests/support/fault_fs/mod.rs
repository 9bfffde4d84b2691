//! A directory seen through a file system (FUSE) that fails on cue: reads and writes with EIO, opens with
//! ESTALE, a disk that is full or does not answer.
//!
//! It passes everything on to a real directory, except for what a [`Fault`] is switched on. The kernel's own
//! paths lie in between, so io_uring, `sendfile` and the page cache meet the faults as they would on a
//! dying disk. Like NFS it has no `O_TMPFILE`. `syncfs` is never passed on by the kernel: see `LoopDisk`.

mod faults;
mod nodes;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirEntryExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Result;
use tempfile::TempDir;

pub use faults::{Fault, Op, Struck};

use super::process::output;
use faults::{Faults, How, Place};
use nodes::{Handles, Nodes};

/// Nothing is remembered by the kernel but pages of open files.
const NEVER: Duration = Duration::ZERO;

/// A mounted one; dropping it unmounts it.
pub struct FaultFs {
    faults: Arc<Faults>,
    path: PathBuf,
    real: PathBuf,
    _session: BackgroundSession,
    _dir: TempDir,
}

impl FaultFs {
    /// Mounts one over an empty directory.
    pub fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let (path, real) = (dir.path().join("seen"), dir.path().join("real"));
        for folder in [&path, &real] {
            fs::create_dir(folder).unwrap();
        }
        let faults = Arc::new(Faults::default());
        let behind = Passing {
            shared: Arc::new(Shared {
                faults: Arc::clone(&faults),
                nodes: Nodes::new(&real).unwrap(),
                files: Handles::default(),
                listings: Handles::default(),
            }),
        };
        let mut config = Config::default();
        config.n_threads = Some(4);
        let session = fuser::spawn_mount(behind, &path, &config).expect("FUSE can be mounted");
        Self {
            faults,
            path,
            real,
            _session: session,
            _dir: dir,
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that it passes on to, where nothing fails.
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// Switches a fault on, besides those that are.
    pub fn fault(&self, fault: Fault) -> Struck {
        self.faults.add(fault)
    }

    /// Switches all faults off, and lets go what waits.
    pub fn heal(&self) {
        self.faults.clear();
    }
}

impl Drop for FaultFs {
    fn drop(&mut self) {
        self.heal();
        output(Command::new("umount").arg("--lazy").arg(&self.path));
    }
}

/// What the kernel talks to.
struct Passing {
    shared: Arc<Shared>,
}

struct Shared {
    faults: Arc<Faults>,
    nodes: Nodes,
    files: Handles<File>,
    listings: Handles<Vec<(INodeNo, FileType, OsString)>>,
}

impl Shared {
    /// Fails, or waits, as the faults say; true is a read that ends early.
    fn meet(&self, op: Op, place: &Place<'_>) -> Result<bool> {
        match self.faults.strikes(op, place) {
            None => Ok(false),
            Some(How::Fail(errno)) => Err(errno),
            Some(How::Short) => Ok(true),
            Some(How::Wait(gate)) => {
                gate.wait();
                Ok(false)
            }
        }
    }

    /// The same for what happens to a name.
    fn meet_at(&self, op: Op, path: &str) -> Result<()> {
        self.meet(op, &Place::of(path, 0)).map(drop)
    }

    /// The same for what happens to a file or directory.
    fn meet_in(&self, op: Op, node: INodeNo) -> Result<()> {
        let path = self.nodes.path(node);
        self.meet(op, &Place::of(&path, node.0)).map(drop)
    }

    /// With pages the kernel would fill up with zeros what a short read leaves out.
    fn flags(&self) -> FopenFlags {
        match self.faults.shorten_reads() {
            true => FopenFlags::FOPEN_DIRECT_IO,
            false => FopenFlags::empty(),
        }
    }

    fn open(&self, node: INodeNo, flags: OpenFlags) -> Result<FileHandle> {
        self.meet_in(Op::Open, node)?;
        let (_identity, path) = self.nodes.handle(node)?;
        Ok(self.files.add(nodes::open(&path, flags.0)?))
    }

    fn create(
        &self,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        flags: i32,
    ) -> Result<(FileAttr, FileHandle)> {
        self.meet_at(Op::Create, &self.nodes.path_in(parent, name))?;
        let folder = self.nodes.identity(parent)?;
        let asked = OFlags::from_bits_retain(flags.cast_unsigned());
        let kept = OFlags::RWMODE | OFlags::EXCL | OFlags::TRUNC;
        let flags = asked & kept | OFlags::CREATE | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, name, flags, Mode::from_bits_retain(mode))?;
        let attributes = self.nodes.look_up(parent, name)?;
        Ok((attributes, self.files.add(File::from(file))))
    }

    fn read(&self, node: INodeNo, file: FileHandle, offset: u64, size: u32) -> Result<Vec<u8>> {
        let end = offset + u64::from(size);
        let place = Place {
            path: &self.nodes.path(node),
            file: node.0,
            end,
            bytes: 0,
        };
        let is_short = self.meet(Op::Read, &place)?;
        let size = if is_short { size.div_ceil(2) } else { size };
        let mut bytes = vec![0; size as usize];
        let file = self.files.get(file)?;
        let mut got = 0;
        while got < bytes.len() {
            match file
                .read_at(&mut bytes[got..], offset + got as u64)
                .map_err(plain)?
            {
                0 => break,
                count => got += count,
            }
        }
        bytes.truncate(got);
        Ok(bytes)
    }

    fn write(&self, node: INodeNo, file: FileHandle, offset: u64, bytes: &[u8]) -> Result<()> {
        let count = bytes.len() as u64;
        let place = Place {
            path: &self.nodes.path(node),
            file: node.0,
            end: offset + count,
            bytes: count,
        };
        self.meet(Op::Write, &place)?;
        let file = self.files.get(file)?;
        file.write_all_at(bytes, offset).map_err(plain)
    }

    fn allocate(
        &self,
        node: INodeNo,
        file: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
    ) -> Result<()> {
        let place = Place {
            path: &self.nodes.path(node),
            file: node.0,
            end: offset + length,
            bytes: 0,
        };
        self.meet(Op::Allocate, &place)?;
        let mode = rustix::fs::FallocateFlags::from_bits_retain(mode.cast_unsigned());
        rustix::fs::fallocate(&*self.files.get(file)?, mode, offset, length)
    }

    fn sync(&self, node: INodeNo, file: FileHandle) -> Result<()> {
        self.meet_in(Op::Sync, node)?;
        self.files.get(file)?.sync_all().map_err(plain)
    }

    fn link(&self, node: INodeNo, parent: INodeNo, name: &OsStr) -> Result<FileAttr> {
        self.meet_at(Op::Link, &self.nodes.path_in(parent, name))?;
        let (_identity, from) = self.nodes.handle(node)?;
        let folder = self.nodes.identity(parent)?;
        rustix::fs::linkat(CWD, &from, &folder, name, AtFlags::SYMLINK_FOLLOW)?;
        self.nodes.look_up(parent, name)
    }

    fn rename(
        &self,
        from: (INodeNo, &OsStr),
        to: (INodeNo, &OsStr),
        flags: RenameFlags,
    ) -> Result<()> {
        let path = self.nodes.path_in(to.0, to.1);
        self.meet_at(Op::Rename, &path)?;
        let folders = (self.nodes.identity(from.0)?, self.nodes.identity(to.0)?);
        let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
        rustix::fs::renameat_with(&folders.0, from.1, &folders.1, to.1, flags)?;
        let moved = nodes::attributes_at(&folders.1, to.1)?;
        self.nodes.renamed(moved.ino, path);
        Ok(())
    }

    fn remove(&self, parent: INodeNo, name: &OsStr, flags: AtFlags) -> Result<()> {
        self.meet_at(Op::Unlink, &self.nodes.path_in(parent, name))?;
        rustix::fs::unlinkat(&self.nodes.identity(parent)?, name, flags)
    }

    fn make_folder(&self, parent: INodeNo, name: &OsStr, mode: u32) -> Result<FileAttr> {
        self.meet_at(Op::Create, &self.nodes.path_in(parent, name))?;
        let folder = self.nodes.identity(parent)?;
        rustix::fs::mkdirat(&folder, name, Mode::from_bits_retain(mode))?;
        self.nodes.look_up(parent, name)
    }

    fn look_up(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr> {
        self.meet_at(Op::Lookup, &self.nodes.path_in(parent, name))?;
        self.nodes.look_up(parent, name)
    }

    fn change(
        &self,
        node: INodeNo,
        mode: Option<u32>,
        size: Option<u64>,
        times: Option<Timestamps>,
    ) -> Result<FileAttr> {
        let (_identity, path) = self.nodes.handle(node)?;
        if let Some(mode) = mode {
            rustix::fs::chmod(&path, Mode::from_bits_retain(mode))?;
        }
        if let Some(size) = size {
            self.meet_in(Op::Write, node)?;
            nodes::open(&path, OFlags::WRONLY.bits().cast_signed())?
                .set_len(size)
                .map_err(plain)?;
        }
        if let Some(times) = times {
            rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty())?;
        }
        self.nodes.attributes(node)
    }

    fn list(&self, node: INodeNo) -> Result<FileHandle> {
        self.meet_in(Op::Open, node)?;
        let (_identity, path) = self.nodes.handle(node)?;
        let entries = fs::read_dir(path)
            .map_err(plain)?
            .map_while(std::io::Result::ok);
        let listing = entries.filter_map(|entry| {
            let kind = FileType::from_std(entry.file_type().ok()?)?;
            Some((INodeNo(entry.ino()), kind, entry.file_name()))
        });
        Ok(self.listings.add(listing.collect()))
    }
}

fn plain(error: std::io::Error) -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
}

fn told(errno: rustix::io::Errno) -> Errno {
    Errno::from_i32(errno.raw_os_error())
}

fn timestamps(accessed: Option<TimeOrNow>, modified: Option<TimeOrNow>) -> Option<Timestamps> {
    if accessed.is_none() && modified.is_none() {
        return None;
    }
    Some(Timestamps {
        last_access: timespec(accessed),
        last_modification: timespec(modified),
    })
}

#[expect(clippy::cast_possible_wrap, reason = "times of this century")]
fn timespec(time: Option<TimeOrNow>) -> Timespec {
    let special = |nanoseconds| Timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds,
    };
    match time {
        None => special(rustix::fs::UTIME_OMIT),
        Some(TimeOrNow::Now) => special(rustix::fs::UTIME_NOW),
        Some(TimeOrNow::SpecificTime(time)) => {
            let since = time
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            Timespec {
                tv_sec: since.as_secs() as i64,
                tv_nsec: since.subsec_nanos().into(),
            }
        }
    }
}

/// Every request is worked on by a thread of its own, as each may have to wait.
macro_rules! elsewhere {
    ($self:ident, $shared:ident, $work:block) => {{
        let $shared = Arc::clone(&$self.shared);
        std::thread::spawn(move || $work);
    }};
}

impl Filesystem for Passing {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        elsewhere!(self, shared, {
            answer_entry(reply, shared.look_up(parent, &name));
        });
    }

    fn forget(&self, _: &Request, node: INodeNo, lookups: u64) {
        self.shared.nodes.forget(node, lookups);
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer_attributes(reply, self.shared.nodes.attributes(node));
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _changed: Option<SystemTime>,
        _: Option<FileHandle>,
        _created: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let times = timestamps(accessed, modified);
        elsewhere!(self, shared, {
            answer_attributes(reply, shared.change(node, mode, size, times));
        });
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        answer_entry(reply, self.shared.make_folder(parent, name, mode));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        elsewhere!(self, shared, {
            answer_empty(reply, shared.remove(parent, &name, AtFlags::empty()));
        });
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer_empty(reply, self.shared.remove(parent, name, AtFlags::REMOVEDIR));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        elsewhere!(self, shared, {
            let (from, to) = ((parent, &*name), (new_parent, &*new_name));
            answer_empty(reply, shared.rename(from, to, flags));
        });
    }

    fn link(&self, _: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        elsewhere!(self, shared, {
            answer_entry(reply, shared.link(node, parent, &name));
        });
    }

    fn open(&self, _: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        elsewhere!(self, shared, {
            match shared.open(node, flags) {
                Ok(file) => reply.opened(file, shared.flags()),
                Err(errno) => reply.error(told(errno)),
            }
        });
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let name = name.to_owned();
        elsewhere!(self, shared, {
            match shared.create(parent, &name, mode, flags) {
                Ok((attributes, file)) => {
                    reply.created(&NEVER, &attributes, Generation(0), file, shared.flags());
                }
                Err(errno) => reply.error(told(errno)),
            }
        });
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        file: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        elsewhere!(self, shared, {
            match shared.read(node, file, offset, size) {
                Ok(bytes) => reply.data(&bytes),
                Err(errno) => reply.error(told(errno)),
            }
        });
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        file: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let bytes = bytes.to_vec();
        elsewhere!(self, shared, {
            match shared.write(node, file, offset, &bytes) {
                Ok(()) => reply.written(u32::try_from(bytes.len()).unwrap()),
                Err(errno) => reply.error(told(errno)),
            }
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        file: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.shared.files.close(file);
        reply.ok();
    }

    fn fsync(&self, _: &Request, node: INodeNo, file: FileHandle, _: bool, reply: ReplyEmpty) {
        elsewhere!(self, shared, {
            answer_empty(reply, shared.sync(node, file));
        });
    }

    fn fsyncdir(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        elsewhere!(self, shared, {
            answer_empty(reply, shared.meet_in(Op::Sync, node));
        });
    }

    fn opendir(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.shared.list(node) {
            Ok(listing) => reply.opened(listing, FopenFlags::empty()),
            Err(errno) => reply.error(told(errno)),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        listing: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listing = match self.shared.listings.get(listing) {
            Ok(listing) => listing,
            Err(errno) => return reply.error(told(errno)),
        };
        let skipped = usize::try_from(offset).unwrap();
        for (at, (node, kind, name)) in listing.iter().enumerate().skip(skipped) {
            if reply.add(*node, at as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        listing: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.shared.listings.close(listing);
        reply.ok();
    }

    fn statfs(&self, _: &Request, node: INodeNo, reply: ReplyStatfs) {
        let identity = self.shared.nodes.identity(node);
        match identity.and_then(|identity| rustix::fs::fstatvfs(identity.as_fd())) {
            Ok(space) => reply.statfs(
                space.f_blocks,
                space.f_bfree,
                space.f_bavail,
                space.f_files,
                space.f_ffree,
                u32::try_from(space.f_bsize).unwrap(),
                u32::try_from(space.f_namemax).unwrap(),
                u32::try_from(space.f_frsize).unwrap(),
            ),
            Err(errno) => reply.error(told(errno)),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        node: INodeNo,
        file: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        elsewhere!(self, shared, {
            answer_empty(reply, shared.allocate(node, file, offset, length, mode));
        });
    }
}

fn answer_entry(reply: ReplyEntry, outcome: Result<FileAttr>) {
    match outcome {
        Ok(attributes) => reply.entry(&NEVER, &attributes, Generation(0)),
        Err(errno) => reply.error(told(errno)),
    }
}

fn answer_attributes(reply: ReplyAttr, outcome: Result<FileAttr>) {
    match outcome {
        Ok(attributes) => reply.attr(&NEVER, &attributes),
        Err(errno) => reply.error(told(errno)),
    }
}

fn answer_empty(reply: ReplyEmpty, outcome: Result<()>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(told(errno)),
    }
}

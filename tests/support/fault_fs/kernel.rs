//! What the kernel asks for, each request handed to a thread of its own and answered from there.

use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{AtFlags, Timespec, Timestamps};
use rustix::io::Result;

use super::faults::Op;
use super::passing::Shared;

/// Nothing is remembered by the kernel but pages of open files.
const NEVER: Duration = Duration::ZERO;

/// What the kernel talks to.
pub(super) struct Passing {
    pub(super) shared: Arc<Shared>,
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

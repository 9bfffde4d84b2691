//! What is done with the directory behind, unless a fault comes before.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::fs::{DirEntryExt as _, FileExt as _};
use std::sync::Arc;

use fuser::{FileAttr, FileHandle, FileType, FopenFlags, INodeNo, OpenFlags, RenameFlags};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timestamps};
use rustix::io::Result;

use super::faults::{Faults, How, Op, Place};
use super::nodes::{self, Handles, Nodes};

pub(super) struct Shared {
    pub(super) faults: Arc<Faults>,
    pub(super) nodes: Nodes,
    pub(super) files: Handles<File>,
    pub(super) listings: Handles<Vec<(INodeNo, FileType, OsString)>>,
}

impl Shared {
    /// Fails, or waits, as the faults say; true is a read that ends early.
    pub(super) fn meet(&self, op: Op, place: &Place<'_>) -> Result<bool> {
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
    pub(super) fn meet_at(&self, op: Op, path: &str) -> Result<()> {
        self.meet(op, &Place::of(path, 0)).map(drop)
    }

    /// The same for what happens to a file or directory.
    pub(super) fn meet_in(&self, op: Op, node: INodeNo) -> Result<()> {
        let path = self.nodes.path(node);
        self.meet(op, &Place::of(&path, node.0)).map(drop)
    }

    /// With pages the kernel would fill up with zeros what a short read leaves out.
    pub(super) fn flags(&self) -> FopenFlags {
        match self.faults.shorten_reads() {
            true => FopenFlags::FOPEN_DIRECT_IO,
            false => FopenFlags::empty(),
        }
    }

    pub(super) fn open(&self, node: INodeNo, flags: OpenFlags) -> Result<FileHandle> {
        self.meet_in(Op::Open, node)?;
        let (_identity, path) = self.nodes.handle(node)?;
        Ok(self.files.add(nodes::open(&path, flags.0)?))
    }

    pub(super) fn create(
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

    pub(super) fn read(
        &self,
        node: INodeNo,
        file: FileHandle,
        offset: u64,
        size: u32,
    ) -> Result<Vec<u8>> {
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

    pub(super) fn write(
        &self,
        node: INodeNo,
        file: FileHandle,
        offset: u64,
        bytes: &[u8],
    ) -> Result<()> {
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

    pub(super) fn allocate(
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

    pub(super) fn sync(&self, node: INodeNo, file: FileHandle) -> Result<()> {
        self.meet_in(Op::Sync, node)?;
        self.files.get(file)?.sync_all().map_err(plain)
    }

    pub(super) fn link(&self, node: INodeNo, parent: INodeNo, name: &OsStr) -> Result<FileAttr> {
        self.meet_at(Op::Link, &self.nodes.path_in(parent, name))?;
        let (_identity, from) = self.nodes.handle(node)?;
        let folder = self.nodes.identity(parent)?;
        rustix::fs::linkat(CWD, &from, &folder, name, AtFlags::SYMLINK_FOLLOW)?;
        self.nodes.look_up(parent, name)
    }

    pub(super) fn rename(
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

    pub(super) fn remove(&self, parent: INodeNo, name: &OsStr, flags: AtFlags) -> Result<()> {
        self.meet_at(Op::Unlink, &self.nodes.path_in(parent, name))?;
        rustix::fs::unlinkat(&self.nodes.identity(parent)?, name, flags)
    }

    pub(super) fn make_folder(&self, parent: INodeNo, name: &OsStr, mode: u32) -> Result<FileAttr> {
        self.meet_at(Op::Create, &self.nodes.path_in(parent, name))?;
        let folder = self.nodes.identity(parent)?;
        rustix::fs::mkdirat(&folder, name, Mode::from_bits_retain(mode))?;
        self.nodes.look_up(parent, name)
    }

    pub(super) fn look_up(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr> {
        self.meet_at(Op::Lookup, &self.nodes.path_in(parent, name))?;
        self.nodes.look_up(parent, name)
    }

    pub(super) fn change(
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

    pub(super) fn list(&self, node: INodeNo) -> Result<FileHandle> {
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

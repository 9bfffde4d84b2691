//! Ways to make a finished file appear under its name at once, and which of them work here.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, linkat};

use super::layout::Layout;
use super::partial::Partial;

/// How files are published, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publish {
    /// `O_TMPFILE`, then `linkat`: a killed process leaves nothing behind.
    LinkUnnamed,
    /// A named file, then `linkat` and unlink: where `O_TMPFILE` is missing (NFS, some FUSE).
    LinkNamed,
    /// A named file, then `rename`: where hard links are missing too.
    Rename,
}

impl Publish {
    const BEST_FIRST: [Self; 3] = [Self::LinkUnnamed, Self::LinkNamed, Self::Rename];

    /// Finds the best way that works in the root, by publishing an empty file.
    pub(super) fn probe(layout: &Layout) -> io::Result<Self> {
        let target = layout.partials().join(".probe");
        let mut last = None;
        for way in Self::BEST_FIRST {
            drop(fs::remove_file(&target));
            match way
                .begin(layout)
                .and_then(|partial| partial.publish(&target))
            {
                Ok(()) => {
                    fs::remove_file(&target)?;
                    return Ok(way);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(
            || io::Error::other("no way to publish"),
            |e| super::about(&target, &e),
        ))
    }

    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::LinkUnnamed => "O_TMPFILE and linkat",
            Self::LinkNamed => "linkat",
            Self::Rename => "rename",
        }
    }

    /// Starts a file that is not published yet.
    pub(super) fn begin(self, layout: &Layout) -> io::Result<Partial> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o640);
        match self {
            Self::LinkUnnamed => {
                let file = options
                    .custom_flags(libc::O_TMPFILE)
                    .open(layout.partials())?;
                Ok(Partial::new(file, self, None))
            }
            Self::LinkNamed | Self::Rename => {
                let path = unused_path(layout);
                let file = options.create_new(true).open(&path)?;
                Ok(Partial::new(file, self, Some(path)))
            }
        }
    }

    /// Gives `file` (named `from`, if it has a name) the name `to`. A name that exists is success.
    pub(super) fn publish(self, file: &File, from: Option<&Path>, to: &Path) -> io::Result<()> {
        match self.name(file, from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A folder of SHA-512, made when first needed, or one that someone tidied away.
                to.parent().map_or(Ok(()), fs::create_dir_all)?;
                self.name(file, from, to)
            }
            outcome => outcome,
        }
    }

    fn name(self, file: &File, from: Option<&Path>, to: &Path) -> io::Result<()> {
        match from {
            None => {
                let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
                link(Path::new(&unnamed), to, AtFlags::SYMLINK_FOLLOW)
            }
            Some(from) if self == Self::Rename => fs::rename(from, to),
            Some(from) => link(from, to, AtFlags::empty()),
        }
    }
}

fn link(from: &Path, to: &Path, flags: AtFlags) -> io::Result<()> {
    match linkat(CWD, from, CWD, to, flags) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn unused_path(layout: &Layout) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    layout
        .partials()
        .join(format!("{}-{number}", std::process::id()))
}

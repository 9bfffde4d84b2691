//! Ways to make a finished file appear under its name at once, and which of them work here.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, linkat};

use super::checkpoint::Failures;
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
        let mut last = None;
        for way in Self::BEST_FIRST {
            match way.try_out(layout) {
                Ok(()) => return Ok(way),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("no way to publish")))
    }

    /// Publishes an empty file and takes it away again.
    pub(super) fn try_out(self, layout: &Layout) -> io::Result<()> {
        let target = layout.partials().join(format!("probe-{}", unused_name()));
        self.begin(layout, Failures::default())?.publish(&target)?;
        fs::remove_file(&target)
    }

    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::LinkUnnamed => "O_TMPFILE and linkat",
            Self::LinkNamed => "linkat",
            Self::Rename => "rename",
        }
    }

    /// Starts a file that is not published yet; `begun` is what [`Checkpoint::failures`] said.
    ///
    /// [`Checkpoint::failures`]: super::checkpoint::Checkpoint::failures
    pub(super) fn begin(self, layout: &Layout, begun: Failures) -> io::Result<Partial> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o640);
        match self {
            Self::LinkUnnamed => {
                let file = options
                    .custom_flags(libc::O_TMPFILE)
                    .open(layout.partials())?;
                Ok(Partial::new(file, self, begun, None))
            }
            Self::LinkNamed | Self::Rename => {
                let path = unused_path(layout);
                let file = options.create_new(true).open(&path)?;
                Ok(Partial::new(file, self, begun, Some(path)))
            }
        }
    }

    /// Gives `file` (named `from`, if it has a name) the name `to`. A file that has the name is replaced.
    pub(super) fn publish(self, file: &File, from: Option<&Path>, to: &Path) -> io::Result<()> {
        match self.name(file, from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(to)?;
                self.name(file, from, to)
            }
            outcome => outcome,
        }
    }

    /// Gives `file` the name `to`, in a folder that is there.
    pub(super) fn name(self, file: &File, from: Option<&Path>, to: &Path) -> io::Result<()> {
        match from.filter(|_| self != Self::LinkUnnamed) {
            // By its descriptor, whether it has got a name meanwhile or not: it is that very file.
            None => {
                let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
                link(Path::new(&unnamed), to, AtFlags::SYMLINK_FOLLOW)
            }
            Some(from) if self == Self::Rename => fs::rename(from, to),
            Some(from) => link(from, to, AtFlags::empty()),
        }
    }
}

/// Makes the folder of a blob and the one above it: those of SHA-512, made when first needed, or one that
/// someone tidied away. Nothing above them: where a mount has gone there is nothing to make.
fn make_folder(to: &Path) -> io::Result<()> {
    let ancestors: Vec<_> = to.ancestors().skip(1).take(2).collect();
    for folder in ancestors.into_iter().rev() {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Links, and where the name is taken replaces what has it: that file may be one that was found damaged
/// and could not be deleted.
fn link(from: &Path, to: &Path, flags: AtFlags) -> io::Result<()> {
    match linkat(CWD, from, CWD, to, flags) {
        Err(rustix::io::Errno::EXIST) => {
            // Where a process that is killed before the next line leaves it to be cleared away.
            let partials = to.ancestors().nth(4).unwrap_or(to).join("partial");
            let aside = partials.join(unused_name());
            linkat(CWD, from, CWD, &aside, flags)?;
            fs::rename(&aside, to).inspect_err(|_| drop(fs::remove_file(&aside)))
        }
        outcome => Ok(outcome?),
    }
}

/// Returns a name that no other fill of any process on any host uses.
pub(super) fn unused_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static PROCESS: OnceLock<u64> = OnceLock::new();
    let process = PROCESS.get_or_init(|| RandomState::new().hash_one(std::process::id()));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{process:016x}-{number}")
}

pub(super) fn unused_path(layout: &Layout) -> PathBuf {
    layout.partials().join(unused_name())
}

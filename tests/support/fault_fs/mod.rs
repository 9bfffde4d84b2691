//! A directory seen through a file system (FUSE) that fails on cue: reads and writes with EIO, opens with
//! ESTALE, a disk that is full or does not answer.
//!
//! It passes everything on to a real directory, except for what a [`Fault`] is switched on. The kernel's own
//! paths lie in between, so io_uring, `sendfile` and the page cache meet the faults as they would on a
//! dying disk. Like NFS it has no `O_TMPFILE`. `syncfs` is never passed on by the kernel: see `LoopDisk`.

mod faults;
mod kernel;
mod nodes;
mod passing;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fuser::{BackgroundSession, Config};
use tempfile::TempDir;

pub use faults::{Fault, Op, Struck};

use super::process::output;
use faults::Faults;
use kernel::Passing;
use nodes::{Handles, Nodes};
use passing::Shared;

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

//! One directory as several machines see it: each through a mount of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::{Process, output, run};
use super::registry::free_host;

/// What shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// The same directory: two processes on one machine.
    Directory,
    /// A FUSE file system over it, mounted by each.
    Bindfs,
    /// A file server, mounted over the network by each.
    Gluster,
}

/// A shared directory and the places where it is seen; dropping it unmounts them.
pub struct SharedFs {
    seen: Vec<PathBuf>,
    real: PathBuf,
    mounts: Vec<PathBuf>,
    _server: Option<Process>,
    _dir: TempDir,
}

impl SharedFs {
    /// Shares an empty directory with this many.
    pub fn start(sharing: Sharing, views: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        let mut shared = Self {
            seen: Vec::new(),
            real,
            mounts: Vec::new(),
            _server: None,
            _dir: dir,
        };
        match sharing {
            Sharing::Directory => shared.seen = vec![shared.real.clone(); views],
            Sharing::Bindfs => shared.mount_all(views, |real, at| {
                run(Command::new("bindfs").arg(real).arg(at));
            }),
            Sharing::Gluster => shared.serve_gluster(views),
        }
        shared
    }

    /// Where the store is for the one with this number.
    pub fn storage(&self, view: usize) -> PathBuf {
        self.seen[view].join("storage")
    }

    /// Where the store really is.
    pub fn real(&self) -> PathBuf {
        self.real.join("storage")
    }

    fn mount_all(&mut self, views: usize, mount: impl Fn(&Path, &Path)) {
        for view in 0..views {
            let at = self.real.with_file_name(format!("view-{view}"));
            fs::create_dir(&at).unwrap();
            mount(&self.real, &at);
            self.mounts.push(at.clone());
            self.seen.push(at);
        }
    }

    /// A server and clients by files that say all, without the daemon that manages volumes.
    fn serve_gluster(&mut self, views: usize) {
        let host = free_host();
        let (address, port) = host.split_once(':').unwrap();
        let file = |name: &str| self.real.with_file_name(name);
        let (server, client) = (file("server.vol"), file("client.vol"));
        let brick = self.real.display();
        let served = format!(
            "volume posix\n type storage/posix\n option directory {brick}\nend-volume\n\
             volume locks\n type features/locks\n subvolumes posix\nend-volume\n\
             volume server\n type protocol/server\n option transport-type tcp\n \
             option transport.socket.bind-address {address}\n \
             option transport.socket.listen-port {port}\n \
             option auth.addr.locks.allow {address}\n subvolumes locks\nend-volume\n"
        );
        let mounted = format!(
            "volume remote\n type protocol/client\n option transport-type tcp\n \
             option remote-host {address}\n option remote-port {port}\n \
             option remote-subvolume locks\nend-volume\n"
        );
        fs::write(&server, served).unwrap();
        fs::write(&client, mounted).unwrap();
        let mut command = Command::new("glusterfsd");
        command.args(["-N", "-l", "/dev/stderr", "-f"]).arg(&server);
        self._server = Some(Process::start("glusterfsd", &mut command));
        super::until("the file server listens", || {
            std::net::TcpStream::connect(&host).is_ok()
        });
        self.mount_all(views, |_, at| {
            let log = at.with_extension("log");
            let mut command = Command::new("glusterfs");
            run(command.arg("-l").arg(log).arg("-f").arg(&client).arg(at));
            super::until("it is mounted", || fs::read_dir(at).is_ok());
        });
    }
}

impl Drop for SharedFs {
    fn drop(&mut self) {
        for at in &self.mounts {
            output(Command::new("umount").arg("--lazy").arg(at));
        }
    }
}

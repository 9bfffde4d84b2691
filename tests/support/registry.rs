//! Debian's docker-registry, as an origin or as a pull-through peer.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::blob::Blob;
use super::process::Process;

/// A running registry with storage of its own.
pub struct DockerRegistry {
    /// `127.0.0.1:PORT`.
    pub host: String,
    pub process: Process,
    dir: TempDir,
}

impl DockerRegistry {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// A pull-through cache of another registry, which must be up already.
    #[allow(dead_code, reason = "the peer of the benches")]
    pub fn proxy(remote: &str) -> Self {
        Self::start_with(&format!("proxy:\n  remoteurl: {remote}\n"))
    }

    /// - `more`: sections of its configuration.
    pub fn start_with(more: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("registry");
        // The registry cannot be asked for a free port: one is looked up, and lost to another
        // process once in a while, so a failed start is tried again.
        let mut failed = String::new();
        for _ in 0..5 {
            let host = free_host();
            let yaml = format!(
                "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: false\n\
                 storage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n\
                 http:\n  addr: {host}\n  secret: test\n{more}",
                root.display()
            );
            let path = dir.path().join("config.yml");
            fs::write(&path, yaml).unwrap();
            let mut command = Command::new("docker-registry");
            let process = Process::start("docker-registry", command.arg("serve").arg(&path));
            match process.line(|line| line.contains("listening on")) {
                Ok(_) => {
                    return Self { host, process, dir };
                }
                Err(log) => failed = log,
            }
        }
        panic!("docker-registry does not start:\n{failed}");
    }

    /// Its root directory.
    #[allow(dead_code, reason = "the benches look into no storage")]
    pub fn storage(&self) -> PathBuf {
        self.dir.path().join("registry")
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    #[allow(dead_code, reason = "the benches ask by URL")]
    pub fn addr(&self) -> SocketAddr {
        self.host.parse().unwrap()
    }

    /// Puts a blob into `test/image` where a push would have left it.
    #[allow(dead_code, reason = "the benches have files of their own")]
    pub fn hold(&self, blob: &Blob) {
        let root = self.storage().join("docker/registry/v2");
        let hex = blob.digest.strip_prefix("sha256:").unwrap();
        let data = root.join("blobs/sha256").join(&hex[..2]).join(hex);
        let link = root
            .join("repositories/test/image/_layers/sha256")
            .join(hex);
        for dir in [&data, &link] {
            fs::create_dir_all(dir).unwrap();
        }
        fs::write(data.join("data"), &*blob.bytes).unwrap();
        fs::write(link.join("link"), &blob.digest).unwrap();
    }

    /// How many GETs of blobs its access log tells of, and the bytes that they took.
    pub fn blob_gets(&self) -> (usize, u64) {
        let log = self.process.log();
        let sizes = log.lines().filter_map(blob_get_size);
        sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
    }
}

/// `HOST - - [TIME] "GET /v2/NAME/blobs/DIGEST HTTP/1.1" 200 SIZE …`.
fn blob_get_size(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("\"GET /v2/")?;
    let (path, rest) = rest.split_once(" HTTP/1.1\" ")?;
    let mut words = rest.split(' ');
    let status = words.next()?;
    (path.contains("/blobs/") && status.starts_with("20")).then(|| words.next()?.parse().ok())?
}

pub fn free_host() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

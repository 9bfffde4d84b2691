//! Who takes part in a bench: an origin of files, transship, and the caches beside it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::blob::Blob;
use crate::support::process::{Process, until};
use crate::support::transship::{Options, Transship};
use crate::support::{self, DockerRegistry};

/// Files as an origin serves them.
pub struct Www {
    pub dir: TempDir,
}

impl Www {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("v2/test/image/blobs")).unwrap();
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn add(&self, blob: &Blob) -> String {
        let path = blob.path();
        fs::write(self.dir.path().join(&path[1..]), &*blob.bytes).unwrap();
        path
    }
}

/// An nginx of our own.
pub struct Nginx {
    pub addr: SocketAddr,
    pub process: Process,
    pub log: PathBuf,
    _dir: TempDir,
}

impl Nginx {
    /// The origin: logs what it sends.
    pub fn origin(www: &Www) -> Self {
        let template = include_str!("../peers/nginx-static.conf");
        Self::start(template, |dir| {
            let log = format!("{}/access.log bytes", dir.display());
            vec![
                ("@LOG@", log),
                ("@WWW@", www.dir.path().display().to_string()),
                ("@AFFINITY@", "auto".to_owned()),
            ]
        })
    }

    /// The peer of hot blobs: one worker on core 0, no log.
    pub fn peer(www: &Www) -> Self {
        let template = include_str!("../peers/nginx-static.conf");
        Self::start(template, |_| {
            vec![
                ("@LOG@", "off".to_owned()),
                ("@WWW@", www.dir.path().display().to_string()),
                ("@AFFINITY@", "01".to_owned()),
            ]
        })
    }

    pub fn cache(upstream: &str) -> Self {
        let template = include_str!("../peers/nginx-cache.conf");
        Self::start(template, |_| vec![("@UPSTREAM@", upstream.to_owned())])
    }

    pub fn start(template: &str, values: impl Fn(&Path) -> Vec<(&'static str, String)>) -> Self {
        let dir = TempDir::new().unwrap();
        let host = support::registry::free_host();
        let mut text = template.replace("@HOST@", &host);
        text = text.replace("@DIR@", &dir.path().display().to_string());
        for (name, value) in values(dir.path()) {
            text = text.replace(name, &value);
        }
        let config = dir.path().join("nginx.conf");
        fs::write(&config, text).unwrap();
        let mut command = Command::new("nginx");
        command
            .args(["-g", "daemon off;", "-p"])
            .arg(dir.path())
            .arg("-c")
            .arg(config);
        let process = Process::start("nginx", &mut command);
        let addr = host.parse().unwrap();
        until("nginx listens", || {
            std::net::TcpStream::connect(addr).is_ok()
        });
        Self {
            addr,
            process,
            log: dir.path().join("access.log"),
            _dir: dir,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Body bytes of blobs in its log.
    pub fn sent(&self) -> u64 {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let blobs = log.lines().filter(|line| line.contains("/blobs/"));
        blobs
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }
}

/// One of the caches that are compared.
pub enum Peer {
    Transship(Box<Transship>),
    Nginx(Nginx),
    Registry(DockerRegistry),
}

impl Peer {
    pub fn start(name: &str, origin: &str) -> Self {
        match name {
            "transship" => Self::Transship(Box::new(start(Transship::options(), origin))),
            "nginx" => Self::Nginx(Nginx::cache(origin)),
            _ => Self::Registry(DockerRegistry::proxy(origin)),
        }
    }

    pub fn pid(&self) -> u32 {
        match self {
            Self::Transship(transship) => transship.process.id(),
            Self::Nginx(nginx) => nginx.process.id(),
            Self::Registry(registry) => registry.process.id(),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        match self {
            Self::Transship(transship) => transship.addr,
            Self::Nginx(nginx) => nginx.addr,
            Self::Registry(registry) => registry.host.parse().unwrap(),
        }
    }

    /// Waits until the origin has logged what the peer asked of it.
    pub fn settle(&self, bytes: usize, origin: &Nginx, sent: u64) {
        if let Self::Transship(transship) = self {
            settle(transship, 1);
        }
        until("the origin has logged the blob", || {
            origin.sent() - sent >= bytes as u64
        });
    }
}

pub fn start(options: Options, origin: &str) -> Transship {
    options.upstream(origin).start()
}

/// Waits until this many fills are committed.
pub fn settle(transship: &Transship, fills: usize) {
    let committed = [("outcome", "committed")];
    transship.until_metric("transship_fills_total", &committed, fills as u64);
}

pub fn fetch(addr: SocketAddr, path: &str, bytes: usize) {
    let reply = support::client::get(addr, path);
    assert!(reply.whole && reply.body.len() == bytes, "{:?}", reply.head);
}

//! The program under test, started on ports of its own choosing.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::Signal;
use tempfile::TempDir;

use super::client::{Client, Reply};
use super::metrics::Metrics;
use super::process::{Process, until};

/// The binary that cargo built for this test run.
pub const BINARY: &str = env!("CARGO_BIN_EXE_transship");

/// How to start one.
pub struct Options {
    upstream: Option<String>,
    config: Option<String>,
    file: Option<PathBuf>,
    storage: Option<PathBuf>,
    cores: usize,
    env: Vec<(OsString, OsString)>,
    wrapper: Vec<String>,
}

/// A running transship and its storage.
pub struct Transship {
    pub addr: SocketAddr,
    pub admin: SocketAddr,
    pub storage: PathBuf,
    /// The `runtime=` field of the ready line, to the end of the line.
    pub runtime: String,
    pub process: Process,
    dir: TempDir,
}

impl Options {
    pub fn upstream(mut self, url: impl Into<String>) -> Self {
        self.upstream = Some(url.into());
        self
    }

    /// Takes a configuration file; `--listen`, `--admin` and `--storage` are given besides.
    pub fn config(mut self, yaml: impl Into<String>) -> Self {
        self.config = Some(yaml.into());
        self
    }

    /// Takes a configuration file that the test may change.
    pub fn file(mut self, path: &Path) -> Self {
        self.file = Some(path.to_owned());
        self
    }

    /// Uses the storage of an earlier one.
    pub fn storage(mut self, dir: &Path) -> Self {
        self.storage = Some(dir.to_owned());
        self
    }

    pub fn cores(mut self, cores: usize) -> Self {
        self.cores = cores;
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts the program as the last arguments of another, such as strace.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }

    pub fn start(self) -> Transship {
        let started = self.try_start();
        started.unwrap_or_else(|log| panic!("transship is not ready:\n{log}"))
    }

    /// Starts it, or returns what it said when it would not.
    pub fn try_start(self) -> Result<Transship, String> {
        let dir = TempDir::new().unwrap();
        let storage = self.storage.unwrap_or_else(|| dir.path().join("storage"));
        fs::create_dir_all(&storage).unwrap();
        let mut command = match self.wrapper.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(BINARY);
                command
            }
            None => Command::new(BINARY),
        };
        command.arg("serve");
        if let Some(yaml) = self.config {
            let path = dir.path().join("config.yml");
            fs::write(&path, yaml).unwrap();
            command.arg(path);
        }
        if let Some(path) = self.file {
            command.arg(path);
        }
        if let Some(url) = self.upstream {
            command.args(["--upstream", &url]);
        }
        command
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .arg("--storage")
            .arg(&storage)
            .args(["--cores", &self.cores.to_string()])
            .env("NO_COLOR", "1")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("LISTEN_FDS")
            .envs(self.env);
        let process = Process::start("transship", &mut command);
        let ready = process.line(|line| {
            let line = plain(line);
            line.contains("ready") && line.contains("listen=")
        })?;
        let ready = plain(&ready);
        let addr_of = |name| {
            let value = field(&ready, name);
            let value = value.split(|c: char| c.is_whitespace()).next().unwrap();
            value
                .trim_matches('"')
                .parse()
                .unwrap_or_else(|error| panic!("{name}{value}: {error} in {ready:?}"))
        };
        Ok(Transship {
            addr: addr_of("listen="),
            admin: addr_of("admin="),
            runtime: field(&ready, "runtime=").to_owned(),
            storage,
            process,
            dir,
        })
    }
}

impl Transship {
    pub fn options() -> Options {
        Options {
            upstream: None,
            config: None,
            file: None,
            storage: None,
            cores: 2,
            env: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// One before these upstreams; `more` stands below `transship.upstream`, each line indented by four, and
    /// may end with other sections of `transship`, indented by two.
    #[allow(dead_code, reason = "some benches have one upstream")]
    pub fn behind(upstreams: &[String], more: &str) -> Options {
        Self::options().config(format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
             middleware:\n  registry:\n    - name: downstream\n      options:\n        upstreams: [{}]\n\
             transship:\n  upstream:\n    connect_timeout: 2s\n{more}",
            upstreams.join(", ")
        ))
    }

    /// Starts one with all defaults before the given upstream.
    pub fn before(upstream: impl Into<String>) -> Self {
        Self::options().upstream(upstream).start()
    }

    /// Writes its configuration file anew, which it reads when it is told to.
    #[allow(dead_code, reason = "no bench reloads")]
    pub fn configure(&self, yaml: &str) {
        fs::write(self.dir.path().join("config.yml"), yaml).unwrap();
    }

    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    pub fn get(&self, target: &str) -> Reply {
        self.client().get(target)
    }

    pub fn metrics(&self) -> Metrics {
        Metrics::scrape(self.admin)
    }

    /// Waits until the sum of these samples is at least `least`.
    pub fn until_metric(&self, name: &str, labels: &[(&str, &str)], least: u64) {
        until(&format!("{name}{labels:?} reaches {least}"), || {
            self.metrics().sum(name, labels) >= least
        });
    }

    /// Whether any file in the storage is named for this digest.
    pub fn stores(&self, digest: &str) -> bool {
        let (_, hex) = digest.split_once(':').unwrap();
        holds(&self.storage, hex)
    }

    /// Asks it to stop as an init system does, and returns how it ended.
    pub fn terminate(mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.exit()
    }

    /// Stops it in order, and hands out its storage.
    pub fn stop(mut self) -> Killed {
        self.process.signal(Signal::TERM);
        assert!(self.process.exit().success());
        Killed {
            storage: self.storage.clone(),
            _dir: self.dir,
        }
    }

    /// Kills it as a power cut would end it, and hands out its storage.
    pub fn kill(mut self) -> Killed {
        self.process.kill();
        Killed {
            storage: self.storage.clone(),
            _dir: self.dir,
        }
    }
}

/// What a transship left behind.
pub struct Killed {
    pub storage: PathBuf,
    _dir: TempDir,
}

fn holds(dir: &Path, hex: &str) -> bool {
    fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let path = entry.path();
            entry.file_name().to_string_lossy().contains(hex)
                || (path.is_dir() && holds(&path, hex))
        })
    })
}

/// What follows `name` on the ready line.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let at = line
        .find(&format!(" {name}"))
        .unwrap_or_else(|| panic!("no {name} in {line:?}"));
    &line[at + 1 + name.len()..]
}

/// The line without terminal colours.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        text += before;
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    text + rest
}

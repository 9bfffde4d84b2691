//! A running `transship gateway`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::client::{Client, Reply};
use super::process::Process;
use super::transship::BINARY;

/// How to start one.
#[derive(Default)]
pub struct Options {
    backend: String,
    users: Vec<(String, String)>,
    policy: Option<String>,
    more: String,
    http: String,
    state: Option<PathBuf>,
}

/// A running gateway with a state directory of its own.
pub struct Gateway {
    pub addr: SocketAddr,
    pub state: PathBuf,
    pub process: Process,
    dir: TempDir,
}

impl Gateway {
    /// Stands before the registry at `backend`.
    pub fn before(backend: impl Into<String>) -> Options {
        Options {
            backend: backend.into(),
            ..Options::default()
        }
    }
}

impl Options {
    /// Adds an account. The hash is made at the lowest cost.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// The policy file.
    pub fn policy(mut self, yaml: impl Into<String>) -> Self {
        self.policy = Some(yaml.into());
        self
    }

    /// More keys of `gateway`, each line of them begun by two spaces.
    pub fn more(mut self, yaml: impl AsRef<str>) -> Self {
        self.more.push_str(yaml.as_ref());
        self
    }

    /// More keys of `http`, each line of them begun by two spaces.
    pub fn http(mut self, yaml: impl AsRef<str>) -> Self {
        self.http.push_str(yaml.as_ref());
        self
    }

    /// Uses the state directory of an earlier one, or of another.
    pub fn state(mut self, dir: &Path) -> Self {
        self.state = Some(dir.to_owned());
        self
    }

    pub fn start(self) -> Gateway {
        let started = self.try_start();
        started.unwrap_or_else(|log| panic!("the gateway is not ready:\n{log}"))
    }

    /// Starts it, or returns what it said when it would not.
    pub fn try_start(self) -> Result<Gateway, String> {
        let dir = TempDir::new().unwrap();
        let state = self.state.unwrap_or_else(|| dir.path().join("state"));
        let mut yaml = format!(
            "version: 0.1\nhttp:\n  addr: 127.0.0.1:0\n{}gateway:\n  backend: {}\n  state: {}\n{}",
            self.http,
            self.backend,
            state.display(),
            self.more,
        );
        if !self.users.is_empty() {
            let lines = self
                .users
                .iter()
                .map(|(name, password)| format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap()));
            let path = dir.path().join("htpasswd");
            fs::write(&path, lines.collect::<String>()).unwrap();
            yaml.push_str(&format!("  htpasswd: {}\n", path.display()));
        }
        if let Some(policy) = self.policy {
            let path = dir.path().join("policy.yml");
            fs::write(&path, policy).unwrap();
            yaml.push_str(&format!("  policy: {}\n", path.display()));
        }
        let config = dir.path().join("config.yml");
        fs::write(&config, yaml).unwrap();
        let mut command = Command::new(BINARY);
        command
            .arg("gateway")
            .arg(&config)
            .env("NO_COLOR", "1")
            .env_remove("NOTIFY_SOCKET");
        let process = Process::start("gateway", &mut command);
        let ready = process.line(|line| line.contains("ready") && line.contains("address="))?;
        let (_, addr) = ready.split_once("address=").unwrap();
        let addr = addr.split_whitespace().next().unwrap();
        Ok(Gateway {
            addr: addr.parse().unwrap(),
            state,
            process,
            dir,
        })
    }
}

impl Gateway {
    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The same for one with TLS.
    pub fn secure_url(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.addr.to_string()
    }

    /// A file of the directory that its configuration lies in: `policy.yml`, `htpasswd`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Sends a JSON body over plain HTTP, with this `Authorization` if there is one.
    pub fn call(&self, method: &str, path: &str, authorization: Option<&str>, body: &str) -> Reply {
        let length = body.len().to_string();
        let mut fields = vec![
            ("Content-Type", "application/json"),
            ("Content-Length", &length),
        ];
        fields.extend(authorization.map(|value| ("Authorization", value)));
        let mut client = Client::connect(self.addr);
        client.ask(method, path, &fields);
        client.send(body.as_bytes());
        client.reply(method)
    }

    /// Asks for a path over plain HTTP, with this `Authorization` if there is one.
    pub fn get(&self, path: &str, authorization: Option<&str>) -> Reply {
        let fields: Vec<(&str, &str)> = authorization
            .iter()
            .map(|value| ("Authorization", *value))
            .collect();
        Client::connect(self.addr).call("GET", path, &fields)
    }
}

//! Real pull clients, each with state of its own, so that no pull is answered by an earlier one.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::process::{Process, output, run, until};

/// skopeo without the credentials and settings of whoever runs the tests.
pub fn skopeo() -> Command {
    let mut command = Command::new("skopeo");
    command.arg("--insecure-policy");
    command.env("REGISTRY_AUTH_FILE", "/nonexistent/auth.json");
    command
}

/// Copies `HOST/test/image:latest` into a directory, byte for byte.
pub fn skopeo_copy(host: &str, to: &Path) {
    run(skopeo()
        .args(["copy", "--src-tls-verify=false", "--preserve-digests"])
        .arg(format!("docker://{host}/test/image:latest"))
        .arg(format!("dir:{}", to.display())));
}

/// A podman with empty storage and one mirror for `registry.example`.
pub struct Podman {
    dir: TempDir,
}

impl Podman {
    pub fn with_mirror(host: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let registries = format!(
            "[[registry]]\nprefix = \"registry.example\"\nlocation = \"registry.example\"\n\n\
             [[registry.mirror]]\nlocation = \"{host}\"\ninsecure = true\n"
        );
        fs::write(dir.path().join("registries.conf"), registries).unwrap();
        let policy = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        fs::write(dir.path().join("policy.json"), policy).unwrap();
        fs::write(dir.path().join("auth.json"), "{}").unwrap();
        Self { dir }
    }

    /// Pulls `registry.example/test/image:latest` and returns the digest that podman gives it.
    pub fn pull(&self) -> String {
        let pulled = self.pull_with("registry.example/test/image:latest", &[]);
        pulled.unwrap_or_else(|said| panic!("podman: {said}"))
    }

    /// Pulls `name` over plain HTTP as `user:password`, or as nobody; returns its digest.
    ///
    /// # Errors
    /// What podman said.
    pub fn pull_as(&self, name: &str, user: &str) -> Result<String, String> {
        let mut options = vec!["--tls-verify=false"];
        if !user.is_empty() {
            options.extend(["--creds", user]);
        }
        self.pull_with(name, &options)
    }

    /// Pulls `name` with these options besides.
    ///
    /// # Errors
    /// What podman said.
    pub fn pull_with(&self, name: &str, options: &[&str]) -> Result<String, String> {
        let policy = self.dir.path().join("policy.json");
        let mut pull = self.command();
        pull.args(["pull", "--quiet", "--signature-policy"]);
        let pulled = output(pull.arg(policy).args(options).arg(name));
        if !pulled.status.success() {
            return Err(String::from_utf8_lossy(&pulled.stderr).into_owned());
        }
        let mut inspect = self.command();
        let digest = run(inspect.args(["image", "inspect", "--format", "{{.Digest}}", name]));
        Ok(digest.trim().to_owned())
    }

    fn command(&self) -> Command {
        let dir = self.dir.path();
        let mut command = Command::new("podman");
        command.arg("--root").arg(dir.join("root"));
        command.arg("--runroot").arg(dir.join("run"));
        command.args(["--storage-driver", "vfs", "--events-backend", "none"]);
        command.args(["--cgroup-manager", "cgroupfs"]);
        command.env("CONTAINERS_REGISTRIES_CONF", dir.join("registries.conf"));
        command.env("REGISTRY_AUTH_FILE", dir.join("auth.json"));
        command.env("TMPDIR", dir);
        command
    }
}

/// A containerd with empty state and a `hosts.toml` for `registry.example`.
pub struct Containerd {
    _process: Process,
    dir: TempDir,
}

impl Containerd {
    pub fn with_mirror(url: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let at = dir.path();
        let config = format!(
            "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\n  address = \"{0}/containerd.sock\"\n[ttrpc]\n  address = \"{0}/ttrpc.sock\"\n",
            at.display()
        );
        fs::write(at.join("config.toml"), config).unwrap();
        let hosts = at.join("hosts/registry.example");
        fs::create_dir_all(&hosts).unwrap();
        let toml = format!(
            "server = \"http://127.0.0.1:1\"\n\n\
             [host.\"{url}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
        );
        fs::write(hosts.join("hosts.toml"), toml).unwrap();
        let mut command = Command::new("containerd");
        command.arg("--config").arg(at.join("config.toml"));
        let process = Process::start("containerd", &mut command);
        process
            .line(|line| line.contains("containerd successfully booted"))
            .unwrap_or_else(|log| panic!("containerd does not start:\n{log}"));
        let socket = at.join("containerd.sock");
        until("containerd has its socket", || socket.exists());
        Self {
            _process: process,
            dir,
        }
    }

    /// Pulls `registry.example/test/image:latest` and returns the digest of its manifest.
    pub fn pull(&self) -> String {
        let hosts = self.dir.path().join("hosts");
        let options = ["--hosts-dir", hosts.to_str().unwrap()];
        self.pull_with("registry.example/test/image:latest", &options)
    }

    /// Pulls `name` with these options besides, and returns the digest of its manifest.
    pub fn pull_with(&self, name: &str, options: &[&str]) -> String {
        let mut pull = self.command();
        run(pull
            .args(["images", "pull", "--snapshotter", "native"])
            .args(options)
            .args(["--platform", "linux/amd64", name]));
        let list = run(self.command().args(["images", "list"]));
        let mut words = list.lines().last().expect("one image").split_whitespace();
        let digest = words.find(|word| word.starts_with("sha256:"));
        digest.expect("a digest").to_owned()
    }

    /// Pushes what was pulled as `from` to `to`, with these options.
    pub fn push_with(&self, from: &str, to: &str, options: &[&str]) {
        run(self.command().args(["images", "tag", from, to]));
        let mut push = self.command();
        run(push.args(["images", "push"]).args(options).arg(to));
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ctr");
        command
            .arg("--address")
            .arg(self.dir.path().join("containerd.sock"));
        command
    }
}

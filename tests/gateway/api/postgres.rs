//! A PostgreSQL of a test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::process::{Process, run};
use crate::support::registry::free_host;

/// The password of the database: it must be seen nowhere.
pub(in crate::gateway) const PASSWORD: &str = "pass-of-the-database";

/// A server on 127.0.0.1; PostgreSQL does not run as root.
pub(in crate::gateway) struct Postgres {
    dir: TempDir,
    port: String,
    server: Process,
}

impl Postgres {
    pub(in crate::gateway) fn start() -> Self {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let word = dir.path().join("word");
        fs::write(&word, PASSWORD).unwrap();
        run(Command::new("chown")
            .args(["-R", "postgres"])
            .arg(dir.path()));
        let mut initdb = program("initdb");
        initdb.args([
            "-A",
            "scram-sha-256",
            "-U",
            "transship",
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
        ]);
        initdb
            .arg("--pwfile")
            .arg(&word)
            .arg("-D")
            .arg(dir.path().join("data"));
        run(&mut initdb);
        // A free port is looked up, and lost to another process once in a while.
        let mut failed = String::new();
        for _ in 0..5 {
            let host = free_host();
            let port = host.rsplit(':').next().unwrap().to_owned();
            match serve(dir.path(), &port) {
                Ok(server) => return Self { dir, port, server },
                Err(log) => failed = log,
            }
        }
        panic!("PostgreSQL does not start:\n{failed}");
    }

    pub(in crate::gateway) fn url(&self) -> String {
        self.url_with(PASSWORD)
    }

    pub(in crate::gateway) fn url_with(&self, password: &str) -> String {
        format!(
            "postgres://transship:{password}@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// Ends it, and all connections to it.
    pub(in crate::gateway) fn stop(&mut self) {
        self.server.signal(Signal::INT);
        assert!(self.server.exit().success());
    }

    /// Starts it once more, at the same address with the same data.
    pub(in crate::gateway) fn start_again(&mut self) {
        self.server = serve(self.dir.path(), &self.port).unwrap();
    }

    /// Has all tables locked, and their readers waiting, by the session that it returns.
    pub(super) fn hold(&self) -> Process {
        let tables = "content_caches, user_settings, revision, signing_keys, sessions, rule_runs";
        let sql = format!("BEGIN; LOCK TABLE {tables}; SELECT pg_sleep(600)");
        let mut psql = Command::new("psql");
        psql.args(["-v", "ON_ERROR_STOP=1", "-c", &sql])
            .arg(self.url());
        Process::start("psql", &mut psql)
    }

    /// Does this in it.
    pub(in crate::gateway) fn run(&self, sql: &str) {
        let mut psql = Command::new("psql");
        psql.args(["-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg(self.url());
        run(&mut psql);
    }
}

fn serve(dir: &Path, port: &str) -> Result<Process, String> {
    let mut server = program("postgres");
    server.arg("-D").arg(dir.join("data")).arg("-k").arg(dir);
    server.args([
        "-p",
        port,
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "fsync=off",
    ]);
    let server = Process::start("postgres", &mut server);
    server.line(|line| line.contains("ready to accept connections"))?;
    Ok(server)
}

/// One of the server's programs, which Debian has in a directory of their version, as the user `postgres`.
fn program(name: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("Debian's postgresql");
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.unwrap().path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    command.arg(found.pop().expect(name)).current_dir("/");
    command
}

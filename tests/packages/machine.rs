//! A small Debian that boots under a systemd of its own (`systemd-nspawn --boot`), on a root that `mmdebstrap` made
//! once. It shares the network with the tests, and nothing else.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::process::{Process, output, run, until};

/// Folder that outlives the tests: a root takes a minute or two to make.
pub fn kept() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/packages");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Returns the archive of a root with systemd, made from the mirror that this machine uses.
pub fn base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        let done = kept().join("bookworm.tar");
        if !done.exists() {
            let parts = kept().join(format!("bookworm.{}.tar", std::process::id()));
            run(Command::new("mmdebstrap")
                .args([
                    "--variant=minbase",
                    "--include=systemd-sysv,procps",
                    "bookworm",
                ])
                .arg(&parts));
            fs::rename(&parts, &done).unwrap();
        }
        done
    })
}

/// A booted machine; dropping it kills its first process, and with it all others.
pub struct Machine {
    name: String,
    init: u32,
    cgroup: PathBuf,
    folder: TempDir,
    /// Dropped after `init` was killed.
    nspawn: Process,
}

impl Machine {
    /// Boots, and returns when systemd has started everything.
    pub fn boot() -> Self {
        let folder = TempDir::with_prefix_in("machine-", kept()).unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        run(Command::new("tar")
            .arg("-xf")
            .arg(base())
            .arg("-C")
            .arg(&root));
        let name = folder
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        // A group of its own: the systemd in there rules what is below the group that it was started in.
        let cgroup = cgroups().join(&name);
        fs::create_dir(&cgroup).unwrap();
        let script = "echo $$ >\"$1/cgroup.procs\"; shift; exec \"$@\"";
        let nspawn = Process::start(
            "systemd-nspawn",
            Command::new("sh")
                .args(["-c", script, "sh"])
                .arg(&cgroup)
                .args(["systemd-nspawn", "--quiet", "--boot", "--console=pipe"])
                // No other systemd is asked for anything: there may be none.
                .args([
                    "--register=no",
                    "--keep-unit",
                    "--resolv-conf=off",
                    "--timezone=off",
                ])
                .arg(format!("--machine={name}"))
                .arg("-D")
                .arg(&root)
                // What the systemd of the host has, if there is one, is not what this one has to have.
                .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1"),
        );
        let mut init = None;
        until("systemd-nspawn has started an init", || {
            init = init_below(nspawn.id());
            init.is_some()
        });
        let machine = Self {
            name,
            init: init.unwrap(),
            cgroup,
            folder,
            nspawn,
        };
        until("systemd has started", || {
            let said = machine.output(&["systemctl", "is-system-running"]);
            String::from_utf8_lossy(&said.stdout).trim() == "running"
        });
        machine
    }

    /// Runs a command in there, whatever comes of it.
    pub fn output(&self, command: &[&str]) -> Output {
        output(
            Command::new("nsenter")
                .args(["--target", &self.init.to_string()])
                .args(["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--"])
                .args([
                    "env",
                    "--ignore-environment",
                    "LC_ALL=C",
                    "DEBIAN_FRONTEND=noninteractive",
                ])
                .arg("PATH=/usr/sbin:/usr/bin:/sbin:/bin")
                .args(command),
        )
    }

    /// Runs a command in there that has to succeed, and returns what it said.
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> String {
        let output = self.output(command);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        assert!(
            output.status.success(),
            "{command:?} in {}: {}\n{}\n{}\n{}",
            self.name,
            output.status,
            text(&output.stdout),
            text(&output.stderr),
            text(
                &self
                    .output(&["journalctl", "--no-pager", "-n", "15"])
                    .stdout
            ),
        );
        text(&output.stdout)
    }

    /// Returns what systemd says of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.run(&["systemctl", "show", "--property", name, "--value", unit])
    }

    /// Returns where a path of the machine is for us.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder
            .path()
            .join("root")
            .join(inside.trim_start_matches('/'))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal = self.output(&["journalctl", "--no-pager", "-n", "15"]);
            eprintln!(
                "--- journal of {} ---\n{}",
                self.name,
                String::from_utf8_lossy(&journal.stdout)
            );
        }
        // With the first process of a PID namespace the kernel ends all the others. It has not been waited for by
        // systemd-nspawn as long as that runs.
        if init_below(self.nspawn.id()) == Some(self.init) {
            let init = Pid::from_raw(i32::try_from(self.init).unwrap()).unwrap();
            let _ = kill_process(init, Signal::KILL);
        }
        self.nspawn.exit();
        // What it leaves when it could not end in order.
        let _ = fs::remove_dir(Path::new("/run/systemd/nspawn/propagate").join(&self.name));
        until("its cgroups are gone", || remove_groups(&self.cgroup));
    }
}

/// Returns where version 2 of cgroups is mounted, whatever else is.
fn cgroups() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut mounts = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let found = mounts.find(|fields| fields[2] == "cgroup2");
    PathBuf::from(found.expect("a mount of cgroup2")[1])
}

/// Returns the child of systemd-nspawn that has become the first process of the machine: before it there are others,
/// which only prepare.
fn init_below(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let mut children = children.split_whitespace();
    let init = children.find(|child| {
        let comm = fs::read_to_string(format!("/proc/{child}/comm"));
        comm.is_ok_and(|comm| comm.trim() == "systemd")
    });
    init?.parse().ok()
}

/// Removes a group and those below it; false while there is still a process in one of them.
fn remove_groups(group: &Path) -> bool {
    let Ok(below) = fs::read_dir(group) else {
        return true;
    };
    for entry in below.flatten().filter(|entry| entry.path().is_dir()) {
        remove_groups(&entry.path());
    }
    match fs::remove_dir(group) {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

//! The Debian package in a Debian with a systemd of its own: installed, run, upgraded under load, removed, purged.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::Machine;
use crate::support::process::{run, until};
use crate::support::registry::free_host;
use crate::support::transship::BINARY;
use crate::support::{Client, Origin, assert_same};

pub(super) const UNIT: &str = "transship.service";
pub(super) const CONFIG: &str = "/etc/transship/config.yml";

/// Makes a package of the program under test, where the machine can read it.
pub(super) fn package(machine: &Machine, version: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/deb/build.sh");
    let built = run(Command::new(script)
        .args(["--version", version, BINARY])
        .arg(machine.path("/root")));
    let name = PathBuf::from(built.trim()).file_name().unwrap().to_owned();
    format!("/root/{}", name.to_str().unwrap())
}

/// Returns each path of the machine but for what dpkg, systemd and the journal write for themselves.
fn paths(machine: &Machine) -> BTreeSet<String> {
    let said = machine.run(&["find", "/etc", "/usr", "/var", "/run"]);
    let own = [
        "/var/lib/dpkg/",
        "/var/log/",
        "/var/cache/",
        "/var/lib/systemd",
        "/var/tmp",
        "/run/systemd",
        "/run/log",
    ];
    let kept = said
        .lines()
        .filter(|path| !own.iter().any(|own| path.starts_with(own)));
    kept.map(str::to_owned).collect()
}

/// What the machine is configured to cache, and where clients find it.
pub(super) struct Cache {
    pub(super) origin: Origin,
    pub(super) addr: SocketAddr,
}

impl Cache {
    pub(super) fn configure(machine: &Machine, path: &str) -> Self {
        let origin = Origin::start();
        let (addr, admin) = (free_host(), free_host());
        let text = format!(
            "version: 0.1\nhttp:\n  addr: '{addr}'\n  debug: {{addr: '{admin}'}}\nmiddleware:\n  registry:\n\
             \x20   - name: downstream\n      options: {{upstreams: ['{}']}}\ntransship: {{cores: 2}}\n",
            origin.url()
        );
        fs::write(machine.path(path), text).unwrap();
        Self {
            origin,
            addr: addr.parse().unwrap(),
        }
    }

    /// Pulls a new blob, twice: once through, once from the store.
    pub(super) fn pull(&self, seed: u64) {
        let blob = self.origin.make(seed, 300_000);
        for _ in 0..2 {
            let reply = Client::connect(self.addr).get(&blob.path());
            assert_eq!(reply.status(), 200, "{}", reply.text());
            assert_same(&reply.body, &blob.bytes);
        }
    }
}

/// Returns the value of a line of `/proc/PID/status` of the unit's main process, or of `limits`.
fn of_process(machine: &Machine, file: &str, line: &str) -> String {
    let process = machine.property(UNIT, "MainPID");
    let text = machine.run(&["cat", &format!("/proc/{process}/{file}")]);
    let found = text.lines().find_map(|found| found.strip_prefix(line));
    found
        .unwrap_or_else(|| panic!("{line} in {text}"))
        .trim()
        .to_owned()
}

fn nothing_runs_until_it_is_configured(machine: &Machine) {
    for unit in [UNIT, "transship.socket"] {
        assert_eq!(machine.property(unit, "ActiveState"), "inactive");
        let enabled = machine.output(&["systemctl", "is-enabled", unit]);
        assert_eq!(String::from_utf8_lossy(&enabled.stdout).trim(), "disabled");
    }
    machine.run(&["transship", "check", CONFIG]);
    let said = machine.run(&["gzip", "-dc", "/usr/share/man/man1/transship.1.gz"]);
    assert!(said.contains(".TH transship 1"), "{said}");
}

fn the_sandbox_is_in_force(machine: &Machine) {
    assert_eq!(of_process(machine, "status", "NoNewPrivs:"), "1");
    assert_eq!(of_process(machine, "status", "Seccomp:"), "2");
    assert_eq!(of_process(machine, "status", "CapEff:"), "0000000000000000");
    assert_eq!(of_process(machine, "status", "CapBnd:"), "0000000000000000");
    let user = of_process(machine, "status", "Uid:");
    let user: u32 = user.split_whitespace().next().unwrap().parse().unwrap();
    assert!((61184..=65519).contains(&user), "{user} is of DynamicUser=");
    let process = machine.property(UNIT, "MainPID");
    let inside = format!("--target={process}");
    let writes = |path: &str| {
        machine
            .output(&["nsenter", &inside, "--mount", "test", "-w", path])
            .status
            .success()
    };
    assert!(
        !writes("/usr") && !writes("/etc") && !writes("/root"),
        "all is read-only"
    );
    assert!(writes("/var/lib/transship"), "but for its own");
    // What it says itself: the sandbox lets io_uring through.
    let log = machine.run(&[
        "journalctl",
        "--no-pager",
        "-u",
        UNIT,
        "--grep",
        "ready",
        "--output=cat",
    ]);
    assert!(log.contains("io_uring"), "{log}");
}

fn a_reload_keeps_the_process(machine: &Machine) {
    let before = machine.property(UNIT, "MainPID");
    machine.run(&["systemctl", "reload", UNIT]);
    until("it has heard", || {
        let journal = machine.output(&[
            "journalctl",
            "-u",
            UNIT,
            "--grep",
            "SIGHUP|reload",
            "--output=cat",
        ]);
        journal.status.success()
    });
    assert_eq!(machine.property(UNIT, "MainPID"), before);
}

fn a_wedged_process_is_started_again(machine: &Machine, cache: &Cache) {
    assert_eq!(machine.property(UNIT, "WatchdogUSec"), "30s");
    // So that it is not waited for 30 s.
    let script = "mkdir -p /run/systemd/system/transship.service.d && \
        printf '[Service]\\nWatchdogSec=2s\\nRestartSec=0\\n' >/run/systemd/system/transship.service.d/quick.conf";
    machine.run(&["sh", "-c", script]);
    machine.run(&["systemctl", "daemon-reload"]);
    machine.run(&["systemctl", "restart", UNIT]);
    machine.run(&[
        "systemctl",
        "kill",
        "--kill-whom=main",
        "--signal=STOP",
        UNIT,
    ]);
    until("systemd has started it again", || {
        machine.property(UNIT, "NRestarts") == "1"
    });
    until("it is ready", || {
        machine.property(UNIT, "SubState") == "running"
    });
    cache.pull(2);
    machine.run(&["rm", "-r", "/run/systemd/system/transship.service.d"]);
    machine.run(&["systemctl", "daemon-reload"]);
    machine.run(&["systemctl", "restart", UNIT]);
}

fn an_instance_is_a_server_of_its_own(machine: &Machine) {
    let cache = Cache::configure(machine, "/etc/transship/hub.yml");
    machine.run(&["systemctl", "start", "transship@hub.service"]);
    cache.pull(3);
    machine.run(&["test", "-d", "/var/lib/transship-hub/blobs"]);
}

fn an_upgrade_leaves_it_running_with_the_new_program(machine: &Machine, cache: &Cache) {
    let upgrade = package(machine, "0.1.0-2");
    let before = machine.property(UNIT, "MainPID");
    // More than the sockets between take: the server is still sending when the program is replaced.
    let blob = cache.origin.make(5, 64 << 20);
    let mut client = Client::connect(cache.addr);
    client.ask("GET", &blob.path(), &[]);
    let head = client.head();
    machine.run(&["dpkg", "--install", &upgrade]);
    until("another process serves", || {
        let now = machine.property(UNIT, "MainPID");
        now != before && now != "0" && machine.property(UNIT, "SubState") == "running"
    });
    assert_eq!(machine.property(UNIT, "NRestarts"), "0", "handed over");
    let mut body = Vec::new();
    assert!(client.body("GET", &head, |bytes| body.extend_from_slice(bytes)));
    assert_same(&body, &blob.bytes);
    let process = machine.property(UNIT, "MainPID");
    let program = machine.run(&["readlink", &format!("/proc/{process}/exe")]);
    assert_eq!(
        program, "/usr/bin/transship",
        "and it is not the deleted one"
    );
    cache.pull(4);
    // A child of somebody else's would not be missed.
    machine.run(&["kill", "-KILL", &process]);
    until("it is started again", || {
        machine.property(UNIT, "NRestarts") == "1"
            && machine.property(UNIT, "SubState") == "running"
    });
    cache.pull(5);
}

fn debian_s_checker_has_nothing_to_say(machine: &Machine, package: &str) {
    let said = run(Command::new("lintian")
        .args(["--allow-root", "--fail-on=none"])
        .arg(machine.path(package)));
    assert_eq!(said, "");
}

#[test]
fn the_package_is_installed_run_upgraded_and_purged() {
    // An upgrade would cut off clients, a removal would leave a server running, a purge would leave gigabytes.
    let machine = Machine::boot();
    let first = package(&machine, "0.1.0-1");
    debian_s_checker_has_nothing_to_say(&machine, &first);
    // An operator's own, of no instance.
    machine.run(&["mkdir", "/var/lib/transship-backup"]);
    let before = paths(&machine);

    machine.run(&["dpkg", "--install", &first]);
    nothing_runs_until_it_is_configured(&machine);

    let cache = Cache::configure(&machine, CONFIG);
    // Returns when the program has said READY=1.
    machine.run(&["systemctl", "enable", "--now", UNIT]);
    cache.pull(1);
    the_sandbox_is_in_force(&machine);
    a_reload_keeps_the_process(&machine);
    a_wedged_process_is_started_again(&machine, &cache);
    an_instance_is_a_server_of_its_own(&machine);
    an_upgrade_leaves_it_running_with_the_new_program(&machine, &cache);

    machine.run(&["dpkg", "--remove", "transship"]);
    for unit in [UNIT, "transship@hub.service"] {
        assert_eq!(machine.property(unit, "ActiveState"), "inactive");
    }
    assert!(
        machine.path(CONFIG).exists(),
        "a removal keeps what the operator wrote"
    );
    machine.run(&["test", "-d", "/var/lib/transship/blobs"]);
    // A disk that is mounted there cannot be removed, and is no reason for the purge to fail.
    machine.run(&["mkdir", "-p", "/var/cache/transship"]);
    machine.run(&["mount", "-t", "tmpfs", "none", "/var/cache/transship"]);
    let purged = machine.output(&["dpkg", "--purge", "transship"]);
    let said = String::from_utf8_lossy(&purged.stderr);
    assert!(purged.status.success(), "{said}");
    assert!(said.contains("/var/cache/transship stays"), "{said}");
    machine.run(&["umount", "/var/cache/transship"]);
    machine.run(&["rmdir", "/var/cache/transship"]);
    machine.run(&["test", "-d", "/var/lib/transship-backup"]);
    let left: Vec<_> = paths(&machine).difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:#?}");
}

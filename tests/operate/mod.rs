//! What an operator, an init system and a monitor see.

mod health;
mod monitoring;
mod reload;
mod storage;
mod trace;
mod watchdog;

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use tempfile::TempDir;

use crate::support::process::output;
use crate::support::transship::BINARY;
use crate::support::{Origin, PATIENCE, Rig, Transship, client};

#[test]
fn metrics_are_there_and_move_with_the_work() {
    // Dashboards and alerts would stay flat while the cache burns.
    let rig = Rig::start();
    let blob = rig.hit(1, 200_000);
    rig.expect_blob(&blob);
    // A client may have its last byte before the counters have moved: they are waited for.
    let requests = |count| {
        let blobs = [("status", "200")];
        rig.transship
            .until_metric("transship_requests_total", &blobs, count);
    };
    requests(2);
    let before = rig.transship.metrics();
    let mut client = rig.transship.client();
    assert_eq!(client.get(&blob.path()).cache(), "hit");
    requests(3);
    let after = rig.transship.metrics();
    for name in [
        "transship_requests_total",
        "transship_client_bytes_total",
        "transship_upstream_bytes_total",
        "transship_fills_total",
        "transship_connections",
    ] {
        assert!(after.has(name), "{name} is missing");
    }
    let ok_hit = [("cache", "hit"), ("status", "200")];
    let moved = |name, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
    assert_eq!(moved("transship_requests_total", &ok_hit), 1);
    assert_eq!(
        moved("transship_client_bytes_total", &[]),
        blob.len() as u64
    );
    assert_eq!(moved("transship_upstream_bytes_total", &[]), 0);
    assert_eq!(
        after.sum("transship_upstream_bytes_total", &[]),
        blob.len() as u64
    );
    assert_eq!(
        after.sum("transship_requests_total", &[("cache", "miss")]),
        1
    );
    assert!(after.sum("transship_connections", &[]) >= 1);
}

#[test]
fn health_and_readiness_answer_on_the_admin_address_only() {
    // An orchestrator would restart a healthy cache, or clients could read its metrics.
    let rig = Rig::start();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(
            client::get(rig.transship.admin, path).status(),
            200,
            "{path}"
        );
        assert_eq!(rig.transship.get(path).status(), 404, "{path}");
    }
    assert_eq!(client::get(rig.transship.admin, "/unknown").status(), 404);
}

#[test]
fn the_init_system_is_told_when_it_listens() {
    // systemd would start what needs the cache too early, or give up on it.
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let origin = Origin::start();
    let transship = Transship::options()
        .upstream(origin.url())
        .env("NOTIFY_SOCKET", &path)
        .start();
    assert!(next(&socket).lines().any(|line| line == "READY=1"));
    assert_eq!(transship.get("/v2/").status(), 200);
    assert_eq!(transship.terminate().code(), Some(0));
    assert!(next(&socket).lines().any(|line| line == "STOPPING=1"));
}

fn next(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let count = socket.recv(&mut buffer).expect("a notification");
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

#[test]
fn check_accepts_a_good_file_and_names_the_fault_of_a_bad_one() {
    // A typo would be found by the restart that takes the cache down.
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config.yml");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let output = output(Command::new(BINARY).arg("check").arg(&path));
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let good = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: :5000\n\
         proxy:\n  remoteurl: https://registry.example\n",
        dir.path().display()
    );
    let (code, said) = check(&good);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("registry.example"), "{said}");
    let (code, said) = check(&good.replace("proxy:", "transship:\n  no_such_key: 1\nproxy:"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no_such_key"), "{said}");
    assert!(said.contains("config.yml"), "{said}");
}

#[test]
fn a_taken_address_is_an_error_and_not_a_silent_wait() {
    // Two caches on one machine: the second must say why it cannot serve.
    let rig = Rig::start();
    let dir = TempDir::new().unwrap();
    let mut command = Command::new(BINARY);
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin"]);
    command.arg(rig.transship.admin.to_string());
    command.args(["--upstream", &rig.origin.url(), "--storage"]);
    let output = output(command.arg(dir.path()).env("NO_COLOR", "1"));
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&rig.transship.admin.to_string()), "{said}");
}

#[test]
fn the_log_says_at_start_who_may_pull() {
    // Who reads nothing else should see that everything is served unchecked.
    for (access, told) in [
        ("", "each client's own rights, asked at the origin"),
        (
            "transship: {access: {public: true}}\n",
            "everything, unchecked (transship.access.public)",
        ),
        (
            "transship: {access: {shared: true}}\n",
            "what the cache's own credentials may pull",
        ),
    ] {
        let transship = Transship::options()
            .config(format!("version: 0.1\n{access}"))
            .start();
        let log = transship.process.log();
        assert!(
            log.lines()
                .any(|line| line.contains("who may pull") && line.contains(told)),
            "{log}"
        );
    }
}

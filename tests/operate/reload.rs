//! Reading the configuration again while clients are served.

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::next;
use crate::support::{
    Client, Gate, Origin, PATIENCE, Plan, Reply, Rig, Transship, assert_same, until,
};

const FILE: &str = "version: 0.1\n";

fn rig(yaml: &str) -> Rig {
    Rig::with(Transship::options().config(format!("{FILE}{yaml}")))
}

fn call(server: &Transship, method: &str, target: &str, body: &str) -> Reply {
    let mut client = Client::connect(server.admin);
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        server.admin,
        body.len()
    );
    client.send(head.as_bytes());
    client.reply(method)
}

/// Has the file read that says this; returns what came of it.
#[track_caller]
fn reload(server: &Transship, yaml: &str) -> Value {
    server.configure(&format!("{FILE}{yaml}"));
    let reply = call(server, "POST", "/v1/reload", "");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.json()
}

#[test]
fn a_storm_of_reloads_loses_no_pull() {
    let rig = rig("");
    let blob = rig.hit(1, 300_000);
    let gate = Gate::new();
    let slow = rig.origin.make(2, 3_000_000);
    rig.origin
        .plan(&slow, Plan::whole().wait_at(1_000_000, &gate));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.transship.get(&slow.path()));
        gate.reached();
        let pulling = scope.spawn(|| {
            loop {
                rig.expect_blob(&blob);
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for round in 0..50 {
            let seconds = 20 + round % 2;
            rig.transship.configure(&format!(
                "{FILE}transship: {{server: {{idle_timeout: {seconds}s}}, store: {{scrub_rate: {seconds}MiB}}}}\n"
            ));
            rig.transship.process.signal(Signal::HUP);
            if round % 10 == 0 {
                assert_eq!(call(&rig.transship, "POST", "/v1/reload", "").status(), 200);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        pulling.join().unwrap();
        gate.open();
        let reply = waiting.join().unwrap();
        assert_same(&reply.body, &slow.bytes);
    });
    assert_eq!(rig.transship.terminate().code(), Some(0));
}

#[test]
fn a_file_that_does_not_hold_changes_nothing_and_each_problem_is_told() {
    // A typo would be found by a cache that is gone, or half of it would count.
    let rig = rig("");
    rig.transship.configure(&format!(
        "{FILE}log: {{level: debug}}\ntransship: {{no_such: 1, store: {{bytes_max: much}}}}\n"
    ));
    let reply = call(&rig.transship, "POST", "/v1/reload", "");
    assert_eq!(reply.status(), 422, "{}", reply.text());
    let told = reply.json();
    assert_eq!(told["applied"], serde_json::json!([]));
    let problems = told["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{told}");
    assert!(
        told["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no_such")
    );
    let level = call(&rig.transship, "GET", "/v1/log-level", "").json();
    assert_eq!(level["level"], "info");
    rig.transship.process.signal(Signal::HUP);
    for word in ["no_such", "bytes_max", "nothing has changed"] {
        let line = |line: &str| line.contains("ERROR") && line.contains(word);
        rig.transship.process.line(line).unwrap();
    }
    rig.hit(1, 1000);
}

#[test]
fn what_needs_a_restart_is_told_each_time_until_it_is_undone() {
    let rig = rig("");
    let changed = "http: {prefix: /mirror/}\nlog: {fields: {dc: east}}\n";
    let told = reload(&rig.transship, changed);
    assert_eq!(told["applied"], serde_json::json!(["log.fields.dc"]));
    assert_eq!(told["needs_restart"], serde_json::json!(["http.prefix"]));
    let line = |line: &str| line.contains("http.prefix") && line.contains("dc=\"east\"");
    rig.transship.process.line(line).unwrap();
    let told = reload(&rig.transship, changed);
    assert_eq!(told["applied"], serde_json::json!([]));
    assert_eq!(told["needs_restart"], serde_json::json!(["http.prefix"]));
    let told = reload(&rig.transship, "");
    assert_eq!(told["needs_restart"], serde_json::json!([]));
    assert_eq!(rig.transship.get("/v2/").status(), 200);
}

#[test]
fn less_room_evicts_and_a_secret_is_never_told() {
    let rig = rig("transship: {store: {bytes_max: 100MiB}}\n");
    let blobs = [1, 2, 3, 4].map(|seed| {
        let blob = rig.origin.make(seed, 1 << 20);
        rig.expect_blob(&blob);
        blob
    });
    rig.expect_committed(4);
    let token = "0123456789abcdef-secret";
    let told = reload(
        &rig.transship,
        &format!("transship: {{store: {{bytes_max: 2MiB}}, admin: {{token: {token}}}}}\n"),
    );
    let keys = ["transship.admin.token", "transship.store.bytes_max"];
    assert_eq!(told["applied"], serde_json::json!(keys));
    until("two are gone", || {
        let kept = blobs
            .iter()
            .filter(|blob| rig.transship.stores(&blob.digest));
        kept.count() <= 2
    });
    assert_eq!(call(&rig.transship, "GET", "/v1/status", "").status(), 401);
    rig.transship.configure(FILE);
    rig.transship.process.signal(Signal::HUP);
    until("nobody needs a token", || {
        call(&rig.transship, "GET", "/v1/status", "").status() == 200
    });
    assert!(!rig.transship.process.log().contains(token));
}

#[test]
fn a_wider_link_lets_those_go_who_wait_for_it() {
    let rig = rig("transship: {upstream: {bandwidth: 1KiB}}\n");
    let blob = rig.origin.make(1, 8 << 20);
    std::thread::scope(|scope| {
        let pull = scope.spawn(|| rig.expect_blob(&blob));
        let waiting = "transship_upstream_payments_waiting";
        rig.transship.until_metric(waiting, &[], 1);
        reload(&rig.transship, "");
        pull.join().unwrap();
    });
}

#[test]
fn the_log_and_the_access_log_are_turned_while_it_runs() {
    let rig = rig("");
    let dir = TempDir::new().unwrap();
    let level = |body: &str| {
        let method = if body.is_empty() { "GET" } else { "PUT" };
        call(&rig.transship, method, "/v1/log-level", body).json()["level"].clone()
    };
    assert_eq!(level(r#"{"level": "debug"}"#), "debug");
    let absent = "0".repeat(64);
    rig.transship
        .get(&format!("/v2/test/image/blobs/sha256:{absent}"));
    let debug = |line: &str| line.contains("DEBUG");
    rig.transship.process.line(debug).unwrap();
    let path = dir.path().join("access.log");
    let log = format!("{{output: {}, format: json}}", path.display());
    let told = reload(
        &rig.transship,
        &format!("transship: {{access_log: {log}}}\n"),
    );
    assert!(
        told["applied"]
            .to_string()
            .contains("transship.access_log.output")
    );
    assert_eq!(level(""), "info", "a reload sets the file's level");
    rig.transship.get("/v2/");
    until("the request is logged", || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.contains("\"/v2/\""))
    });
    reload(&rig.transship, "");
    let before = std::fs::metadata(&path).unwrap().len();
    rig.transship.get("/v2/");
    assert_eq!(rig.transship.terminate().code(), Some(0));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), before);
}

#[test]
fn a_service_manager_is_told_when_a_reload_begins_and_ends() {
    // With Type=notify-reload, `systemctl reload` waits for it.
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
    transship.process.signal(Signal::HUP);
    let begun = next(&socket);
    assert!(begun.lines().any(|line| line == "RELOADING=1"), "{begun}");
    assert!(begun.contains("\nMONOTONIC_USEC="), "{begun}");
    assert!(next(&socket).lines().any(|line| line == "READY=1"));
}

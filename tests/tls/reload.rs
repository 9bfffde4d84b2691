//! Certificates that change while clients are served.

use std::path::Path;

use rustix::process::Signal;

use super::{Authority, Door, Files};
use crate::support::{assert_same, until};

const RELOADS: &str = "transship_tls_reloads_total";
const REPLACED: [(&str, &str); 1] = [("outcome", "replaced")];
const REFUSED: [(&str, &str); 1] = [("outcome", "refused")];

/// Bytes that no kernel buffers for a client that does not read.
const LARGE: usize = 48 << 20;

#[test]
fn a_new_certificate_is_for_new_connections_and_running_ones_go_on() {
    // Renewals come every few weeks by night; whoever pulls then must not notice.
    let door = Door::open();
    let blob = door.origin.make(1, LARGE);
    let old = door.shown();
    let mut running = door.connect(door.client()).unwrap();
    running.ask(&blob.path(), "").unwrap();
    assert_eq!(running.head().unwrap(), (200, LARGE));
    assert_same(&running.exactly(1000), &blob.bytes[..1000]);

    let new = door.authority.issue();
    door.files().show(&new);
    // Connections keep coming: each sees the one or the other, and nothing else.
    until("the new certificate is shown", || {
        let shown = door.shown();
        assert!(shown == old || shown == new.chain());
        shown == new.chain()
    });
    let metrics = door.transship.metrics();
    assert_eq!(metrics.sum(RELOADS, &REPLACED), 1);
    assert_eq!(metrics.sum(RELOADS, &REFUSED), 0);

    assert_eq!(running.shown(), old);
    assert_same(&running.exactly(LARGE - 1000), &blob.bytes[1000..]);
    let (status, body) = running.get(&blob.path()).unwrap();
    assert_eq!(status, 200);
    assert_same(&body, &blob.bytes);
}

/// Makes what the kubelet makes of a secret: files that are links by way of `..data`.
fn swap(files: &Files, name: &str, pair: &super::Pair) {
    let dir = files.0.join(name);
    std::fs::create_dir(&dir).unwrap();
    let inner = Files(dir);
    inner.show(pair);
    let link = files.0.join("..data_tmp");
    std::os::unix::fs::symlink(name, &link).unwrap();
    std::fs::rename(link, files.0.join("..data")).unwrap();
}

#[test]
fn a_secret_that_is_swapped_by_its_link_is_noticed() {
    // The files themselves never change in Kubernetes: only a link above them does.
    let door = Door::open_with("", |files| {
        let pair = Authority::new("of the first").issue();
        swap(files, "first", &pair);
        for name in ["cert.pem", "key.pem"] {
            std::fs::remove_file(files.0.join(name)).unwrap();
            let target = Path::new("..data").join(name);
            std::os::unix::fs::symlink(target, files.0.join(name)).unwrap();
        }
    });
    let new = door.authority.issue();
    swap(&door.files(), "second", &new);
    door.transship.until_metric(RELOADS, &REPLACED, 1);
    assert_eq!(door.shown(), new.chain());
}

#[test]
fn a_bad_certificate_keeps_the_old_one_and_is_told_once() {
    // A renewal that went wrong would take the cache down with it.
    let door = Door::open();
    let old = door.shown();
    let expiry = |door: &Door| {
        let metrics = door.transship.metrics();
        metrics.sum("transship_tls_certificate_expiry_timestamp_seconds", &[])
    };
    let expires = expiry(&door);
    assert!(expires > 1_700_000_000);
    let told = "the new certificate cannot be used, the old one stays in use";
    let says = |count: usize, reason: &str| {
        // What is counted has been told, but the line may still be in the pipe.
        let mut log = String::new();
        until("the log has the line", || {
            log = door.transship.process.log();
            log.matches(told).count() >= count
        });
        let lines: Vec<_> = log.lines().filter(|line| line.contains(told)).collect();
        assert_eq!(lines.len(), count, "{log}");
        assert!(lines.last().unwrap().contains(reason), "{log}");
        assert_eq!(door.shown(), old);
        assert_eq!(expiry(&door), expires);
    };
    // Found by itself, and told when it has settled.
    door.files().put("cert.pem", "-----BEGIN nonsense");
    door.transship.until_metric(RELOADS, &REFUSED, 1);
    says(1, "cert.pem: ");
    // Asked for: told at once.
    let new = door.authority.issue();
    door.files().put("cert.pem", &new.certificate);
    door.transship.process.signal(Signal::HUP);
    door.transship.until_metric(RELOADS, &REFUSED, 2);
    says(2, "key.pem: not the key of ");
    // The key that was missing heals it without another word.
    door.files().put("key.pem", &new.key);
    door.transship.until_metric(RELOADS, &REPLACED, 1);
    assert_eq!(door.shown(), new.chain());
    let metrics = door.transship.metrics();
    assert_eq!(metrics.sum(RELOADS, &REFUSED), 2);
}

#[test]
fn a_hangup_reads_again_and_ends_nothing() {
    // Scripts of forty years send SIGHUP after a renewal; it used to kill.
    let door = Door::open();
    let mut running = door.connect(door.client()).unwrap();
    door.transship.process.signal(Signal::HUP);
    door.transship.until_metric(RELOADS, &REPLACED, 1);
    assert_eq!(running.get("/v2/").unwrap().0, 200);
    assert_eq!(door.transship.terminate().code(), Some(0));

    let plain = crate::support::Rig::start();
    plain.transship.process.signal(Signal::HUP);
    let said = plain
        .transship
        .process
        .line(|line| line.contains("clients are served without TLS"));
    said.unwrap();
    plain.hit(1, 1000);
}

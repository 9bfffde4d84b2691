//! A herd for what does not exist costs the origin one question, and what is pushed then is seen soon.

use std::time::{Duration, Instant};

use super::{ALICE, BOB, CHALLENGE, Stage, TEXT, ask};
use crate::support::{Blob, assert_same, until};

const CLIENTS: usize = 16;

/// How long an answer is remembered for, less what a slow machine may need.
const WHILE: Duration = Duration::from_secs(2);

/// Has many ask, at once and then one after the other; returns how often the origin was asked. On a machine
/// that took longer than the answer counts it is done again.
fn herd(stage: &Stage, method: &str, path: impl Fn(&Blob) -> String) -> usize {
    for seed in 0.. {
        let path = path(&Blob::seeded(seed, 10));
        let gate = stage.origin.hang();
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    assert_eq!(ask(&stage.transship, method, &path, "").status(), 404);
                });
            }
            let accepted = stage.transship.metrics();
            let before = accepted.sum("transship_connections_accepted_total", &[]);
            let all = before.max(CLIENTS as u64);
            stage
                .transship
                .until_metric("transship_connections_accepted_total", &[], all);
            gate.open();
        });
        let begun = Instant::now();
        for _ in 0..CLIENTS {
            assert_eq!(ask(&stage.transship, method, &path, "").status(), 404);
        }
        if begun.elapsed() < WHILE {
            return stage.origin.count("GET", &path) + stage.origin.count("HEAD", &path);
        }
    }
    unreachable!()
}

#[test]
fn a_herd_for_a_blob_that_is_not_there_asks_once() {
    let stage = Stage::set("");
    assert_eq!(herd(&stage, "GET", Blob::path), 1);
    assert!(stage.served("negative") >= CLIENTS as u64);
}

#[test]
fn so_does_a_herd_of_heads() {
    let stage = Stage::set("");
    assert_eq!(herd(&stage, "HEAD", Blob::path), 1);
}

#[test]
fn so_does_a_herd_for_a_manifest_by_digest() {
    let stage = Stage::set("");
    let path = |blob: &Blob| format!("/v2/test/image/manifests/{}", blob.digest);
    assert_eq!(herd(&stage, "GET", path), 1);
    assert!(stage.served("negative") >= CLIENTS as u64);
}

#[test]
fn a_herd_for_a_manifest_that_is_there_asks_once_too() {
    let stage = Stage::set("");
    let digest = stage.origin.tag("test/image", "latest", TEXT);
    let path = format!("/v2/test/image/manifests/{digest}");
    let gate = stage.origin.hang();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let reply = ask(&stage.transship, "GET", &path, "");
                assert_same(&reply.body, TEXT.as_bytes());
            });
        }
        until("all have come", || {
            let metrics = stage.transship.metrics();
            metrics.sum("transship_connections", &[]) >= CLIENTS as u64
        });
        gate.open();
    });
    assert_eq!(stage.origin.count("GET", &path), 1);
}

#[test]
fn an_answer_is_for_one_repository_one_client_and_the_types_it_accepts() {
    // What one may not see, another may; what one repository lacks, another has.
    let stage = Stage::set("");
    stage.origin.challenge(CHALLENGE);
    for who in [ALICE, BOB] {
        stage.origin.grant("test/image", who);
        stage.origin.grant("bob/own", who);
    }
    let blob = Blob::seeded(1, 1000);
    let here = blob.path();
    assert_eq!(ask(&stage.transship, "GET", &here, ALICE).status(), 404);
    stage.origin.hold_in(&["bob/own"], &blob);
    let theirs = format!("/v2/bob/own/blobs/{}", blob.digest);
    let reply = ask(&stage.transship, "GET", &theirs, ALICE);
    assert_same(&reply.body, &blob.bytes);

    let other = Blob::seeded(2, 1000);
    let path = other.path();
    assert_eq!(ask(&stage.transship, "GET", &path, ALICE).status(), 404);
    stage.origin.hold(&other);
    let reply = ask(&stage.transship, "GET", &path, BOB);
    assert_same(&reply.body, &other.bytes);
    // And then it is there for her as well: somebody was given it.
    let reply = ask(&stage.transship, "GET", &path, ALICE);
    assert_same(&reply.body, &other.bytes);

    let manifest = Blob::new(TEXT.as_bytes().to_vec());
    let path = format!("/v2/test/image/manifests/{}", manifest.digest);
    assert_eq!(ask(&stage.transship, "GET", &path, ALICE).status(), 404);
    stage.origin.tag("test/image", "latest", TEXT);
    let fields = [("Authorization", ALICE), ("Accept", "application/json")];
    let reply = stage.transship.client().call("GET", &path, &fields);
    assert_same(&reply.body, TEXT.as_bytes());
}

#[test]
fn what_is_pushed_is_seen_within_seconds() {
    let stage = Stage::set("");
    let blob = Blob::seeded(1, 1000);
    let manifest = format!("/v2/test/image/manifests/{}", Blob::new(TEXT.into()).digest);
    for path in [&blob.path(), &manifest] {
        assert_eq!(stage.transship.get(path).status(), 404);
    }
    stage.origin.hold(&blob);
    stage.origin.tag("test/image", "latest", TEXT);
    // By its tag at once, and then by its digest too.
    let by_tag = "/v2/test/image/manifests/latest";
    assert_eq!(stage.transship.get(by_tag).status(), 200);
    assert_eq!(stage.transship.get(&manifest).status(), 200);
    until("the blob is seen", || {
        stage.transship.get(&blob.path()).status() == 200
    });
}

#[test]
fn an_error_is_not_an_absence() {
    // One bad second of the origin would be three for everybody.
    let stage = Stage::set("");
    let blob = stage.origin.make(1, 1000);
    for status in [500, 403, 401, 410] {
        stage.origin.overload(Some(status));
        assert!(stage.transship.get(&blob.path()).status() >= 400);
        let head = stage.transship.client().call("HEAD", &blob.path(), &[]);
        assert!(head.status() >= 400);
    }
    stage.origin.overload(None);
    assert_same(&stage.transship.get(&blob.path()).body, &blob.bytes);
}

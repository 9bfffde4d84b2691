//! The origin breaks, lies or dawdles.

use crate::support::{Gate, Plan, Rig, assert_same};

const SIZE: usize = 1 << 20;

#[test]
fn an_origin_that_closes_in_mid_blob_ends_the_response_short() {
    // A truncated layer would pass as complete and be stored for everybody.
    let rig = Rig::start();
    let blob = rig.origin.make(1, SIZE);
    rig.origin.plan(&blob, Plan::whole().cut(SIZE / 2));
    let reply = rig.expect_broken(&blob);
    assert_same(&reply.body, &blob.bytes[..reply.body.len()]);
    assert!(reply.body.len() <= SIZE / 2);
    assert_eq!(rig.expect_blob(&blob).cache(), "fwd=uri-miss");
    assert_eq!(rig.origin.count("GET", &blob.path()), 2);
    rig.expect_committed(1);
}

#[test]
fn an_origin_that_resets_in_mid_blob_ends_the_response_short() {
    // A reset is how a crashed registry looks; it must not hang clients or poison the store.
    let rig = Rig::start();
    let blob = rig.origin.make(2, SIZE);
    rig.origin.plan(&blob, Plan::whole().reset(SIZE / 2));
    let reply = rig.expect_broken(&blob);
    assert!(reply.body.len() <= SIZE / 2);
    rig.expect_blob(&blob);
    rig.expect_committed(1);
}

#[test]
fn a_corrupt_blob_is_never_delivered_whole_nor_kept() {
    // One flipped bit on the way would spread to every node behind this cache.
    let rig = Rig::start();
    for (seed, size, corrupt) in [(3, SIZE, 0), (4, SIZE, SIZE - 1), (5, 100, 50), (6, 1, 0)] {
        let blob = rig.origin.make(seed, size);
        rig.origin.plan(&blob, Plan::whole().corrupt(corrupt));
        rig.expect_broken(&blob);
        assert_eq!(rig.expect_blob(&blob).cache(), "fwd=uri-miss");
    }
    rig.expect_committed(4);
    assert_eq!(rig.failed(), 4);
}

#[test]
fn a_body_shorter_than_the_blob_is_refused_even_when_its_length_says_so() {
    // A registry behind a broken proxy serves a prefix with a matching Content-Length.
    let rig = Rig::start();
    let blob = rig.origin.make(7, SIZE);
    rig.origin
        .plan(&blob, Plan::whole().claim(SIZE - 10).cut(SIZE - 10));
    rig.expect_broken(&blob);
    rig.expect_blob(&blob);
}

#[test]
fn a_length_longer_than_the_blob_is_refused_whether_or_not_bytes_follow() {
    // Clients would wait for ever for bytes that do not exist, or get some that do not belong.
    let rig = Rig::start();
    let blob = rig.origin.make(8, SIZE);
    rig.origin
        .plan(&blob, Plan::whole().claim(SIZE + 10).cut(SIZE));
    rig.expect_broken(&blob);
    rig.origin
        .plan(&blob, Plan::whole().claim(SIZE + 10).extra(10));
    rig.expect_broken(&blob);
    rig.expect_blob(&blob);
    rig.expect_committed(1);
}

#[test]
fn a_chunked_blob_without_a_length_comes_whole_and_becomes_a_hit() {
    // Some registries and content networks send no Content-Length; their blobs would never load.
    let rig = Rig::start();
    let blob = rig.origin.make(9, SIZE);
    rig.origin.plan(&blob, Plan::whole().chunked());
    rig.expect_blob(&blob);
    rig.expect_committed(1);
    let hit = rig.expect_blob(&blob);
    assert_eq!(hit.cache(), "hit");
    assert_eq!(hit.head.length(), Some(SIZE as u64));
}

#[test]
fn a_chunked_blob_that_is_cut_or_corrupt_never_ends_cleanly() {
    // Without a length only the end tells a client that it has all: that end must not come.
    let rig = Rig::start();
    let blob = rig.origin.make(10, SIZE);
    rig.origin
        .plan(&blob, Plan::whole().chunked().cut(SIZE / 2));
    rig.expect_broken(&blob);
    rig.origin.plan(&blob, Plan::whole().chunked().corrupt(7));
    rig.expect_broken(&blob);
    rig.expect_blob(&blob);
}

#[test]
fn no_client_has_the_whole_body_before_the_digest_is_equal() {
    // A client that has all bytes unpacks them, and no verification afterwards can call them back.
    let rig = Rig::start();
    let blob = rig.origin.make(11, SIZE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(SIZE - 1, &gate));
    let mut clients: Vec<_> = (0..4).map(|_| rig.transship.client()).collect();
    for client in &mut clients {
        client.ask("GET", &blob.path(), &[]);
        assert_eq!(client.head().length(), Some(SIZE as u64));
    }
    gate.reached();
    rig.transship
        .until_metric("transship_upstream_bytes_total", &[], SIZE as u64 - 1);
    let mut bodies: Vec<Vec<u8>> = clients.iter_mut().map(|client| client.arrived()).collect();
    for body in &bodies {
        assert!(body.len() < SIZE);
    }
    gate.open();
    for (client, body) in clients.iter_mut().zip(&mut bodies) {
        body.extend(client.exactly(SIZE - body.len()));
        assert_same(body, &blob.bytes);
    }
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
}

#[test]
fn a_slow_head_is_waited_for_once() {
    // Impatient second requests to a slow registry make it slower.
    let rig = Rig::start();
    let blob = rig.origin.make(12, SIZE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_before_head(&gate));
    let (mut first, mut second) = (rig.transship.client(), rig.transship.client());
    first.ask("GET", &blob.path(), &[]);
    gate.reached();
    second.ask("GET", &blob.path(), &[]);
    gate.open();
    for client in [&mut first, &mut second] {
        assert_same(&client.reply("GET").body, &blob.bytes);
    }
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
}

#[test]
fn an_error_of_the_origin_is_told_and_not_remembered() {
    // A registry with a hiccup would stay broken for as long as its error is cached.
    let rig = Rig::start();
    let blob = rig.origin.make(13, SIZE);
    for (status, accepted) in [(404, &[404][..]), (500, &[502])] {
        rig.origin.plan(&blob, Plan::status(status));
        let reply = rig.transship.get(&blob.path());
        assert!(
            accepted.contains(&reply.status()),
            "{status}: {:?}",
            reply.head
        );
        assert!(
            reply.json()["errors"][0]["code"].is_string(),
            "{}",
            reply.text()
        );
        assert!(!rig.transship.stores(&blob.digest));
    }
    // A pause that it asks for is waited for, and not told at all.
    rig.origin.plan(&blob, Plan::status(429));
    let asked = rig.origin.count("GET", &blob.path());
    rig.expect_blob(&blob);
    assert_eq!(rig.origin.count("GET", &blob.path()), asked + 2);
}

#[test]
fn an_origin_that_refuses_connections_is_told_from_an_absent_blob() {
    // 404 for an outage makes clients give up on images that exist.
    let rig = Rig::start();
    let blob = rig.origin.make(14, SIZE);
    rig.origin.stop();
    let reply = rig.transship.get(&blob.path());
    assert!(matches!(reply.status(), 502 | 504), "{:?}", reply.head);
    assert!(reply.json()["errors"][0]["code"].is_string());
}

#[test]
fn head_of_an_absent_blob_asks_the_next_hop_and_fills_nothing() {
    // Clients probe layers they may not want; each probe would download one.
    let rig = Rig::start();
    let blob = rig.origin.make(15, SIZE);
    let reply = rig.transship.client().call("HEAD", &blob.path(), &[]);
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.head.length(), Some(SIZE as u64));
    assert_eq!(rig.origin.count("HEAD", &blob.path()), 1);
    assert_eq!(rig.origin.count("GET", &blob.path()), 0);
    assert!(!rig.transship.stores(&blob.digest));
    let unknown = crate::support::Blob::seeded(16, 10);
    let reply = rig.transship.client().call("HEAD", &unknown.path(), &[]);
    assert_eq!(reply.status(), 404);
}

#[test]
fn a_sha512_digest_is_verified_and_kept_like_any_other() {
    // OCI allows sha512; a cache that only knows sha256 refuses such images or trusts them blindly.
    let rig = Rig::start();
    let blob = rig.origin.make(17, SIZE).as_sha512();
    rig.origin.hold(&blob);
    rig.origin.plan(&blob, Plan::whole().corrupt(1));
    rig.expect_broken(&blob);
    rig.expect_blob(&blob);
    rig.expect_committed(1);
    assert!(rig.transship.stores(&blob.digest));
    assert_eq!(rig.expect_blob(&blob).cache(), "hit");
    assert_eq!(rig.origin.count("GET", &blob.path()), 2);
}

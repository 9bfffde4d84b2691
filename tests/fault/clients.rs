//! Clients leave, dawdle, come late or want only a part.

use crate::support::{Gate, Plan, Rig, Transship, assert_same};

const SIZE: usize = 4 << 20;

#[test]
fn a_client_that_leaves_does_not_stop_the_fill() {
    // A node that gives up would throw away what was fetched, for ever on a slow uplink.
    let rig = Rig::start();
    let blob = rig.origin.make(1, SIZE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(SIZE / 2, &gate));
    let mut client = rig.transship.client();
    client.ask("GET", &blob.path(), &[]);
    client.head();
    assert_same(&client.exactly(1000), &blob.bytes[..1000]);
    drop(client);
    gate.reached();
    gate.open();
    rig.expect_committed(1);
    assert!(rig.transship.stores(&blob.digest));
    assert_eq!(rig.expect_blob(&blob).cache(), "hit");
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
}

#[test]
fn a_follower_survives_the_leaders_client() {
    // The first node of a rollout is rebooted, and all others fail with it.
    let rig = Rig::start();
    let blob = rig.origin.make(2, SIZE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(SIZE / 2, &gate));
    let mut leader = rig.transship.client();
    leader.ask("GET", &blob.path(), &[]);
    leader.head();
    gate.reached();
    let mut follower = rig.transship.client();
    follower.ask("GET", &blob.path(), &[]);
    assert_eq!(follower.head().cache(), "fwd=uri-miss; collapsed");
    drop(leader);
    gate.open();
    assert_same(&follower.exactly(SIZE), &blob.bytes);
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
}

#[test]
fn a_follower_that_joins_late_gets_the_blob_from_its_first_byte() {
    // Late nodes would wait for the whole fill, or miss what went by before they came.
    let rig = Rig::start();
    let blob = rig.origin.make(3, SIZE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(SIZE / 2, &gate));
    let mut leader = rig.transship.client();
    leader.ask("GET", &blob.path(), &[]);
    leader.head();
    gate.reached();
    rig.transship
        .until_metric("transship_upstream_bytes_total", &[], SIZE as u64 / 2);
    let mut follower = rig.transship.client();
    follower.ask("GET", &blob.path(), &[]);
    assert_eq!(follower.head().cache(), "fwd=uri-miss; collapsed");
    // It is served from the prefix while the origin stands still.
    let early = follower.exactly(SIZE / 4);
    assert_same(&early, &blob.bytes[..SIZE / 4]);
    gate.open();
    assert_same(&follower.exactly(SIZE - SIZE / 4), &blob.bytes[SIZE / 4..]);
    assert_same(&leader.exactly(SIZE), &blob.bytes);
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
}

#[test]
fn a_client_that_does_not_read_does_not_slow_another() {
    // One node with a full disk or a bad link would hold up a rollout.
    let rig = Rig::start();
    let blob = rig.origin.make(4, 64 << 20);
    let mut slow = rig.transship.client();
    slow.ask("GET", &blob.path(), &[]);
    slow.head();
    // All of the blob passes by while the slow client has taken no byte of its body.
    rig.expect_blob(&blob);
    rig.expect_committed(1);
    assert_same(&slow.exactly(blob.len()), &blob.bytes);
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
}

#[test]
fn a_range_of_a_cold_blob_is_served_from_what_is_there() {
    // Lazy-loading snapshotters ask ranges first; waiting for the whole blob times them out.
    let rig = Rig::start();
    let blob = rig.origin.make(5, SIZE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(SIZE / 2, &gate));
    let mut client = rig.transship.client();
    let range = [("Range", "bytes=1000-1999")];
    let reply = client.call("GET", &blob.path(), &range);
    assert_eq!(reply.status(), 206);
    let wanted = format!("bytes 1000-1999/{SIZE}");
    assert_eq!(reply.field("content-range"), Some(wanted.as_str()));
    assert_same(&reply.body, &blob.bytes[1000..2000]);
    gate.reached();
    client.ask("GET", &blob.path(), &[("Range", "bytes=-5000")]);
    gate.open();
    assert_same(&client.reply("GET").body, &blob.bytes[SIZE - 5000..]);
    rig.expect_committed(1);
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
    assert_eq!(rig.origin.sent(&blob.path()), SIZE as u64);
    assert_eq!(rig.expect_blob(&blob).cache(), "hit");
}

#[test]
fn parallel_open_ended_ranges_that_are_dropped_cost_one_fill() {
    // containerd asks each chunk as `bytes=N-` and hangs up when it has enough of it.
    let rig = Rig::start();
    let blob = rig.origin.make(6, SIZE);
    std::thread::scope(|scope| {
        for from in (0..SIZE).step_by(SIZE / 16) {
            let (rig, blob) = (&rig, &blob);
            scope.spawn(move || {
                let mut client = rig.transship.client();
                let range = format!("bytes={from}-");
                client.ask("GET", &blob.path(), &[("Range", &range)]);
                let head = client.head();
                assert_eq!(head.status, 206);
                assert_eq!(head.length(), Some((SIZE - from) as u64));
                let part = client.exactly(SIZE / 32);
                assert_same(&part, &blob.bytes[from..from + SIZE / 32]);
            });
        }
    });
    rig.expect_committed(1);
    assert_eq!(rig.failed(), 0);
    // Parts that are wanted first are fetched by themselves, and no byte twice.
    assert_eq!(rig.origin.sent(&blob.path()), SIZE as u64);
    assert_eq!(rig.expect_blob(&blob).cache(), "hit");
}

#[test]
fn connections_to_the_origin_are_used_again() {
    // A handshake for each layer: slow, and many registries limit new connections.
    let rig = Rig::with(Transship::options().cores(1));
    for seed in 10..20 {
        let blob = rig.origin.make(seed, 50_000);
        rig.expect_blob(&blob);
        // The connection is free when the fill has ended, not when the client has all.
        rig.expect_committed(seed - 9);
    }
    let connections = rig.origin.connections();
    assert!(connections < 5, "{connections} connections for ten blobs");
}

//! Each call that a fill makes to the disk fails once.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{FILE_BYTES_MAX, SIZE, cramped, expect_gone, expect_no_errors, expect_passed};
use crate::support::{Plan, Rig, assert_same, until};

#[test]
fn a_write_that_fails_in_mid_chunk_is_made_up_for_in_memory() {
    // A pull would end short at the place where the disk became full, as it does in other caches.
    let rig = Rig::with(cramped());
    let blob = rig.origin.make(1, SIZE);
    assert_eq!(rig.expect_blob(&blob).cache(), "fwd=uri-miss");
    expect_passed(&rig, 1);
    expect_gone(&rig, &blob);
    // What fits is stored, and the next pull of the large one goes by again.
    let small = rig.origin.make(2, FILE_BYTES_MAX);
    rig.expect_blob(&small);
    rig.expect_committed(1);
    assert_eq!(rig.expect_blob(&small).cache(), "hit");
    rig.expect_blob(&blob);
    expect_passed(&rig, 2);
}

#[test]
fn a_pull_is_stored_again_once_there_is_room() {
    // A cache that gave up at the first full disk would stay cold until somebody restarts it.
    let rig = Rig::with(cramped());
    let blob = rig.origin.make(3, SIZE);
    rig.expect_blob(&blob);
    expect_passed(&rig, 1);
    let pid = Pid::from_raw(rig.transship.process.id().try_into().unwrap());
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, unlimited).unwrap();
    rig.expect_blob(&blob);
    rig.expect_committed(1);
    assert_eq!(rig.expect_blob(&blob).cache(), "hit");
    assert_eq!(rig.origin.count("GET", &blob.path()), 2);
}

#[test]
fn a_file_that_cannot_be_begun_costs_nobody_a_pull() {
    // Somebody tidies up the storage directory, or its volume is unmounted.
    let rig = Rig::start();
    fs::remove_dir_all(rig.transship.storage.join("partial")).unwrap();
    for (seed, size) in [(4, SIZE), (5, 70_000), (6, 1), (7, 0)] {
        let blob = rig.origin.make(seed, size);
        rig.expect_blob(&blob);
        expect_gone(&rig, &blob);
    }
    expect_passed(&rig, 4);
}

#[test]
fn a_proved_blob_that_cannot_be_named_is_delivered_all_the_same() {
    // The disk fails at the very last call, when every client but for the withheld tail has all.
    let rig = Rig::start();
    let blob = rig.origin.make(8, SIZE);
    let folder = rig.transship.storage.join("blobs/sha256");
    let folder = folder.join(&blob.digest["sha256:".len()..][..2]);
    fs::remove_dir(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
    rig.expect_blob(&blob);
    expect_passed(&rig, 1);
    expect_no_errors(&rig);
    fs::remove_file(&folder).unwrap();
    let trouble = [("kind", "missing")];
    until("the disk is trusted again", || {
        rig.transship
            .metrics()
            .sum("transship_store_trouble", &trouble)
            == 0
    });
    rig.expect_blob(&blob);
    rig.expect_committed(1);
}

#[test]
fn a_corrupt_blob_does_not_pass_through_whole() {
    // Without a disk there is no second look: one flipped bit would reach every client.
    let rig = Rig::with(cramped());
    let places = [(SIZE, 0), (SIZE, SIZE - 1), (SIZE, FILE_BYTES_MAX)];
    for (seed, (size, corrupt)) in (10..).zip(places) {
        let blob = rig.origin.make(seed, size);
        rig.origin.plan(&blob, Plan::whole().corrupt(corrupt));
        rig.expect_broken(&blob);
    }
    let metrics = rig.transship.metrics();
    let corrupt = [("outcome", "corrupt")];
    assert_eq!(metrics.sum("transship_fills_total", &corrupt), 3);
}

#[test]
fn a_small_corrupt_blob_does_not_pass_through_whole() {
    // It lies in memory from its first byte on.
    let rig = Rig::start();
    fs::remove_dir_all(rig.transship.storage.join("partial")).unwrap();
    for (seed, size) in [(13, 1), (14, 65_536), (15, 65_537), (16, 400_000)] {
        let blob = rig.origin.make(seed, size);
        rig.origin.plan(&blob, Plan::whole().corrupt(size - 1));
        rig.expect_broken(&blob);
    }
}

#[test]
fn an_origin_that_breaks_off_on_the_way_past_the_disk_ends_the_response_short() {
    // Two faults at once must not make a whole.
    let rig = Rig::with(cramped());
    let blob = rig.origin.make(17, SIZE);
    rig.origin.plan(&blob, Plan::whole().cut(SIZE / 2));
    let reply = rig.expect_broken_by(&blob, Plan::status(404));
    assert_same(&reply.body, &blob.bytes[..reply.body.len()]);
    rig.expect_blob(&blob);
    until("no memory is held", || super::memory_bytes(&rig) == 0);
}

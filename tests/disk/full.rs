//! A real file system that is full, or takes no writes any more.

use std::fs;

use super::volume::Volume;
use super::{SIZE, expect_gone, expect_no_errors, expect_passed};
use crate::support::{Rig, Transship};

/// Room for the store's directories and two blobs.
const VOLUME: u64 = 32 << 20;

/// The rig is dropped before the volume.
struct OnVolume {
    rig: Rig,
    volume: Volume,
}

fn on_volume() -> OnVolume {
    let volume = Volume::of_bytes(VOLUME);
    let rig = Rig::with(Transship::options().storage(&volume.storage()));
    OnVolume { rig, volume }
}

#[test]
fn a_full_file_system_fails_no_pull_and_is_used_again_when_it_has_room() {
    // The full disk of a node truncates layers: the peer's pull ends short and is tried for ever.
    let OnVolume { rig, volume } = on_volume();
    let blobs: Vec<_> = (1..9).map(|seed| rig.origin.make(seed, SIZE)).collect();
    for room in [0, 5000, 1 << 20] {
        let ballast = volume.fill_up(room);
        let passed = rig.failed();
        std::thread::scope(|scope| {
            for blob in &blobs {
                scope.spawn(|| rig.expect_blob(blob));
            }
        });
        expect_passed(&rig, passed + blobs.len() as u64);
        blobs.iter().for_each(|blob| expect_gone(&rig, blob));
        fs::remove_file(ballast).unwrap();
    }
    rig.expect_blob(&blobs[0]);
    rig.expect_committed(1);
    let ballast = volume.fill_up(0);
    assert_eq!(rig.expect_blob(&blobs[0]).cache(), "hit");
    fs::remove_file(ballast).unwrap();
    drop((rig, volume));
}

#[test]
fn a_file_system_that_turns_read_only_fails_no_pull() {
    // The kernel's answer to a failing disk; the node serves on until somebody looks.
    let OnVolume { rig, volume } = on_volume();
    let kept = rig.hit(1, SIZE);
    volume.turn_read_only();
    let blob = rig.origin.make(2, SIZE);
    rig.expect_blob(&blob);
    rig.expect_blob(&blob);
    expect_passed(&rig, 2);
    expect_gone(&rig, &blob);
    assert_eq!(rig.expect_blob(&kept).cache(), "hit");
    expect_no_errors(&rig);
    drop((rig, volume));
}

#[test]
fn a_storage_directory_that_goes_away_fails_no_pull() {
    // Somebody cleans up under a running cache.
    let rig = Rig::start();
    let kept = rig.hit(3, SIZE);
    let small = rig.origin.make(4, 1000);
    rig.expect_blob(&small);
    rig.expect_committed(2);
    fs::remove_dir_all(&rig.transship.storage).unwrap();
    let blob = rig.origin.make(5, SIZE);
    rig.expect_blob(&blob);
    rig.expect_blob(&kept);
    rig.expect_blob(&small);
    expect_no_errors(&rig);
}

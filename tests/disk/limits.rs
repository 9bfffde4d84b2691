//! Limits that the system sets, and a root directory that goes read-only or away.

use std::fs;

use super::{assert_calm, assert_settled, pull_all_at_once, readiness, until_kept, with_store};
use crate::support::transship::Options;
use crate::support::{
    Client, Fault, FaultFs, LoopDisk, Op, Origin, Shelf, Transship, shelf, until,
};
use rustix::io::Errno;

const MIB: usize = 1 << 20;

/// Starts it with one of its resources bounded.
fn bounded(options: Options, limit: &str) -> Transship {
    options.under(&["prlimit", limit]).start()
}

#[test]
fn a_blob_beyond_the_limit_of_file_sizes_is_passed_through() {
    // `ulimit -f` of a hardened unit: the write fails with EFBIG, and a signal kills whoever ignores it not.
    let origin = Origin::start();
    let large = Shelf::stock(&origin, 1, [24 * MIB, 20 * MIB]);
    let small = Shelf::stock(&origin, 2, [MIB, 3000]);
    let limit = format!("--fsize={}", 16 * MIB);
    let transship = bounded(with_store(&origin, ""), &limit);
    for _ in 0..2 {
        pull_all_at_once(&transship, &large);
    }
    for number in 0..small.len() {
        until_kept(&transship, &small, number);
    }
    let root = transship.storage.clone();
    assert_settled(&transship, &root);
    assert_calm(&transship);
    assert_eq!(transship.terminate().code(), Some(0));
}

#[test]
fn more_hot_blobs_than_descriptors_are_served_all_the_same() {
    // Each core keeps blobs open; with the default limit of 1024 a large node would run out in an hour.
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 3, (0..60).map(|number| 20_000 + 1000 * number));
    let transship = bounded(with_store(&origin, ""), "--nofile=128:128");
    for number in 0..shelf.len() {
        until_kept(&transship, &shelf, number);
    }
    std::thread::scope(|scope| {
        for client in 0..30 {
            let (shelf, transship) = (&shelf, &transship);
            scope.spawn(move || {
                // Hosts of their own: one alone gets a part of the connections.
                let host = format!("127.0.1.{}", client + 1);
                let mut connection = Client::connect_from(&host, transship.addr);
                for number in (0..shelf.len()).cycle().skip(client * 7).take(120) {
                    let blob = shelf.blob(number);
                    let reply = connection.get(&blob.path());
                    assert_eq!(reply.status(), 200, "{:?} {}", reply.head, reply.text());
                    assert!(reply.whole && reply.body[..] == blob.bytes[..]);
                }
            });
        }
    });
    for number in 0..shelf.len() {
        let path = shelf.blob(number).path();
        assert_eq!(origin.count("GET", &path), 1, "blob {number}");
    }
    let descriptors = format!("/proc/{}/fd", transship.process.id());
    assert!(fs::read_dir(descriptors).unwrap().count() <= 128);
    assert_calm(&transship);
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    // 1024 is the soft limit everywhere, for the sake of programs that use select(2).
    let origin = Origin::start();
    let transship = bounded(with_store(&origin, ""), "--nofile=256:4096");
    let limits = fs::read_to_string(format!("/proc/{}/limits", transship.process.id())).unwrap();
    let open = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = open.unwrap().split_whitespace().nth(3);
    assert_eq!(soft, Some("4096"), "{limits}");
}

/// Waits until the store says by itself that something is wrong with it, or that nothing is.
fn until_told(transship: &Transship, is_well: bool, words: &[&str]) {
    until(&format!("readiness tells: {is_well} {words:?}"), || {
        let (status, text) = readiness(transship);
        let text = text.to_lowercase();
        (status == 200) == is_well && (is_well || words.iter().any(|word| text.contains(word)))
    });
}

#[test]
fn a_disk_that_turns_read_only_breaks_no_pull_and_is_told() {
    // ext4 does that by itself after an error (`errors=remount-ro`), with every file open for writing.
    let (disk, origin) = (FaultFs::start(), Origin::start());
    let storage = disk.path().join("storage");
    let shelf = Shelf::stock(&origin, 4, [MIB, 3000, 2 * MIB, 5000]);
    let transship = with_store(&origin, "").storage(&storage).start();
    for number in [0, 1] {
        until_kept(&transship, &shelf, number);
    }
    until_told(&transship, true, &[]);
    disk.fault(Fault::fail(&Op::CHANGES, Errno::ROFS));
    for _ in 0..2 {
        pull_all_at_once(&transship, &shelf);
    }
    for number in [0, 1] {
        assert!(
            shelf.pull(transship.addr, number).is_hit(),
            "it can be read"
        );
    }
    until_told(&transship, false, &["read-only", "read only"]);
    disk.heal();
    for number in [2, 3] {
        until_kept(&transship, &shelf, number);
    }
    until_told(&transship, true, &[]);
    assert_calm(&transship);
}

#[test]
fn an_ext4_that_found_an_error_in_itself_breaks_no_pull() {
    // Nothing can be written any more until somebody repairs it: until then it is a proxy that still has
    // what it had.
    let (disk, origin) = (LoopDisk::ext4(64), Origin::start());
    let shelf = Shelf::stock(&origin, 5, [MIB, 3000, 2 * MIB, 5000]);
    let transship = with_store(&origin, "").storage(&disk.storage()).start();
    for number in [0, 1] {
        until_kept(&transship, &shelf, number);
    }
    disk.trip_over_itself();
    for _ in 0..2 {
        pull_all_at_once(&transship, &shelf);
    }
    for number in [0, 1] {
        assert!(
            shelf.pull(transship.addr, number).is_hit(),
            "it can be read"
        );
    }
    until_told(&transship, false, &["read-only", "read only"]);
    assert_calm(&transship);
}

#[test]
fn a_start_on_a_read_only_disk_serves_or_says_why_not() {
    let (disk, origin) = (LoopDisk::ext4(64), Origin::start());
    let shelf = Shelf::stock(&origin, 6, [MIB, 3000]);
    let transship = with_store(&origin, "").storage(&disk.storage()).start();
    until_kept(&transship, &shelf, 0);
    drop(transship.stop());
    disk.make_read_only();
    match with_store(&origin, "").storage(&disk.storage()).try_start() {
        Ok(transship) => {
            pull_all_at_once(&transship, &shelf);
            until_told(&transship, false, &["read-only", "read only"]);
        }
        Err(log) => {
            let told = log.to_lowercase();
            assert!(
                told.contains("read-only") || told.contains("read only"),
                "{log}"
            );
            assert!(!told.contains("panicked"), "{log}");
        }
    }
}

#[test]
fn a_root_directory_that_is_moved_away_breaks_no_pull_and_is_told() {
    // A volume that is swapped, a server that is gone for a minute, somebody who tidies up.
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 7, [MIB, 3000, 2 * MIB, 5000]);
    let transship = with_store(&origin, "").start();
    for number in [0, 1] {
        until_kept(&transship, &shelf, number);
    }
    let (root, away) = (&transship.storage, transship.storage.with_extension("away"));
    fs::rename(root, &away).unwrap();
    for _ in 0..2 {
        pull_all_at_once(&transship, &shelf);
    }
    until_told(
        &transship,
        false,
        &["missing", "gone", "no such", "not there"],
    );
    // Whatever was made in its place meanwhile is not in the way of somebody who puts it back.
    let _ = fs::remove_dir_all(root);
    fs::rename(&away, root).unwrap();
    for number in 0..shelf.len() {
        until_kept(&transship, &shelf, number);
    }
    until_told(&transship, true, &[]);
    assert_settled(&transship, root);
    assert_calm(&transship);
}

#[test]
fn a_root_directory_that_is_emptied_is_filled_again() {
    // `rm -rf` under a running cache is what people do when the disk is full.
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 8, [MIB, 3000, 2 * MIB, 5000]);
    let transship = with_store(&origin, "").start();
    for number in 0..shelf.len() {
        until_kept(&transship, &shelf, number);
    }
    for entry in fs::read_dir(&transship.storage).unwrap().flatten() {
        let path = entry.path();
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.unwrap();
    }
    for _ in 0..2 {
        pull_all_at_once(&transship, &shelf);
    }
    let fresh = Shelf::stock(&origin, 9, [MIB]);
    until_kept(&transship, &fresh, 0);
    until("its file is there", || {
        shelf::place(&transship.storage, &fresh.blob(0).digest).exists()
    });
    until_told(&transship, true, &[]);
    assert_calm(&transship);
}

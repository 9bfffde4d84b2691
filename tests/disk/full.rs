//! The disk fills to the brim, with our own blobs or with somebody else's files.
//!
//! A cache whose disk is full must become a slow cache, not a broken one.

use super::{
    assert_calm, assert_settled, pull_all_at_once, store_bytes, trouble, until_kept, with_store,
};
use crate::support::{LoopDisk, Origin, Shelf, shelf, until};

const MIB: usize = 1 << 20;
const SMALL_MIB: u64 = 64;

/// 32 blobs, four times the disk in sum, twice over; then the store must be a store still.
fn flood(disk: &LoopDisk, store: &str, share: u64) {
    let origin = Origin::start();
    let big = Shelf::stock(&origin, 1, [8 * MIB; 32]);
    assert!(big.bytes() > 3 * disk.total_bytes());
    let transship = with_store(&origin, store).storage(&disk.storage()).start();
    for _ in 0..2 {
        pull_all_at_once(&transship, &big);
    }
    let fresh = Shelf::stock(&origin, 2, [MIB, 3000]);
    for number in 0..fresh.len() {
        until_kept(&transship, &fresh, number);
    }
    until_kept(&transship, &big, 0);
    assert_settled(&transship, &disk.storage());
    let (kept, bound) = (store_bytes(&transship), disk.total_bytes() * share / 100);
    assert!(
        kept > 0 && kept <= bound,
        "{kept} bytes of {bound} are kept"
    );
    assert_calm(&transship);
}

#[test]
fn pulls_of_four_times_the_disk_all_succeed_on_ext4() {
    // One flood of big layers, and every pull of the site fails until somebody deletes files by hand.
    flood(&LoopDisk::ext4(SMALL_MIB), "", 90);
}

#[test]
fn pulls_of_four_times_the_disk_all_succeed_on_xfs() {
    // XFS refuses space earlier and elsewhere than ext4: at the write, not at write-back.
    flood(&LoopDisk::xfs(SMALL_MIB), "", 90);
}

#[test]
fn a_disk_without_any_margin_breaks_no_pull_on_ext4() {
    // Our bound is a wish, the disk's is real: ENOSPC comes from any call.
    let store = "bytes_max: 100%, free_min: 0%";
    flood(&LoopDisk::ext4(SMALL_MIB), store, 100);
}

#[test]
fn a_disk_without_any_margin_breaks_no_pull_on_xfs() {
    let store = "bytes_max: 100%, free_min: 0%";
    flood(&LoopDisk::xfs(SMALL_MIB), store, 100);
}

/// Others fill the disk under a running store, and go away again.
fn crowd_out(disk: &LoopDisk) {
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 3, [2 * MIB; 24]);
    let transship = with_store(&origin, "").storage(&disk.storage()).start();
    until_kept(&transship, &shelf, 0);

    let ballast = disk.fill_up();
    for _ in 0..2 {
        pull_all_at_once(&transship, &shelf);
    }
    // Whoever has the room takes what was evicted to make some.
    let more = disk.fill_up();
    pull_all_at_once(&transship, &shelf);
    let metrics = transship.metrics();
    let passed = metrics.sum("transship_fills_total", &[("outcome", "passed_through")]);
    assert!(passed > 0, "the disk was never full\n{}", metrics.text);
    drop((more, ballast));

    let fresh = Shelf::stock(&origin, 4, [MIB]);
    until_kept(&transship, &fresh, 0);
    until("the trouble is over", || trouble(&transship, "full") == 0);
    assert_settled(&transship, &disk.storage());
    let fills = transship.process.log();
    let told = fills.lines().filter(|line| line.contains("passes through"));
    assert!(told.count() < 20, "the log fills the disk too:\n{fills}");
    assert_calm(&transship);
}

#[test]
fn what_others_take_of_an_ext4_breaks_no_pull_and_storing_resumes() {
    // A log that ran wild next to the cache would take the cluster's pulls with it, and for good.
    crowd_out(&LoopDisk::ext4(SMALL_MIB));
}

#[test]
fn what_others_take_of_an_xfs_breaks_no_pull_and_storing_resumes() {
    crowd_out(&LoopDisk::xfs(SMALL_MIB));
}

#[test]
fn a_full_disk_is_told_while_it_lasts() {
    // A cache that passes everything through looks healthy but for the bill of the uplink.
    let disk = LoopDisk::ext4(SMALL_MIB);
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 5, [4 * MIB; 4]);
    let transship = with_store(&origin, "").storage(&disk.storage()).start();
    let ballast = disk.fill_up();
    until("the trouble is told", || {
        shelf.pull(transship.addr, 0);
        trouble(&transship, "full") == 1
    });
    drop(ballast);
    until_kept(&transship, &shelf, 1);
    until("the trouble is over", || trouble(&transship, "full") == 0);
}

#[test]
fn a_start_on_a_full_disk_serves() {
    // A restart in the middle of the trouble must not turn a slow cache into none.
    let disk = LoopDisk::ext4(SMALL_MIB);
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 6, [MIB; 4]);
    let stopped = {
        let transship = with_store(&origin, "").storage(&disk.storage()).start();
        until_kept(&transship, &shelf, 0);
        transship.stop()
    };
    let ballast = disk.fill_up();
    let transship = with_store(&origin, "").storage(&stopped.storage).start();
    for number in 0..shelf.len() {
        shelf.pull(transship.addr, number);
    }
    drop(ballast);
    until_kept(&transship, &shelf, 3);
    assert_settled(&transship, &disk.storage());
}

#[test]
fn a_disk_without_inodes_breaks_no_pull_and_evicts() {
    // df shows half the disk free, and nothing can be stored: millions of small blobs do that.
    let disk = LoopDisk::ext4_with_inodes(SMALL_MIB, 700);
    let origin = Origin::start();
    let many = Shelf::stock(&origin, 7, (0..400).map(|number| 500 + number));
    let transship = with_store(&origin, "").storage(&disk.storage()).start();
    for _ in 0..2 {
        for number in 0..many.len() {
            many.pull(transship.addr, number);
        }
    }
    let fresh = Shelf::stock(&origin, 8, [3000]);
    until_kept(&transship, &fresh, 0);
    let kept = shelf::files(&disk.storage(), "blobs").len();
    assert!((20..400).contains(&kept), "{kept} blobs are kept");
    assert_settled(&transship, &disk.storage());
    assert_calm(&transship);
}

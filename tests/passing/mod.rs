//! The disk is full, fails or goes away, and no pull notices.

mod faults;
mod followers;
mod reads;

use crate::support::transship::Options;
use crate::support::{Blob, Client, Rig, Transship, assert_same, until};

/// No file may grow beyond this: a disk that fails in the middle of a chunk. The files in memory that
/// make up a window are smaller, and bound to the same.
const FILE_BYTES_MAX: usize = 1_300_001;

/// A blob that the disk fails in its midst, and that no window holds whole.
const SIZE: usize = 6 << 20;

/// A transship whose files may not grow beyond [`FILE_BYTES_MAX`].
fn cramped() -> Options {
    let limit = format!("--fsize={FILE_BYTES_MAX}:unlimited");
    Transship::options().under(&["prlimit", &limit, "--"])
}

/// Waits until this many fills have passed through, and checks that no more have and that none failed.
#[track_caller]
fn expect_passed(rig: &Rig, fills: u64) {
    let passed = [("outcome", "passed_through")];
    rig.transship
        .until_metric("transship_fills_total", &passed, fills);
    let metrics = rig.transship.metrics();
    assert_eq!(metrics.sum("transship_fills_total", &passed), fills);
    assert_eq!(
        rig.failed(),
        fills,
        "fills that failed: {}",
        rig.transship.process.log()
    );
}

/// Checks that nothing is kept of a blob, and that the log does not cry for every pull.
#[track_caller]
fn expect_gone(rig: &Rig, blob: &Blob) {
    assert!(!rig.transship.stores(&blob.digest));
    expect_no_errors(rig);
    until("no memory is held", || memory_bytes(rig) == 0);
}

#[track_caller]
fn expect_no_errors(rig: &Rig) {
    let log = rig.transship.process.log();
    let errors = log.lines().filter(|line| line.contains("ERROR"));
    // One line says that the disk is in trouble, not one for every pull.
    assert!(errors.count() <= 1, "{log}");
}

/// Bytes of the files in memory that the process has open.
fn memory_bytes(rig: &Rig) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let descriptors = format!("/proc/{}/fd", rig.transship.process.id());
    let open = std::fs::read_dir(descriptors).unwrap().flatten();
    open.filter(|item| {
        let target = std::fs::read_link(item.path()).unwrap_or_default();
        target.to_string_lossy().contains("memfd:transship")
    })
    // One that was closed just now holds nothing.
    .filter_map(|item| std::fs::metadata(item.path()).ok())
    .map(|metadata| metadata.blocks() * 512)
    .sum()
}

/// Asks for a blob and reads its head.
fn ask(rig: &Rig, blob: &Blob) -> Client {
    let mut client = rig.transship.client();
    client.ask("GET", &blob.path(), &[]);
    assert_eq!(client.head().status, 200);
    client
}

/// Reads a blob's bytes from `from` on to its end.
#[track_caller]
fn expect_rest(client: &mut Client, blob: &Blob, from: usize) {
    assert_same(&client.exactly(blob.len() - from), &blob.bytes[from..]);
}

//! transship itself ends in mid-fill, and what had come is not fetched again.
//!
//! The sizes are forced: a partial has to be worth more than it costs to hash it again.

use rustix::process::Signal;

use super::{LOST_BYTES_MAX, MIB, Stage};
use crate::support::{Blob, Gate, Harm, On, Transship, assert_same, shelf, until};

const SIZE: usize = 160 * MIB;
const FAR: u64 = 128 << 20;

/// A fill that stands still after [`FAR`] bytes, all of which are written and noted.
fn fill_far(stage: &Stage, seed: u64) -> (Blob, crate::support::Client) {
    let blob = stage.make(seed, SIZE);
    let shut = Gate::new();
    stage.hop().harm(
        &On::blob(&blob).whole(),
        1,
        &Harm::none().wait_at(FAR, &shut),
    );
    let mut client = stage.cache.client();
    client.ask("GET", &blob.path(), &[]);
    assert_eq!(client.head().status, 200);
    shut.reached();
    stage
        .cache
        .until_metric("transship_upstream_bytes_total", &[], FAR);
    (blob, client)
}

/// Bytes of what lies in the store and is no blob yet.
fn partial_bytes(storage: &std::path::Path) -> u64 {
    let all = shelf::files(storage, ".");
    let blobs = shelf::files(storage, "blobs");
    let sum = |files: &[(std::path::PathBuf, u64)]| files.iter().map(|(_, size)| size).sum::<u64>();
    sum(&all) - sum(&blobs)
}

/// Pulls through a new process in the same storage; returns what the registry sent for it.
fn pull_again(stage: &Stage, storage: &std::path::Path, blob: &Blob) -> u64 {
    let before = stage.sent(blob);
    let urls = [stage.hop().url()];
    let again = Transship::behind(&urls, "").storage(storage).start();
    assert!(
        !shelf::place(storage, &blob.digest).exists(),
        "a partial is visible"
    );
    let reply = again.get(&blob.path());
    assert_eq!((reply.status(), reply.whole), (200, true));
    assert_same(&reply.body, &blob.bytes);
    again.until_metric("transship_fills_total", &[("outcome", "committed")], 1);
    assert_same(
        &std::fs::read(shelf::place(storage, &blob.digest)).unwrap(),
        &blob.bytes,
    );
    stage.sent(blob) - before
}

#[test]
fn what_a_killed_process_had_fetched_of_a_large_blob_is_not_fetched_again() {
    // A node that runs out of memory in mid-layer, again and again, would never have the layer.
    let mut stage = Stage::set();
    let (blob, client) = fill_far(&stage, 1);
    // Noted now and then, and not at each chunk.
    until("the partial has a name", || {
        partial_bytes(&stage.cache.storage) >= FAR / 2
    });
    let other = Transship::behind(&[stage.hop().url()], "").start();
    let killed = std::mem::replace(&mut stage.cache, other).kill();
    drop(client);
    let sent = pull_again(&stage, &killed.storage, &blob);
    assert!(sent < SIZE as u64, "{sent}: {:?}", stage.ranges(&blob));
}

#[test]
fn what_a_stopped_process_had_fetched_of_a_large_blob_is_not_fetched_again() {
    // Every upgrade would throw away the layers that were on their way.
    let mut stage = Stage::set();
    let options = Transship::behind(&[stage.hop().url()], "");
    stage.cache = options.env("REGISTRY_HTTP_DRAINTIMEOUT", "100ms").start();
    let (blob, client) = fill_far(&stage, 2);
    let other = Transship::behind(&[stage.hop().url()], "").start();
    let mut stopped = std::mem::replace(&mut stage.cache, other);
    stopped.process.signal(Signal::TERM);
    stopped.process.exit();
    drop(client);
    let sent = pull_again(&stage, &stopped.storage, &blob);
    let left = SIZE as u64 - FAR;
    assert!(
        sent <= left + LOST_BYTES_MAX,
        "{sent}: {:?}",
        stage.ranges(&blob)
    );
}

#[test]
fn a_partial_that_was_spoilt_while_nobody_ran_poisons_nothing() {
    // A disk that lost a page of it: the digest of the whole must notice, and the next pull be well.
    let mut stage = Stage::set();
    let options = Transship::behind(&[stage.hop().url()], "");
    stage.cache = options.env("REGISTRY_HTTP_DRAINTIMEOUT", "100ms").start();
    let (blob, client) = fill_far(&stage, 3);
    let other = Transship::behind(&[stage.hop().url()], "").start();
    let mut stopped = std::mem::replace(&mut stage.cache, other);
    stopped.process.signal(Signal::TERM);
    stopped.process.exit();
    drop(client);
    let files = shelf::files(&stopped.storage, ".");
    let (path, size) = files.iter().max_by_key(|(_, size)| *size).unwrap();
    assert!(*size > FAR / 2, "no partial was kept");
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"spoilt", 12_345_678).unwrap();
    assert!(
        file.metadata().unwrap().len() > FAR / 2,
        "no partial was kept"
    );

    let urls = [stage.hop().url()];
    let again = Transship::behind(&urls, "")
        .storage(&stopped.storage)
        .start();
    until("a pull comes whole", || {
        let reply = again.get(&blob.path());
        if reply.whole {
            assert_same(&reply.body, &blob.bytes);
        }
        reply.whole
    });
    let kept = shelf::place(&stopped.storage, &blob.digest);
    until("it is stored", || kept.exists());
    assert_same(&std::fs::read(kept).unwrap(), &blob.bytes);
}

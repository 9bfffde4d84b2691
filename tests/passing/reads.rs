//! A stored blob that cannot be read: a miss before the first byte, an abort after it.
//!
//! The faults are strace's, in the calls that touch this one file.

use std::path::PathBuf;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::SIZE;
use crate::support::transship::Killed;
use crate::support::{Blob, Rig, Transship, assert_same, until};

/// A blob that was stored by another process, and a transship whose calls for its file go by `inject`.
fn stored(size: usize, inject: &[&str]) -> (Killed, Rig, Blob) {
    let first = Rig::start();
    let blob = first.hit(1, size);
    let Rig { transship, origin } = first;
    let stopped = transship.stop();
    let path = path(&stopped.storage, &blob);
    let mut under = vec!["strace", "-f", "-o", "/dev/null", "-P", &path];
    inject
        .iter()
        .for_each(|inject| under.extend(["-e", inject]));
    let options = Transship::options().upstream(origin.url());
    // One core, so that there is one table of open blobs.
    let options = options.storage(&stopped.storage).cores(1).under(&under);
    let transship = options.start();
    // In the order in which they go: the storage last.
    (stopped, Rig { transship, origin }, blob)
}

fn path(storage: &std::path::Path, blob: &Blob) -> String {
    let (_, hex) = blob.digest.split_once(':').unwrap();
    let path: PathBuf = storage.join("blobs/sha256").join(&hex[..2]).join(hex);
    path.to_string_lossy().into_owned()
}

/// Checks that the blob is fetched anew, whole, and a hit once every helper thread has met its fault (strace
/// counts calls by thread).
#[track_caller]
fn expect_miss_then_hit(rig: &Rig, blob: &Blob) {
    assert_eq!(rig.expect_blob(blob).cache(), "fwd=uri-miss");
    until("it is a hit", || {
        let cache = rig.expect_blob(blob).cache();
        assert!(!cache.contains("bypass"), "{cache}");
        cache == "hit"
    });
}

#[test]
fn a_file_that_cannot_be_opened_is_a_miss() {
    // A bad sector under an inode would make the blob unavailable until somebody deletes it by hand.
    let (_storage, rig, blob) = stored(SIZE, &["inject=openat:error=EIO:when=1"]);
    expect_miss_then_hit(&rig, &blob);
}

#[test]
fn a_file_whose_first_byte_cannot_be_read_is_a_miss() {
    // Large or small: the client would get a head and then nothing.
    for size in [SIZE, 5000] {
        let (_storage, rig, blob) = stored(size, &["inject=pread64:error=EIO:when=1"]);
        expect_miss_then_hit(&rig, &blob);
    }
}

#[test]
fn a_file_whose_first_slice_cannot_be_read_is_a_miss() {
    // The head would be out, and the client's pull end short for a blob that the origin has.
    let (_storage, rig, blob) = stored(SIZE, &["inject=preadv2:error=EIO:when=1"]);
    expect_miss_then_hit(&rig, &blob);
}

#[test]
fn a_cold_slice_that_cannot_be_read_is_a_miss() {
    // It is read on a helper thread, which must be done before the head is out.
    let faults = [
        "inject=preadv2:error=EAGAIN:when=1+",
        // A thread's first one may be the look at the first byte.
        "inject=pread64:error=EIO:when=2+",
    ];
    let (_storage, rig, blob) = stored(SIZE, &faults);
    until("a thread meets its second read", || {
        let range = [("Range", "bytes=1000-99999")];
        let reply = rig.transship.client().call("GET", &blob.path(), &range);
        assert!(reply.status() == 206 && reply.whole);
        assert_same(&reply.body, &blob.bytes[1000..100_000]);
        reply.cache() == "fwd=uri-miss"
    });
}

#[test]
fn a_blob_that_a_core_has_open_and_cannot_read_any_more_is_a_miss() {
    // What was read well a while ago says nothing of the disk now.
    let (_storage, rig, blob) = stored(SIZE, &["inject=preadv2:error=EIO:when=2+"]);
    let range = [("Range", "bytes=0-9")];
    let mut client = rig.transship.client();
    let reply = client.call("GET", &blob.path(), &range);
    assert_eq!((reply.status(), reply.cache().as_str()), (206, "hit"));
    let reply = client.call("GET", &blob.path(), &[]);
    assert_eq!(reply.cache(), "fwd=uri-miss");
    assert!(reply.whole);
    assert_same(&reply.body, &blob.bytes);
}

#[test]
fn a_file_that_fails_in_mid_body_ends_the_response_and_is_fetched_anew() {
    // Every pull of it would end short until somebody looks.
    for fault in ["error=EIO", "retval=0"] {
        let inject = format!("inject=sendfile:{fault}:when=2");
        let (_storage, rig, blob) = stored(SIZE, &[&inject]);
        let reply = rig.transship.get(&blob.path());
        assert!(!reply.whole && reply.body.len() < SIZE);
        expect_miss_then_hit(&rig, &blob);
    }
}

#[test]
fn a_client_that_hangs_up_costs_no_blob() {
    // Any client could empty the cache by leaving early.
    let (_storage, rig, blob) = stored(SIZE, &["inject=sendfile:error=ECONNRESET:when=2"]);
    let reply = rig.transship.get(&blob.path());
    assert!(!reply.whole);
    assert_eq!(rig.expect_blob(&blob).cache(), "hit");
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
}

#[test]
fn a_shortage_of_descriptors_costs_neither_a_pull_nor_a_blob() {
    // A busy moment would empty the cache, or fail hits while hundreds of idle files are open.
    let first = Rig::start();
    let blobs: Vec<_> = (1..65)
        .map(|seed| first.origin.make(seed, 20_000))
        .collect();
    blobs.iter().for_each(|blob| drop(first.expect_blob(blob)));
    first.expect_committed(64);
    // What is not on the medium yet would be synced meanwhile, which takes a descriptor too.
    let Rig { transship, origin } = first;
    let stopped = transship.stop();
    let options = Transship::options().upstream(origin.url()).cores(1);
    let transship = options.storage(&stopped.storage).start();
    let rig = Rig { transship, origin };
    let mut client = rig.transship.client();
    assert_eq!(client.get(&blobs[0].path()).cache(), "hit");
    let id = rig.transship.process.id();
    let open = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap();
    let numbers = open.flatten().map(|item| item.file_name());
    let highest = numbers.filter_map(|name| name.to_str()?.parse::<u64>().ok());
    let enough = Some(highest.max().unwrap() + 1);
    let limit = Rlimit {
        current: enough,
        maximum: enough,
    };
    prlimit(
        Pid::from_raw(id.try_into().unwrap()),
        Resource::Nofile,
        limit,
    )
    .unwrap();
    for blob in &blobs {
        let reply = client.get(&blob.path());
        assert_eq!((reply.status(), reply.cache().as_str()), (200, "hit"));
        assert_same(&reply.body, &blob.bytes);
        assert_eq!(rig.origin.count("GET", &blob.path()), 1);
    }
}

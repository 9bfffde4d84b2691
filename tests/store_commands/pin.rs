//! What is pinned stays, and what is not pinned any more goes.

use super::transship;
use crate::support::{Rig, Shelf, Transship, until};

const BYTES_MAX: &str = "version: 0.1\n\
    storage: {filesystem: {rootdirectory: /unused}}\n\
    http: {addr: '127.0.0.1:0'}\n\
    transship: {access: {public: true}, store: {bytes_max: 4MiB}}\n";

const SIZE: usize = 400_000;

/// A server with room for ten blobs, and many that want it.
struct Crowd {
    rig: Rig,
    others: Shelf,
}

impl Crowd {
    fn start() -> Self {
        let rig = Rig::with(Transship::options().config(BYTES_MAX));
        let others = Shelf::stock(&rig.origin, 7, [SIZE; 30]);
        Self { rig, others }
    }

    /// Pulls all the others, once.
    fn push(&self) {
        for number in 0..self.others.len() {
            self.others.pull(self.rig.transship.addr, number);
        }
    }

    /// Waits until the server keeps so many digests.
    #[track_caller]
    fn until_pinned(&self, digests: u64) {
        until(&format!("{digests} digests are pinned"), || {
            let metrics = self.rig.transship.metrics();
            metrics.sum("transship_store_pinned", &[]) == digests
        });
    }
}

#[test]
fn a_pinned_blob_stays_while_others_come_and_go() {
    // The base image of every job: evicted by a scanner's night, it is fetched by everybody in the morning.
    let crowd = Crowd::start();
    let (rig, storage) = (&crowd.rig, &crowd.rig.transship.storage);
    let blob = rig.origin.make(1, SIZE);
    assert!(rig.transship.get(&blob.path()).whole);
    rig.expect_committed(1);
    transship(storage, &["pin", &blob.digest]).expect(0, &["1 pinned"]);
    crowd.until_pinned(1);
    crowd.push();
    assert!(rig.transship.get(&blob.path()).whole);
    assert_eq!(rig.origin.count("GET", &blob.path()), 1, "it was kept");
    transship(storage, &["pins"]).expect(0, &[&blob.digest]);
    transship(storage, &["unpin", &blob.digest]).expect(0, &["1 released"]);
    crowd.until_pinned(0);
    transship(storage, &["pins"]).expect(0, &[]);
}

#[test]
fn an_image_that_is_pinned_by_tag_stays_with_its_layers() {
    let crowd = Crowd::start();
    let (rig, storage) = (&crowd.rig, &crowd.rig.transship.storage);
    let layer = rig.origin.make(2, SIZE);
    let manifest = format!(
        r#"{{"schemaVersion":2,"layers":[{{"digest":"{}"}}]}}"#,
        layer.digest
    );
    rig.origin.tag("test/image", "stable", &manifest);
    transship(storage, &["pin", "test/image:stable"]).expect(0, &["1 pinned"]);
    until("the pin is read", || {
        rig.transship.process.log().contains("pins were read")
    });
    assert!(rig.transship.get("/v2/test/image/manifests/stable").whole);
    assert!(rig.transship.get(&layer.path()).whole);
    rig.expect_committed(1);
    // The manifest and its layer.
    crowd.until_pinned(2);
    crowd.push();
    assert!(rig.transship.get(&layer.path()).whole);
    assert_eq!(rig.origin.count("GET", &layer.path()), 1, "it was kept");
}

#[test]
fn what_makes_no_sense_is_not_pinned() {
    let root = tempfile::tempdir().unwrap();
    for reference in ["nginx", "sha256:12", "HOST:5000/x:y", "a@b"] {
        transship(root.path(), &["pin", reference]).expect(2, &[reference, "not a reference"]);
    }
    transship(root.path(), &["pin"]).expect(2, &[]);
    assert!(!root.path().join("pins").exists());
}

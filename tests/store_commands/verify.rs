//! Damage at rest is found, taken away, and filled anew.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{place, transship};
use crate::support::origin::MANIFEST;
use crate::support::{Blob, Rig, assert_same};

/// Flips a bit in the middle of a file, as a medium does: neither its length nor its times tell.
fn rot(path: &Path) {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let times = file.metadata().unwrap();
    let mut byte = [0];
    let at = times.len() / 2;
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    file.set_modified(times.modified().unwrap()).unwrap();
}

#[test]
fn a_rotten_blob_is_told_of_taken_away_and_filled_anew_beside_a_running_server() {
    // A flipped bit would be served for years, and every client would refuse the image.
    let rig = Rig::start();
    let bad = rig.hit(1, 3_000_000);
    let good = rig.origin.make(2, 10_000);
    assert!(rig.transship.get(&good.path()).whole);
    rig.expect_committed(2);
    let storage = &rig.transship.storage;
    transship(storage, &["verify"]).expect(0, &["2 sound, 0 damaged, 0 unreadable; 2.8"]);

    let path = place(storage, "blobs", &bad.digest);
    rot(&path);
    transship(storage, &["verify", "--keep"]).expect(1, &[&bad.digest, "left where it is"]);
    assert!(path.exists());
    let said = transship(storage, &["verify", "--keep", "--json"]);
    let said = said.expect(1, &["left where it is"]);
    // One object and nothing else, though something was found.
    let told: serde_json::Value = serde_json::from_str(&said.text).unwrap();
    assert_eq!((&told["damaged"], &told["sound"]), (&1.into(), &1.into()));
    let said = transship(storage, &["verify"]);
    said.expect(1, &[&bad.digest, "moved to", "1 sound, 1 damaged"]);
    assert!(!path.exists());
    let kept = storage
        .join("quarantine")
        .join(bad.digest.replace(':', "-"));
    assert_eq!(fs::metadata(kept).unwrap().len(), bad.bytes.len() as u64);

    let _ = rig.transship.get(&bad.path());
    crate::support::until("the server has filled it anew", || {
        rig.transship.get(&bad.path());
        path.exists()
    });
    let reply = rig.transship.get(&bad.path());
    assert!(reply.whole);
    assert_same(&reply.body, &bad.bytes);
    assert_eq!(rig.origin.count("GET", &bad.path()), 2);
    transship(storage, &["verify"]).expect(0, &["2 sound"]);
}

#[test]
fn a_manifest_is_held_to_its_digest_too_and_named_ones_alone_are_read() {
    let rig = Rig::start();
    let text = r#"{"schemaVersion":2,"layers":[],"annotations":{"a":"b"}}"#;
    let digest = rig.origin.tag("test/image", "latest", text);
    let reply = rig.transship.get("/v2/test/image/manifests/latest");
    assert_eq!(reply.field("content-type"), Some(MANIFEST));
    let blob = rig.hit(1, 100_000);
    let storage = &rig.transship.storage;
    rot(&place(storage, "manifests", &digest));
    transship(storage, &["verify", &blob.digest]).expect(0, &["1 sound, 0 damaged"]);
    let said = transship(storage, &["verify", &blob.digest, &digest]);
    said.expect(1, &[&digest, "(manifest)", "1 sound, 1 damaged"]);
    assert!(!place(storage, "manifests", &digest).exists());
    transship(storage, &["verify", &digest]).expect(1, &[&digest, "not stored"]);
}

#[test]
fn what_makes_no_sense_is_told_apart_from_what_is_not_well() {
    let folder = tempfile::tempdir().unwrap();
    let digest = Blob::seeded(1, 1).digest;
    // A mistyped directory is not a sound store.
    transship(folder.path(), &["verify"]).expect(1, &["no storage of transship"]);
    fs::create_dir(folder.path().join("blobs")).unwrap();
    transship(folder.path(), &["verify"]).expect(0, &["0 sound"]);
    transship(folder.path(), &["verify", &digest]).expect(1, &["1 not stored"]);
    transship(folder.path(), &["verify", "sha256:beef"]).expect(2, &["not a digest"]);
    transship(&folder.path().join("none"), &["verify"]).expect(1, &["No such file"]);
    assert!(
        !folder.path().join("none").exists(),
        "a check makes nothing"
    );
}

//! What an operator sees of the storage directory.

use std::fs;

use crate::support::process::until;
use crate::support::{Origin, Rig, Transship, assert_same};

const SHORT_TTL: &str = "version: 0.1
storage:
  delete: {enabled: true}
  filesystem: {rootdirectory: /unused}
http: {addr: 127.0.0.1:0}
middleware:
  registry:
    - name: downstream
      options: {blobttl: 1s, upstreams: [UPSTREAM]}
";

#[test]
fn a_blob_past_its_ttl_gives_its_disk_space_back() {
    // An open descriptor would keep the deleted file's blocks until the process ends.
    let origin = Origin::start();
    let blob = origin.make(1, 3_000_000);
    let config = SHORT_TTL.replace("UPSTREAM", &origin.url());
    let transship = Transship::options().config(config).start();
    assert!(transship.get(&blob.path()).whole);
    assert!(transship.get(&blob.path()).whole);
    until("the blob is deleted", || !transship.stores(&blob.digest));
    let descriptors = format!("/proc/{}/fd", transship.process.id());
    until("no deleted file is open", || {
        !fs::read_dir(&descriptors).unwrap().flatten().any(|item| {
            let target = fs::read_link(item.path()).unwrap_or_default();
            target.to_string_lossy().ends_with("(deleted)")
        })
    });
    let again = transship.get(&blob.path());
    assert_same(&again.body, &blob.bytes);
    assert_eq!(origin.count("GET", &blob.path()), 2);
}

#[test]
fn a_damaged_blob_is_found_before_it_is_served_after_an_unclean_stop() {
    // A power cut can leave a file under its final name whose bytes never arrived; many clients of it
    // must neither get them nor hash it once each.
    let Rig { transship, origin } = Rig::start();
    let blob = origin.make(2, 2_000_000);
    assert!(transship.get(&blob.path()).whole);
    transship.until_metric("transship_fills_total", &[("outcome", "committed")], 1);
    let killed = transship.kill();
    let (_, hex) = blob.digest.split_once(':').unwrap();
    let path = killed
        .storage
        .join("blobs/sha256")
        .join(&hex[..2])
        .join(hex);
    fs::write(&path, vec![0; blob.bytes.len()]).unwrap();

    let options = Transship::options().upstream(origin.url());
    let again = options.storage(&killed.storage).start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let reply = again.get(&blob.path());
                assert!(reply.whole && reply.body[..] == blob.bytes[..]);
            });
        }
    });
    assert_eq!(origin.count("GET", &blob.path()), 2);
}

//! Files of the store, damaged in any way.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tempfile::TempDir;
use transship::digest::Digest;
use transship::store::{House, Opened, Options, Reference, Store, pins};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Opens a store in which the file `name` has these bytes.
fn open_with(name: &str, bytes: &[u8]) -> (TempDir, Arc<Store>, House) {
    // In memory where that can be: a damaged file is written anew and forced to the medium.
    let memory = Path::new("/dev/shm");
    let root = if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    std::fs::write(root.path().join(name), bytes).unwrap();
    let options = Options::new(root.path().to_owned());
    let (store, house) = Store::open(&options, Arc::default()).unwrap();
    (root, store, house)
}

/// A file of links that is damaged in any way links nothing that is not stored, and stops nobody.
pub fn check_links(bytes: &[u8]) {
    let (_root, store, _house) = open_with("links", bytes);
    let digest: Digest = DIGEST.parse().unwrap();
    assert!(!store.is_linked("a/b", &digest));
    store.link("a/b", &digest);
    assert!(store.is_linked("a/b", &digest));
    assert!(!store.is_linked("a", &digest));
}

/// Whatever an index says, nothing is served that is not there, and the next start knows better.
pub fn check_index(bytes: &[u8]) {
    let (root, store, mut house) = open_with("index", bytes);
    let digest: Digest = DIGEST.parse().unwrap();
    assert!(matches!(store.open_blob(&digest).unwrap(), Opened::Absent));
    if store.wants_scan() {
        store.scan().unwrap();
        assert_eq!(store.entries(), 0);
        house.tick(Instant::now(), SystemTime::now());
        house.close();
        drop(store);
        let options = Options::new(root.path().to_owned());
        let (store, _house) = Store::open(&options, Arc::default()).unwrap();
        assert!(!store.wants_scan() && store.entries() == 0);
    }
}

/// A list of pins holds references and nothing else, and each is written as it is read.
pub fn check_pins(bytes: &[u8]) {
    let (root, _store, _house) = open_with("pins", bytes);
    for pin in pins(root.path()).unwrap_or_default() {
        assert_eq!(pin.to_string().parse::<Reference>(), Ok(pin));
    }
}

//! Files of the store, damaged in any way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use transship::digest::Digest;
use transship::store::{House, Opened, Options, Reference, Store, TagKey, pins};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

thread_local! {
    /// One root for all inputs: to make its folders costs more than all else. In memory where that can be: a
    /// damaged file is written anew and forced to the medium.
    static ROOT: TempDir = {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        }
    };
}

/// Returns a root in which the file `name` has these bytes, and no other file is.
fn root_with(name: &str, bytes: &[u8]) -> PathBuf {
    let root = ROOT.with(|root| root.path().to_owned());
    for item in std::fs::read_dir(&root).unwrap().flatten() {
        if item.file_type().unwrap().is_file() {
            std::fs::remove_file(item.path()).unwrap();
        }
    }
    std::fs::write(root.join(name), bytes).unwrap();
    root
}

fn open(root: &Path) -> (Arc<Store>, House) {
    Store::open(&Options::new(root.to_owned()), Arc::default()).unwrap()
}

/// A file of links that is damaged in any way links nothing that is not stored, and stops nobody.
pub fn check_links(bytes: &[u8]) {
    let (store, _house) = open(&root_with("links", bytes));
    let digest: Digest = DIGEST.parse().unwrap();
    assert!(!store.is_linked("a/b", &digest));
    store.link("a/b", &digest);
    assert!(store.is_linked("a/b", &digest));
    assert!(!store.is_linked("a", &digest));
}

/// A file of tags that is damaged in any way tells of no tag that it does not name, and stops nobody.
pub fn check_tags(bytes: &[u8]) {
    let (store, _house) = open(&root_with("tags", bytes));
    let digest: Digest = DIGEST.parse().unwrap();
    let key = TagKey {
        repository: "fuzz/fuzz",
        tag: "fuzz",
        accept: digest,
    };
    assert_eq!(store.tagged(key), None);
    store.confirm_tag(key, &digest, Duration::ZERO);
    assert_eq!(store.tagged(key).map(|tagged| tagged.digest), Some(digest));
    store.forget_tag(key.repository, key.tag);
    assert_eq!(store.tagged(key), None);
}

/// Whatever an index says, nothing is served that is not there, and the next start knows better.
pub fn check_index(bytes: &[u8]) {
    let root = root_with("index", bytes);
    let (store, mut house) = open(&root);
    let digest: Digest = DIGEST.parse().unwrap();
    assert!(matches!(store.open_blob(&digest).unwrap(), Opened::Absent));
    if store.wants_scan() {
        store.scan().unwrap();
        assert_eq!(store.entries(), 0);
        house.tick(Instant::now(), SystemTime::now());
        house.close();
        drop(store);
        let (store, _house) = open(&root);
        assert!(!store.wants_scan() && store.entries() == 0);
    }
}

/// What lies beside an unfinished file gets nobody anything but what hashes to it.
pub fn check_kept(bytes: &[u8]) {
    let root = root_with("links", b"");
    let partials = root.join("partial");
    for item in std::fs::read_dir(&partials).into_iter().flatten() {
        std::fs::remove_file(item.unwrap().path()).unwrap();
    }
    std::fs::create_dir_all(&partials).unwrap();
    // Zeros, without taking room.
    let file = std::fs::File::create(partials.join("0-1")).unwrap();
    file.set_len(16 << 20).unwrap();
    drop(file);
    std::fs::write(partials.join("0-1.progress"), bytes).unwrap();
    let (store, _house) = open(&root);
    let digest: Digest = DIGEST.parse().unwrap();
    let is_known = store.has_kept(&digest);
    let kept = store.take_kept(&digest, None).unwrap();
    if let Some(kept) = &kept {
        assert!(is_known && kept.prefix_bytes == 16 << 20 && kept.size_bytes >= 16 << 20);
    }
    assert!(!store.has_kept(&digest));
    drop(kept);
}

/// A list of pins holds references and nothing else, and each is written as it is read.
pub fn check_pins(bytes: &[u8]) {
    let root = root_with("pins", bytes);
    for pin in pins(&root).unwrap_or_default() {
        assert_eq!(pin.to_string().parse::<Reference>(), Ok(pin));
    }
}

use std::os::unix::fs::FileExt;

use super::*;

fn open(root: &std::path::Path) -> Store {
    Store::open(&Options {
        root: root.to_owned(),
        blob_ttl: None,
    })
    .unwrap()
}

fn put(store: &Store, content: &[u8]) -> Digest {
    let digest = Digest::of(Algorithm::Sha256, content);
    let partial = store.begin(None).unwrap();
    partial.write(content, 0).unwrap();
    store
        .commit(&digest, partial, content.len() as u64)
        .unwrap();
    digest
}

fn content(store: &Store, digest: &Digest) -> Option<Vec<u8>> {
    let blob = store.open_blob(digest).unwrap()?;
    let mut bytes = vec![0; usize::try_from(blob.size_bytes).unwrap()];
    blob.file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

fn files(path: &std::path::Path) -> usize {
    walk(path).len()
}

fn walk(path: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(path).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path))
        } else {
            found.push(path)
        }
    }
    found
}

#[test]
fn a_committed_blob_is_a_hit_and_survives_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let digest = put(&store, b"layer");
    assert_eq!(content(&store, &digest).unwrap(), b"layer");
    drop(store);
    let store = open(root.path());
    assert_eq!(store.blobs(), 1);
    assert_eq!(content(&store, &digest).unwrap(), b"layer");
}

#[test]
fn an_abandoned_partial_is_never_found_and_leaves_no_file() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    for way in [Publish::LinkUnnamed, Publish::LinkNamed, Publish::Rename] {
        let partial = way
            .begin(&store.layout, store.checkpoint.failures())
            .unwrap();
        partial.write(b"half", 0).unwrap();
        drop(partial);
        assert_eq!(files(root.path()), 0, "{way:?}");
    }
}

#[test]
fn every_way_to_publish_works_twice_for_one_digest() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    for way in [Publish::LinkUnnamed, Publish::LinkNamed, Publish::Rename] {
        let digest = Digest::of(Algorithm::Sha512, way.describe().as_bytes());
        for _ in 0..2 {
            let partial = way
                .begin(&store.layout, store.checkpoint.failures())
                .unwrap();
            partial.write(way.describe().as_bytes(), 0).unwrap();
            let size = way.describe().len() as u64;
            store.commit(&digest, partial, size).unwrap();
            assert_eq!(
                content(&store, &digest).unwrap(),
                way.describe().as_bytes(),
                "{way:?}"
            );
        }
    }
    assert_eq!(walk(&store.layout.partials()), Vec::<PathBuf>::new());
}

#[test]
fn a_blob_that_a_power_cut_may_have_damaged_is_hashed_before_it_is_served() {
    let root = tempfile::tempdir().unwrap();
    let digest = put(&open(root.path()), b"layer");
    let path = Layout::new(root.path().to_owned()).path(Kind::Blob, &digest);
    std::fs::write(&path, b"zeros").unwrap();
    let store = open(root.path());
    assert_eq!(content(&store, &digest), None);
    assert!(!path.exists());
    assert!(store.lookup(&digest).is_none());
}

#[test]
fn a_checkpoint_covers_what_was_committed_before_it_and_nothing_later() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let early = put(&store, b"early");
    // The margin of file times must pass, however long that takes here.
    let entered = std::time::Instant::now();
    while entered.elapsed() < Duration::from_millis(30) {
        std::thread::yield_now();
    }
    store.checkpoint().unwrap();
    let late = put(&store, b"late");
    drop(store);
    let store = open(root.path());
    assert!(store.lookup(&early).unwrap().is_proved());
    assert!(!store.lookup(&late).unwrap().is_proved());
    assert_eq!(content(&store, &late).unwrap(), b"late");
    assert!(store.lookup(&late).unwrap().is_proved());
}

#[test]
fn a_vanished_or_short_file_becomes_absent_not_an_error() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let (gone, short) = (put(&store, b"gone"), put(&store, b"short"));
    std::fs::remove_file(store.layout.path(Kind::Blob, &gone)).unwrap();
    std::fs::write(store.layout.path(Kind::Blob, &short), b"sho").unwrap();
    assert_eq!(content(&store, &gone), None);
    assert_eq!(content(&store, &short), None);
    assert_eq!(store.blobs(), 0);
}

#[test]
fn the_ttl_deletes_what_was_not_used_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let ttl = Duration::from_secs(3600);
    let options = Options {
        root: root.path().to_owned(),
        blob_ttl: Some(ttl),
    };
    let store = Store::open(&options).unwrap();
    let (used, unused) = (put(&store, b"used"), put(&store, b"unused"));
    let later = SystemTime::now() + ttl + Duration::from_secs(60);
    let open = store.open_blob(&unused).unwrap().unwrap();
    let now = later
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    store.lookup(&used).unwrap().touch(now);
    assert_eq!(store.expire(SystemTime::now()), 0);
    assert_eq!(store.expire(later), 1);
    assert!(open.entry.is_gone());
    assert_eq!(content(&store, &unused), None);
    assert_eq!(content(&store, &used).unwrap(), b"used");
    let mut bytes = [0; 6];
    open.file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"unused", "a blob being sent stays readable");
}

#[test]
fn manifests_are_kept_with_their_type_and_a_damaged_one_is_absent() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let manifest = Arc::new(Manifest {
        media_type: "application/x+json".to_owned(),
        bytes: b"{}\n".to_vec(),
    });
    let digest = Digest::of(Algorithm::Sha256, &manifest.bytes);
    store.keep_manifest(&digest, &manifest).unwrap();
    drop(store);
    let store = open(root.path());
    assert_eq!(store.manifest(&digest).unwrap().unwrap(), manifest);
    drop(store);
    let store = open(root.path());
    std::fs::write(
        store.layout.path(Kind::Manifest, &digest),
        b"application/x+json\n[]",
    )
    .unwrap();
    assert_eq!(store.manifest(&digest).unwrap(), None);
}

#[test]
fn files_that_are_not_ours_are_left_alone() {
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path()));
    let stranger = root.path().join("blobs/sha256/00/README");
    std::fs::write(&stranger, b"mine").unwrap();
    assert_eq!(open(root.path()).blobs(), 0);
    assert!(stranger.exists());
}

#[test]
fn a_failed_sync_takes_back_what_it_may_have_lost_and_what_was_being_written() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let safe = put(&store, b"safe");
    store.checkpoint().unwrap();
    let young = put(&store, b"young");
    let unfinished = store.begin(None).unwrap();
    unfinished.write(b"unfinished", 0).unwrap();
    // The checkpoint's own file cannot be made: a sync that fails, without a disk that does.
    let next = root.path().join("checkpoint.next");
    std::fs::create_dir(&next).unwrap();
    assert!(store.checkpoint().is_err());
    assert_eq!(content(&store, &young), None);
    assert_eq!(content(&store, &safe).unwrap(), b"safe");
    let digest = Digest::of(Algorithm::Sha256, b"unfinished");
    assert!(store.commit(&digest, unfinished, 10).is_err());
    assert_eq!(content(&store, &digest), None);
    std::fs::remove_dir(&next).unwrap();
    store.checkpoint().unwrap();
    let again = put(&store, b"young");
    assert_eq!(content(&store, &again).unwrap(), b"young");
}

#[test]
fn a_new_fill_replaces_a_damaged_file_that_could_not_be_deleted() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let digest = put(&store, b"layer");
    store.index.remove(&digest);
    std::fs::write(store.layout.path(Kind::Blob, &digest), b"zeros").unwrap();
    assert_eq!(put(&store, b"layer"), digest);
    assert_eq!(content(&store, &digest).unwrap(), b"layer");
}

#[test]
fn links_go_with_their_blob_and_do_not_come_back_with_it() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let (kept, gone) = (put(&store, b"kept"), put(&store, b"gone"));
    store.link("a", &kept);
    store.link("a", &gone);
    store.checkpoint().unwrap();
    store.discard(&gone);
    assert!(!store.is_linked("a", &gone));
    put(&store, b"gone");
    store.link("b", &gone);
    store.checkpoint().unwrap();
    drop(store);
    let store = open(root.path());
    assert!(store.is_linked("a", &kept));
    assert!(store.is_linked("b", &gone));
    assert!(!store.is_linked("a", &gone));
}

#[test]
fn links_to_blobs_that_expire_vanish_or_are_damaged_go() {
    let root = tempfile::tempdir().unwrap();
    let options = Options {
        root: root.path().to_owned(),
        blob_ttl: Some(Duration::from_secs(3600)),
    };
    let store = Store::open(&options).unwrap();
    let (stale, gone, short) = (
        put(&store, b"stale"),
        put(&store, b"gone"),
        put(&store, b"short"),
    );
    for digest in [&stale, &gone, &short] {
        store.link("a", digest);
    }
    std::fs::remove_file(store.layout.path(Kind::Blob, &gone)).unwrap();
    std::fs::write(store.layout.path(Kind::Blob, &short), b"sho").unwrap();
    assert_eq!(content(&store, &gone), None);
    assert_eq!(content(&store, &short), None);
    assert!(store.is_linked("a", &stale));
    store.expire(SystemTime::now() + Duration::from_secs(7200));
    for digest in [&stale, &gone, &short] {
        assert!(!store.is_linked("a", digest), "{digest}");
    }
}

#[test]
fn a_link_to_a_manifest_lives_as_long_as_the_manifest() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let manifest = Arc::new(Manifest {
        media_type: "application/x+json".to_owned(),
        bytes: b"{}".to_vec(),
    });
    let digest = Digest::of(Algorithm::Sha256, &manifest.bytes);
    store.keep_manifest(&digest, &manifest).unwrap();
    store.link("a", &digest);
    store.link("a", &Digest::of(Algorithm::Sha256, b"never stored"));
    store.checkpoint().unwrap();
    drop(store);
    let store = open(root.path());
    assert!(store.is_linked("a", &digest));
    assert!(!store.is_linked("a", &Digest::of(Algorithm::Sha256, b"never stored")));
    std::fs::write(store.layout.path(Kind::Manifest, &digest), b"damaged").unwrap();
    assert_eq!(store.manifest(&digest).unwrap(), None);
    assert!(!store.is_linked("a", &digest));
}

#[test]
fn links_alone_move_the_checkpoint_and_are_written_anew_after_a_failed_sync() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let safe = put(&store, b"safe");
    store.checkpoint().unwrap();
    std::fs::remove_file(root.path().join("checkpoint")).unwrap();
    store.link("a", &safe);
    store.checkpoint().unwrap();
    assert!(root.path().join("checkpoint").exists(), "a link is synced");
    let log = root.path().join("links");
    let text = std::fs::read_to_string(&log).unwrap();
    let young = put(&store, b"young");
    store.link("a", &young);
    let next = root.path().join("checkpoint.next");
    std::fs::create_dir(&next).unwrap();
    assert!(store.checkpoint().is_err());
    assert!(!store.is_linked("a", &young), "the blob was taken back");
    std::fs::remove_dir(&next).unwrap();
    store.checkpoint().unwrap();
    assert_eq!(std::fs::read_to_string(&log).unwrap(), text);
}

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use super::*;
use crate::digest::{Algorithm, Digest};
use crate::registry::media_type::OCI_MANIFEST;
use crate::store::tests::{is_doubtful, open};

/// A registry's storage, written by hand.
struct Old {
    root: tempfile::TempDir,
}

impl Old {
    fn new() -> Self {
        let old = Self {
            root: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(old.v2().join("repositories")).unwrap();
        old
    }

    fn v2(&self) -> PathBuf {
        self.root.path().join("docker/registry/v2")
    }

    fn data(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let tree = self.v2().join("blobs/sha256");
        tree.join(&hex[..2]).join(hex).join("data")
    }

    fn blob(&self, content: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, content);
        let path = self.data(&digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        digest
    }

    fn revision(&self, name: &str, digest: &Digest, link: &str) {
        let folder = format!("repositories/{name}/_manifests/revisions/sha256");
        let folder = self.v2().join(folder).join(digest.hex());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("link"), link).unwrap();
    }

    fn manifest(&self, content: &str) -> Digest {
        let digest = self.blob(content.as_bytes());
        self.revision("some/name", &digest, &digest.to_string());
        digest
    }

    fn import(&self, root: &Path) -> Tally {
        let source = Source::find(self.root.path()).unwrap();
        import_all(&source, root)
    }
}

fn import_all(source: &Source, root: &Path) -> Tally {
    let options = Options {
        source,
        root,
        copy: false,
        threads: 3,
    };
    let found = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let tally = import(&options, &|event| match event {
        Event::Found { bytes, .. } => found.store(bytes, Ordering::Relaxed),
        Event::Done(bytes) => drop(done.fetch_add(bytes, Ordering::Relaxed)),
        Event::Trouble(..) => {}
    });
    assert_eq!(found.into_inner(), done.into_inner(), "the bar ends full");
    tally.unwrap()
}

/// Waits until files made before are older than a checkpoint made after, however long that takes here.
fn pass_margin() {
    let entered = Instant::now();
    while entered.elapsed() < Duration::from_millis(30) {
        std::thread::yield_now();
    }
}

const MANIFEST: &str = r#"{"schemaVersion":2,"layers":[]}"#;

#[test]
fn a_registry_comes_in_and_is_served_without_another_hash() {
    let old = Old::new();
    let (blob, manifest) = (old.blob(b"layer"), old.manifest(MANIFEST));
    let root = tempfile::tempdir().unwrap();
    let tally = old.import(root.path());
    assert_eq!(
        (tally.linked, tally.copied, tally.bytes),
        (1, 1, 5 + MANIFEST.len() as u64)
    );
    assert!(is_marked(root.path()));
    forget_mark(root.path()).unwrap();
    assert!(!is_marked(root.path()));
    pass_margin();
    old.blob(b"another");
    old.import(root.path());
    let store = open(root.path());
    assert!(!is_doubtful(&store, &blob));
    let kept = store.manifest(&manifest).unwrap().unwrap();
    assert_eq!(
        (&*kept.media_type, &*kept.bytes),
        (OCI_MANIFEST, MANIFEST.as_bytes())
    );
    assert!(
        !store.is_linked("some/name", &blob),
        "rights are the origin's"
    );
}

#[test]
fn the_checkpoint_moves_over_nothing_that_was_not_hashed() {
    // What a power cut had damaged before the import would count as sound after it.
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let content = b"filled before the power cut";
    let digest = Digest::of(Algorithm::Sha256, content);
    let mut partial = store.begin(None).unwrap();
    let zeros = b"zeros where the bytes of it";
    store.write(&mut partial, zeros, 0).unwrap();
    store
        .commit(&digest, partial, content.len() as u64)
        .unwrap();
    drop(store);
    let old = Old::new();
    old.blob(b"layer");
    pass_margin();
    old.import(root.path());
    let store = open(root.path());
    assert!(store.lookup(&digest).is_none());
    assert_eq!(store.entries(), 1);
}

#[test]
fn only_what_a_repository_calls_a_manifest_and_looks_like_one_is_one() {
    let old = Old::new();
    let blob = old.blob(br#"{"schemaVersion":2,"layers":[],"is":"an image's own file"}"#);
    let none = old.manifest(r#"{"schemaVersion":1}"#);
    let deleted = old.blob(br#"{"schemaVersion":2,"layers":[1]}"#);
    old.revision("deleted", &deleted, "");
    old.revision("lies", &blob, &deleted.to_string());
    let deep = old.blob(br#"{"schemaVersion":2,"layers":[2]}"#);
    old.revision(&"a/".repeat(100), &deep, &deep.to_string());
    std::os::unix::fs::symlink(old.v2(), old.v2().join("repositories/loop")).unwrap();
    let root = tempfile::tempdir().unwrap();
    let tally = old.import(root.path());
    assert_eq!((tally.linked, tally.copied, tally.no_manifest), (2, 1, 1));
    let layout = Layout::new(root.path().to_owned());
    assert!(layout.path(Kind::Blob, &blob).exists() && layout.path(Kind::Blob, &deleted).exists());
    assert!(layout.path(Kind::Manifest, &deep).exists());
    assert!(
        !layout.path(Kind::Manifest, &none).exists() && !layout.path(Kind::Blob, &none).exists()
    );
}

#[test]
fn what_is_damaged_or_no_file_at_all_gets_no_name_here() {
    let old = Old::new();
    let (good, bad) = (old.blob(b"good"), old.blob(b"bad"));
    fs::write(old.data(&bad), b"BAD").unwrap();
    let manifest = old.manifest(MANIFEST);
    fs::write(old.data(&manifest), MANIFEST.replace('2', "3")).unwrap();
    let (folder, link) = (old.blob(b"folder"), old.blob(b"link"));
    fs::remove_file(old.data(&folder)).unwrap();
    fs::create_dir(old.data(&folder)).unwrap();
    fs::remove_file(old.data(&link)).unwrap();
    std::os::unix::fs::symlink(old.data(&good), old.data(&link)).unwrap();
    fs::write(old.v2().join("scheduler-state.json"), "{}").unwrap();
    let root = tempfile::tempdir().unwrap();
    let tally = old.import(root.path());
    assert!(!tally.is_well());
    assert_eq!((tally.linked, tally.damaged), (1, 2));
    assert_eq!(open(root.path()).entries(), 1);
}

#[test]
fn a_file_of_the_wrong_length_is_replaced_and_of_the_right_one_left() {
    let old = Old::new();
    let blob = old.blob(b"layer");
    let root = tempfile::tempdir().unwrap();
    old.import(root.path());
    let path = Layout::new(root.path().to_owned()).path(Kind::Blob, &blob);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"lay").unwrap();
    pass_margin();
    // As old as the checkpoint says is sound.
    Checkpoint::read(root.path())
        .map(|checkpoint| {
            checkpoint.note();
            checkpoint.advance(root.path(), true).unwrap();
        })
        .unwrap();
    assert_eq!(old.import(root.path()).linked, 1);
    assert_eq!(fs::read(&path).unwrap(), b"layer");
    assert_eq!(old.import(root.path()).here, 1);
}

#[test]
fn an_imported_blob_counts_as_used_when_it_was_imported() {
    // With a TTL, what the registry fetched last year would be deleted before anybody could pull it.
    let old = Old::new();
    let blob = old.blob(b"layer");
    let file = fs::File::options()
        .write(true)
        .open(old.data(&blob))
        .unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    file.set_times(
        fs::FileTimes::new()
            .set_accessed(long_ago)
            .set_modified(long_ago),
    )
    .unwrap();
    let root = tempfile::tempdir().unwrap();
    let before = SystemTime::now() - Duration::from_secs(5);
    old.import(root.path());
    let path = Layout::new(root.path().to_owned()).path(Kind::Blob, &blob);
    let ours = fs::metadata(path).unwrap();
    assert_eq!(ours.ino(), fs::metadata(old.data(&blob)).unwrap().ino());
    assert!(ours.accessed().unwrap() >= before);
}

#[test]
fn an_old_registry_is_told_of_while_nothing_is_stored() {
    let old = Old::new();
    let dir = old.root.path();
    let root = tempfile::tempdir().unwrap();
    assert_eq!(old_registry(root.path(), dir), None, "it has no blobs");
    old.blob(b"layer");
    assert_eq!(old_registry(root.path(), dir), Some(dir.to_owned()));
    open(dir);
    assert_eq!(
        old_registry(dir, dir),
        Some(dir.to_owned()),
        "empty folders are nothing"
    );
    old.import(dir);
    assert_eq!(old_registry(dir, dir), None);
    assert_eq!(old_registry(root.path(), root.path()), None);
}

#[test]
fn a_source_is_found_from_anywhere_on_the_way_down() {
    let old = Old::new();
    old.blob(b"layer");
    for way in [
        "",
        "docker",
        "docker/registry",
        "docker/registry/v2",
        "docker/registry/v2/blobs",
    ] {
        let source = Source::find(&old.root.path().join(way)).unwrap();
        assert_eq!(
            (source.base(), source.form()),
            (&*old.v2(), Form::Registry),
            "{way}"
        );
    }
    fs::remove_dir(old.v2().join("repositories")).unwrap();
    assert!(Source::find(old.root.path()).is_some(), "blobs alone");
    let root = tempfile::tempdir().unwrap();
    assert!(Source::find(root.path()).is_none());
    open(root.path());
    assert_eq!(Source::find(root.path()).unwrap().form(), Form::Transship);
    assert_eq!(
        Source::find(&root.path().join("blobs")).unwrap().form(),
        Form::Transship
    );
}

mod model;

use std::ops::Deref;
use std::os::unix::fs::FileExt;

use super::*;

/// A store and whoever keeps it, not ended in order when it is dropped: as if the process were killed.
pub(in crate::store) struct Opened {
    store: Arc<Store>,
    house: House,
}

impl Deref for Opened {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Opened {
    /// Has the disk tried now.
    fn try_disk(&mut self) {
        let now = Instant::now();
        self.store.trouble.hasten(now);
        self.house.tick(now, SystemTime::now());
    }

    fn end(self) {
        self.house.close();
    }

    pub(in crate::store) fn into_parts(self) -> (Arc<Store>, House) {
        (self.store, self.house)
    }
}

fn options(root: &std::path::Path) -> Options {
    Options {
        // What others leave free on the file system that tests run on is not their subject.
        free_min: Amount::Bytes(0),
        ..Options::new(root.to_owned())
    }
}

fn open_with(options: &Options) -> Opened {
    let (store, house) = Store::open(options, Arc::default()).unwrap();
    if store.wants_scan() {
        store.scan().unwrap();
    }
    Opened { store, house }
}

pub(in crate::store) fn open(root: &std::path::Path) -> Opened {
    open_with(&options(root))
}

fn try_put(store: &Store, content: &[u8]) -> io::Result<Digest> {
    let digest = Digest::of(Algorithm::Sha256, content);
    let size_bytes = content.len() as u64;
    let mut partial = store.begin(Some(size_bytes))?;
    store.write(&mut partial, content, 0)?;
    store.commit(&digest, partial, size_bytes)?;
    Ok(digest)
}

fn put(store: &Store, content: &[u8]) -> Digest {
    try_put(store, content).unwrap()
}

fn open_blob(store: &Store, digest: &Digest) -> Option<OpenBlob> {
    let opened = match store.open_blob(digest).unwrap() {
        super::Opened::Doubtful => store.prove_blob(digest).unwrap(),
        opened => opened,
    };
    match opened {
        super::Opened::Here(blob) => Some(blob),
        super::Opened::Absent => None,
        super::Opened::Doubtful => panic!("it was hashed"),
    }
}

pub(in crate::store) fn content(store: &Store, digest: &Digest) -> Option<Vec<u8>> {
    let blob = open_blob(store, digest)?;
    let mut bytes = vec![0; usize::try_from(blob.size_bytes).unwrap()];
    blob.file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

pub(in crate::store) fn is_doubtful(store: &Store, digest: &Digest) -> bool {
    matches!(store.open_blob(digest).unwrap(), super::Opened::Doubtful)
}

/// A sync that finds that writes were lost.
fn fail(_: &File) -> io::Result<()> {
    Err(rustix::io::Errno::IO.into())
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
    assert_eq!(store.entries(), 1);
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
        assert_eq!(files(&store.layout.partials()), 0, "{way:?}");
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
    pass_margin();
    store.checkpoint().unwrap();
    let late = put(&store, b"late");
    drop(store);
    let store = open(root.path());
    assert!(!is_doubtful(&store, &early));
    assert!(is_doubtful(&store, &late));
    assert_eq!(content(&store, &late).unwrap(), b"late");
    assert!(!is_doubtful(&store, &late));
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
    assert_eq!(store.entries(), 0);
}

#[test]
fn the_ttl_deletes_what_was_not_used_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let ttl = Duration::from_secs(3600);
    let store = open_with(&Options {
        blob_ttl: Some(ttl),
        ..options(root.path())
    });
    let (used, unused) = (put(&store, b"used"), put(&store, b"unused"));
    let later = SystemTime::now() + ttl + Duration::from_secs(60);
    let open = open_blob(&store, &unused).unwrap();
    let now = u64::from(seconds(later));
    let reading = open_blob(&store, &used).unwrap().entry;
    store.touch(&reading, now, 1);
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
    assert_eq!(open(root.path()).entries(), 0);
    assert!(stranger.exists());
}

#[test]
fn a_failed_sync_takes_back_what_it_may_have_lost_and_what_was_being_written() {
    let root = tempfile::tempdir().unwrap();
    let mut store = open(root.path());
    let safe = put(&store, b"safe");
    store.checkpoint().unwrap();
    let young = put(&store, b"young");
    let mut unfinished = store.begin(None).unwrap();
    store.write(&mut unfinished, b"unfinished", 0).unwrap();
    let works = std::mem::replace(&mut *store.checkpoint.sync.lock(), fail);
    assert!(store.checkpoint().is_err());
    assert_eq!(content(&store, &young), None);
    assert_eq!(content(&store, &safe).unwrap(), b"safe");
    let digest = Digest::of(Algorithm::Sha256, b"unfinished");
    assert!(store.commit(&digest, unfinished, 10).is_err());
    assert_eq!(content(&store, &digest), None);
    assert!(
        try_put(&store, b"young").is_err(),
        "the disk has to prove itself"
    );
    *store.checkpoint.sync.lock() = works;
    store.try_disk();
    store.checkpoint().unwrap();
    let again = put(&store, b"young");
    assert_eq!(content(&store, &again).unwrap(), b"young");
}

#[test]
fn a_new_fill_replaces_a_damaged_file_that_could_not_be_deleted() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let digest = put(&store, b"layer");
    let entry = store.lookup(&digest).unwrap();
    store.inventory.remove(&entry, Removal::Damaged);
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
    let entry = store.lookup(&gone).unwrap();
    store.delete(&entry, Removal::Room);
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
    let store = open_with(&Options {
        blob_ttl: Some(Duration::from_secs(3600)),
        ..options(root.path())
    });
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
    let works = std::mem::replace(&mut *store.checkpoint.sync.lock(), fail);
    assert!(store.checkpoint().is_err());
    assert!(!store.is_linked("a", &young), "the blob was taken back");
    *store.checkpoint.sync.lock() = works;
    store.checkpoint().unwrap();
    assert_eq!(std::fs::read_to_string(&log).unwrap(), text);
}

/// A store of at most `bytes_max` that makes room only when it has to.
pub(in crate::store) fn open_small(root: &std::path::Path, bytes_max: u64) -> Opened {
    open_with(&Options {
        bytes_max: Amount::Bytes(bytes_max),
        high_watermark: 100,
        low_watermark: 100,
        ..options(root)
    })
}

fn blob(number: u8) -> Vec<u8> {
    vec![number; 100]
}

fn live(store: &Store) -> u64 {
    store.inventory.numbers().bytes.load(Ordering::Relaxed)
}

#[test]
fn room_is_made_for_what_comes_and_never_more_than_there_is() {
    let root = tempfile::tempdir().unwrap();
    let store = open_small(root.path(), 1000);
    for number in 0..50 {
        put(&store, &blob(number));
        assert!(live(&store) <= 1000);
    }
    assert_eq!((live(&store), store.entries()), (1000, 10));
    assert_eq!(files(&root.path().join("blobs")), 10);
    assert!(content(&store, &put(&store, &blob(50))).is_some());
    let error = try_put(&store, &[1; 1001]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(store.entries(), 10, "what can never fit evicts nothing");
}

#[test]
fn a_blob_of_unknown_size_takes_room_as_it_grows() {
    let root = tempfile::tempdir().unwrap();
    let step = crate::limits::ROOM_STEP_BYTES;
    let store = open_small(root.path(), 4 * step);
    let chunk = vec![7; usize::try_from(step).unwrap()];
    let mut partial = store.begin(None).unwrap();
    store.write(&mut partial, &chunk, 0).unwrap();
    store.write(&mut partial, b"more", step).unwrap();
    let error = store.begin(Some(3 * step)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "half is promised");
    store.write(&mut partial, &chunk[4..], step + 4).unwrap();
    let error = store.write(&mut partial, b"more", 2 * step).unwrap_err();
    assert_eq!(
        error.kind(),
        io::ErrorKind::StorageFull,
        "it might be endless"
    );
    drop(partial);
    let whole = store.begin(Some(4 * step));
    assert!(whole.is_ok(), "a promise ends with its fill");
}

#[test]
fn a_deleted_blob_counts_until_it_is_closed() {
    let root = tempfile::tempdir().unwrap();
    let store = open_small(root.path(), 1000);
    let first = put(&store, &[1; 900]);
    let open = open_blob(&store, &first).unwrap();
    let error = try_put(&store, &[2; 900]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(open.entry.is_gone(), "it made way");
    let lingering = &store.inventory.numbers().lingering_bytes;
    assert_eq!(lingering.load(Ordering::Relaxed), 900);
    let mut bytes = [0; 900];
    open.file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, [1; 900]);
    drop(open);
    put(&store, &[2; 900]);
    assert_eq!(lingering.load(Ordering::Relaxed), 0);
}

#[test]
fn the_watermarks_make_room_ahead_of_need() {
    let root = tempfile::tempdir().unwrap();
    let mut store = open_with(&Options {
        bytes_max: Amount::Bytes(1000),
        high_watermark: 90,
        low_watermark: 50,
        ..options(root.path())
    });
    for number in 0..9 {
        put(&store, &blob(number));
    }
    store.house.tick(Instant::now(), SystemTime::now());
    assert_eq!(live(&store), 900, "at the mark");
    put(&store, &blob(9));
    // A second later the room is looked at again.
    let later = Instant::now() + Duration::from_secs(2);
    store.house.tick(later, SystemTime::now());
    assert_eq!(live(&store), 500);
}

#[test]
fn what_is_pinned_stays_whatever_comes() {
    let root = tempfile::tempdir().unwrap();
    let store = open_with(&Options {
        blob_ttl: Some(Duration::from_secs(1)),
        bytes_max: Amount::Bytes(1000),
        ..options(root.path())
    });
    let kept = put(&store, &blob(200));
    store.lookup(&kept).unwrap().set_pinned(true);
    for number in 0..50 {
        put(&store, &blob(number));
    }
    assert!(content(&store, &kept).is_some());
    store.expire(SystemTime::now() + Duration::from_secs(60));
    assert_eq!(store.entries(), 1);
    assert!(content(&store, &kept).is_some());
}

#[test]
fn the_index_survives_a_restart_with_its_history() {
    let root = tempfile::tempdir().unwrap();
    let mut store = open(root.path());
    let (used, gone) = (put(&store, b"used"), put(&store, b"gone"));
    let reading = open_blob(&store, &used).unwrap().entry;
    store.touch(&reading, 4_000_000_000, 3);
    drop(reading);
    store.house.tick(Instant::now(), SystemTime::now());
    let entry = store.lookup(&gone).unwrap();
    store.delete(&entry, Removal::Room);
    store.end();
    let (store, _house) = Store::open(&options(root.path()), Arc::default()).unwrap();
    assert!(!store.wants_scan(), "an ended index is believed");
    assert_eq!(store.entries(), 1);
    let entry = store.lookup(&used).unwrap();
    assert_eq!((entry.last_use(), entry.hits()), (4_000_000_000, 3));
    assert!(store.lookup(&gone).is_none());
}

#[test]
fn a_scan_sets_right_what_memory_knows() {
    let root = tempfile::tempdir().unwrap();
    let mut store = open(root.path());
    let (kept, gone) = (put(&store, b"kept"), put(&store, b"gone"));
    store.house.tick(Instant::now(), SystemTime::now());
    std::fs::remove_file(store.layout.path(Kind::Blob, &gone)).unwrap();
    let found = Digest::of(Algorithm::Sha256, b"found");
    std::fs::write(store.layout.path(Kind::Blob, &found), b"found").unwrap();
    let scanned = store.scan().unwrap();
    assert_eq!((scanned.files, scanned.found, scanned.vanished), (2, 1, 1));
    assert!(store.lookup(&kept).is_some() && store.lookup(&gone).is_none());
    assert_eq!(store.lookup(&found).unwrap().size_bytes, 5);
    assert_eq!(live(&store), 9);
    assert_eq!(store.scan().unwrap().found, 0);
}

#[test]
fn what_another_process_stored_is_found_by_its_path_and_proved() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let good = Digest::of(Algorithm::Sha256, b"good");
    let bad = Digest::of(Algorithm::Sha256, b"bad");
    std::fs::write(store.layout.path(Kind::Blob, &good), b"good").unwrap();
    std::fs::write(store.layout.path(Kind::Blob, &bad), b"evil").unwrap();
    assert!(is_doubtful(&store, &good), "nobody vouches for it");
    assert_eq!(content(&store, &good).unwrap(), b"good");
    assert_eq!(store.lookup(&good).unwrap().size_bytes, 4);
    assert_eq!(content(&store, &bad), None);
    assert!(!store.layout.path(Kind::Blob, &bad).exists());
}

#[test]
fn a_root_that_vanishes_is_a_trouble_and_its_return_is_noticed() {
    let parent = tempfile::tempdir().unwrap();
    let (root, away) = (parent.path().join("root"), parent.path().join("away"));
    let mut store = open(&root);
    let kept = put(&store, b"kept");
    std::fs::rename(&root, &away).unwrap();
    assert!(try_put(&store, b"new").is_err());
    let (kind, _) = store.trouble().unwrap();
    assert_eq!(kind, DiskTrouble::Missing);
    assert_eq!(content(&store, &kept), None);
    store.try_disk();
    assert!(
        store.trouble().is_some() && !root.exists(),
        "nothing is made there"
    );
    std::fs::rename(&away, &root).unwrap();
    store.try_disk();
    assert!(store.trouble().is_none() && store.wants_scan());
    store.scan().unwrap();
    assert_eq!(content(&store, &kept).unwrap(), b"kept");
    put(&store, b"new");
}

#[test]
fn a_mark_that_cannot_be_written_costs_no_blob() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let young = put(&store, b"young");
    let mut unfinished = store.begin(None).unwrap();
    store.write(&mut unfinished, b"unfinished", 0).unwrap();
    std::fs::create_dir(root.path().join("checkpoint.next")).unwrap();
    assert!(store.checkpoint().is_err());
    assert_eq!(content(&store, &young).unwrap(), b"young");
    let digest = Digest::of(Algorithm::Sha256, b"unfinished");
    assert!(store.commit(&digest, unfinished, 10).is_ok());
}

#[test]
fn a_scan_does_not_take_a_short_file_for_a_whole_one() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let digest = put(&store, b"layer");
    pass_margin();
    store.checkpoint().unwrap();
    let path = store.layout.path(Kind::Blob, &digest);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(3)
        .unwrap();
    store.scan().unwrap();
    assert!(store.lookup(&digest).is_none() && !path.exists());
    assert_eq!(content(&store, &digest), None);
}

#[test]
fn what_was_changed_while_nobody_served_is_noticed_at_the_start() {
    let root = tempfile::tempdir().unwrap();
    let mut store = open(root.path());
    let digest = put(&store, b"layer");
    let path = store.layout.path(Kind::Blob, &digest);
    store.house.tick(Instant::now(), SystemTime::now());
    store.end();
    pass_margin();
    std::fs::remove_file(path).unwrap();
    let (store, _house) = Store::open(&options(root.path()), Arc::default()).unwrap();
    assert!(store.wants_scan(), "the index says otherwise");
    store.scan().unwrap();
    assert_eq!(store.entries(), 0);
}

#[test]
fn a_file_that_cannot_be_deleted_stops_no_other() {
    let root = tempfile::tempdir().unwrap();
    let store = open_with(&Options {
        blob_ttl: Some(Duration::from_secs(1)),
        ..options(root.path())
    });
    let stuck = put(&store, b"stuck");
    put(&store, b"one");
    put(&store, b"two");
    // A folder in its place cannot be unlinked.
    let path = store.layout.path(Kind::Blob, &stuck);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let later = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(store.expire(later), 2);
    assert!(store.trouble().is_none(), "it is that file, not the disk");
    assert!(store.lookup(&stuck).is_some());
}

/// Waits until a file time of now is another than one of before, however long that takes here.
fn pass_margin() {
    let entered = Instant::now();
    while entered.elapsed() < Duration::from_millis(30) {
        std::thread::yield_now();
    }
}

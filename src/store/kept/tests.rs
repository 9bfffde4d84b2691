use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::Duration;

use proptest::prelude::*;
use rustix::io::Errno;

use super::found::{PARTIAL_AGE_MAX, open_to_write};
use super::*;
use crate::digest::Algorithm;
use crate::limits::{KEPT_FOR, KEPT_PREFIX_BYTES_MIN};
use crate::metrics::StoreNumbers;
use crate::store::publish::Publish;
use crate::store::tests::{Opened, content, open, open_small};

const MIN: u64 = KEPT_PREFIX_BYTES_MIN;
const MIB: u64 = 1024 * 1024;

/// Something that befalls a file.
type Damage<'d> = &'d dyn Fn(&Path);

/// A blob of 20 MiB, of which the first 17 are there when its fill breaks.
struct Blob {
    bytes: Vec<u8>,
    progress: Progress,
}

impl Blob {
    fn new() -> Self {
        Self::cut_at(17 * MIB)
    }

    fn cut_at(prefix_bytes: u64) -> Self {
        let mut bytes = Vec::new();
        for page in 0..20 * 256_u32 {
            bytes.extend_from_slice(&page.to_le_bytes().repeat(1024));
        }
        let prefix = &bytes[..usize::try_from(prefix_bytes).unwrap()];
        let progress = Progress {
            digest: Digest::of(Algorithm::Sha256, &bytes),
            size_bytes: bytes.len() as u64,
            prefix_bytes,
            prefix_digest: Digest::of(Algorithm::Sha256, prefix),
        };
        Self { bytes, progress }
    }

    fn digest(&self) -> Digest {
        self.progress.digest
    }

    fn prefix(&self) -> &[u8] {
        &self.bytes[..usize::try_from(self.progress.prefix_bytes).unwrap()]
    }

    /// Fills the prefix, and a piece further on that nobody counts on.
    fn begin(&self, store: &Store) -> Partial {
        let mut partial = store.begin(Some(self.progress.size_bytes)).unwrap();
        store.write(&mut partial, self.prefix(), 0).unwrap();
        if self.progress.prefix_bytes < 18 * MIB {
            store.write(&mut partial, &[0xee; 100], 19 * MIB).unwrap();
        }
        partial
    }

    /// Leaves it as a fill does whose hop breaks off.
    fn keep(&self, store: &Store) {
        store.keep(self.begin(store), &self.progress);
    }

    /// Leaves it as a process does that is killed in mid-fill.
    fn leave(&self, store: &Store) {
        let mut partial = self.begin(store);
        store.mark(&mut partial, &self.progress).unwrap();
        drop(partial.leave());
    }

    /// Goes on to the end, as a fill does.
    fn go_on(&self, store: &Store) {
        let mut kept = store.take_kept(&self.digest(), None).unwrap().unwrap();
        assert_eq!(kept.prefix_bytes, self.progress.prefix_bytes);
        assert_eq!(kept.size_bytes, self.progress.size_bytes);
        let rest = &self.bytes[self.prefix().len()..];
        store
            .write(&mut kept.partial, rest, kept.prefix_bytes)
            .unwrap();
        kept.hasher.update(rest);
        assert_eq!(kept.hasher.finish(), self.digest());
        store
            .commit(&self.digest(), kept.partial, kept.size_bytes)
            .unwrap();
        assert_eq!(content(store, &self.digest()).unwrap(), self.bytes);
    }
}

fn numbers(store: &Store) -> &StoreNumbers {
    store.inventory.numbers()
}

fn kept_bytes(store: &Store) -> u64 {
    numbers(store).kept_bytes.load(Ordering::Relaxed)
}

fn reserved_bytes(store: &Store) -> u64 {
    numbers(store).reserved_bytes.load(Ordering::Relaxed)
}

fn rejected(store: &Store) -> u64 {
    numbers(store).rejected_partials.load(Ordering::Relaxed)
}

/// Returns the names in `partial/`, sidecars last.
fn names(store: &Store) -> Vec<String> {
    let items = fs::read_dir(store.layout.partials()).unwrap();
    let mut names: Vec<_> = items
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_by_key(|name| name.len());
    names
}

/// Returns where the one unfinished file lies.
fn data(store: &Store) -> PathBuf {
    let names = names(store);
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[1], format!("{}.progress", names[0]));
    store.layout.partials().join(&names[0])
}

/// Holds that a kept file is not given to anybody, and nothing of it is left.
fn assert_rejected(store: &Store, blob: &Blob, what: &str) {
    assert!(
        store.take_kept(&blob.digest(), None).unwrap().is_none(),
        "{what}"
    );
    assert_eq!(names(store), [""; 0], "{what}");
    assert!(!store.has_kept(&blob.digest()), "{what}");
    assert_eq!((kept_bytes(store), reserved_bytes(store)), (0, 0), "{what}");
}

fn rot(path: &Path, offset: u64) {
    let file = open_to_write(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

/// Looks at `partial/` as if it were then.
fn look(store: &Opened, later: Duration) {
    store.look_at_partials(SystemTime::now() + later).unwrap();
}

#[test]
fn a_fill_that_broke_off_goes_on_where_it_was_and_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let blob = Blob::new();
    blob.keep(&store);
    assert!(store.has_kept(&blob.digest()));
    assert!(!store.has_kept(&Digest::of(Algorithm::Sha256, b"other")));
    assert!(kept_bytes(&store) >= 17 * MIB && kept_bytes(&store) < 18 * MIB);
    assert_eq!(reserved_bytes(&store), 0);
    blob.go_on(&store);
    assert_eq!(names(&store), [""; 0]);
    assert_eq!((kept_bytes(&store), reserved_bytes(&store)), (0, 0));
    let resumed = &numbers(&store).resumed_bytes;
    assert_eq!(resumed.load(Ordering::Relaxed), 17 * MIB);
    assert!(store.take_kept(&blob.digest(), None).unwrap().is_none());
}

#[test]
fn what_a_killed_process_was_filling_is_gone_on_with_by_the_next_one() {
    let root = tempfile::tempdir().unwrap();
    let blob = Blob::new();
    blob.leave(&open(root.path()));
    let store = open(root.path());
    assert!(store.has_kept(&blob.digest()));
    assert_eq!(numbers(&store).kept_partials.load(Ordering::Relaxed), 1);
    blob.go_on(&store);
    assert_eq!(names(&store), [""; 0]);
}

#[test]
fn every_way_to_publish_commits_what_was_marked_also_over_a_file_that_is_there() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let blob = Blob::new();
    for way in [Publish::LinkUnnamed, Publish::LinkNamed, Publish::Rename] {
        *store.publish.write() = way;
        for _ in 0..2 {
            blob.keep(&store);
            let path = data(&store);
            assert_eq!(path.metadata().unwrap().nlink(), 1, "{way:?}");
            blob.go_on(&store);
            assert_eq!(names(&store), [""; 0], "{way:?}");
        }
        let mut whole = store.begin(Some(blob.progress.size_bytes)).unwrap();
        store.write(&mut whole, &blob.bytes, 0).unwrap();
        store.mark(&mut whole, &blob.progress).unwrap();
        let size_bytes = blob.progress.size_bytes;
        store.commit(&blob.digest(), whole, size_bytes).unwrap();
        assert_eq!(content(&store, &blob.digest()).unwrap(), blob.bytes);
        assert_eq!(names(&store), [""; 0], "{way:?}");
    }
}

#[test]
fn what_is_dropped_after_a_mark_leaves_nothing_and_a_short_prefix_is_not_kept() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let blob = Blob::new();
    let mut partial = blob.begin(&store);
    store.mark(&mut partial, &blob.progress).unwrap();
    assert_eq!(names(&store).len(), 2);
    drop(partial);
    assert_eq!(names(&store), [""; 0]);
    let short = Blob::cut_at(MIN - 1);
    short.keep(&store);
    assert!(!store.has_kept(&short.digest()));
    assert_eq!((names(&store).len(), kept_bytes(&store)), (0, 0));
    let least = Blob::cut_at(MIN);
    least.keep(&store);
    assert!(store.has_kept(&least.digest()));
}

#[test]
fn a_prefix_with_one_wrong_bit_is_not_gone_on_with() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let blob = Blob::new();
    for offset in [0, 16 * MIB, 17 * MIB - 1] {
        blob.keep(&store);
        rot(&data(&store), offset);
        assert_rejected(&store, &blob, "a rotten byte");
    }
    assert_eq!(rejected(&store), 3);
    blob.keep(&store);
    rot(&data(&store), 17 * MIB);
    blob.go_on(&store);
}

#[test]
fn what_a_power_cut_leaves_of_a_prefix_is_not_gone_on_with() {
    let root = tempfile::tempdir().unwrap();
    let blob = Blob::new();
    let zeros = |path: &Path| {
        let length = path.metadata().unwrap().len();
        let file = File::create(path).unwrap();
        file.set_len(length).unwrap();
    };
    let cut = |path: &Path| File::create(path).unwrap().set_len(MIB).unwrap();
    let torn = |path: &Path| {
        let sidecar = beside(path);
        let bytes = fs::read(&sidecar).unwrap();
        fs::write(&sidecar, &bytes[..bytes.len() / 2]).unwrap();
    };
    let empty = |path: &Path| fs::write(beside(path), "").unwrap();
    let ways: [Damage<'_>; 4] = [&zeros, &cut, &torn, &empty];
    for (number, damage) in ways.into_iter().enumerate() {
        let killed = open(root.path());
        blob.leave(&killed);
        damage(&data(&killed));
        drop(killed);
        let store = open(root.path());
        assert_rejected(&store, &blob, &number.to_string());
        assert_eq!(rejected(&store), 1, "{number}");
    }
}

#[test]
fn of_two_who_take_one_gets_it() {
    let root = tempfile::tempdir().unwrap();
    let blob = Blob::new();
    let first = open(root.path());
    blob.leave(&first);
    // Two processes know of it, and two fills of each ask.
    let (one, other) = (open(root.path()), open(root.path()));
    let barrier = Barrier::new(4);
    let take = |store: &Store| {
        barrier.wait();
        store.take_kept(&blob.digest(), None).unwrap()
    };
    let taken: Vec<_> = std::thread::scope(|scope| {
        let threads =
            [&*one, &*one, &*other, &*other].map(|store| scope.spawn(move || take(store)));
        let taken = threads.map(|thread| thread.join().unwrap());
        taken.into_iter().flatten().collect()
    });
    assert_eq!(taken.len(), 1);
    drop(taken);
    assert_eq!(names(&first), [""; 0]);
}

#[test]
fn what_somebody_writes_to_is_not_taken_and_comes_free_with_its_end() {
    let root = tempfile::tempdir().unwrap();
    let blob = Blob::new();
    let (one, other) = (open(root.path()), open(root.path()));
    let mut running = blob.begin(&one);
    one.mark(&mut running, &blob.progress).unwrap();
    look(&other, Duration::ZERO);
    look(&one, Duration::ZERO);
    assert!(!other.has_kept(&blob.digest()) && !one.has_kept(&blob.digest()));
    // However old it is: its hop may be slow.
    look(&other, 3 * KEPT_FOR);
    assert_eq!(names(&one).len(), 2);
    one.keep(running, &blob.progress);
    look(&other, Duration::ZERO);
    assert!(other.has_kept(&blob.digest()));
    let kept = other.take_kept(&blob.digest(), None).unwrap().unwrap();
    assert!(one.take_kept(&blob.digest(), None).unwrap().is_none());
    assert!(!one.has_kept(&blob.digest()), "it has gone from there");
    assert_eq!(
        names(&one).len(),
        2,
        "a kill while it goes on loses nothing"
    );
    other.keep(kept.partial, &blob.progress);
    blob.go_on(&other);
}

#[test]
fn where_other_hosts_write_too_a_file_has_to_be_old_and_is_copied() {
    let root = tempfile::tempdir().unwrap();
    let blob = Blob::new();
    let mut store = open_as(root.path(), false, "dead-beef");
    blob.leave(&store);
    let inode = data(&store).metadata().unwrap().ino();
    drop(store);
    store = open_as(root.path(), false, "cafe");
    store.look_at_partials(SystemTime::now()).unwrap();
    assert!(!store.has_kept(&blob.digest()), "its writer may live");
    let path = data(&store);
    let past = SystemTime::now() - PARTIAL_AGE_MAX - Duration::from_secs(5);
    open_to_write(&path).unwrap().set_modified(past).unwrap();
    store.look_at_partials(SystemTime::now()).unwrap();
    assert!(store.has_kept(&blob.digest()));
    // Who believes that it is its own has it open.
    let writer = open_to_write(&path).unwrap();
    let mut kept = store.take_kept(&blob.digest(), None).unwrap().unwrap();
    assert_ne!(kept.partial.file().metadata().unwrap().ino(), inode);
    assert!(!path.exists() && !store.has_kept(&blob.digest()));
    writer.write_all_at(b"late", 0).unwrap();
    let rest = &blob.bytes[blob.prefix().len()..];
    let offset = kept.prefix_bytes;
    store.write(&mut kept.partial, rest, offset).unwrap();
    let size_bytes = blob.progress.size_bytes;
    store
        .commit(&blob.digest(), kept.partial, size_bytes)
        .unwrap();
    assert_eq!(content(&store, &blob.digest()).unwrap(), blob.bytes);
    // The same kernel knows who has it open.
    let store = open_as(root.path(), false, "cafe");
    store.delete(
        &store.lookup(&blob.digest()).unwrap_or_else(|| {
            store.scan().unwrap();
            store.lookup(&blob.digest()).unwrap()
        }),
        crate::metrics::Removal::Room,
    );
    blob.leave(&store);
    store.look_at_partials(SystemTime::now()).unwrap();
    blob.go_on(&store);
}

/// Opens a store whose root might be on a network, under a kernel of this boot.
fn open_as(root: &Path, is_local: bool, boot: &str) -> Store {
    let opened = open(root);
    let (store, house) = opened.into_parts();
    drop(house);
    let mut store = Arc::into_inner(store).unwrap();
    // What was found at the start was found under the wrong premise.
    for digest in store.shelf.select(|_| true) {
        drop(store.shelf.take(&digest));
    }
    store.shelf.is_local = is_local;
    boot.clone_into(&mut store.shelf.boot);
    store
}

#[test]
fn kept_files_go_before_any_blob_and_the_oldest_first() {
    let root = tempfile::tempdir().unwrap();
    let store = open_small(root.path(), 60 * MIB);
    let (older, younger) = (Blob::new(), Blob::cut_at(18 * MIB));
    let other = Digest::of(Algorithm::Sha256, b"other");
    older.keep(&store);
    let mut progress = younger.progress;
    progress.digest = other;
    store.keep(younger.begin(&store), &progress);
    let mut partial = store.begin(Some(5 * MIB)).unwrap();
    store.write(&mut partial, &vec![7; 5 << 20], 0).unwrap();
    let small = Digest::of(Algorithm::Sha256, &vec![7; 5 << 20]);
    drop(store.commit(&small, partial, 5 * MIB).unwrap());
    assert!(store.has_kept(&older.digest()) && store.has_kept(&other));
    // 17 + 18 + 5 MiB are taken.
    let first = store.begin(Some(30 * MIB)).unwrap();
    assert!(!store.has_kept(&older.digest()) && store.has_kept(&other));
    assert_eq!(names(&store).len(), 2);
    let second = store.begin(Some(25 * MIB)).unwrap();
    assert!(!store.has_kept(&other) && store.lookup(&small).is_some());
    assert_eq!((names(&store).len(), kept_bytes(&store)), (0, 0));
    drop((first, second));
    older.keep(&store);
    let whole = store.begin(Some(60 * MIB));
    assert!(whole.is_ok(), "nothing kept is in anybody's way");
    assert!(store.lookup(&small).is_none() && !store.has_kept(&older.digest()));
}

#[test]
fn a_kept_file_that_finds_no_room_stays_and_its_own_room_is_not_asked_twice() {
    let root = tempfile::tempdir().unwrap();
    let store = open_small(root.path(), 40 * MIB);
    let blob = Blob::new();
    blob.keep(&store);
    let running = store.begin(Some(20 * MIB)).unwrap();
    // 20 are promised and 17 there: the other three just fit.
    blob.go_on(&store);
    let entry = store.lookup(&blob.digest()).unwrap();
    store.delete(&entry, crate::metrics::Removal::Room);
    drop(entry);
    drop(running);
    blob.keep(&store);
    let running = store.begin(Some(22 * MIB)).unwrap();
    assert!(store.has_kept(&blob.digest()));
    let error = store.take_kept(&blob.digest(), None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(store.has_kept(&blob.digest()));
    assert_eq!(reserved_bytes(&store), 22 * MIB);
    drop(running);
    blob.go_on(&store);
    assert_eq!(reserved_bytes(&store), 0);
}

#[test]
fn the_account_is_right_when_bytes_come_in_any_order() {
    let root = tempfile::tempdir().unwrap();
    let store = open_small(root.path(), 20 * MIB);
    let blob = Blob::new();
    let mut partial = store.begin(Some(20 * MIB)).unwrap();
    let mut pieces: Vec<_> = (0..20_u64).collect();
    pieces.sort_by_key(|piece| piece * 7 % 20);
    for piece in pieces {
        let from = usize::try_from(piece * MIB).unwrap();
        let bytes = &blob.bytes[from..from + (1 << 20)];
        store.write(&mut partial, bytes, piece * MIB).unwrap();
        assert_eq!(
            reserved_bytes(&store),
            20 * MIB,
            "what was promised, no more"
        );
    }
    store.commit(&blob.digest(), partial, 20 * MIB).unwrap();
    assert_eq!(reserved_bytes(&store), 0);
    assert_eq!(content(&store, &blob.digest()).unwrap(), blob.bytes);
}

#[test]
fn what_was_kept_for_a_day_goes_and_what_is_nobodys_goes_sooner() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let blob = Blob::new();
    blob.keep(&store);
    let partials = store.layout.partials();
    for orphan in ["0123-1", "0123-2.progress", "0123-3.progress.next", "notes"] {
        fs::write(partials.join(orphan), "x").unwrap();
    }
    fs::create_dir(partials.join("0123-4")).unwrap();
    symlink("/nowhere", partials.join("0123-5")).unwrap();
    look(&store, PARTIAL_AGE_MAX / 2);
    assert_eq!(names(&store).len(), 8);
    look(&store, 2 * PARTIAL_AGE_MAX);
    fs::remove_dir(partials.join("0123-4")).unwrap();
    data(&store);
    look(&store, KEPT_FOR - Duration::from_secs(60));
    assert!(store.has_kept(&blob.digest()));
    look(&store, KEPT_FOR + Duration::from_secs(60));
    assert!(!store.has_kept(&blob.digest()));
    assert_eq!((names(&store).len(), kept_bytes(&store)), (0, 0));
}

#[test]
fn a_file_that_vanishes_or_whose_blob_is_here_is_forgotten() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let blob = Blob::new();
    blob.keep(&store);
    fs::remove_file(data(&store)).unwrap();
    assert!(store.take_kept(&blob.digest(), None).unwrap().is_none());
    assert_eq!(rejected(&store), 0, "nothing was wrong with it");
    blob.keep(&store);
    let path = data_of(&store);
    fs::remove_file(&path).unwrap();
    look(&store, Duration::ZERO);
    assert!(!store.has_kept(&blob.digest()));
    assert_eq!(kept_bytes(&store), 0);
    look(&store, 2 * PARTIAL_AGE_MAX);
    // Another fill of it was quicker.
    let mut whole = store.begin(Some(20 * MIB)).unwrap();
    store.write(&mut whole, &blob.bytes, 0).unwrap();
    blob.keep(&store);
    drop(store.commit(&blob.digest(), whole, 20 * MIB).unwrap());
    assert!(!store.has_kept(&blob.digest()));
    assert_eq!(names(&store), [""; 0]);
    blob.leave(&store);
    look(&store, Duration::ZERO);
    assert_eq!(names(&store), [""; 0]);
}

/// Returns where the unfinished file lies whose sidecar has no orphans beside it.
fn data_of(store: &Store) -> PathBuf {
    let shelf = store.shelf.names();
    let name = shelf.keys().next().unwrap();
    store.layout.partials().join(name)
}

#[test]
fn a_file_that_is_a_blob_too_is_never_written_to() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let blob = Blob::new();
    blob.keep(&store);
    let path = data(&store);
    let elsewhere = root.path().join("elsewhere");
    fs::hard_link(&path, &elsewhere).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    assert_rejected(&store, &blob, "two names");
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
}

#[test]
fn what_is_no_file_is_neither_followed_nor_taken() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let blob = Blob::new();
    let secret = root.path().join("secret");
    fs::write(&secret, &blob.bytes[..17 << 20]).unwrap();
    let replace: [(&str, Damage<'_>); 4] = [
        ("a link", &|path| symlink(&secret, path).unwrap()),
        ("a folder", &|path| fs::create_dir(path).unwrap()),
        ("a pipe", &|path| mkfifo(path)),
        ("a link to itself", &|path| symlink(path, path).unwrap()),
    ];
    for (what, replace) in replace {
        for is_sidecar in [false, true] {
            blob.keep(&store);
            let data = data(&store);
            let path = if is_sidecar {
                beside(&data)
            } else {
                data.clone()
            };
            fs::remove_file(&path).unwrap();
            replace(&path);
            assert!(
                store.take_kept(&blob.digest(), None).unwrap().is_none(),
                "{what}"
            );
            if path.is_dir() {
                fs::remove_dir(&path).unwrap();
            }
            look(&store, 2 * PARTIAL_AGE_MAX);
            assert_eq!(names(&store), [""; 0], "{what}");
            assert_eq!((kept_bytes(&store), reserved_bytes(&store)), (0, 0));
        }
    }
    assert_eq!(fs::read(&secret).unwrap(), blob.bytes[..17 << 20]);
}

fn mkfifo(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, pipe, mode, 0).unwrap();
}

#[test]
fn a_failed_sync_costs_what_was_kept_too() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let blob = Blob::new();
    blob.keep(&store);
    let mut running = blob.begin(&store);
    store.mark(&mut running, &blob.progress).unwrap();
    store.checkpoint.note();
    *store.checkpoint.sync.lock() = |_| Err(Errno::IO.into());
    assert!(store.checkpoint().is_err());
    assert!(store.take_kept(&blob.digest(), None).unwrap().is_none());
    assert!(store.mark(&mut running, &blob.progress).is_err());
    store.keep(running, &blob.progress);
    assert!(!store.has_kept(&blob.digest()));
    assert_eq!(names(&store), [""; 0]);
}

#[test]
fn a_sidecar_is_what_was_written_or_nothing() {
    let progress = Blob::new().progress;
    let sidecar = Sidecar::new(progress, "8f54-90f");
    let bytes = sidecar.encode();
    assert_eq!(Sidecar::decode(&bytes), Some(sidecar));
    for at in 0..bytes.len() {
        assert_eq!(Sidecar::decode(&bytes[..at]), None, "cut at {at}");
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            assert_eq!(Sidecar::decode(&bytes), None, "bit {bit} of byte {at}");
        }
    }
    let longer = [&bytes[..], b"\n"].concat();
    assert_eq!(Sidecar::decode(&longer), None);
    let insane = [
        Progress {
            prefix_bytes: MIN - 1,
            ..progress
        },
        Progress {
            prefix_bytes: progress.size_bytes + 1,
            ..progress
        },
        Progress {
            prefix_digest: Digest::of(Algorithm::Sha512, b""),
            ..progress
        },
    ];
    for progress in insane {
        let bytes = Sidecar::new(progress, "-").encode();
        assert_eq!(Sidecar::decode(&bytes), None, "{progress:?}");
    }
    for boot in ["", "/", "a b", &"a".repeat(37)] {
        let bytes = Sidecar::new(progress, boot).encode();
        assert_eq!(Sidecar::decode(&bytes), None, "{boot:?}");
    }
}

thread_local! {
    /// One root for all cases: to make its folders costs more than all else.
    static ROOT: tempfile::TempDir = tempfile::tempdir().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Sidecars whose checksum is right, and that lie; beside a file of any length full of zeros.
    #[test]
    fn a_sidecar_that_lies_gets_nobody_anything(
        prefix_bytes in prop_oneof![Just(MIN), Just(MIN + 1), any::<u64>()],
        size_bytes in prop_oneof![Just(MIN), Just(2 * MIN), any::<u64>()],
        length in prop_oneof![Just(0), Just(MIN), Just(MIN + 1), 0..3 * MIN],
        is_true in any::<bool>(),
        name in "[0-9a-f-]{1,40}|[a-z./]{0,5}",
    ) {
        let root = ROOT.with(|root| root.path().to_owned());
        let partials = root.join("partial");
        drop(fs::remove_dir_all(&partials));
        fs::create_dir(&partials).unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"whatever");
        let zeros = vec![0; usize::try_from(prefix_bytes.min(2 * MIN)).unwrap()];
        let prefix_digest = if is_true { Digest::of(Algorithm::Sha256, &zeros) } else { digest };
        let progress = Progress { digest, size_bytes, prefix_bytes, prefix_digest };
        let path = partials.join(name.replace('/', ""));
        let made = File::create_new(&path);
        if let Ok(file) = &made {
            file.set_len(length).unwrap();
            fs::write(beside(&path), Sidecar::new(progress, "-").encode()).unwrap();
        }
        let is_name = subject_of(&beside(&path)).is_some();
        let is_sound = made.is_ok() && is_name && is_true && progress.is_sane()
            && (prefix_bytes..=size_bytes).contains(&length)
            && prefix_bytes <= 2 * MIN;
        let store = open_small(&root, 3 * MIN);
        let is_sound = is_sound && size_bytes <= 3 * MIN;
        let kept = store.take_kept(&digest, None).unwrap();
        prop_assert_eq!(kept.is_some(), is_sound);
        drop(kept);
        prop_assert_eq!((kept_bytes(&store), reserved_bytes(&store)), (0, 0));
    }
}

fn subject_of(path: &Path) -> Option<&str> {
    sidecar::subject(path.file_name()?.to_str()?)
}

//! The store against a naive oracle, through whatever happens to a store.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::store::pins::Reference;

const BYTES_MAX: u64 = 4000;
const TTL: u32 = 1000;

#[derive(Clone, Debug)]
enum Operation {
    /// Fills a blob, in chunks of this size; `ends` is false where the next hop breaks off.
    Fill {
        blob: u8,
        chunk: usize,
        knows_size: bool,
        ends: bool,
    },
    /// Pulls a blob whole, or a part of it.
    Hit {
        blob: u8,
        from: usize,
    },
    /// Opens a blob and reads it only later.
    Hold {
        blob: u8,
    },
    /// Reads and closes what is held.
    Release,
    Pin {
        blob: u8,
    },
    Unpin {
        blob: u8,
    },
    /// Time passes, and what is due expires.
    Pass {
        seconds: u32,
    },
    /// Room is made as if the file system lacked it.
    Evict {
        bytes: u64,
    },
    /// The disk is full for a while.
    Full,
    /// Somebody deletes a file.
    Tidy {
        blob: u8,
    },
    Checkpoint,
    /// What is done now and then.
    Tick,
    Scan,
    /// The process ends in order and starts again.
    Restart,
    /// The process is killed and starts again.
    Kill,
    /// Power is lost: files that are not known to be on the medium lose bytes.
    PowerCut {
        keep: usize,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let blob = 0..24_u8;
    prop_oneof![
        12 => (blob.clone(), 1..2000_usize, any::<bool>(), prop::bool::weighted(0.9))
            .prop_map(|(blob, chunk, knows_size, ends)| Fill { blob, chunk, knows_size, ends }),
        8 => (blob.clone(), 0..2000_usize).prop_map(|(blob, from)| Hit { blob, from }),
        2 => blob.clone().prop_map(|blob| Hold { blob }),
        2 => Just(Release),
        1 => blob.clone().prop_map(|blob| Pin { blob }),
        1 => blob.clone().prop_map(|blob| Unpin { blob }),
        2 => (0..1500_u32).prop_map(|seconds| Pass { seconds }),
        1 => (1..3000_u64).prop_map(|bytes| Evict { bytes }),
        1 => Just(Full),
        1 => blob.prop_map(|blob| Tidy { blob }),
        2 => Just(Checkpoint),
        3 => Just(Tick),
        1 => Just(Scan),
        1 => Just(Restart),
        1 => Just(Kill),
        1 => (0..100_usize).prop_map(|keep| PowerCut { keep }),
    ]
}

/// A blob's bytes follow from its number: what is read can be checked without being remembered. The sizes
/// differ, and one is larger than the store.
fn bytes_of(blob: u8) -> Vec<u8> {
    let size = match blob {
        23 => 5000,
        _ => 37 * (usize::from(blob) + 1),
    };
    let mut byte = blob.wrapping_mul(31);
    let next = || {
        byte = byte.wrapping_mul(5).wrapping_add(blob | 1);
        byte
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn name_of(blob: u8) -> Digest {
    Digest::of(Algorithm::Sha256, &bytes_of(blob))
}

/// A store, and what must be true of it.
struct World {
    root: tempfile::TempDir,
    opened: Option<Opened>,
    held: Vec<(u8, OpenBlob)>,
    /// What was committed and may be here, with the second of its last use.
    last_use: BTreeMap<u8, u32>,
    pinned: BTreeSet<u8>,
    /// Pinned, and here when they were or since.
    must_stay: BTreeSet<u8>,
    /// Seconds since the epoch, as the world sees it.
    now: u32,
    /// When things were last done that are done now and then.
    ticked: Instant,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut world = Self {
            root,
            opened: None,
            held: Vec::new(),
            last_use: BTreeMap::new(),
            pinned: BTreeSet::new(),
            must_stay: BTreeSet::new(),
            now: seconds(SystemTime::now()) + 10_000,
            ticked: Instant::now(),
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.opened = Some(open_with(&Options {
            bytes_max: Amount::Bytes(BYTES_MAX),
            blob_ttl: Some(Duration::from_secs(TTL.into())),
            ..options(self.root.path())
        }));
    }

    fn store(&self) -> &Opened {
        self.opened.as_ref().unwrap()
    }

    fn wall(&self) -> SystemTime {
        std::time::UNIX_EPOCH + Duration::from_secs(self.now.into())
    }

    /// Has everything done that is done now and then: what is due expires, and nothing else.
    fn tick(&mut self) {
        let wall = self.wall();
        let oldest = self.now - TTL;
        let expired = |store: &Opened| store.inventory.numbers().removed(Removal::Ttl);
        let is_due = |entry: &Entry| entry.last_use() < oldest && !entry.is_pinned();
        let (due, before) = (self.store().inventory.select(is_due), expired(self.store()));
        let opened = self.opened.as_mut().unwrap();
        // Far enough on that everything is due.
        self.ticked += Duration::from_secs(3600);
        opened.house.tick(self.ticked, wall);
        assert!(
            due.iter().all(|entry| entry.is_gone()),
            "older than the TTL"
        );
        assert!(expired(self.store()) - before <= due.len() as u64);
    }

    fn fill(&mut self, blob: u8, chunk: usize, knows_size: bool, ends: bool) {
        let (bytes, digest) = (bytes_of(blob), name_of(blob));
        let store = &self.opened.as_ref().unwrap().store;
        let size_bytes = bytes.len() as u64;
        // A fill begins only for what is not here.
        if store.lookup(&digest).is_some() {
            return;
        }
        let outcome = (|| {
            let mut partial = store.begin(knows_size.then_some(size_bytes))?;
            let mut offset = 0;
            for piece in bytes.chunks(chunk) {
                store.write(&mut partial, piece, offset)?;
                offset += piece.len() as u64;
                if !ends {
                    return Err(io::Error::other("the next hop broke off"));
                }
            }
            store.commit(&digest, partial, size_bytes)
        })();
        if let Ok(reading) = outcome {
            assert!(size_bytes <= BYTES_MAX);
            store.touch(&reading, self.now.into(), 1);
            self.last_use.insert(blob, self.now);
            if self.pinned.contains(&blob) {
                self.must_stay.insert(blob);
            }
        }
    }

    /// Opens a blob; its bytes are right or it is not here.
    fn open(&mut self, blob: u8) -> Option<OpenBlob> {
        let opened = open_blob(self.store(), &name_of(blob));
        if let Some(open) = &opened {
            check(blob, open);
            self.store().touch(&open.entry, self.now.into(), 1);
            assert!(
                self.last_use.contains_key(&blob),
                "{blob} came from nowhere"
            );
            self.last_use.insert(blob, self.now);
        }
        opened
    }

    fn stop(&mut self, is_in_order: bool) {
        self.held.clear();
        let opened = self.opened.take().unwrap();
        if is_in_order {
            opened.end();
        }
    }

    /// Takes bytes away from every file that no checkpoint covers.
    fn lose_power(&mut self, keep: usize) {
        let checkpoint = Checkpoint::read(self.root.path()).unwrap();
        for path in walk(&self.root.path().join("blobs")) {
            if !checkpoint.covers(&std::fs::metadata(&path).unwrap()) {
                let mut bytes = std::fs::read(&path).unwrap();
                let kept = bytes.len() * keep / 100;
                // Either the length survived or it did not.
                if keep.is_multiple_of(2) {
                    bytes[kept..].fill(0);
                } else {
                    bytes.truncate(kept);
                }
                std::fs::write(&path, bytes).unwrap();
            }
        }
    }

    fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Fill {
                blob,
                chunk,
                knows_size,
                ends,
            } => self.fill(blob, chunk, knows_size, ends),
            Operation::Hit { blob, from } => {
                if let Some(open) = self.open(blob) {
                    let expected = bytes_of(blob);
                    let from = from.min(expected.len());
                    let mut bytes = vec![0; expected.len() - from];
                    open.file.read_exact_at(&mut bytes, from as u64).unwrap();
                    assert_eq!(bytes, expected[from..]);
                }
            }
            Operation::Hold { blob } => {
                if let Some(open) = self.open(blob) {
                    self.held.push((blob, open));
                }
            }
            Operation::Release => {
                for (blob, open) in self.held.drain(..) {
                    check(blob, &open);
                }
            }
            Operation::Pin { blob } => self.pin(blob, true),
            Operation::Unpin { blob } => self.pin(blob, false),
            Operation::Pass { seconds } => {
                self.now += seconds;
                self.tick();
            }
            Operation::Evict { bytes } => drop(self.store().evict(bytes, 0)),
            Operation::Full => self.fill_up(),
            Operation::Tidy { blob } => {
                let path = self.store().layout.path(Kind::Blob, &name_of(blob));
                if std::fs::remove_file(path).is_ok() {
                    self.must_stay.remove(&blob);
                    self.store().scan().unwrap();
                }
            }
            Operation::Checkpoint => self.store().checkpoint().unwrap(),
            Operation::Tick => self.tick(),
            Operation::Scan => drop(self.store().scan().unwrap()),
            Operation::Restart | Operation::Kill => {
                // What is not in the index on disk yet is found with its file's time, which is today's.
                self.tick();
                self.stop(matches!(operation, Operation::Restart));
                self.start();
            }
            Operation::PowerCut { keep } => {
                self.tick();
                self.stop(false);
                self.lose_power(keep);
                self.start();
            }
        }
    }

    fn pin(&mut self, blob: u8, is_pinned: bool) {
        let reference = Reference::Digest {
            repository: None,
            digest: name_of(blob),
        };
        if is_pinned {
            pin(self.root.path(), &[reference]).unwrap();
            self.pinned.insert(blob);
            if self.store().lookup(&name_of(blob)).is_some() {
                self.must_stay.insert(blob);
            }
        } else {
            unpin(self.root.path(), &[reference]).unwrap();
            self.pinned.remove(&blob);
            self.must_stay.remove(&blob);
        }
        self.store().look_at_pins();
    }

    /// A write fails, and nothing is stored until the disk has proved itself.
    fn fill_up(&mut self) {
        let full = || io::Error::from(rustix::io::Errno::NOSPC);
        assert!(self.store().noting::<()>("write", Err(full())).is_err());
        assert!(self.store().begin(Some(1)).is_err());
        self.tick();
        assert!(self.store().trouble().is_none(), "a trial is due and works");
    }

    /// What is true at any time.
    fn check(&self) {
        let store = self.store();
        store.inventory.sweep();
        let numbers = store.inventory.numbers();
        let read = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        let entries = store.inventory.select(|_| true);
        let live: u64 = entries.iter().map(|entry| entry.size_bytes).sum();
        assert_eq!(live, read(&numbers.bytes));
        assert_eq!(entries.len() as u64, read(&numbers.entries));
        assert_eq!(read(&numbers.reserved_bytes), 0, "no fill runs");
        let files: BTreeSet<_> = walk(&self.root.path().join("blobs")).into_iter().collect();
        let known = entries
            .iter()
            .map(|entry| store.layout.path(Kind::Blob, &entry.digest()));
        assert_eq!(files, known.collect(), "memory and disk say the same");
        let gone: u64 = {
            let gone = self.held.iter().filter(|(_, open)| open.entry.is_gone());
            let sizes: BTreeMap<_, _> = gone
                .map(|(_, open)| {
                    (
                        Arc::as_ptr(&open.file),
                        (Arc::as_ptr(open.entry.entry()), open.size_bytes),
                    )
                })
                .collect();
            let entries: BTreeMap<_, _> = sizes.into_values().collect();
            entries.into_values().sum()
        };
        assert_eq!(gone, read(&numbers.lingering_bytes), "what is held counts");
        assert!(
            live + gone <= BYTES_MAX,
            "{live} and {gone} are more than there is"
        );
        for blob in 0..24 {
            let Some(entry) = store.lookup(&name_of(blob)) else {
                assert!(
                    !self.must_stay.contains(&blob),
                    "{blob} is pinned and has gone"
                );
                continue;
            };
            assert_eq!(Some(&entry.last_use()), self.last_use.get(&blob), "{blob}");
        }
    }
}

fn check(blob: u8, open: &OpenBlob) {
    let expected = bytes_of(blob);
    let mut bytes = vec![0; expected.len()];
    open.file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, expected);
    assert_eq!(open.size_bytes, expected.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_no_byte_is_wrong_and_the_books_balance(
        operations in prop::collection::vec(operation(), 1..60),
    ) {
        let mut world = World::new();
        for operation in operations {
            let cuts_power = matches!(operation, Operation::PowerCut { .. });
            world.run(operation);
            if cuts_power {
                // Which of them were damaged is found out when they are opened.
                for blob in 0..24 {
                    if world.open(blob).is_none() {
                        world.must_stay.remove(&blob);
                    }
                }
            }
            world.check();
        }
    }
}

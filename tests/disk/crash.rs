//! Killed at any instant, again and again: what is served afterwards is right, and nothing is left over.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use super::{assert_settled, hours_later, until_kept, with_store};
use crate::support::shared_fs::{SharedFs, Sharing};
use crate::support::{Origin, PATIENCE, Shelf, Transship, shelf};

/// Rounds of all lanes together.
const ROUNDS: usize = 204;
/// Stores that are tormented at the same time.
const LANES: usize = 4;
const PULLERS: usize = 6;
const BLOBS: usize = 30;
/// Half of what the blobs need, so that something is being evicted all the time.
const STORE: &str = "bytes_max: 8MiB";

/// Numbers that look random and can be had again from the seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    fn blob(&mut self) -> usize {
        usize::try_from(self.throw(BLOBS as u64)).unwrap()
    }
}

/// From 1 KiB to 2 MiB, more small ones than large ones.
fn sizes() -> impl Iterator<Item = usize> {
    (0..BLOBS).map(|number| 1024 + (number * number * 2 * 1_048_576) / (BLOBS * BLOBS) + number)
}

/// When a round is over.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// Clients have got this many bytes since the start.
    Bytes(u64),
    /// The index on disk has just moved: it may be in the middle of a write.
    IndexMoves,
}

/// Pulls of blobs by chance, until the process is dead.
struct Load {
    bytes: AtomicU64,
    enough: Mutex<Option<(u64, mpsc::Sender<()>)>>,
}

impl Load {
    fn came(&self, count: usize) {
        let bytes = self.bytes.fetch_add(count as u64, Ordering::SeqCst) + count as u64;
        let mut enough = self.enough.lock().unwrap();
        if enough.as_ref().is_some_and(|(limit, _)| bytes >= *limit) {
            let (_, killer) = enough.take().unwrap();
            let _ = killer.send(());
        }
    }
}

/// Loads it with pulls, kills it at the instant that `end` says, and returns when everybody has noticed.
fn torment(transship: Transship, shelf: &Shelf, end: Until, seed: u64) {
    let (killer, kill) = mpsc::channel();
    let addr = transship.addr;
    let index = transship.storage.join("index");
    let limit = match end {
        Until::Bytes(limit) => limit,
        // A store that keeps no index would never end the round.
        Until::IndexMoves => 512 << 20,
    };
    let load = &Load {
        bytes: AtomicU64::new(0),
        enough: Mutex::new(Some((limit, killer))),
    };
    thread::scope(|scope| {
        for puller in 0..PULLERS as u64 {
            let mut dice = Dice(seed ^ (puller << 48));
            scope.spawn(move || {
                // An error is the end of the process; wrong bytes panic.
                while shelf
                    .pull_counting(addr, dice.blob(), |count| load.came(count))
                    .is_ok()
                {}
            });
        }
        match end {
            Until::Bytes(_) => kill.recv_timeout(PATIENCE).expect("bytes come"),
            Until::IndexMoves => until_index_moves(&index, &kill),
        }
        drop(transship.kill());
    });
}

/// Looks as often as it can: the kill has to hit the write.
fn until_index_moves(index: &Path, enough: &mpsc::Receiver<()>) {
    let look = || {
        std::fs::metadata(index)
            .ok()
            .map(|now| (now.len(), now.modified().ok()))
    };
    let before = look();
    while look() == before && enough.try_recv().is_err() {
        thread::yield_now();
    }
}

/// Pulls some by chance: right bytes, and a hit asks the origin nothing.
fn look_around(transship: &Transship, origin: &Origin, shelf: &Shelf, dice: &mut Dice) {
    for _ in 0..4 {
        let number = dice.blob();
        let path = shelf.blob(number).path();
        let before = origin.count("GET", &path);
        let pulled = shelf.pull(transship.addr, number);
        let asked = origin.count("GET", &path) - before;
        assert_eq!(
            asked == 0,
            pulled.is_hit(),
            "{pulled:?}, asked {asked} times"
        );
    }
}

/// One store, killed round after round.
fn lane(seed: u64, rounds: usize, keep: &Path) {
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 1, sizes());
    let mut dice = Dice(seed);
    let start = || with_store(&origin, STORE).storage(keep).start();
    for round in 0..rounds {
        let transship = start();
        look_around(&transship, &origin, &shelf, &mut dice);
        let end = match round % 8 {
            7 => Until::IndexMoves,
            _ => Until::Bytes(dice.throw(6 << 20)),
        };
        torment(transship, &shelf, end, dice.throw(u64::MAX));
        // Whatever is there under a final name is what the name says.
        if round % 8 == 7 {
            shelf::assert_sound(keep);
        }
    }
    // An hour later, since a file that has a name may be another node's until it is old enough.
    let transship = hours_later(with_store(&origin, STORE).storage(keep), 1).start();
    for number in 0..shelf.len() {
        shelf.pull(transship.addr, number);
    }
    assert_settled(&transship, keep);
    until_kept(&transship, &shelf, 0);
}

#[test]
fn no_kill_at_any_instant_leads_to_a_wrong_byte_or_leaves_anything_behind() {
    // The kernel kills for want of memory, in the middle of fills, evictions and writes of the index.
    let seed = std::env::var("TRANSSHIP_CRASH_SEED").map_or_else(
        |_| u64::from(std::process::id()) << 20 ^ clock(),
        |seed| seed.parse().unwrap(),
    );
    // One of them where unfinished files have names, as on NFS: what a kill leaves lies about.
    let named = SharedFs::start(Sharing::Bindfs, 1);
    let dir = tempfile::TempDir::new().unwrap();
    eprintln!("TRANSSHIP_CRASH_SEED={seed} tries the same numbers again");
    thread::scope(|scope| {
        for number in 0..LANES as u64 {
            let keep = match number {
                0 => named.storage(0),
                _ => dir.path().join(number.to_string()),
            };
            scope.spawn(move || lane(seed ^ (number << 56), ROUNDS / LANES, &keep));
        }
    });
}

fn clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::from(now.unwrap().subsec_nanos())
}

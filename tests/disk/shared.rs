//! Several transships on one directory, each on a machine of its own as far as it can tell.

use super::{assert_calm, evictions, pull_all_at_once, until_kept, with_store, with_ttl};
use crate::support::shared_fs::{SharedFs, Sharing};
use crate::support::{Gate, Origin, Plan, Shelf, Transship, assert_same, shelf, until};

const MIB: usize = 1 << 20;
const ROOM: u64 = 8 * MIB as u64;
const STORE: &str = "bytes_max: 8MiB";

/// Two on one directory, the first of which was there first.
struct Pair {
    first: Transship,
    second: Transship,
    origin: Origin,
    shared: SharedFs,
}

impl Pair {
    fn on(sharing: Sharing) -> Self {
        let (shared, origin) = (SharedFs::start(sharing, 2), Origin::start());
        let start = |view| {
            with_store(&origin, STORE)
                .storage(&shared.storage(view))
                .start()
        };
        Self {
            first: start(0),
            second: start(1),
            origin,
            shared,
        }
    }

    fn gets(&self, shelf: &Shelf, number: usize) -> usize {
        self.origin.count("GET", &shelf.blob(number).path())
    }

    #[track_caller]
    fn until_within_room(&self) {
        until("the store is within its room", || {
            shelf::stored_bytes(&self.shared.real()) <= ROOM
        });
    }
}

/// Everything that has to hold wherever a directory can be shared.
fn share(sharing: Sharing) {
    what_one_stored_is_a_hit_on_the_other(&Pair::on(sharing));
    both_fill_the_same_blob(&Pair::on(sharing));
    what_one_evicts_is_a_miss_on_the_other(&Pair::on(sharing));
    for is_first in [true, false] {
        one_is_killed_and_the_other_goes_on(Pair::on(sharing), is_first);
    }
}

fn what_one_stored_is_a_hit_on_the_other(pair: &Pair) {
    let shelf = Shelf::stock(&pair.origin, 1, [MIB, 3000, 100_000, 0]);
    for number in 0..shelf.len() {
        let (one, other) = match number % 2 {
            0 => (&pair.first, &pair.second),
            _ => (&pair.second, &pair.first),
        };
        until_kept(one, &shelf, number);
        assert!(shelf.pull(other.addr, number).is_hit(), "blob {number}");
        assert_eq!(pair.gets(&shelf, number), 1);
    }
    assert_calm(&pair.first);
    assert_calm(&pair.second);
}

fn both_fill_the_same_blob(pair: &Pair) {
    let shelf = Shelf::stock(&pair.origin, 2, [2 * MIB]);
    let blob = shelf.blob(0);
    let gates = [Gate::new(), Gate::new()];
    for gate in &gates {
        pair.origin.plan(blob, Plan::whole().wait_at(MIB, gate));
    }
    let mut clients = [pair.first.client(), pair.second.client()];
    for (client, gate) in clients.iter_mut().zip(&gates) {
        client.ask("GET", &blob.path(), &[]);
        gate.reached();
    }
    gates.iter().for_each(Gate::open);
    for client in &mut clients {
        let reply = client.reply("GET");
        assert!(reply.whole, "{:?}", reply.head);
        assert_same(&reply.body, &blob.bytes);
    }
    for transship in [&pair.first, &pair.second] {
        until_kept(transship, &shelf, 0);
    }
    assert_eq!(pair.gets(&shelf, 0), 2);
    shelf::assert_sound(&pair.shared.real());
}

fn what_one_evicts_is_a_miss_on_the_other(pair: &Pair) {
    let shelf = Shelf::stock(&pair.origin, 3, [MIB; 24]);
    for transship in [&pair.first, &pair.second, &pair.first] {
        for number in 0..shelf.len() {
            shelf.pull(transship.addr, number);
        }
    }
    pair.until_within_room();
    for transship in [&pair.first, &pair.second] {
        pull_all_at_once(transship, &shelf);
    }
    pair.until_within_room();
    let evicted = evictions(&pair.first, "room") + evictions(&pair.second, "room");
    assert!(evicted > 0);
    shelf::assert_sound(&pair.shared.real());
    assert_calm(&pair.first);
    assert_calm(&pair.second);
}

/// - `is_first`: the one that was there first is killed, which is the one that deletes.
fn one_is_killed_and_the_other_goes_on(pair: Pair, is_first: bool) {
    let shelf = Shelf::stock(&pair.origin, 4, [MIB; 24]);
    pull_all_at_once(&pair.first, &shelf);
    pair.until_within_room();
    let Pair {
        first,
        second,
        origin,
        shared,
    } = pair;
    let (dead, left) = if is_first {
        (first, second)
    } else {
        (second, first)
    };
    // Killed in the middle of fills, whose files lie about where they have names.
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (shelf, addr) = (&shelf, dead.addr);
            scope.spawn(move || shelf.pull_counting(addr, number, |_| {}));
        }
        until("a fill is under way", || {
            dead.metrics().sum("transship_fills_total", &[]) > 0
        });
        drop(dead.kill());
    });
    for _ in 0..2 {
        for number in 0..shelf.len() {
            shelf.pull(left.addr, number);
        }
    }
    until("the one that is left deletes", || {
        shelf::stored_bytes(&shared.real()) <= ROOM
    });
    let fresh = Shelf::stock(&origin, 5, [MIB]);
    until_kept(&left, &fresh, 0);
    shelf::assert_sound(&shared.real());
    assert_calm(&left);
}

#[test]
fn two_on_one_directory_share_what_they_store() {
    // High availability by shared storage is what operators are told to do.
    share(Sharing::Directory);
}

#[test]
fn two_on_a_fuse_file_system_share_what_they_store() {
    // No O_TMPFILE there, and every name may be known to one machine and not yet to the other.
    share(Sharing::Bindfs);
}

#[test]
fn two_on_a_network_file_system_share_what_they_store() {
    share(Sharing::Gluster);
}

#[test]
fn a_blob_that_only_one_of_two_serves_is_not_deleted_by_the_other() {
    // The one that deletes does not see the pulls of the other: half of the cluster's hot images would go
    // at every TTL.
    let (shared, origin) = (SharedFs::start(Sharing::Directory, 2), Origin::start());
    let start = |view| {
        with_ttl(&origin, "3s", "")
            .storage(&shared.storage(view))
            .start()
    };
    let (first, second) = (start(0), start(1));
    let hot = Shelf::stock(&origin, 6, [MIB]);
    until_kept(&second, &hot, 0);
    for turn in 0..2 {
        let cold = Shelf::stock(&origin, 10 + turn, [5000]);
        cold.pull(first.addr, 0);
        let path = shelf::place(&shared.real(), &cold.blob(0).digest);
        until("the cold one is stored", || path.exists());
        until("the cold one is deleted", || {
            assert!(
                hot.pull(second.addr, 0).is_hit(),
                "deleted while it is pulled"
            );
            !path.exists()
        });
    }
    assert_eq!(origin.count("GET", &hot.blob(0).path()), 1);
}

#[test]
fn fills_of_one_are_not_cleared_away_by_the_start_of_another() {
    // Where unfinished files have names, a starting node takes them for the leftovers of a crash.
    let (shared, origin) = (SharedFs::start(Sharing::Bindfs, 2), Origin::start());
    let start = |view| {
        with_store(&origin, STORE)
            .storage(&shared.storage(view))
            .start()
    };
    let first = start(0);
    let shelf = Shelf::stock(&origin, 7, [2 * MIB]);
    let blob = shelf.blob(0);
    let gate = Gate::new();
    origin.plan(blob, Plan::whole().wait_at(MIB, &gate));
    let mut client = first.client();
    client.ask("GET", &blob.path(), &[]);
    gate.reached();
    let second = start(1);
    gate.open();
    assert_same(&client.reply("GET").body, &blob.bytes);
    until_kept(&first, &shelf, 0);
    assert_eq!(origin.count("GET", &blob.path()), 1, "the fill was kept");
    assert!(shelf.pull(second.addr, 0).is_hit());
}

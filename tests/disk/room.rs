//! A bounded store: what it keeps, what it lets go, and when.

use std::fs;
use std::path::Path;

use super::{
    assert_settled, evictions, hours_later, reading, store_bytes, until_kept, until_reading,
    with_store, with_ttl,
};
use crate::support::{Blob, Origin, Plan, Shelf, Transship, assert_same, shelf, until};

const MIB: usize = 1 << 20;
const ROOM: u64 = 8 * MIB as u64;

fn gets(origin: &Origin, blob: &Blob) -> usize {
    origin.count("GET", &blob.path())
}

/// Fails when the store has grown beyond its room, by its own word or by its files.
#[track_caller]
fn assert_within(transship: &Transship, room: u64) {
    let told = store_bytes(transship);
    assert!(told <= room, "{told} bytes of {room} are counted");
    let held = shelf::stored_bytes(&transship.storage);
    assert!(held <= room, "{held} bytes of {room} are on disk");
}

#[test]
fn a_store_never_grows_beyond_its_room_and_keeps_what_is_hot() {
    // The disk is shared with others, who count on the bound; and a cache that forgets its base images
    // whenever somebody pulls a lot of others is none.
    let origin = Origin::start();
    let cold = Shelf::stock(&origin, 1, [MIB; 40]);
    let hot = Shelf::stock(&origin, 2, [MIB, 300_000]);
    let transship = with_store(&origin, "bytes_max: 8MiB").start();
    for number in 0..hot.len() {
        until_kept(&transship, &hot, number);
    }
    for number in 0..cold.len() {
        cold.pull(transship.addr, number);
        assert_within(&transship, ROOM);
        // Uses are counted by the second: half the room may change in one, not all of it.
        if number % 3 == 0 {
            pull_for_a_second(&transship, &hot);
        }
    }
    for number in 0..hot.len() {
        assert_eq!(gets(&origin, hot.blob(number)), 1, "hot blob {number} went");
    }
    assert!(evictions(&transship, "room") >= 30);
    assert_settled(&transship, &transship.storage);
    let kept = store_bytes(&transship);
    assert!(kept > ROOM / 2, "only {kept} bytes are kept");
}

/// Pulls all of them until the clock of the responses has moved on.
fn pull_for_a_second(transship: &Transship, shelf: &Shelf) {
    let date = || {
        let reply = transship.client().call("HEAD", "/v2/", &[]);
        reply.field("date").unwrap().to_owned()
    };
    let before = date();
    until("another second", || {
        for number in 0..shelf.len() {
            shelf.pull(transship.addr, number);
        }
        date() != before
    });
}

#[test]
fn many_pulls_at_once_stay_within_the_room() {
    // Each of them alone fits; a reservation that is made too late lets all of them in.
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 3, (0..48).map(|number| MIB + 1000 * number));
    let transship = with_store(&origin, "bytes_max: 8MiB").start();
    std::thread::scope(|scope| {
        let pulls = scope.spawn(|| {
            for _ in 0..3 {
                super::pull_all_at_once(&transship, &shelf);
            }
        });
        while !pulls.is_finished() {
            assert_within(&transship, ROOM);
        }
    });
    assert_settled(&transship, &transship.storage);
}

#[test]
fn a_blob_larger_than_the_room_is_passed_through_and_evicts_nothing() {
    // One ML image would throw out everything else, and not even be kept.
    let origin = Origin::start();
    let small = Shelf::stock(&origin, 4, [MIB; 6]);
    let huge = Shelf::stock(&origin, 5, [20 * MIB]);
    let transship = with_store(&origin, "bytes_max: 8MiB").start();
    for number in 0..small.len() {
        until_kept(&transship, &small, number);
    }
    for _ in 0..2 {
        assert!(!huge.pull(transship.addr, 0).is_hit());
    }
    let passed = [("outcome", "passed_through")];
    transship.until_metric("transship_fills_total", &passed, 2);
    for number in 0..small.len() {
        assert!(
            small.pull(transship.addr, number).is_hit(),
            "blob {number} went for nothing"
        );
    }
    assert_eq!(evictions(&transship, "room"), 0);
    assert_settled(&transship, &transship.storage);
}

#[test]
fn a_large_blob_of_unknown_size_stays_within_the_room() {
    // A chunked answer has no length to reserve by; it is known to be too large only when it is.
    let origin = Origin::start();
    let huge = Shelf::stock(&origin, 6, [20 * MIB]);
    origin.plan(huge.blob(0), Plan::whole().chunked());
    let transship = with_store(&origin, "bytes_max: 8MiB").start();
    assert!(!huge.pull(transship.addr, 0).is_hit());
    assert_settled(&transship, &transship.storage);
    assert_within(&transship, ROOM);
}

#[test]
fn a_blob_that_is_evicted_while_it_is_sent_arrives_whole() {
    // A slow node would get a layer that ends in the middle, or worse, one that goes on with other bytes.
    let origin = Origin::start();
    let slow = Shelf::stock(&origin, 7, [24 * MIB]);
    let others = Shelf::stock(&origin, 8, [MIB; 100]);
    let transship = with_store(&origin, "bytes_max: 64MiB").start();
    until_kept(&transship, &slow, 0);
    let blob = slow.blob(0);
    let size = blob.len() as u64;
    let mut client = transship.client();
    client.ask("GET", &blob.path(), &[]);
    assert_eq!(client.head().cache(), "hit");
    let mut got = client.exactly(1000);

    let path = shelf::place(&transship.storage, &blob.digest);
    let mut next = (0..others.len()).cycle();
    until("the blob is evicted", || {
        // Asked for again, as the blob itself was: what is asked for once makes way for it.
        let number = next.next().unwrap();
        others.pull(transship.addr, number);
        others.pull(transship.addr, number);
        !path.exists()
    });
    assert!(evictions(&transship, "room") >= 1);
    until("it counts until it is closed", || {
        reading(&transship, "transship_store_lingering_bytes", &[]) >= size
    });
    got.extend(client.exactly(blob.len() - 1000));
    assert_same(&got, &blob.bytes);
    drop(client);
    until_reading(&transship, "transship_store_lingering_bytes", &[], 0);
}

#[test]
fn a_lower_bound_after_a_restart_is_kept_at_once() {
    // An operator who shrinks the cache needs the room now, not when the next image comes.
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 9, [MIB; 20]);
    let transship = with_store(&origin, "bytes_max: 64MiB").start();
    for number in 0..shelf.len() {
        until_kept(&transship, &shelf, number);
    }
    let stopped = transship.stop();
    let again = with_store(&origin, "bytes_max: 8MiB")
        .storage(&stopped.storage)
        .start();
    until("the store has shrunk", || {
        shelf::stored_bytes(&stopped.storage) <= ROOM
    });
    assert_settled(&again, &stopped.storage);
    assert!(store_bytes(&again) > ROOM / 2);
}

#[test]
fn a_ttl_of_a_second_deletes_and_one_of_a_year_does_not() {
    // Peers have deleted nothing ever, or everything at the first restart.
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 10, [MIB, 2000]);
    let transship = with_ttl(&origin, "1s", "").start();
    for number in 0..shelf.len() {
        shelf.pull(transship.addr, number);
    }
    until("both are deleted", || {
        shelf::files(&transship.storage, "blobs").is_empty()
    });
    until_reading(
        &transship,
        "transship_store_evictions_total",
        &[("reason", "ttl")],
        2,
    );
    until_reading(&transship, "transship_store_bytes", &[], 0);

    let transship = with_ttl(&origin, "8760h", "").start();
    for number in 0..shelf.len() {
        until_kept(&transship, &shelf, number);
    }
    let mut stopped = transship.stop();
    for (hours, kept) in [(8759, 2), (8761, 0)] {
        let later = with_ttl(&origin, "8760h", "").storage(&stopped.storage);
        let later = hours_later(later, hours).start();
        until(&format!("{kept} blobs are left"), || {
            shelf::files(&later.storage, "blobs").len() == kept
                && reading(&later, "transship_store_blobs", &[]) == kept as u64
        });
        let killed = later.stop();
        stopped.storage.clone_from(&killed.storage);
    }
}

/// Waits until the index on disk has taken something in.
fn until_index_moves(root: &Path, mut act: impl FnMut()) {
    let index = root.join("index");
    let look = || {
        let metadata = fs::metadata(&index).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    let before = look();
    act();
    until("the index on disk moves", || look() != before);
}

#[test]
fn a_pull_counts_for_the_ttl_though_the_process_was_killed() {
    // After a crash everything that was filled long ago would go, however hot it is.
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 11, [MIB, MIB]);
    let transship = with_ttl(&origin, "24h", "").start();
    for number in 0..shelf.len() {
        until_kept(&transship, &shelf, number);
    }
    let stopped = transship.stop();
    let storage = &stopped.storage;
    let at = |hours| hours_later(with_ttl(&origin, "24h", "").storage(storage), hours).start();

    let later = at(20);
    until_index_moves(storage, || {
        assert!(shelf.pull(later.addr, 0).is_hit());
    });
    drop(later.kill());

    let much_later = at(30);
    let place = |number: usize| shelf::place(storage, &shelf.blob(number).digest);
    until("the one that was not pulled is deleted", || {
        !place(1).exists()
    });
    assert!(place(0).exists(), "pulled ten hours ago, and deleted");
    assert!(shelf.pull(much_later.addr, 0).is_hit());
    assert_eq!(gets(&origin, shelf.blob(0)), 1);
    drop(much_later);
}

#[test]
fn a_file_that_is_gone_or_short_is_a_miss_and_is_filled_anew() {
    // Somebody tidies up by hand: peers answer 500 or an empty 200 from then on.
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 12, [MIB, MIB, 5000]);
    let transship = with_store(&origin, "").start();
    for number in 0..shelf.len() {
        until_kept(&transship, &shelf, number);
    }
    let stopped = transship.stop();
    let again = with_store(&origin, "").storage(&stopped.storage).start();
    let place = |number: usize| shelf::place(&stopped.storage, &shelf.blob(number).digest);
    fs::remove_file(place(0)).unwrap();
    for number in [1, 2] {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(place(number))
            .unwrap();
        file.set_len(1234).unwrap();
    }
    for number in 0..shelf.len() {
        assert!(!shelf.pull(again.addr, number).is_hit());
        until_kept(&again, &shelf, number);
        assert_eq!(gets(&origin, shelf.blob(number)), 2);
    }
    assert_settled(&again, &stopped.storage);
}

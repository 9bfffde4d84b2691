//! The power is cut in the middle of the work, on XFS, which takes "not synced" at its word.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use super::{assert_calm, assert_settled, with_store};
use crate::support::{Cut, LoopDisk, Origin, PATIENCE, Shelf, shelf, until};

const MIB: usize = 1 << 20;
const ROUNDS: u64 = 4;
const PULLERS: usize = 6;

/// What clients have got so far.
struct Progress {
    bytes: AtomicU64,
    /// Blobs that were answered from the store.
    hits: Mutex<HashSet<usize>>,
}

/// Pulls the shelf from several clients until `cut_after` bytes have come, and cuts the power then.
/// Returns which blobs were hits before.
fn pull_until_cut(
    shelf: &Shelf,
    addr: std::net::SocketAddr,
    cut_after: u64,
    cut: impl FnOnce(),
) -> HashSet<usize> {
    let (enough, is_enough) = mpsc::channel();
    let progress = &Progress {
        bytes: AtomicU64::new(0),
        hits: Mutex::default(),
    };
    thread::scope(|scope| {
        for puller in 0..PULLERS {
            let enough = enough.clone();
            scope.spawn(move || {
                let numbers = (0..shelf.len()).cycle().skip(puller * 5);
                for number in numbers {
                    let pulled = shelf.pull_counting(addr, number, |count| {
                        let bytes = progress.bytes.fetch_add(count as u64, Ordering::SeqCst);
                        if bytes + count as u64 >= cut_after {
                            let _ = enough.send(());
                        }
                    });
                    match pulled {
                        Ok(pulled) if pulled.is_hit() => {
                            progress.hits.lock().unwrap().insert(number);
                        }
                        Ok(_) => {}
                        Err(_) => return,
                    }
                }
            });
        }
        is_enough.recv_timeout(PATIENCE).expect("bytes come");
        let hits = progress.hits.lock().unwrap().clone();
        cut();
        hits
    })
}

/// Cuts the power again and again; what survives must be right, and with `each` it must survive.
fn cut_power(durability: &str, cut: Cut) {
    let disk = LoopDisk::xfs(160);
    let origin = Origin::start();
    let store = format!("durability: {durability}");
    let start = || with_store(&origin, &store).storage(&disk.storage()).start();
    for round in 0..ROUNDS {
        let sizes = (0..24).map(|number| 2000 + number * 40_000);
        let shelf = Shelf::stock(&origin, round, sizes);
        let transship = start();
        let cut_after = [MIB, 20 * MIB, 5 * MIB, 60 * MIB][usize::try_from(round).unwrap() % 4];
        let mut transship = Some(transship);
        let addr = transship.as_ref().unwrap().addr;
        let hits = pull_until_cut(&shelf, addr, cut_after as u64, || {
            disk.cut_power(cut);
            drop(transship.take().unwrap().kill());
        });
        disk.power_up();

        let again = start();
        for number in 0..shelf.len() {
            let pulled = shelf.pull(again.addr, number);
            if durability == "each" && hits.contains(&number) {
                assert!(pulled.is_hit(), "blob {number} was committed, and is lost");
            }
        }
        assert_settled(&again, &disk.storage());
        assert_calm(&again);
        // An orderly stop: the next round's cut must not damage what this one has left.
        assert!(again.terminate().success());
    }
}

#[test]
fn a_power_cut_with_nothing_synced_serves_no_wrong_byte() {
    cut_power("none", Cut::Abrupt);
    cut_power("none", Cut::NamesOnly);
}

#[test]
fn a_power_cut_between_two_syncs_serves_no_wrong_byte() {
    // A file of zeros under the right name and of the right length is what peers serve as a clean 200.
    cut_power("group", Cut::Abrupt);
    cut_power("group", Cut::NamesOnly);
}

#[test]
fn a_power_cut_takes_nothing_of_what_was_committed_each_by_itself() {
    cut_power("each", Cut::Abrupt);
    cut_power("each", Cut::NamesOnly);
}

#[test]
fn what_was_synced_as_a_group_survives_a_power_cut() {
    // `group` may lose the last seconds, not the last hours.
    let disk = LoopDisk::xfs(160);
    let origin = Origin::start();
    let start = || with_store(&origin, "").storage(&disk.storage()).start();
    let shelf = Shelf::stock(&origin, 50, [MIB, 3000, 200_000]);
    let transship = start();
    let checkpoint = disk.storage().join("checkpoint");
    let modified = || checkpoint.metadata().and_then(|now| now.modified()).ok();
    for number in 0..shelf.len() {
        super::until_kept(&transship, &shelf, number);
    }
    // The sync that is under way may have begun before the last commit; the one after has not.
    for number in 0..2 {
        let before = modified();
        let more = Shelf::stock(&origin, 60 + number, [1000]);
        super::until_kept(&transship, &more, 0);
        until("a sync has ended", || modified() != before);
    }
    disk.cut_power(Cut::Abrupt);
    drop(transship.kill());
    disk.power_up();
    let again = start();
    for number in 0..shelf.len() {
        assert!(
            shelf.pull(again.addr, number).is_hit(),
            "blob {number} is lost"
        );
    }
    shelf::assert_sound(&disk.storage());
}

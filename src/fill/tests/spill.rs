//! A fill that the disk has failed: what is kept, for whom, and when it waits for whom.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::digest::{Algorithm, Digest};
use crate::fill::held::Permits;
use crate::fill::progress::{Done, Order};
use crate::fill::{Failure, Fill, Follower, OnRange};
use crate::limits::{SPILL_SEGMENT_BYTES, SPILL_WINDOW_BYTES, SPILLS_MAX};
use crate::rt::{self, Tier, memory_file};
use crate::upstream::{Authority, Trail};

const SEGMENT: u64 = SPILL_SEGMENT_BYTES;
const WINDOW: u64 = SPILL_WINDOW_BYTES;

pub(super) fn fill() -> Arc<Fill> {
    fill_of(Digest::of(Algorithm::Sha256, b""))
}

pub(super) fn fill_of(digest: Digest) -> Arc<Fill> {
    let (authority, trail) = (Authority::Cache, Trail::default());
    let on_range = OnRange::Complete;
    Arc::new(Fill::new(digest, "a/b", authority, trail, on_range))
}

fn spill(fill: &Fill, from: u64) {
    let cause = Arc::new(io::Error::from(io::ErrorKind::StorageFull));
    let permit = Permits::default().take().unwrap();
    fill.spill(from, cause, permit);
}

/// Bytes that tell where they belong.
fn bytes_at(offset: u64, count: u64) -> Vec<u8> {
    let byte = |at: u64| (at / 7).to_le_bytes()[0];
    (offset..offset + count).map(byte).collect()
}

fn write(fill: &Fill, offset: u64, count: u64) {
    let bytes = bytes_at(offset, count);
    fill.write_to_memory(&bytes, offset).unwrap();
    fill.land(offset..offset + count, Some(1 << 40));
}

/// Reads what a follower would be sent.
fn read(follower: &Follower, start: u64, end: u64) -> Option<Vec<u8>> {
    let (mut cursor, mut got) = (start, Vec::new());
    while cursor < end {
        let piece = follower.piece(cursor, end)?;
        let count = piece.range.end - piece.range.start;
        let mut part = vec![0; usize::try_from(count).unwrap()];
        piece
            .file
            .read_exact_at(&mut part, piece.range.start)
            .unwrap();
        got.extend(part);
        cursor += count;
    }
    Some(got)
}

/// Asks `operation` once: `None` if it waits.
pub(super) fn now<T>(operation: impl Future<Output = T>) -> Option<T> {
    let mut operation = Box::pin(operation);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match operation.as_mut().poll(&mut context) {
        std::task::Poll::Ready(done) => Some(done),
        std::task::Poll::Pending => None,
    }
}

fn has_room(fill: &Arc<Fill>, taken: u64) -> bool {
    let fill = Arc::clone(fill);
    now(async move { fill.room(taken).await }).is_some()
}

#[test]
fn bytes_come_from_disk_before_the_failure_and_from_memory_after_it() {
    // A follower that lags behind the failure would get zeros, or bytes of another place.
    let fill = fill();
    let follower = Follower::join(&fill).unwrap();
    let disk = Arc::new(memory_file().unwrap());
    let from = 300_001;
    disk.write_all_at(&bytes_at(0, from), 0).unwrap();
    fill.held.lock().set_disk(disk);
    spill(&fill, from);
    for (offset, count) in [(from, 100_000), (400_001, SEGMENT), (400_001 + SEGMENT, 9)] {
        write(&fill, offset, count);
    }
    let end = 400_001 + SEGMENT + 9;
    for start in [0, from - 1, from, from + SEGMENT - 1, from + SEGMENT] {
        let got = read(&follower, start, end).unwrap();
        assert!(got == bytes_at(start, end - start), "from {start}");
    }
}

#[test]
fn what_the_slowest_follower_wants_is_kept_and_what_all_have_passed_is_not() {
    // Memory would grow by every blob that the disk does not take, or a slow client get holes.
    let fill = fill();
    let (slow, fast) = (
        Follower::join(&fill).unwrap(),
        Follower::join(&fill).unwrap(),
    );
    spill(&fill, 0);
    write(&fill, 0, 3 * SEGMENT);
    fast.pass(3 * SEGMENT);
    slow.pass(SEGMENT - 1);
    fill.let_go(3 * SEGMENT, || {
        panic!("the first byte's segment is still wanted")
    });
    assert!(Follower::join(&fill).is_some(), "the first byte is there");

    slow.pass(2 * SEGMENT);
    let mut left = false;
    fill.let_go(3 * SEGMENT, || left = true);
    assert!(left, "it must leave the list before anything is let go");
    assert!(Follower::join(&fill).is_none(), "the first byte is gone");
    assert!(slow.piece(2 * SEGMENT - 1, 2 * SEGMENT).is_none());
    let got = read(&slow, 2 * SEGMENT, 3 * SEGMENT).unwrap();
    assert!(got == bytes_at(2 * SEGMENT, SEGMENT));
}

#[test]
fn whoever_joins_in_the_last_moment_keeps_the_first_byte() {
    // Between the look and the letting go, a client may still find the fill on the list.
    let fill = fill();
    let first = Follower::join(&fill).unwrap();
    spill(&fill, 0);
    write(&fill, 0, 2 * SEGMENT);
    first.pass(2 * SEGMENT);
    let mut late = None;
    fill.let_go(2 * SEGMENT, || late = Follower::join(&fill));
    let late = late.unwrap();
    assert!(read(&late, 0, 2 * SEGMENT).unwrap() == bytes_at(0, 2 * SEGMENT));
}

#[test]
fn a_follower_of_a_range_far_ahead_costs_no_segment_that_is_still_written() {
    // The range's bytes would land in the segment of others.
    let fill = fill();
    let ahead = Follower::join(&fill).unwrap();
    ahead.pass(10 * SEGMENT + 5);
    spill(&fill, 0);
    let step = SEGMENT / 4 * 3;
    for number in 0..14 {
        write(&fill, number * step, step);
        fill.let_go((number + 1) * step, || ());
        assert!(has_room(&fill, (number + 1) * step));
    }
    let (start, end) = (10 * SEGMENT + 5, 14 * step);
    assert!(read(&ahead, start, end).unwrap() == bytes_at(start, end - start));
}

#[test]
fn a_fill_waits_for_its_slowest_follower_and_for_no_other() {
    // Without the wait memory has no bound; with a wait for the wrong one it would never end.
    let fill = fill();
    let (slow, fast) = (
        Follower::join(&fill).unwrap(),
        Follower::join(&fill).unwrap(),
    );
    assert!(
        has_room(&fill, 100 * WINDOW),
        "a fill to disk waits for nobody"
    );
    spill(&fill, 1000);
    assert!(has_room(&fill, 1000 + WINDOW - 1));
    assert!(!has_room(&fill, 1000 + WINDOW));
    fast.pass(1000 + WINDOW);
    assert!(!has_room(&fill, 1000 + WINDOW));
    slow.pass(2000);
    assert!(has_room(&fill, 1000 + WINDOW));
    assert!(!has_room(&fill, 2000 + WINDOW));
    drop(slow);
    assert!(has_room(&fill, 2000 + WINDOW));
}

#[test]
fn the_fill_is_told_of_each_step_that_makes_room() {
    // A lost wake-up is a pull that hangs until somebody else comes or goes.
    const STEPS: u64 = 300;
    const STEP: u64 = 10_000;
    let fill = fill();
    let followers = [(); 2].map(|()| Follower::join(&fill).unwrap());
    spill(&fill, 0);
    let walkers = followers.map(|follower| {
        let fill = Arc::clone(&fill);
        std::thread::spawn(move || {
            for hold in (0..STEPS).map(|step| step * STEP) {
                // Whoever walks is waited for; nobody else wakes the fill.
                while !fill.waits_for(hold) {
                    std::thread::yield_now();
                }
                follower.pass(hold + STEP);
            }
            follower
        })
    });
    let theirs = Arc::clone(&fill);
    let core = move |_| {
        let fill = Arc::clone(&theirs);
        async move {
            for step in 1..=STEPS {
                fill.room(WINDOW + step * STEP - 1).await;
            }
        }
    };
    let cores = rt::Cores::start_unpinned("test", &Tier::probe(false), core).unwrap();
    cores.join().unwrap();
    for walker in walkers {
        walker.join().unwrap();
    }
}

#[test]
fn a_follower_that_waits_for_itself_is_told_so_and_no_other_is() {
    // Ranges that go backwards, and heads that need a size: the pull would hang for ever.
    let fill = fill();
    let (straight, backwards) = (
        Follower::join(&fill).unwrap(),
        Arc::new(Follower::join(&fill).unwrap()),
    );
    spill(&fill, 0);
    write(&fill, 0, WINDOW);
    let waits = |cursor| {
        let follower = Arc::clone(&backwards);
        now(async move { follower.more(cursor, Order::InTurn).await })
    };
    assert!(waits(5 * WINDOW).is_none(), "there is room");
    straight.pass(100);
    assert!(!has_room(&fill, WINDOW));
    assert!(matches!(waits(5 * WINDOW), Some(Err(Failure::Disk(_)))));
    assert!(matches!(waits(u64::MAX), Some(Err(Failure::Disk(_)))));
    // What is there may be had all the same, and waiting for the next byte is waiting for the next hop.
    assert!(matches!(waits(WINDOW - 1), Some(Ok(WINDOW))));
    backwards.pass(200);
    assert!(!has_room(&fill, 100 + WINDOW));
    assert!(waits(5 * WINDOW).is_none(), "another one is slower");
    fill.finish(Done::Passed { size_bytes: WINDOW });
    assert!(matches!(waits(u64::MAX), Some(Ok(WINDOW))));
}

#[test]
fn a_file_that_took_nothing_is_let_go_and_the_herd_may_still_join() {
    // Each client of a blob that the full disk refuses at its first byte would start a transfer of its own.
    let fill = fill();
    let follower = Follower::join(&fill).unwrap();
    let disk = Arc::new(memory_file().unwrap());
    fill.held.lock().set_disk(Arc::clone(&disk));
    spill(&fill, 0);
    assert_eq!(Arc::strong_count(&disk), 1, "its room is held");
    write(&fill, 0, 1000);
    fill.let_go(1000, || panic!("nothing is let go"));
    assert!(Follower::join(&fill).is_some());
    drop(follower);
}

#[test]
fn nobody_joins_a_fill_that_was_found_without_followers() {
    // It is about to end, and whoever joined would be told that it failed.
    let fill = fill();
    let only = Follower::join(&fill).unwrap();
    let is_idle = || {
        let fill = Arc::clone(&fill);
        now(async move { fill.idle().await }).is_some()
    };
    drop(only);
    assert!(!is_idle(), "what goes to disk goes on without clients");
    let only = Follower::join(&fill).unwrap();
    spill(&fill, 0);
    assert!(!is_idle());
    drop(only);
    assert!(is_idle());
    assert!(Follower::join(&fill).is_none());
}

#[test]
fn windows_are_bounded_and_come_back() {
    // A full disk under a herd of large blobs would take all memory; a leak, all windows.
    let permits = Permits::default();
    let taken: Vec<_> = std::iter::from_fn(|| permits.take())
        .take(SPILLS_MAX)
        .collect();
    assert_eq!(taken.len(), SPILLS_MAX);
    assert!(permits.take().is_none());
    drop(taken);
    let fill = fill();
    let permit = permits.take().unwrap();
    fill.spill(0, Arc::new(io::ErrorKind::StorageFull.into()), permit);
    drop(fill);
    let again: Vec<_> = std::iter::from_fn(|| permits.take())
        .take(SPILLS_MAX)
        .collect();
    assert_eq!(again.len(), SPILLS_MAX);
}

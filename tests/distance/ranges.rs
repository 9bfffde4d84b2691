//! Ranges of a blob that is not here yet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{LOST_BYTES_MAX, MIB, Pull, Stage, UNSEEN};
use crate::support::shelf::place;
use crate::support::{Client, Gate, Harm, On, assert_same, until};

#[test]
fn a_range_inside_of_what_has_come_is_answered_while_the_fill_stands_still() {
    // Lazy pulls ask for a few kilobytes of a gigabyte, and time out on the gigabyte.
    let stage = Stage::set();
    let blob = stage.make(1, 4 * MIB);
    let gate = Gate::new();
    let harm = Harm::none().wait_at(2 << 20, &gate);
    stage.hop().harm(&On::blob(&blob).whole(), 1, &harm);
    let mut whole = stage.ask(&blob);
    gate.reached();
    let end = 2 * MIB - UNSEEN;
    for (at, end) in [(0, 1), (MIB, MIB + 1000), (end - 1000, end)] {
        let range = format!("bytes={at}-{}", end - 1);
        Pull::of_range(&stage.cache, &blob, &range, at, end).rest();
    }
    gate.open();
    whole.rest();
    stage.expect_kept(&blob);
    stage.expect_sent_once(&blob, 0);
}

/// Asks for a range far ahead while the front of the fill stands still, and then lets that go on.
fn ask_ahead(stage: &Stage, seed: u64, size: usize, at: usize, end: usize, range: &str) {
    let blob = stage.make(seed, size);
    let gate = Gate::new();
    let harm = Harm::none().wait_at(MIB as u64, &gate);
    stage.hop().harm(&On::blob(&blob).whole(), 1, &harm);
    let mut whole = stage.ask(&blob);
    gate.reached();
    // Nothing in between can have come: the front stands at its gate.
    Pull::of_range(&stage.cache, &blob, range, at, end).rest();
    let asked = stage.hop().asked(&blob);
    assert_eq!(asked[0].sent, MIB as u64);
    let ahead: Vec<_> = asked
        .iter()
        .filter(|asked| asked.range().is_some())
        .collect();
    assert!(
        ahead
            .iter()
            .any(|asked| asked.from() <= at as u64 && asked.from() + (4 << 20) > at as u64),
        "{:?}",
        stage.ranges(&blob)
    );
    gate.open();
    whole.rest();
    stage.expect_kept(&blob);
    // What the first stream had on its way when it met what was there already.
    stage.expect_sent_once(&blob, 1);
    assert_eq!(
        (
            stage.outcomes("committed"),
            stage.outcomes("upstream_failed")
        ),
        (1, 0)
    );
}

#[test]
fn a_range_far_ahead_does_not_wait_for_what_is_before_it() {
    // A lazy pull of a file in the middle of a layer would wait for half the layer.
    let stage = Stage::set();
    let (at, end) = (24 * MIB, 25 * MIB);
    let range = format!("bytes={at}-{}", end - 1);
    ask_ahead(&stage, 10, 32 * MIB, at, end, &range);
}

#[test]
fn the_very_end_of_a_cold_blob_does_not_wait_for_its_front() {
    // Lazy pulls begin with the table of contents, which is the last thing in the layer.
    let stage = Stage::set();
    let size = 32 * MIB;
    ask_ahead(&stage, 11, size, size - MIB, size, "bytes=-1048576");
}

#[test]
fn a_range_may_be_the_first_that_anybody_wants_of_a_blob() {
    // A lazy pull is the first to ask: it gets its range, and whoever comes later the whole, fetched once.
    let stage = Stage::set();
    let blob = stage.make(12, 32 * MIB);
    let (at, end) = (20 * MIB + 1, 21 * MIB);
    let range = format!("bytes={at}-{}", end - 1);
    Pull::of_range(&stage.cache, &blob, &range, at, end).rest();
    stage.expect_kept(&blob);
    stage.expect_sent_once(&blob, 1);
}

#[test]
fn a_range_alone_is_fetched_where_the_rest_is_not_wanted() {
    // A lazy site has no room and no line for whole layers of which it reads a hundredth.
    let stage = Stage::set_with("  fill:\n    on_range: only\n");
    let blob = stage.make(13, 32 * MIB);
    for (at, end) in [(10 * MIB, 11 * MIB), (20 * MIB, 21 * MIB)] {
        let range = format!("bytes={at}-{}", end - 1);
        Pull::of_range(&stage.cache, &blob, &range, at, end).rest();
    }
    until("nothing is on its way", || stage.hop().running(&blob) == 0);
    assert!(!place(&stage.cache.storage, &blob.digest).exists());
    let sent = stage.sent(&blob);
    assert!(
        sent <= (2 << 20) + 2 * LOST_BYTES_MAX,
        "{sent}: {:?}",
        stage.ranges(&blob)
    );
    assert_eq!(stage.outcomes("upstream_failed"), 0);
    // Who wants all of it gets all of it.
    stage.expect_whole(&blob);
}

#[test]
fn ranges_alone_of_a_blob_that_is_being_fetched_come_from_there() {
    let stage = Stage::set_with("  fill:\n    on_range: only\n");
    let blob = stage.make(14, 4 * MIB);
    let gate = Gate::new();
    let harm = Harm::none().wait_at(2 << 20, &gate);
    stage.hop().harm(&On::blob(&blob).whole(), 1, &harm);
    let mut whole = stage.ask(&blob);
    gate.reached();
    Pull::of_range(&stage.cache, &blob, "bytes=0-999999", 0, 1_000_000).rest();
    assert_eq!(stage.asked(&blob), 1);
    gate.open();
    whole.rest();
    stage.expect_kept(&blob);
}

#[test]
fn containerds_parallel_ranges_that_are_dropped_fetch_the_blob_once() {
    // Each chunk is asked for as `bytes=N-`, read so far, and dropped: the hop would send the blob N times, or
    // the fill would end with the first that hangs up.
    const CHUNK: usize = 8 * MIB;
    const CONNECTIONS: usize = 8;
    let stage = Stage::set();
    // 12 chunks, the last one short: some connections come back for a second one.
    let blob = stage.make(20, 12 * CHUNK - 12_345);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst) * CHUNK;
                    if at >= blob.len() {
                        break;
                    }
                    let range = format!("bytes={at}-");
                    let mut pull = Pull::of_range(&stage.cache, &blob, &range, at, blob.len());
                    pull.read(CHUNK.min(blob.len() - at));
                }
            });
        }
    });
    stage.expect_kept(&blob);
    stage.expect_sent_once(&blob, 4);
    assert_eq!(stage.outcomes("committed"), 1);
    for outcome in ["upstream_failed", "corrupt", "refused"] {
        assert_eq!(stage.outcomes(outcome), 0, "{outcome}");
    }
}

#[test]
fn clients_that_all_leave_before_their_ranges_come_neither_end_nor_spoil_the_fill() {
    let stage = Stage::set();
    let blob = stage.make(21, 32 * MIB);
    let gate = Gate::new();
    let harm = Harm::none().wait_at(MIB as u64, &gate);
    stage.hop().harm(&On::blob(&blob).whole(), 1, &harm);
    let mut whole = stage.ask(&blob);
    gate.reached();
    for turn in 0..3 {
        let mut clients: Vec<Client> = (0..8).map(|_| stage.cache.client()).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            let range = format!("bytes={}-", (index * 4 + turn) * MIB);
            client.ask("GET", &blob.path(), &[("Range", &range)]);
            assert_eq!(client.head().status, 206);
        }
    }
    until("all but one have been missed", || {
        stage.cache.metrics().sum("transship_connections", &[]) == 1
    });
    gate.open();
    whole.rest();
    stage.expect_kept(&blob);
    assert_eq!(
        (
            stage.outcomes("committed"),
            stage.outcomes("upstream_failed")
        ),
        (1, 0)
    );
    let late = stage
        .cache
        .client()
        .call("GET", &blob.path(), &[("Range", "bytes=-10")]);
    assert_same(&late.body, &blob.bytes[blob.len() - 10..]);
}

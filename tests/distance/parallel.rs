//! A large blob over a long pipe: several ranges at once, while more bring more.
//!
//! Each connection is held to a rate, as a far hop's is by its window. The size is forced: streams are added
//! only where much is left, and what is left takes seconds.

use super::{LOST_BYTES_MAX, MIB, Stage};
use crate::support::{Harm, On};

const SIZE: usize = 96 * MIB;
const RATE: u64 = 20_000_000;

/// Bytes that may be on their way when a stream ends where the next one began.
const STREAMS: u64 = 8;

#[test]
fn a_large_blob_over_a_long_pipe_comes_by_several_connections_at_once() {
    // One connection over an ocean is slow however wide the line: 100 MB take minutes.
    let stage = Stage::set();
    let blob = stage.make(1, SIZE);
    stage.hop().shape(RATE);
    stage.expect_whole(&blob);
    stage.expect_sent_once(&blob, STREAMS);
    let peak = stage.hop().peak();
    assert!(
        (2..=4).contains(&peak),
        "{peak} at once: {:?}",
        stage.ranges(&blob)
    );
}

#[test]
fn one_stream_is_one_stream() {
    // A registry that bans whoever opens several connections for one blob.
    let stage = Stage::set_with("    streams_max: 1\n");
    let blob = stage.make(2, SIZE);
    stage.hop().shape(RATE);
    stage.expect_whole(&blob);
    assert_eq!(stage.ranges(&blob), [(None, SIZE as u64)]);
}

#[test]
fn a_small_blob_comes_by_one_connection_however_slow() {
    // Three connections for each small layer cost more than they bring, and use up the hop's patience.
    let stage = Stage::set();
    let blob = stage.make(3, 4 * MIB);
    stage.hop().shape(RATE / 10);
    stage.expect_whole(&blob);
    assert_eq!(stage.ranges(&blob), [(None, blob.len() as u64)]);
}

#[test]
fn a_hop_that_ignores_ranges_is_asked_for_the_blob_once() {
    // Each further stream would fetch all of it from the start.
    let stage = Stage::set();
    let blob = stage.make(4, SIZE);
    stage.hop().shape(RATE);
    let on = On::blob(&blob).ranged();
    stage.hop().harm_always(&on, &Harm::none().ignore_range());
    stage.expect_whole(&blob);
    stage.expect_sent_once(&blob, STREAMS);
    assert_eq!(stage.outcomes("committed"), 1);
}

#[test]
fn one_of_several_streams_that_breaks_or_lies_is_made_good() {
    // What it did not bring must not be missing in the middle, nor the others begin anew.
    let stage = Stage::set();
    let blob = stage.make(5, SIZE);
    stage.hop().shape(RATE);
    let on = On::blob(&blob).ranged();
    let at = 2 * MIB as u64;
    stage.hop().harm(&on, 1, &Harm::none().cut(at));
    stage.hop().harm(&on, 1, &Harm::none().begin_earlier(4096));
    stage.hop().harm(&on, 1, &Harm::none().reset(at));
    stage.expect_whole(&blob);
    stage.expect_sent_once(&blob, STREAMS + 3);
    assert!(stage.hop().peak() > 1);
    assert_eq!(
        (stage.outcomes("committed"), stage.outcomes("corrupt")),
        (1, 0)
    );
}

#[test]
fn a_wrong_byte_of_any_stream_is_found() {
    // Bytes that came ahead are hashed later, from where they were written: none may be left out.
    let stage = Stage::set();
    let blob = stage.make(6, SIZE);
    stage.hop().shape(RATE);
    let on = On::blob(&blob).ranged();
    stage
        .hop()
        .harm(&on, 1, &Harm::none().flip(LOST_BYTES_MAX / 2));
    // It is passed on like any other; the end is not.
    let reply = stage.cache.get(&blob.path());
    assert!(!reply.whole, "a corrupt blob came whole");
    stage.expect_not_kept(&blob);
    assert_eq!(stage.outcomes("corrupt"), 1);
    stage.hop().shape(0);
    stage.expect_whole(&blob);
}

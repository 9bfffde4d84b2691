//! How many streams there are, on pipes that reward more of them and on pipes that do not.

use std::time::{Duration, Instant};

use crate::fill::pace::{PACE_TICK, Pace};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// Lets a fill of `size` bytes run on a pipe that gives `rate(streams)` bytes a second; returns how many
/// streams it had in each tick.
fn run(
    mut pace: Pace,
    size: u64,
    held_back: impl Fn(u64) -> u64,
    rate: impl Fn(u64) -> u64,
) -> Vec<usize> {
    let (mut now, mut received, mut streams) = (Instant::now(), 0, Vec::new());
    while received < size {
        let running = pace.streams();
        streams.push(running);
        received += rate(running as u64) / 10;
        now += PACE_TICK;
        let left = size.saturating_sub(received);
        pace.heed(now, running, received, left, held_back(received));
    }
    streams
}

fn never(_: u64) -> u64 {
    0
}

#[test]
fn a_pipe_that_holds_each_connection_gets_as_many_as_are_allowed() {
    let streams = run(Pace::new(1, 4), GIB, never, |n| n * 20 * MIB);
    assert_eq!(streams.last(), Some(&4));
    let at_four = streams.iter().filter(|&&n| n == 4).count();
    assert!(10 * at_four > 8 * streams.len(), "{streams:?}");
    let streams = run(Pace::new(1, 3), GIB, never, |n| n * 20 * MIB);
    assert_eq!(streams.last(), Some(&3));
    let streams = run(Pace::new(1, 1), GIB, never, |n| n * 20 * MIB);
    assert!(streams.iter().all(|&n| n == 1));
}

#[test]
fn a_pipe_that_is_full_goes_back_to_the_streams_that_filled_it() {
    let streams = run(Pace::new(1, 8), 4 * GIB, never, |_| 100 * MIB);
    assert_eq!(streams.iter().max(), Some(&2));
    assert_eq!(streams.last(), Some(&1));
    let streams = run(Pace::new(1, 8), 4 * GIB, never, |n| n.min(2) * 50 * MIB);
    assert_eq!(streams.iter().max(), Some(&4));
    assert_eq!(streams.last(), Some(&2));
}

#[test]
fn nobody_tries_more_for_what_ends_soon_or_for_a_disk_that_is_slow() {
    let streams = run(Pace::new(1, 4), 512 * MIB, never, |_| 500 * MIB);
    assert_eq!(streams.iter().max(), Some(&1));
    let each_chunk = |received| received / (256 * 1024);
    let streams = run(Pace::new(1, 4), 4 * GIB, each_chunk, |n| n * 20 * MIB);
    assert_eq!(streams.iter().max(), Some(&1));
}

#[test]
fn what_was_of_use_to_the_last_fill_is_begun_with() {
    let streams = run(Pace::new(4, 4), GIB, never, |n| n * 20 * MIB);
    assert_eq!(streams.first(), Some(&4));
    assert_eq!(Pace::new(16, 4).streams(), 4);
    assert_eq!(Pace::new(0, 0).streams(), 1);
}

#[test]
fn ranges_are_as_long_as_asking_is_cheap_and_shorter_at_the_end() {
    let mut pace = Pace::new(4, 4);
    let now = Instant::now();
    pace.heed(now, 4, 0, GIB, 0);
    pace.heed(now + Duration::from_secs(1), 4, 80 * MIB, GIB, 0);
    assert_eq!(pace.segment_bytes(GIB), 20 * MIB);
    assert_eq!(pace.segment_bytes(80 * MIB), 10 * MIB);
    assert_eq!(pace.segment_bytes(MIB), 4 * MIB);
}

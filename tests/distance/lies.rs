//! A hop that answers a range with something else, or lies about lengths.
//!
//! Each lie is told once, in mid-blob, and honest answers follow: the pull must come whole. A lie that nothing
//! but the digest shows ends the response short; nothing of it is stored.

use super::{MIB, Stage, UNSEEN};
use crate::support::{Blob, Gate, Harm, On};

const SIZE: usize = 4 * MIB;
const HALF: u64 = SIZE as u64 / 2;

/// Cuts the fill of a new blob at its half, and spoils the first range that is asked for then.
fn lie(stage: &Stage, seed: u64, harm: &Harm) -> Blob {
    let blob = stage.make(seed, SIZE);
    stage
        .hop()
        .harm(&On::blob(&blob).whole(), 1, &Harm::none().cut(HALF));
    stage.hop().harm(&On::blob(&blob).ranged(), 1, harm);
    blob
}

#[test]
fn all_of_it_in_answer_to_a_range_is_not_taken_for_the_range() {
    // A proxy that does not know ranges sends 200: to write it at the offset asked for would be nonsense.
    let stage = Stage::set();
    let blob = lie(&stage, 1, &Harm::none().ignore_range());
    stage.expect_whole(&blob);
    let sent = stage.sent(&blob);
    let twice = HALF + SIZE as u64;
    assert!(sent <= twice, "{sent}: {:?}", stage.ranges(&blob));
    assert_eq!(stage.outcomes("committed"), 1);
}

#[test]
fn a_hop_that_never_honours_a_range_still_completes_a_pull() {
    // Many simple registries know no ranges, and still their connections break.
    let stage = Stage::set();
    let blob = stage.make(2, SIZE);
    let on = On::blob(&blob);
    stage.hop().harm(&on, 1, &Harm::none().cut(HALF));
    stage
        .hop()
        .harm_always(&on.ranged(), &Harm::none().ignore_range());
    stage.expect_whole(&blob);
    assert!(stage.sent(&blob) <= HALF + SIZE as u64);
}

#[test]
fn a_206_of_other_bytes_than_were_asked_for_is_not_written() {
    // Bytes at the wrong place spoil the blob, and everybody hears of it only at the end.
    let stage = Stage::set();
    let lies = [
        ("begins earlier", Harm::none().begin_earlier(4096)),
        ("of a longer blob", Harm::none().claim_total(1)),
        ("of a shorter blob", Harm::none().claim_total(-1)),
        (
            "does not say of what",
            Harm::none().without("content-range"),
        ),
    ];
    for (seed, (what, harm)) in (10..).zip(&lies) {
        let blob = lie(&stage, seed, harm);
        stage.ask(&blob).rest();
        stage.expect_kept(&blob);
        let ranges = stage.ranges(&blob);
        assert!(ranges.len() >= 3, "{what}: believed, {ranges:?}");
    }
    assert_eq!(stage.outcomes("corrupt"), 0);
}

#[test]
fn a_wrong_byte_in_what_was_resumed_is_found_by_the_digest_and_kept_by_nobody() {
    // The hash must be of what was stored: a resumed one that starts anew would prove half the blob.
    let stage = Stage::set();
    for (seed, at) in [(20, 0), (21, HALF - 1)] {
        let blob = lie(&stage, seed, &Harm::none().flip(at));
        let reply = stage.cache.get(&blob.path());
        assert_eq!(reply.status(), 200);
        assert!(!reply.whole, "a corrupt blob came whole");
        stage.expect_not_kept(&blob);
        stage.expect_whole(&blob);
    }
    assert_eq!(stage.outcomes("corrupt"), 2);
}

#[test]
fn a_body_that_ends_before_its_length_is_fetched_on_and_no_longer() {
    // A length that is too large is waited for without end, or makes the rest be asked for again and again.
    let stage = Stage::set();
    let blob = stage.make(30, SIZE);
    let on = On::blob(&blob);
    stage.hop().harm(&on, 1, &Harm::none().claim_length(10));
    let reply = stage.cache.get(&blob.path());
    assert!(!reply.whole, "ten bytes more than there are");
    stage.expect_not_kept(&blob);
    assert!(
        stage.sent(&blob) <= 2 * SIZE as u64,
        "{:?}",
        stage.ranges(&blob)
    );
    stage.expect_whole(&blob);

    let blob = lie(&stage, 31, &Harm::none().claim_length(10));
    let harm = Harm::none().claim_length(-10);
    stage.hop().harm(&On::blob(&blob).ranged(), 1, &harm);
    stage.expect_whole(&blob);
}

#[test]
fn a_length_that_is_too_short_is_a_blob_that_nobody_keeps() {
    // A truncated layer with a matching length looks complete to all but the digest.
    let stage = Stage::set();
    let blob = stage.make(32, SIZE);
    stage
        .hop()
        .harm(&On::blob(&blob), 1, &Harm::none().claim_length(-10));
    let reply = stage.cache.get(&blob.path());
    assert!(!reply.whole, "{:?}", reply.head);
    stage.expect_not_kept(&blob);
    stage.expect_whole(&blob);
}

#[test]
fn a_head_that_is_late_in_mid_fill_holds_nobody_who_has_something_to_read() {
    // What has come is everybody's, whatever the way does meanwhile.
    let stage = Stage::set();
    let gate = Gate::new();
    let blob = lie(&stage, 40, &Harm::none().wait_before_head(&gate));
    let mut leader = stage.ask(&blob);
    gate.reached();
    let mut follower = stage.ask(&blob);
    for pull in [&mut leader, &mut follower] {
        pull.read(SIZE / 2 - UNSEEN);
    }
    gate.open();
    for pull in [&mut leader, &mut follower] {
        pull.rest();
    }
    stage.expect_kept(&blob);
    stage.expect_sent_once(&blob, 1);
}

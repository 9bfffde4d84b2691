//! What is missing of a blob, and who fetches it.

use proptest::prelude::*;

use crate::fill::plan::{Plan, Purpose};

/// Runs a plan with streams that receive some, break off and give way, as `steps` say; returns the bytes
/// that were received, in the order of their coming.
fn run(size: u64, steps: &[(u8, u8, u8)]) -> Vec<u64> {
    let mut plan = Plan::new(Some(size), 0);
    let (mut keys, mut received) = (Vec::new(), Vec::new());
    let mut steps = steps.iter().chain(std::iter::repeat(&(0, 255, 255)));
    for _ in 0..100_000 {
        if plan.is_done() {
            break;
        }
        let &(what, which, count) = steps.next().unwrap();
        let gap = match what % 2 {
            0 => plan.front_gap(),
            _ => plan.gap_for(&(u64::from(which)..u64::from(which) + 9)),
        };
        if let Some(gap) = gap {
            assert!(gap.start < gap.end && gap.end <= size, "{gap:?}");
            let end = gap.end.min(gap.start + 1 + u64::from(count));
            let purpose = [Purpose::Front, Purpose::Ahead][usize::from(what % 2)];
            let key = plan.claim(gap.start..end, purpose);
            plan.set_reach(key, size);
            keys.push(key);
        }
        let Some(&key) = keys.get(usize::from(which) % keys.len().max(1)) else {
            continue;
        };
        let rest = plan.rest(key);
        let take = (rest.end - rest.start).min(u64::from(count));
        received.extend(rest.start..rest.start + take);
        plan.receive(key, take);
        match what % 5 {
            3 => plan.shorten(key, u64::from(count)),
            4 => plan.lengthen(),
            _ => {}
        }
        if what % 3 == 0 || plan.rest(key).is_empty() {
            plan.give_back(key);
            keys.retain(|&other| other != key);
        }
    }
    assert!(plan.is_done() && plan.left() == 0 && plan.front_gap().is_none());
    received
}

proptest! {
    /// Bytes that are fetched twice cost the far pipe twice; one that is never fetched fails the pull.
    #[test]
    fn every_byte_is_received_once_however_streams_end(
        size in 1_u64..400,
        steps in prop::collection::vec(any::<(u8, u8, u8)>(), 0..120),
    ) {
        let mut received = run(size, &steps);
        received.sort_unstable();
        prop_assert_eq!(received, (0..size).collect::<Vec<_>>());
    }
}

#[test]
fn what_a_client_waits_for_is_fetched_once_and_from_its_first_missing_byte() {
    let mut plan = Plan::new(Some(100), 10);
    assert_eq!(plan.front_gap(), Some(10..100));
    assert_eq!(plan.gap_for(&(0..10)), None, "it is here");
    assert_eq!(plan.gap_for(&(5..20)), Some(10..100));
    let key = plan.claim(40..60, Purpose::Ahead);
    assert_eq!(plan.gap_for(&(40..100)), None, "somebody fetches it");
    assert_eq!(plan.gap_for(&(30..100)), Some(30..40));
    plan.receive(key, 5);
    assert_eq!(plan.rest(key), 45..60);
    plan.give_back(key);
    assert_eq!(plan.gap_for(&(40..100)), Some(45..100));
    assert_eq!(plan.front_gap(), Some(10..40));
    assert_eq!(plan.gap_for(&(90..9000)), Some(90..100));
    assert_eq!(plan.gap_for(&(100..9000)), None);
}

/// A next hop that ignores ranges has been asked for all of it before, and must not be asked again.
#[test]
fn what_was_split_off_goes_back_to_whom_it_was_split_off() {
    let mut plan = Plan::new(Some(100), 0);
    let first = plan.claim(0..100, Purpose::Front);
    plan.set_reach(first, 100);
    plan.receive(first, 10);
    plan.shorten(first, 20);
    let second = plan.claim(30..60, Purpose::Front);
    plan.lengthen();
    assert_eq!(
        plan.rest(first),
        10..30,
        "the other one still has its claim"
    );
    plan.give_back(second);
    plan.lengthen();
    assert_eq!(plan.rest(first), 10..100);
    plan.shorten(first, 20);
    let third = plan.claim(40..50, Purpose::Ahead);
    plan.receive(third, 10);
    plan.give_back(third);
    plan.lengthen();
    assert_eq!(
        plan.rest(first),
        10..40,
        "what has come is not fetched twice"
    );
}

#[test]
fn a_blob_without_a_size_ends_where_its_body_does() {
    let mut plan = Plan::new(None, 0);
    let gap = plan.front_gap().unwrap();
    let key = plan.claim(gap, Purpose::Front);
    plan.receive(key, 70);
    assert!(!plan.is_done() && plan.size_bytes().is_none());
    plan.end_at(key);
    assert!(plan.is_done() && plan.size_bytes() == Some(70));
}

#[test]
fn only_one_piece_from_the_first_byte_is_in_order() {
    let mut plan = Plan::new(Some(100), 0);
    let first = plan.claim(0..100, Purpose::Front);
    plan.receive(first, 10);
    assert!(plan.is_in_order());
    plan.shorten(first, 10);
    let second = plan.claim(20..30, Purpose::Front);
    assert!(!plan.is_in_order());
    plan.receive(second, 10);
    plan.give_back(second);
    assert!(!plan.is_in_order());
    plan.start_over(10);
    assert!(plan.is_in_order());
    assert_eq!(plan.front_gap(), Some(10..100));
}

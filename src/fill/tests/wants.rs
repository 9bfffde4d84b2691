//! Parts that followers wait for, ahead of their turn.

use super::spill::{fill, now};
use crate::fill::progress::Order;
use crate::fill::{Failure, Follower};

const SIZE: Option<u64> = Some(1 << 30);

/// A lazy puller reads the end of a layer first, and must not wait for what lies before it.
#[test]
fn a_part_ahead_is_sent_when_it_has_come_and_the_rest_in_its_turn() {
    let fill = fill();
    let (lazy, whole) = (
        Follower::join(&fill).unwrap(),
        Follower::join(&fill).unwrap(),
    );
    assert_eq!(lazy.order_of(0), Order::InTurn);
    assert_eq!(lazy.order_of(1000), Order::Ahead);
    let _wanted = lazy.want(std::slice::from_ref(&(1000..2000)));
    assert!(now(lazy.more(1000, Order::Ahead)).is_none());
    fill.land(1000..1500, SIZE);
    assert_eq!(now(lazy.more(1000, Order::Ahead)).unwrap().unwrap(), 1500);
    assert!(now(lazy.more(1500, Order::Ahead)).is_none());
    assert!(now(whole.more(0, Order::InTurn)).is_none());
    fill.land(0..1000, SIZE);
    assert_eq!(now(whole.more(0, Order::InTurn)).unwrap().unwrap(), 1500);
    assert_eq!(lazy.order_of(1400), Order::InTurn);
}

/// A whole response must not end before its digest is known, wherever its last bytes came from.
#[test]
fn the_blobs_end_is_withheld_from_whoever_has_all_before_it() {
    let fill = fill();
    let follower = Follower::join(&fill).unwrap();
    fill.land(0..(1 << 30), SIZE);
    let sendable = now(follower.more(0, Order::InTurn)).unwrap().unwrap();
    assert!(sendable < 1 << 30);
    assert!(now(follower.more(sendable, Order::InTurn)).is_none());
}

#[test]
fn what_is_wanted_follows_the_client_and_goes_with_it() {
    let fill = fill();
    let follower = Follower::join(&fill).unwrap();
    let wanted = follower.want(&[100..200, 400..500]);
    assert_eq!(fill.wants.lock().parts(), [100..200, 400..500]);
    follower.pass(150);
    assert_eq!(fill.wants.lock().parts(), [150..200, 400..500]);
    drop(wanted);
    assert!(!fill.wants.lock().has_parts());
}

/// After a failure of the disk what came ahead is not there any more.
#[test]
fn what_came_ahead_is_forgotten_when_the_disk_fails() {
    let fill = fill();
    let follower = Follower::join(&fill).unwrap();
    fill.land(0..100, SIZE);
    fill.land(1000..1500, SIZE);
    fill.landed.lock().cut(100);
    assert!(now(follower.more(1000, Order::Ahead)).is_none());
    fill.fail(Failure::Lost);
    assert!(now(follower.more(1000, Order::Ahead)).unwrap().is_err());
}

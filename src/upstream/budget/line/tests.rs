//! Who goes first, and who is in whose way.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limits::{RETRY_AFTER_MAX, THROTTLE_SPREAD_MAX};

const SECOND: Duration = Duration::from_secs(1);
use Urgency::{Background, Client};

const CLIENT: Kind = kind(Client);
const BACKGROUND: Kind = kind(Background);

const fn kind(urgency: Urgency) -> Kind {
    let quota = Quota::Cache;
    Kind { urgency, quota }
}

#[test]
fn clients_go_first_and_else_it_is_first_come_first_served() {
    let (mut line, now) = (Line::new(1, 1, false), Instant::now());
    let mut running = line.pass(&[0], BACKGROUND, now).unwrap();
    assert!(line.pass(&[0], CLIENT, now).is_none(), "full");
    let order = [Background, Client, Background, Client];
    let numbers = order.map(|urgency| line.join(vec![0], kind(urgency)));
    assert!(line.next(now).is_none());
    let mut granted = Vec::new();
    for _ in 0..4 {
        line.ended(0, running.kind.urgency);
        // Nobody who comes just now jumps the line.
        assert!(line.pass(&[0], BACKGROUND, now).is_none());
        let number;
        (number, running) = line.next(now).unwrap();
        granted.push(number);
    }
    let [b1, c1, b2, c2] = numbers;
    assert_eq!(granted, [c1, c2, b1, b2]);
}

#[test]
fn what_nobody_waits_for_leaves_room_for_clients() {
    for (max, most) in [(1, 1), (2, 1), (3, 2), (4, 3), (16, 12)] {
        let (mut line, now) = (Line::new(1, max, true), Instant::now());
        let mut granted = 0;
        while line.pass(&[0], BACKGROUND, now).is_some() {
            granted += 1;
        }
        assert_eq!(granted, most);
        line.join(vec![0], BACKGROUND);
        assert!(line.next(now).is_none());
        for _ in most..max {
            assert!(line.pass(&[0], CLIENT, now).is_some());
        }
        assert!(line.pass(&[0], CLIENT, now).is_none());
    }
}

#[test]
fn who_leaves_is_passed_over() {
    let (mut line, now) = (Line::new(1, 1, false), Instant::now());
    line.pass(&[0], CLIENT, now);
    let numbers = [(); 2].map(|()| line.join(vec![0], CLIENT));
    assert!(line.leave(numbers[0]) && !line.leave(numbers[0]));
    line.ended(0, Client);
    assert_eq!(line.next(now).unwrap().0, numbers[1]);
}

#[test]
fn a_hop_that_is_left_alone_is_passed_over_and_a_full_one_unless_the_first_matters() {
    let now = Instant::now();
    for is_loyal in [false, true] {
        let mut line = Line::new(2, 1, is_loyal);
        let hop = |grant: Option<Grant>| grant.map(|grant| grant.hop);
        assert_eq!(hop(line.pass(&[0, 1], CLIENT, now)), Some(0));
        let second = hop(line.pass(&[0, 1], CLIENT, now));
        assert_eq!(second, (!is_loyal).then_some(1));
        let mut line = Line::new(2, 1, is_loyal);
        line.loads[0]
            .throttle(Quota::Cache)
            .refused(Some(SECOND), now, now, 0.0);
        assert_eq!(hop(line.pass(&[0, 1], CLIENT, now)), Some(1));
        assert_eq!(hop(line.pass(&[0, 1], CLIENT, now)), None);
        assert_eq!(line.opens(&[0], Quota::Cache, now), Some((now + SECOND, 0)));
        assert_eq!(
            line.opens(&[0, 1], Quota::Cache, now),
            None,
            "it only has no room"
        );
    }
}

#[test]
fn there_is_something_to_spare_only_where_nobody_waits() {
    let (mut line, now) = (Line::new(2, 1, true), Instant::now());
    let everyone = |_| true;
    assert!(line.has_spare(now, everyone));
    assert!(!line.has_spare(now, |_| false), "all are down");
    line.pass(&[0], CLIENT, now);
    assert!(line.has_spare(now, everyone), "the second");
    let number = line.join(vec![0], BACKGROUND);
    assert!(!line.has_spare(now, everyone));
    line.leave(number);
    line.loads[1]
        .throttle(Quota::Cache)
        .refused(None, now, now, 0.0);
    assert!(!line.has_spare(now, everyone));
    let later = now + 5 * SECOND;
    assert!(!line.has_spare(later, everyone), "nobody has asked it yet");
}

proptest! {
    /// A bound that is not kept is none; a request that nobody wakes waits for ever.
    #[test]
    fn the_bound_is_kept_and_everyone_gets_a_turn(
        max in 1_usize..4,
        is_loyal in any::<bool>(),
        steps in prop::collection::vec((0_u8..8, any::<bool>(), 0_usize..4), 0..200),
    ) {
        let (mut line, mut now) = (Line::new(2, max, is_loyal), Instant::now());
        let mut waiting: Vec<u64> = Vec::new();
        // Granted: whether the head is there.
        let mut running: Vec<(Grant, Instant, bool)> = Vec::new();
        for (step, flag, pick) in steps {
            let chosen = (!running.is_empty()).then(|| pick % running.len());
            match (step, chosen) {
                (0 | 1, _) => {
                    let quota = [Quota::Cache, Quota::Nobody, Quota::Client][pick % 3];
                    let urgency = if flag { Client } else { Background };
                    let kind = Kind { urgency, quota };
                    let hops = [vec![0], vec![1], vec![0, 1], vec![1, 0]][pick].clone();
                    match line.pass(&hops, kind, now) {
                        Some(grant) => running.push((grant, now, false)),
                        None => waiting.push(line.join(hops, kind)),
                    }
                }
                (2, _) => now += Duration::from_millis(700),
                (3, _) if !waiting.is_empty() => {
                    let number = waiting.swap_remove(pick % waiting.len());
                    prop_assert!(line.leave(number));
                }
                (4 | 5, Some(at)) if !running[at].2 => {
                    let (grant, began, _) = running[at];
                    running[at].2 = true;
                    let throttle = line.heard(grant).throttle(grant.kind.quota);
                    match flag {
                        true => drop(throttle.answered(grant.is_probe, began, now)),
                        false => drop(throttle.refused(None, began, now, 0.0)),
                    }
                }
                (6, Some(at)) => {
                    let (grant, _, is_heard) = running.swap_remove(at);
                    if !is_heard {
                        let throttle = line.heard(grant).throttle(grant.kind.quota);
                        throttle.told_nothing(grant.is_probe, now);
                    }
                    line.ended(grant.hop, grant.kind.urgency);
                }
                (7, Some(at)) => {
                    let (grant, ..) = &mut running[at];
                    let turned = if flag { Client } else { Background };
                    if grant.kind.urgency != turned {
                        grant.kind.urgency = turned;
                        line.turned(grant.hop, turned);
                    }
                }
                _ => {}
            }
            while let Some((number, grant)) = line.next(now) {
                waiting.retain(|&one| one != number);
                running.push((grant, now, false));
            }
            for hop in 0..2 {
                let count = running.iter().filter(|one| one.0.hop == hop).count();
                prop_assert!(count <= max);
                let nobodys = |one: &&(Grant, _, _)| {
                    one.0.hop == hop && one.0.kind.urgency == Background
                };
                let count = running.iter().filter(nobodys).count();
                prop_assert_eq!(line.loads[hop].background, count);
                line.count_wanted(now);
                prop_assert!(line.loads[hop].wanted() <= count);
            }
        }
        // Everyone ends well, and those who wait all get their turn.
        for _ in 0..1000 {
            for (grant, began, is_heard) in running.drain(..) {
                if !is_heard {
                    let throttle = line.heard(grant).throttle(grant.kind.quota);
                    throttle.answered(grant.is_probe, began, now);
                }
                line.ended(grant.hop, grant.kind.urgency);
            }
            while let Some((number, grant)) = line.next(now) {
                waiting.retain(|&one| one != number);
                running.push((grant, now, false));
            }
            now += RETRY_AFTER_MAX + THROTTLE_SPREAD_MAX;
        }
        prop_assert!(waiting.is_empty(), "{waiting:?}");
    }
}

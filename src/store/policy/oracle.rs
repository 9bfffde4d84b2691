//! The policy against an oracle, and its books after any order of events.

use std::collections::{HashSet, VecDeque};

use proptest::prelude::*;

use super::tests::{BLOB, EVICTABLE, Thing, read_all, victim, with_room};
use super::*;

#[derive(Clone, Debug)]
enum Op {
    Insert(u64),
    Use(usize),
    Set(usize, u8),
    Evict(usize),
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0..12 * BLOB).prop_map(Op::Insert),
        4 => any::<usize>().prop_map(Op::Use),
        2 => (any::<usize>(), 0..3u8).prop_map(|(at, standing)| Op::Set(at, standing)),
        4 => (1..40usize).prop_map(Op::Evict),
        1 => Just(Op::Sweep),
    ]
}

/// What the policy should be, without a thought for cost: two lists and a rule.
#[derive(Default)]
struct Oracle {
    small: VecDeque<Thing>,
    main: VecDeque<Thing>,
}

impl Oracle {
    fn bytes(&self) -> u64 {
        let all = self.small.iter().chain(&self.main);
        all.map(Resident::size_bytes).sum()
    }

    /// Follows the policy to a victim; says whether the rule leads there.
    fn leads_to(&mut self, victim: &Thing, small_bytes_max: u64) -> bool {
        for _ in 0..100_000 {
            let small_bytes: u64 = self.small.iter().map(Resident::size_bytes).sum();
            let main_gives = self
                .main
                .iter()
                .any(|thing| thing.standing() != Standing::Kept);
            let from_small =
                !self.small.is_empty() && (small_bytes > small_bytes_max || !main_gives);
            let from = if from_small {
                &mut self.small
            } else {
                &mut self.main
            };
            let Some(thing) = from.pop_front() else {
                return false;
            };
            match (thing.standing(), thing.uses()) {
                (Standing::Gone, _) => {}
                (Standing::Evictable, 0) => return thing.id() == victim.id(),
                (Standing::Kept, _) => self.main.push_back(thing),
                (Standing::Evictable, uses) => {
                    thing.set_uses(if from_small { 0 } else { uses - 1 });
                    self.main.push_back(thing);
                }
            }
        }
        false
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// A live blob deleted, a pinned one lost, room that is never given: each would show here.
    #[test]
    fn any_order_of_events_keeps_the_books_right(ops in prop::collection::vec(op(), 1..200)) {
        let mut policy = with_room(100 * BLOB);
        let mut here: Vec<Thing> = Vec::new();
        let mut ids = 0..;
        for op in ops {
            match op {
                Op::Insert(bytes) => {
                    let thing = Thing::new(ids.next().unwrap(), bytes);
                    policy.insert(thing.clone());
                    here.push(thing);
                }
                Op::Use(at) if !here.is_empty() => {
                    let thing = &here[at % here.len()];
                    thing.set_uses((thing.uses() + 1).min(USES_MAX));
                }
                Op::Set(at, standing) if !here.is_empty() => {
                    let thing = &here[at % here.len()];
                    // Gone is for good.
                    if thing.standing() != Standing::Gone {
                        thing.set(standing);
                    }
                }
                Op::Evict(steps) => match policy.evict(steps) {
                    Evict::Victim(victim) => {
                        let at = here.iter().position(|thing| thing.id() == victim.id());
                        prop_assert!(at.is_some(), "a victim that was not here");
                        prop_assert_eq!(victim.standing(), Standing::Evictable);
                        prop_assert_eq!(victim.uses(), 0);
                        here.swap_remove(at.unwrap());
                    }
                    Evict::Nothing => {
                        // Unless it was unpinned in the middle of the search.
                        let may_go = here.iter().any(|t| t.standing() == Standing::Evictable);
                        let found = victim(&mut policy);
                        prop_assert_eq!(found.is_some(), may_go, "nothing, though something may go");
                        here.retain(|thing| Some(thing.id()) != found);
                    }
                    Evict::More => {}
                },
                Op::Sweep => {
                    policy.sweep();
                }
                Op::Use(_) | Op::Set(..) => {}
            }
            let living: Vec<&Thing> = here.iter().filter(|t| t.standing() != Standing::Gone).collect();
            let bytes: u64 = living.iter().map(|thing| thing.size_bytes()).sum();
            prop_assert!(policy.len() >= living.len() && policy.bytes() >= bytes);
            let read = read_all(&policy);
            let ids: HashSet<u64> = read.iter().map(|(_, id)| *id).collect();
            prop_assert_eq!(ids.len(), read.len());
            prop_assert_eq!(ids, living.iter().map(|thing| thing.id()).collect::<HashSet<_>>());
        }
        // What is left goes to the last evictable byte, and then it ends.
        here.iter().for_each(|thing| if thing.standing() == Standing::Kept { thing.set(EVICTABLE) });
        let evictable = here.iter().filter(|t| t.standing() == Standing::Evictable).count();
        let gone = std::iter::from_fn(|| victim(&mut policy).or_else(|| victim(&mut policy)));
        let gone = gone.count();
        prop_assert_eq!(gone, evictable);
        prop_assert_eq!((policy.len(), policy.bytes()), (0, 0));
    }

    /// With nothing remembered of the past, each victim is the one that two plain lists lead to.
    #[test]
    fn each_victim_is_the_one_that_the_rule_names(
        sizes in prop::collection::vec((0..12 * BLOB, 0..4u8, 0..8u8, any::<bool>()), 1..200),
    ) {
        let mut policy = with_room(300 * BLOB);
        let mut oracle = Oracle::default();
        let twin = |thing: &Thing| {
            let twin = Thing::new(thing.id(), thing.size_bytes());
            twin.set_uses(thing.uses());
            twin.copy_standing(thing);
            twin
        };
        for (id, (bytes, uses, standing, in_main)) in (0..).zip(sizes) {
            let thing = Thing::new(id, bytes);
            thing.set_uses(uses);
            thing.set(if standing < 3 { standing } else { EVICTABLE });
            let place = if in_main { Place::Main } else { Place::Small };
            let list = if in_main { &mut oracle.main } else { &mut oracle.small };
            list.push_back(twin(&thing));
            policy.restore(thing, place);
        }
        prop_assert_eq!(policy.bytes(), oracle.bytes());
        loop {
            match policy.evict(1) {
                Evict::Victim(victim) => prop_assert!(oracle.leads_to(&victim, policy.small_bytes_max)),
                Evict::Nothing => break,
                Evict::More => {}
            }
        }
    }
}

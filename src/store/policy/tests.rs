use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::ghosts::Ghosts;
use super::*;

/// A resident with everything in the open.
#[derive(Clone, Debug)]
pub(super) struct Thing(Arc<Fields>);

#[derive(Debug)]
struct Fields {
    id: u64,
    bytes: u64,
    uses: AtomicU8,
    standing: AtomicU8,
}

pub(super) const EVICTABLE: u8 = 0;
const KEPT: u8 = 1;
const GONE: u8 = 2;

impl Thing {
    pub(super) fn new(id: u64, bytes: u64) -> Self {
        let (uses, standing) = (AtomicU8::new(0), AtomicU8::new(EVICTABLE));
        Self(Arc::new(Fields {
            id,
            bytes,
            uses,
            standing,
        }))
    }

    pub(super) fn set(&self, standing: u8) {
        self.0.standing.store(standing, Ordering::Relaxed);
    }

    pub(super) fn copy_standing(&self, other: &Self) {
        self.set(other.0.standing.load(Ordering::Relaxed));
    }

    pub(super) fn id(&self) -> u64 {
        self.0.id
    }
}

impl Resident for Thing {
    fn fingerprint(&self) -> u64 {
        fingerprint(self.0.id)
    }

    fn size_bytes(&self) -> u64 {
        self.0.bytes
    }

    fn uses(&self) -> u8 {
        self.0.uses.load(Ordering::Relaxed)
    }

    fn set_uses(&self, uses: u8) {
        self.0.uses.store(uses, Ordering::Relaxed);
    }

    fn standing(&self) -> Standing {
        match self.0.standing.load(Ordering::Relaxed) {
            EVICTABLE => Standing::Evictable,
            KEPT => Standing::Kept,
            _ => Standing::Gone,
        }
    }
}

/// Uniform, as a digest is.
fn fingerprint(id: u64) -> u64 {
    let bits = (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

pub(super) const BLOB: u64 = 1 << 20;

pub(super) fn with_room(bytes: u64) -> Policy<Thing> {
    let mut policy = Policy::new();
    policy.set_room(bytes);
    policy
}

/// Evicts with as many steps as it takes.
pub(super) fn victim(policy: &mut Policy<Thing>) -> Option<u64> {
    for _ in 0..10_000_000 {
        match policy.evict(7) {
            Evict::Victim(thing) => return Some(thing.id()),
            Evict::Nothing => return None,
            Evict::More => {}
        }
    }
    panic!("it does not end");
}

/// Takes `id` in and evicts until the room is kept; returns who went.
fn arrive(policy: &mut Policy<Thing>, id: u64, bytes: u64, room: u64) -> (Thing, Vec<u64>) {
    let thing = Thing::new(id, bytes);
    policy.insert(thing.clone());
    let mut gone = Vec::new();
    while policy.bytes() > room {
        gone.extend(victim(policy));
    }
    (thing, gone)
}

pub(super) fn read_all(policy: &Policy<Thing>) -> Vec<(Place, u64)> {
    let (mut all, mut cursor, mut page) = (Vec::new(), Cursor::default(), Vec::new());
    while let Some((place, next)) = policy.read(cursor, &mut page) {
        all.extend(page.drain(..).map(|thing: Thing| (place, thing.id())));
        cursor = next;
    }
    all
}

// ---- order ----

#[test]
fn unused_residents_go_in_the_order_in_which_they_came() {
    let mut policy = with_room(1000 * BLOB);
    (0..1000).for_each(|id| policy.insert(Thing::new(id, BLOB)));
    let gone: Vec<u64> = std::iter::from_fn(|| victim(&mut policy)).collect();
    assert_eq!(gone, (0..1000).collect::<Vec<_>>());
    assert!(policy.is_empty() && policy.bytes() == 0);
}

#[test]
fn a_use_on_probation_makes_a_resident_stay() {
    let mut policy = with_room(10 * BLOB);
    let things: Vec<Thing> = (0..10).map(|id| Thing::new(id, BLOB)).collect();
    things.iter().for_each(|thing| policy.insert(thing.clone()));
    things[3].set_uses(1);
    let gone: Vec<u64> = (0..8).filter_map(|_| victim(&mut policy)).collect();
    assert_eq!(gone, [0, 1, 2, 4, 5, 6, 7, 8]);
    assert_eq!(policy.bytes_in(Place::Main), BLOB);
}

#[test]
fn a_used_resident_of_main_goes_round_once_for_each_use() {
    let mut policy = with_room(10 * BLOB);
    let things: Vec<Thing> = (0..3).map(|id| Thing::new(id, BLOB)).collect();
    things
        .iter()
        .for_each(|thing| policy.restore(thing.clone(), Place::Main));
    things[0].set_uses(2);
    things[1].set_uses(1);
    let gone: Vec<u64> = std::iter::from_fn(|| victim(&mut policy)).collect();
    assert_eq!(gone, [2, 1, 0]);
}

#[test]
fn what_a_snapshot_tells_is_restored_in_its_order() {
    let mut policy = with_room(2000 * BLOB);
    for id in 0..2000 {
        let place = if id % 3 == 0 {
            Place::Main
        } else {
            Place::Small
        };
        policy.restore(Thing::new(id, BLOB), place);
    }
    let told = read_all(&policy);
    let mut again = with_room(2000 * BLOB);
    told.iter()
        .for_each(|(place, id)| again.restore(Thing::new(*id, BLOB), *place));
    assert_eq!(read_all(&again), told);
    let small = (0..2000)
        .filter(|id| id % 3 != 0)
        .map(|id| (Place::Small, id));
    let main = (0..2000)
        .filter(|id| id % 3 == 0)
        .map(|id| (Place::Main, id));
    assert_eq!(told, small.chain(main).collect::<Vec<_>>());
}

// ---- ghosts ----

#[test]
fn what_comes_back_soon_is_proved() {
    let room = 100 * BLOB;
    let mut policy = with_room(room);
    (0..100).for_each(|id| policy.insert(Thing::new(id, BLOB)));
    let (_, gone) = arrive(&mut policy, 100, BLOB, room);
    assert_eq!(gone, [0]);
    policy.insert(Thing::new(0, BLOB));
    assert_eq!(policy.bytes_in(Place::Main), BLOB);
    // It was forgotten when it was taken: the next time it is on probation again.
    policy.insert(Thing::new(0, BLOB));
    assert_eq!(policy.bytes_in(Place::Main), BLOB);
}

#[test]
fn a_ghost_is_forgotten_once_enough_bytes_have_followed() {
    let mut ghosts = Ghosts::new();
    ghosts.set_window(10 * BLOB);
    ghosts.remember(fingerprint(1), BLOB);
    (2..11).for_each(|id| ghosts.remember(fingerprint(id), BLOB));
    assert!(ghosts.take(fingerprint(1)), "nine have followed");
    assert!(!ghosts.take(fingerprint(1)), "it was taken");
    ghosts.remember(fingerprint(1), BLOB);
    (2..12).for_each(|id| ghosts.remember(fingerprint(id), BLOB));
    assert!(!ghosts.take(fingerprint(1)), "ten have followed");
}

#[test]
fn ghosts_take_bounded_memory_and_outlive_the_growth_of_their_table() {
    let mut ghosts = Ghosts::new();
    ghosts.set_window(1 << 50);
    assert_eq!(ghosts.memory_bytes(), 8 << 10);
    ghosts.remember(fingerprint(1), 1);
    ghosts.fit(1025);
    assert!(ghosts.take(fingerprint(1)));
    (0..100).for_each(|_| ghosts.fit(usize::MAX));
    assert_eq!(ghosts.memory_bytes(), 6 << 20);
    (0..1_000_000).for_each(|id| ghosts.remember(fingerprint(id), 1));
    assert_eq!(ghosts.memory_bytes(), 6 << 20);
    let young = (999_000..1_000_000).filter(|id| ghosts.take(fingerprint(*id)));
    assert!(
        young.count() > 990,
        "a full bucket forgets its oldest, not its youngest"
    );
}

#[test]
fn a_full_bucket_forgets_its_oldest() {
    let mut ghosts = Ghosts::new();
    ghosts.set_window(1 << 50);
    // One bucket: the low bits are the same.
    (1..=9).for_each(|id| ghosts.remember(id << 32, 1));
    assert!(!ghosts.take(1 << 32));
    assert!((2..=9).all(|id| ghosts.take(id << 32)));
}

#[test]
fn a_ghost_of_the_largest_blob_is_no_panic() {
    let mut ghosts = Ghosts::new();
    ghosts.set_window(u64::MAX);
    ghosts.remember(fingerprint(1), u64::MAX);
    ghosts.remember(fingerprint(2), 0);
    assert!(ghosts.take(fingerprint(2)));
}

// ---- scans and sizes ----

#[test]
fn a_scan_of_everything_leaves_what_is_used_alone() {
    let room = 1000 * BLOB;
    let mut policy = with_room(room);
    let mut hot: Vec<Thing> = Vec::new();
    for id in 0..800 {
        let (thing, _) = arrive(&mut policy, id, BLOB, room);
        thing.set_uses(1);
        hot.push(thing);
    }
    // Ten times the room, nothing of it asked for twice, while the hot ones are used now and then.
    let mut lost = 0;
    for (at, id) in (1000..11_000).enumerate() {
        let (_, gone) = arrive(&mut policy, id, BLOB, room);
        lost += gone.iter().filter(|id| **id < 800).count();
        hot[at * 7 % 800].set_uses(1);
    }
    assert_eq!(lost, 0);
}

#[test]
fn a_blob_larger_than_probation_takes_no_more_of_main_than_its_own_size() {
    let room = 1000 * BLOB;
    let mut policy = with_room(room);
    (0..850).for_each(|id| policy.restore(Thing::new(id, BLOB), Place::Main));
    (1000..1100).for_each(|id| policy.insert(Thing::new(id, BLOB)));
    // The store makes room before it fetches.
    let mut of_main = 0;
    while policy.bytes() + 300 * BLOB > room {
        of_main += usize::from(victim(&mut policy).unwrap() < 1000);
    }
    policy.insert(Thing::new(9999, 300 * BLOB));
    assert_eq!(of_main, 200, "half of probation went first");
    // Unused, it goes before anything else of main does.
    let mut rest = Vec::new();
    for id in 2000..2400 {
        rest.extend(arrive(&mut policy, id, BLOB, room).1);
    }
    assert!(rest.contains(&9999));
    assert!(rest.iter().all(|id| *id >= 1000), "{rest:?}");
}

#[test]
fn what_is_tiny_stays_for_three_turns_and_no_longer() {
    let room = 100 * BLOB;
    let mut policy = with_room(room);
    (0..100).for_each(|id| policy.restore(Thing::new(id, BLOB), Place::Main));
    let (manifest, _) = arrive(&mut policy, 7777, 3000, room);
    assert_eq!(
        (policy.bytes_in(Place::Small), manifest.uses()),
        (0, USES_MAX)
    );
    let mut after = 0;
    for id in 1000.. {
        policy.restore(Thing::new(id, BLOB), Place::Main);
        if victim(&mut policy) == Some(7777) {
            break;
        }
        after += 1;
    }
    assert!((390..=410).contains(&after), "{after} have gone before it");
}

#[test]
fn where_everything_is_small_nothing_is_tiny() {
    let mut policy = with_room(1000 * 3000);
    (0..1000).for_each(|id| policy.insert(Thing::new(id, 3000)));
    policy.insert(Thing::new(1000, 500));
    assert_eq!(policy.bytes_in(Place::Main), 0);
    policy.insert(Thing::new(1001, 300));
    assert_eq!(policy.bytes_in(Place::Main), 300);
}

// ---- pinned ----

#[test]
fn when_all_are_pinned_nothing_goes_in_bounded_work() {
    let mut policy = with_room(100 * BLOB);
    let things: Vec<Thing> = (0..1000).map(|id| Thing::new(id, BLOB)).collect();
    for (at, thing) in things.iter().enumerate() {
        thing.set(KEPT);
        let place = if at % 2 == 0 {
            Place::Main
        } else {
            Place::Small
        };
        policy.restore(thing.clone(), place);
    }
    let mut calls = 0;
    while matches!(policy.evict(100), Evict::More) {
        calls += 1;
        assert!(calls <= 25, "two turns are 2000 steps");
    }
    assert_eq!(victim(&mut policy), None);
    assert_eq!((policy.len(), policy.bytes()), (1000, 1000 * BLOB));
    things[137].set(EVICTABLE);
    assert_eq!(victim(&mut policy), Some(137), "unpinned is found");
    assert_eq!(victim(&mut policy), None);
}

#[test]
fn pinned_ones_that_fill_main_leave_probation_to_give() {
    let mut policy = with_room(100_000 * BLOB);
    for id in 0..90_000 {
        let thing = Thing::new(id, BLOB);
        thing.set(KEPT);
        policy.restore(thing, Place::Main);
    }
    (100_000..100_010).for_each(|id| policy.insert(Thing::new(id, BLOB)));
    for id in 100_000..100_010 {
        match policy.evict(KEPT_IN_A_ROW_MAX + 1) {
            Evict::Victim(thing) => assert_eq!(thing.id(), id),
            other => panic!("{other:?}"),
        }
    }
}

// ---- gone ----

#[test]
fn what_expires_unevicted_does_not_pile_up() {
    let mut policy = with_room(u64::MAX);
    let mut living: VecDeque<Thing> = VecDeque::new();
    let mut most = 0;
    for id in 0..200_000 {
        let thing = Thing::new(id, BLOB);
        policy.insert(thing.clone());
        living.push_back(thing);
        if living.len() > 1000 {
            living.pop_front().unwrap().set(GONE);
        }
        most = most.max(policy.len());
    }
    assert!(most <= 2500, "{most} for a thousand that live");
    assert!(
        policy.memory_bytes() < 200 << 10,
        "{}",
        policy.memory_bytes()
    );
}

#[test]
fn a_sweep_of_all_that_is_gone_ends_and_frees() {
    let mut policy = with_room(u64::MAX);
    let things: Vec<Thing> = (0..100_000).map(|id| Thing::new(id, BLOB)).collect();
    for (at, thing) in things.iter().enumerate() {
        policy.restore(
            thing.clone(),
            if at % 2 == 0 {
                Place::Main
            } else {
                Place::Small
            },
        );
        thing.set(if at % 101 == 0 { EVICTABLE } else { GONE });
    }
    let mut looked_at = 0;
    while looked_at < 100_000 {
        let now = policy.sweep();
        assert!(now > 0 && now <= CHUNK);
        looked_at += now;
    }
    assert_eq!((policy.len(), policy.bytes()), (991, 991 * BLOB));
    assert!(
        policy.memory_bytes() < 40 << 10,
        "{}",
        policy.memory_bytes()
    );
    things.iter().for_each(|thing| thing.set(GONE));
    while policy.sweep() > 0 {}
    assert!(policy.is_empty() && policy.bytes() == 0);
}

// ---- memory ----

#[test]
fn a_million_residents_take_no_more_than_twenty_bytes_each() {
    /// As large as the store's.
    #[derive(Clone)]
    struct Small(Rc<()>);
    impl Resident for Small {
        fn fingerprint(&self) -> u64 {
            Rc::as_ptr(&self.0) as u64
        }
        fn size_bytes(&self) -> u64 {
            1
        }
        fn uses(&self) -> u8 {
            0
        }
        fn set_uses(&self, _: u8) {}
        fn standing(&self) -> Standing {
            Standing::Evictable
        }
    }
    let mut policy = Policy::new();
    let one = Small(Rc::new(()));
    (0..1_000_000).for_each(|_| policy.insert(one.clone()));
    assert!(
        policy.memory_bytes() <= 20_000_000,
        "{}",
        policy.memory_bytes()
    );
}

// ---- reading while the queues move ----

#[test]
fn a_reader_misses_nothing_of_chunks_that_are_merged() {
    let chunk = u64::try_from(CHUNK).unwrap();
    let mut policy = with_room(u64::MAX);
    let things: Vec<Thing> = (0..2 * chunk).map(|id| Thing::new(id, BLOB)).collect();
    for thing in &things {
        policy.restore(thing.clone(), Place::Small);
    }
    let mut page = Vec::new();
    let (_, next) = policy.read(Cursor::default(), &mut page).unwrap();
    let dead = things.iter().filter(|thing| thing.id() % 4 > 0);
    dead.for_each(|thing| thing.set(GONE));
    (0..2).for_each(|_| assert!(policy.sweep() > 0));
    page.clear();
    assert!(policy.read(next, &mut page).is_some());
    let read: HashSet<u64> = page.iter().map(Thing::id).collect();
    assert!((chunk..2 * chunk).step_by(4).all(|id| read.contains(&id)));
}

#[test]
fn a_reader_misses_nothing_that_stays_while_the_queues_move() {
    let room = 4000 * BLOB;
    let mut policy = with_room(room);
    let mut all: Vec<Thing> = Vec::new();
    for id in 0..4000 {
        let place = if id % 2 == 0 {
            Place::Main
        } else {
            Place::Small
        };
        let thing = Thing::new(id, BLOB);
        thing.set_uses(u8::try_from(id % 4).unwrap());
        policy.restore(thing.clone(), place);
        all.push(thing);
    }
    let (mut seen, mut cursor, mut page) = (HashSet::new(), Cursor::default(), Vec::new());
    let mut lost = HashSet::new();
    while let Some((_, next)) = policy.read(cursor, &mut page) {
        seen.extend(page.drain(..).map(|thing| thing.id()));
        cursor = next;
        lost.extend((0..30).filter_map(|_| victim(&mut policy)));
        for id in (0..4000).step_by(17) {
            all[id].set(GONE);
        }
        policy.sweep();
        policy.insert(Thing::new(100_000 + cursor.chunk, BLOB));
    }
    let missed = (0..4000u64).filter(|id| id % 17 != 0 && !lost.contains(id) && !seen.contains(id));
    assert_eq!(missed.count(), 0);
}

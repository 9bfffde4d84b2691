//! Several leases on one directory, driven by invented clocks: in the end exactly one of them is held.

use std::fs;
use std::process::{Child, Command, Stdio};

use proptest::prelude::*;
use tempfile::TempDir;

use super::identity::Process;
use super::*;

/// Starts a process that ends with the test, whatever comes of it.
pub(super) fn child() -> Child {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().unwrap()
}

/// Some processes of hosts that know nothing of each other, on one directory.
struct Place {
    folder: TempDir,
    begun: Instant,
    now: Instant,
    /// How many there have been.
    born: i32,
}

impl Place {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            folder: tempfile::tempdir().unwrap(),
            begun: now,
            now,
            born: 0,
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn path(&self) -> PathBuf {
        self.root().join("lease")
    }

    fn line(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.root())
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn claim(&mut self) -> Lease {
        if self.born == 0 {
            fs::create_dir(self.root()).unwrap();
        }
        self.born += 1;
        let process = Process {
            boot: format!("boot{}", self.born),
            pids: 1,
            pid: self.born,
            start: 1,
        };
        let me = Identity::new(&format!("host{}", self.born), process);
        Lease::claim_as(me, &self.root(), self.now)
    }

    /// Lets a second pass and has each of these tick.
    fn round<'a>(&mut self, leases: impl IntoIterator<Item = &'a mut Lease>) {
        self.now += TICK_EVERY;
        for lease in leases {
            lease.tick(self.now);
        }
    }

    fn rounds(&mut self, count: u32, leases: &mut [Lease]) {
        for _ in 0..count {
            self.round(leases.iter_mut());
        }
    }
}

fn holders(leases: &[Lease]) -> Vec<bool> {
    leases.iter().map(Lease::is_holder).collect()
}

#[test]
fn the_first_one_holds_at_once_and_the_others_as_long_as_it_lives_never() {
    let mut place = Place::new();
    let mut leases = vec![place.claim(), place.claim(), place.claim()];
    let first = place.line();
    for _ in 0..60 {
        assert_eq!(holders(&leases), [true, false, false]);
        place.round(&mut leases);
    }
    let last = place.line();
    assert!(
        first.starts_with("transship lease 1 host=host1 boot=boot1 pids=1 pid=1 start=1 name=")
    );
    assert!(first.ends_with("counter=000000000001\n"), "{first}");
    assert!(last.ends_with("counter=000000000061\n"), "{last}");
    assert_eq!(first.len(), last.len());
    assert_eq!(place.names(), ["lease", "lease.waiting"]);
}

#[test]
fn a_dead_holder_is_followed_by_exactly_one() {
    let mut place = Place::new();
    drop(place.claim());
    let mut leases = vec![place.claim(), place.claim()];
    place.rounds(9, &mut leases);
    assert_eq!(holders(&leases), [false, false], "it may be alive");
    place.rounds(2, &mut leases);
    let after = holders(&leases);
    assert_ne!(after[0], after[1], "exactly one");
    place.rounds(30, &mut leases);
    assert_eq!(holders(&leases), after, "and it stays so");
}

#[test]
fn a_holder_that_was_stopped_finds_out_at_its_next_tick() {
    let mut place = Place::new();
    let mut stopped = place.claim();
    let mut leases = vec![place.claim()];
    place.rounds(60, &mut leases);
    assert_eq!((stopped.is_holder(), leases[0].is_holder()), (true, true));
    assert_eq!(stopped.tick(place.now), Standing::Waiting);
    assert_eq!(leases[0].tick(place.now), Standing::Holder);
    leases.push(stopped);
    place.rounds(60, &mut leases);
    assert_eq!(holders(&leases), [true, false]);
}

#[test]
fn a_holder_that_was_stopped_before_it_wrote_does_not_take_the_lease_back() {
    let mut place = Place::new();
    let mut stopped = place.claim();
    let mut leases = vec![place.claim()];
    let seen = stopped.look();
    // It has the file open to write, too: what it writes there reaches nobody.
    let open = options().write(true).open(place.path()).unwrap();
    place.rounds(20, &mut leases);
    assert_eq!(holders(&leases), [true]);
    open.write_all_at(stopped.line().as_bytes(), 0).unwrap();
    stopped.act(seen, place.now);
    assert_eq!(leases[0].tick(place.now), Standing::Holder);
    assert_eq!(stopped.tick(place.now), Standing::Waiting);
}

#[test]
fn two_that_take_over_at_once_are_one_a_tick_later() {
    let mut place = Place::new();
    drop(place.claim());
    let mut leases = vec![place.claim(), place.claim()];
    place.rounds(9, &mut leases);
    place.now += TICK_EVERY;
    let seen: Vec<_> = leases.iter().map(Lease::look).collect();
    for (lease, seen) in leases.iter_mut().zip(seen) {
        lease.act(seen, place.now);
    }
    place.rounds(1, &mut leases);
    assert_eq!(holders(&leases).iter().filter(|holds| **holds).count(), 1);
}

#[test]
fn who_takes_over_waits_a_tick_for_another_that_does() {
    // The other one had looked before our line was there, and renames its own over it.
    let mut place = Place::new();
    drop(place.claim());
    let mut leases = vec![place.claim(), place.claim()];
    place.rounds(9, &mut leases);
    place.now += TICK_EVERY;
    assert_eq!(leases[0].tick(place.now), Standing::Waiting);
    assert!(place.line().contains(" host=host2 "), "it has renamed");
    leases[1].write_next().unwrap();
    fs::rename(place.root().join("lease.next"), place.path()).unwrap();
    leases[1].state = State::Taking;
    place.rounds(1, &mut leases);
    assert_eq!(holders(&leases), [false, true]);
}

#[test]
fn two_that_find_no_lease_at_once_are_one() {
    let mut place = Place::new();
    place.claim().release();
    let mut leases = vec![place.claim(), place.claim()];
    fs::remove_file(place.path()).unwrap();
    let seen: Vec<_> = leases.iter().map(Lease::look).collect();
    let now = place.now;
    for (lease, seen) in leases.iter_mut().zip(seen).rev() {
        lease.act(seen, now);
    }
    assert_eq!(holders(&leases), [false, true]);
    assert_eq!(place.names(), ["lease", "lease.waiting"]);
}

#[test]
fn a_holder_known_to_be_dead_is_followed_at_once() {
    // After a crash on the only host there is nothing to wait for.
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    let mut child = child();
    let process = Process::of(child.id().try_into().unwrap());
    let other = Lease::claim_as(Identity::new("h", process), &place.root(), place.now);
    assert!(other.is_holder());
    assert!(!Lease::claim(&place.root(), place.now).is_holder());
    child.kill().unwrap();
    child.wait().unwrap();
    let next = Lease::claim(&place.root(), place.now);
    assert!(next.is_holder());
    // The same process again, without having released it.
    assert!(Lease::claim(&place.root(), place.now).is_holder());
}

#[test]
fn a_clean_end_leaves_it_to_the_next_tick_of_anybody() {
    let mut place = Place::new();
    let first = place.claim();
    let mut second = place.claim();
    let third = place.claim();
    third.release();
    assert!(place.path().exists(), "not the one who waits");
    first.release();
    assert!(!place.path().exists());
    assert_eq!(second.tick(place.now), Standing::BecameHolder);
    second.release();
    assert_eq!(place.names(), [] as [&str; 0]);
}

#[test]
fn who_lost_it_does_not_release_it() {
    let mut place = Place::new();
    let stopped = place.claim();
    let mut leases = vec![place.claim()];
    place.rounds(20, &mut leases);
    stopped.release();
    assert_eq!(leases[0].tick(place.now), Standing::Holder);
    assert!(place.path().exists());
}

#[test]
fn whatever_is_in_its_place_somebody_holds_it_in_the_end() {
    let meddle: [fn(&Path); 6] = [
        |path| fs::write(path, "").unwrap(),
        |path| fs::write(path, [0xff; 100_000]).unwrap(),
        |path| fs::write(path, "transship lease 9 counter=\n").unwrap(),
        |path| std::os::unix::fs::symlink("nowhere", path).unwrap(),
        |path| {
            let mode = rustix::fs::Mode::RWXU;
            rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
        },
        |path| fs::remove_file(path).unwrap_or_default(),
    ];
    for (number, meddle) in meddle.iter().enumerate() {
        let mut place = Place::new();
        let mut leases = vec![place.claim(), place.claim()];
        fs::remove_file(place.path()).unwrap();
        meddle(&place.path());
        place.rounds(13, &mut leases);
        let holding = holders(&leases).iter().filter(|holds| **holds).count();
        assert_eq!(holding, 1, "{number}: {leases:?}");
    }
    // A folder cannot be replaced: better all than nobody.
    let mut place = Place::new();
    let mut leases = vec![place.claim(), place.claim()];
    fs::remove_file(place.path()).unwrap();
    fs::create_dir(place.path()).unwrap();
    place.rounds(13, &mut leases);
    assert_eq!(holders(&leases), [true, true]);
    fs::remove_dir(place.path()).unwrap();
    place.rounds(2, &mut leases);
    assert_eq!(holders(&leases).iter().filter(|holds| **holds).count(), 1);
}

#[test]
fn a_lease_that_cannot_be_written_is_held_without_and_by_one_as_soon_as_it_can() {
    // A full disk needs the eviction most.
    let mut place = Place::new();
    drop(place.claim());
    let old = place.line();
    let block = place.root().join("lease.next");
    fs::create_dir(&block).unwrap();
    let mut leases = vec![place.claim(), place.claim()];
    place.rounds(13, &mut leases);
    assert_eq!(
        holders(&leases),
        [true, true],
        "to delete twice is harmless"
    );
    assert_eq!(place.line(), old);
    fs::remove_dir(&block).unwrap();
    place.rounds(2, &mut leases);
    assert_eq!(holders(&leases).iter().filter(|holds| **holds).count(), 1);
    assert!(place.line().contains(" host=host"));
    assert_ne!(place.line(), old);
}

#[test]
fn who_holds_it_without_a_line_gives_way_to_a_line_that_moves() {
    let mut place = Place::new();
    let mut stopped = place.claim();
    let block = place.root().join("lease.next");
    fs::create_dir(&block).unwrap();
    let mut leases = vec![place.claim()];
    place.rounds(13, &mut leases);
    assert_eq!(holders(&leases), [true]);
    assert_eq!(stopped.tick(place.now), Standing::Holder);
    place.rounds(1, &mut leases);
    assert_eq!(holders(&leases), [false]);
}

#[test]
fn a_disk_that_is_full_from_the_start_is_kept_by_who_starts() {
    let mut place = Place::new();
    place.claim().release();
    fs::create_dir(place.root().join("lease.next")).unwrap();
    let mut lease = place.claim();
    assert!(lease.is_holder() && !lease.has_company());
    fs::remove_dir(place.root().join("lease.next")).unwrap();
    assert_eq!(lease.tick(place.now), Standing::Holder);
    assert!(place.path().exists());
}

#[test]
fn a_root_that_vanishes_changes_nothing_and_is_taken_again_when_it_is_back() {
    let mut place = Place::new();
    let mut leases = vec![place.claim(), place.claim()];
    let away = place.folder.path().join("away");
    fs::rename(place.root(), &away).unwrap();
    place.rounds(20, &mut leases);
    assert_eq!(holders(&leases), [true, false]);
    fs::create_dir(place.root()).unwrap();
    place.rounds(2, &mut leases);
    assert_eq!(holders(&leases), [true, false], "an empty one");
    fs::remove_dir_all(place.root()).unwrap();
    fs::rename(&away, place.root()).unwrap();
    place.rounds(2, &mut leases);
    assert_eq!(holders(&leases), [true, false], "the old one");
}

#[test]
fn the_holder_knows_whether_it_has_company() {
    // With company, what others store is not in its index, and "ended cleanly" would be a lie.
    let mut place = Place::new();
    let mut holder = place.claim();
    assert!(!holder.has_company());
    let mut guest = place.claim();
    assert!(guest.has_company());
    for _ in 0..30 {
        place.round([&mut holder, &mut guest]);
        assert!(holder.has_company());
    }
    drop(guest);
    for _ in 0..9 {
        place.round([&mut holder]);
    }
    assert!(holder.has_company(), "it may be slow");
    place.round([&mut holder]);
    place.round([&mut holder]);
    assert!(!holder.has_company());
    assert_eq!(place.names(), ["lease"]);
    let guest = place.claim();
    place.round([&mut holder]);
    assert!(holder.has_company());
    guest.release();
    place.round([&mut holder]);
    assert!(!holder.has_company(), "at once after a clean end");
}

/// Something that happens to a few processes.
#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    Tick(usize),
    /// Looks, and is stopped before it does what follows.
    Look(usize),
    Act(usize),
    Die(usize),
    Release(usize),
    Garbage,
    Remove,
}

const PROCESSES: usize = 3;

fn event() -> impl Strategy<Value = Event> {
    let who = 0..PROCESSES;
    prop_oneof![
        4 => prop_oneof![Just(500), Just(1000), Just(11_000)].prop_map(Event::Pass),
        8 => who.clone().prop_map(Event::Tick),
        4 => who.clone().prop_map(Event::Look),
        4 => who.clone().prop_map(Event::Act),
        1 => who.clone().prop_map(Event::Die),
        1 => who.prop_map(Event::Release),
        1 => Just(Event::Garbage),
        1 => Just(Event::Remove),
    ]
}

fn happen(place: &mut Place, leases: &mut [Lease], looks: &mut [Option<Content>], event: Event) {
    match event {
        Event::Pass(milliseconds) => place.now += Duration::from_millis(milliseconds),
        Event::Tick(who) => {
            looks[who] = None;
            leases[who].tick(place.now);
        }
        Event::Look(who) => looks[who] = Some(leases[who].look()),
        Event::Act(who) => {
            if let Some(content) = looks[who].take() {
                leases[who].act(content, place.now);
            }
        }
        Event::Die(who) => {
            looks[who] = None;
            leases[who] = place.claim();
        }
        Event::Release(who) => {
            looks[who] = None;
            let next = place.claim();
            std::mem::replace(&mut leases[who], next).release();
        }
        Event::Garbage => fs::write(place.path(), "garbage").unwrap(),
        Event::Remove => fs::remove_file(place.path()).unwrap_or_default(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happened_exactly_one_holds_it_in_the_end(events in proptest::collection::vec(event(), 0..60)) {
        let mut place = Place::new();
        let mut leases: Vec<_> = (0..PROCESSES).map(|_| place.claim()).collect();
        let mut looks = vec![None; PROCESSES];
        for event in events {
            happen(&mut place, &mut leases, &mut looks, event);
        }
        // All that were stopped go on from what they saw; from then on each ticks every second.
        for who in 0..PROCESSES {
            happen(&mut place, &mut leases, &mut looks, Event::Act(who));
        }
        let mut last = Vec::new();
        for round in 0..30 {
            place.rounds(1, &mut leases);
            let now = holders(&leases);
            let holding = now.iter().filter(|holds| **holds).count();
            prop_assert!(holding <= 1, "two after each has ticked, round {round}: {leases:?}");
            prop_assert!(round < 13 || holding == 1, "none in round {round}: {leases:?}");
            prop_assert!(round < 14 || now == last, "it went from one to another in round {round}");
            last = now;
        }
        prop_assert!(place.now > place.begun);
    }
}

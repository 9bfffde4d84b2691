//! Links that are made, lost and damaged: what is found afterwards was made once, and nothing else is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::digest::Algorithm;
use crate::registry::Name;

const REPOSITORIES: [&str; 3] = ["a", "b/c", "library/busybox"];

fn digest(number: usize) -> Digest {
    let algorithm = match number {
        0 => Algorithm::Sha512,
        _ => Algorithm::Sha256,
    };
    Digest::of(algorithm, &number.to_le_bytes())
}

/// A log in a folder of its own.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("links")
    }

    fn open(&self) -> Links {
        Links::open(self.path(), |_| true).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn lines(&self) -> usize {
        self.text().lines().count() - 1
    }
}

fn append(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// The body of a fuzz target: no log makes the reader panic, and what it finds is in the log, to the byte.
pub(crate) fn check_links_file(bytes: &[u8]) {
    let mut input = bytes;
    let mut encoded = Vec::new();
    let found = line::read(&mut input, |record| {
        encoded.clear();
        record.encode(&mut encoded);
        assert!(memchr::memmem::find(bytes, &encoded).is_some());
    })
    .unwrap();
    let line_feeds = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert!(found.lines + found.damaged <= line_feeds + 1);
    assert!(found.bytes <= bytes.len() as u64);
}

#[test]
fn a_link_is_found_after_a_restart_and_under_its_repository_alone() {
    let place = Place::new();
    let links = place.open();
    links.link("b/c", &digest(1));
    links.link("b/c", &digest(1));
    links.link("a", &digest(1));
    links.link("a", &digest(0));
    assert!(!place.path().exists(), "nobody waits for the disk");
    for _ in 0..2 {
        links.flush();
    }
    assert_eq!(place.lines(), 3, "each link once");
    for links in [links, place.open()] {
        assert!(links.is_linked("b/c", &digest(1)));
        assert!(links.is_linked("a", &digest(1)));
        assert!(links.is_linked("a", &digest(0)));
        assert!(!links.is_linked("b/c", &digest(0)));
        assert!(!links.is_linked("library/busybox", &digest(1)));
        assert_eq!(links.table.len(), 3);
    }
}

#[test]
fn a_blob_that_went_and_came_back_is_not_given_back_to_those_who_had_it() {
    let place = Place::new();
    let links = place.open();
    links.link("a", &digest(1));
    links.link("library/busybox", &digest(1));
    links.flush();
    links.unlink(&digest(1));
    links.link("b/c", &digest(1));
    links.flush();
    for links in [links, place.open()] {
        assert!(links.is_linked("b/c", &digest(1)));
        assert!(!links.is_linked("a", &digest(1)));
        assert!(!links.is_linked("library/busybox", &digest(1)));
    }
}

#[test]
fn links_to_what_is_not_stored_are_dropped_and_leave_the_log() {
    let place = Place::new();
    let links = place.open();
    for number in 1..=9 {
        links.link("a", &digest(number));
    }
    links.flush();
    let links = Links::open(place.path(), |found| *found == digest(5)).unwrap();
    assert_eq!(links.table.len(), 1);
    assert!(links.is_linked("a", &digest(5)));
    assert_eq!(place.lines(), 1, "most of it was garbage: {}", place.text());
    assert!(place.open().is_linked("a", &digest(5)));
}

#[test]
fn a_log_that_is_mostly_garbage_is_written_anew_while_it_is_in_use() {
    let place = Place::new();
    let links = place.open();
    links.link("b/c", &digest(2));
    for _ in 0..600 {
        links.link("a", &digest(1));
        links.unlink(&digest(1));
    }
    links.link("a", &digest(1));
    links.flush();
    assert_eq!(place.lines(), 2, "{}", place.text());
    links.unlink(&digest(2));
    links.flush();
    let links = place.open();
    assert!(links.is_linked("a", &digest(1)));
    assert!(!links.is_linked("b/c", &digest(2)));
}

#[test]
fn a_log_of_a_later_version_is_set_aside_whole() {
    let place = Place::new();
    let later = "transship links 2\nwhatever it says\n";
    fs::write(place.path(), later).unwrap();
    let links = place.open();
    assert_eq!(links.table.len(), 0);
    links.link("a", &digest(1));
    links.flush();
    assert!(place.open().is_linked("a", &digest(1)));
    let aside = place.folder.path().join("links.version-2");
    assert_eq!(fs::read_to_string(aside).unwrap(), later);
}

#[test]
fn a_damaged_first_line_costs_nothing_but_itself() {
    let place = Place::new();
    let links = place.open();
    links.link("a", &digest(1));
    links.flush();
    fs::write(place.path(), place.text().replacen("ship", "shop", 1)).unwrap();
    assert!(place.open().is_linked("a", &digest(1)));
    assert!(place.text().starts_with("transship links 1\n"));
}

#[test]
fn what_cannot_be_written_stays_in_memory_and_is_written_later() {
    let place = Place::new();
    let folder = place.folder.path().join("later");
    let links = Links::open(folder.join("links"), |_| true).unwrap();
    links.link("a", &digest(1));
    assert!(!links.flush(), "there is no folder");
    links.link("b/c", &digest(1));
    links.unlink(&digest(1));
    links.link("a", &digest(2));
    assert!(!links.flush());
    assert!(links.is_linked("a", &digest(2)));
    fs::create_dir(&folder).unwrap();
    assert!(links.flush());
    assert!(!links.flush(), "nothing is left to write");
    let links = Links::open(folder.join("links"), |_| true).unwrap();
    assert_eq!(links.table.len(), 1);
    assert!(links.is_linked("a", &digest(2)));
}

#[test]
fn a_write_that_stopped_in_the_middle_is_written_over() {
    let place = Place::new();
    let links = place.open();
    links.link("a", &digest(1));
    links.flush();
    let whole = place.text();
    append(&place.path(), &[b'x'; 1000]);
    links.link("b/c", &digest(1));
    links.flush();
    let text = place.text();
    assert!(text.starts_with(&whole) && text.ends_with('\n'));
    assert_eq!(place.lines(), 2, "{text}");
    assert!(place.open().is_linked("b/c", &digest(1)));
}

#[test]
fn a_log_that_somebody_cut_or_removed_goes_on_with_what_is_left() {
    for left in [None, Some(0), Some(5), Some(130), Some(240)] {
        let place = Place::new();
        let links = place.open();
        for number in 1..=3 {
            links.link("a", &digest(number));
        }
        links.flush();
        match left {
            None => fs::remove_file(place.path()).unwrap(),
            Some(length) => {
                let bytes = fs::read(place.path()).unwrap();
                fs::write(place.path(), &bytes[..length]).unwrap();
            }
        }
        links.link("b/c", &digest(1));
        links.flush();
        check_links_file(&fs::read(place.path()).unwrap());
        let again = place.open();
        assert!(again.is_linked("b/c", &digest(1)), "{left:?}");
        let kept = left.unwrap_or(0) / 100;
        assert_eq!(again.table.len(), 1 + kept, "{left:?}: {}", place.text());
    }
}

#[test]
fn a_removal_that_finds_no_room_is_not_forgotten() {
    let place = Place::new();
    let links = place.open();
    links.link("a", &digest(1));
    links.link("a", &digest(2));
    links.flush();
    links.pending.lock().bytes = vec![b'\n'; PENDING_BYTES_MAX];
    links.unlink(&digest(1));
    links.pending.lock().bytes.clear();
    links.flush();
    let links = place.open();
    assert!(!links.is_linked("a", &digest(1)));
    assert!(links.is_linked("a", &digest(2)));
}

#[test]
fn a_line_that_no_transship_wrote_is_no_link_however_sound_its_checksum() {
    let mut log = line::HEADER.to_vec();
    for repository in ["", "A", "../etc", "a//b", "a/", "a b", &"a".repeat(256)] {
        let digest = digest(1);
        Record::Link { repository, digest }.encode(&mut log);
        check_links_file(&log);
        let place = Place::new();
        fs::write(place.path(), &log).unwrap();
        assert_eq!(place.open().table.len(), 0, "{repository:?}");
        let links = place.open();
        links.link(repository, &digest);
        assert!(!links.is_linked(repository, &digest), "{repository:?}");
    }
}

#[test]
fn a_line_without_end_is_skipped_and_not_kept() {
    let mut log = line::HEADER.to_vec();
    log.extend(vec![b'a'; 1 << 20]);
    log.push(b'\n');
    let (repository, digest) = ("a", digest(1));
    Record::Link { repository, digest }.encode(&mut log);
    check_links_file(&log);
    let place = Place::new();
    fs::write(place.path(), &log).unwrap();
    assert!(place.open().is_linked("a", &digest));
    assert_eq!(place.lines(), 1, "written anew without it");
}

/// Something that happens to a log.
#[derive(Clone, Debug)]
enum Event {
    Link(usize, usize),
    Unlink(usize),
    Flush,
    /// The process ends in order.
    Restart,
    /// The process is killed.
    Kill,
    /// The process is killed, and the file ends here.
    Cut(proptest::sample::Index),
    /// The process is killed, and a byte of the file is another one.
    Flip(proptest::sample::Index, u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..3_usize, 0..4_usize).prop_map(|(r, d)| Event::Link(r, d)),
        2 => (0..4_usize).prop_map(Event::Unlink),
        2 => Just(Event::Flush),
        1 => Just(Event::Restart),
        1 => Just(Event::Kill),
        1 => any::<proptest::sample::Index>().prop_map(Event::Cut),
        1 => (any::<proptest::sample::Index>(), 1..=u8::MAX).prop_map(|(at, x)| Event::Flip(at, x)),
    ]
}

type Pairs = BTreeSet<(usize, usize)>;

fn pairs(links: &Links) -> Pairs {
    let all = (0..3).flat_map(|r| (0..4).map(move |d| (r, d)));
    all.filter(|(r, d)| links.is_linked(REPOSITORIES[*r], &digest(*d)))
        .collect()
}

/// Runs `events`; after each restart, what is found is what was made, or after damage a part of it.
fn check_history(events: &[Event]) {
    let place = Place::new();
    let mut links = place.open();
    let (mut now, mut written, mut ever) = (Pairs::new(), Pairs::new(), Pairs::new());
    for event in events {
        match event {
            Event::Link(r, d) => {
                links.link(REPOSITORIES[*r], &digest(*d));
                now.insert((*r, *d));
                ever.insert((*r, *d));
            }
            Event::Unlink(gone) => {
                links.unlink(&digest(*gone));
                now.retain(|(_, d)| d != gone);
            }
            Event::Flush | Event::Restart => {
                links.flush();
                written = now.clone();
            }
            Event::Kill | Event::Cut(_) | Event::Flip(..) => {}
        }
        let mut is_sound = true;
        if let (Event::Cut(at) | Event::Flip(at, _), Ok(mut bytes)) =
            (event, fs::read(place.path()))
        {
            match event {
                Event::Flip(_, mask) if !bytes.is_empty() => {
                    let at = at.index(bytes.len());
                    bytes[at] ^= mask;
                }
                _ => bytes.truncate(at.index(bytes.len() + 1)),
            }
            fs::write(place.path(), &bytes).unwrap();
            check_links_file(&bytes);
            is_sound = false;
        }
        if !matches!(event, Event::Link(..) | Event::Unlink(_) | Event::Flush) {
            links = place.open();
            let found = pairs(&links);
            if is_sound {
                assert_eq!(found, written, "after {event:?}");
            }
            assert!(found.is_subset(&ever), "after {event:?}: {found:?}");
            now.clone_from(&found);
            written = found;
        }
        assert_eq!(pairs(&links), now, "after {event:?}");
        assert_eq!(links.table.len(), now.len());
    }
}

proptest! {
    #[test]
    fn no_history_makes_a_link_and_without_damage_none_is_lost(
        events in proptest::collection::vec(event(), 1..40)
    ) {
        check_history(&events);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        check_links_file(&bytes);
        check_links_file(&[line::HEADER, &bytes].concat());
    }

    #[test]
    fn names_are_those_of_the_registry(text in "[a-zA-Z0-9._/ -]{0,12}") {
        prop_assert_eq!(line::is_repository(&text), Name::parse(&text).is_ok(), "{}", text);
    }

    #[test]
    fn a_line_with_any_byte_changed_is_no_line(
        repository in "[a-z0-9]{1,9}(/[a-z0-9]{1,9})?",
        at in any::<proptest::sample::Index>(),
        mask in 1..=u8::MAX,
    ) {
        let mut log = line::HEADER.to_vec();
        let start = log.len();
        Record::Link { repository: &repository, digest: digest(1) }.encode(&mut log);
        let at = start + at.index(log.len() - start);
        log[at] ^= mask;
        let found = line::read(&mut &log[..], |record| panic!("{record:?}")).unwrap();
        prop_assert_eq!(found.lines, 0);
    }
}

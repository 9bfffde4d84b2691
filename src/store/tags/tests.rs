//! Tags that are confirmed, moved, deleted, lost and damaged: what is found was said once, and never later than
//! it was.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::digest::Algorithm;
use crate::limits::{TAG_ACCEPTS_MAX, TAG_WRITTEN_AGE_MAX, TAGS_MAX};

fn digest(text: &str) -> Digest {
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

fn key<'a>(repository: &'a str, tag: &'a str, accept: &str) -> TagKey<'a> {
    TagKey {
        repository,
        tag,
        accept: digest(accept),
    }
}

/// A moment so many seconds after the first one.
fn at(seconds: u64) -> Moment {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    Moment {
        steady: start + Duration::from_secs(seconds),
        wall: 1_800_000_000 + seconds,
    }
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("tags")
    }

    fn open(&self, now: Moment) -> Tags {
        Tags::open(self.path(), now)
    }
}

/// The body of a fuzz target: no file makes the reader panic, and what it finds is in the file, to the byte.
pub(crate) fn check_tags_file(bytes: &[u8]) {
    let now = at(0);
    let found = line::read(bytes, now, |key, digest, at| {
        assert!(at.wall <= now.wall && at.steady <= now.steady);
        let mut encoded = Vec::new();
        line::encode(&mut encoded, key, digest, at.wall);
        let is_there = memchr::memmem::find(bytes, &encoded).is_some();
        assert!(is_there || at.wall == now.wall, "a time that lies ahead");
    });
    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert!(found.lines + found.damaged <= lines + 1);
}

#[test]
fn what_was_said_outlives_the_process_with_its_age() {
    // Restarted in an outage, the cache would know no tag when it counts.
    let place = Place::new();
    let tags = place.open(at(0));
    tags.confirm(key("a/b", "v1", "x"), digest("one"), at(5));
    tags.confirm(key("a/b", "v1", "y"), digest("two"), at(6));
    assert!(tags.flush(at(10).steady, false));
    assert!(
        !tags.flush(at(11).steady, false),
        "nothing has changed since"
    );
    let tags = place.open(at(100));
    let found = tags.find(key("a/b", "v1", "x"), at(105)).unwrap();
    assert_eq!(found.digest, digest("one"));
    assert_eq!(found.age, Duration::from_secs(100));
    let found = tags.find(key("a/b", "v1", "y"), at(105)).unwrap();
    assert_eq!(found.digest, digest("two"));
    for other in [key("a/b", "v2", "x"), key("a", "v1", "x")] {
        assert_eq!(tags.find(other, at(105)), None);
    }
    assert!(!tags.flush(at(200).steady, true), "what was read is there");
}

#[test]
fn a_deleted_tag_is_gone_from_the_file_at_the_next_checkpoint_whatever_was_accepted() {
    let place = Place::new();
    let tags = place.open(at(0));
    for accept in ["x", "y"] {
        tags.confirm(key("a", "v1", accept), digest("one"), at(0));
    }
    tags.confirm(key("a", "v2", "x"), digest("two"), at(0));
    assert!(tags.flush(at(0).steady, false));
    tags.forget("a", "v1");
    tags.forget("a", "never");
    // However lately it was written.
    assert!(tags.flush(at(0).steady, false));
    for tags in [tags, place.open(at(1))] {
        for accept in ["x", "y"] {
            assert_eq!(tags.find(key("a", "v1", accept), at(1)), None);
        }
        assert!(tags.find(key("a", "v2", "x"), at(1)).is_some());
    }
}

#[test]
fn a_clock_that_is_set_makes_no_tag_younger() {
    // An image of last year would be the newest one.
    let place = Place::new();
    let tags = place.open(at(0));
    tags.confirm(key("a", "v1", "x"), digest("one"), at(1000));
    let age = |tags: &Tags, now| tags.find(key("a", "v1", "x"), now).unwrap().age.as_secs();
    let set = |steady, wall| Moment {
        steady: at(steady).steady,
        wall: at(wall).wall,
    };
    assert_eq!(age(&tags, set(1050, 0)), 50, "set back");
    assert_eq!(age(&tags, set(1050, 9000)), 8000, "set forward, or asleep");
    assert!(tags.flush(at(1050).steady, false));
    // Written by a clock that was ahead: it counts as said just now, and ages from there.
    let tags = place.open(set(2000, 500));
    assert_eq!(age(&tags, set(2000, 500)), 0);
    assert_eq!(age(&tags, set(2030, 400)), 30);
}

#[test]
fn answers_that_crossed_leave_the_later_question() {
    let place = Place::new();
    let tags = place.open(at(0));
    let one = key("a", "v1", "x");
    tags.confirm(one, digest("new"), at(20));
    tags.confirm(one, digest("old"), at(10));
    assert_eq!(tags.find(one, at(20)).unwrap().digest, digest("new"));
}

#[test]
fn a_tag_that_is_confirmed_again_and_again_is_written_now_and_then() {
    // A busy tag would have the file written every five seconds.
    let place = Place::new();
    let tags = place.open(at(0));
    let one = key("a", "v1", "x");
    tags.confirm(one, digest("one"), at(0));
    assert!(tags.flush(at(0).steady, false));
    let late = TAG_WRITTEN_AGE_MAX.as_secs();
    for (seconds, is_written) in [
        (1, false),
        (late - 1, false),
        (late, true),
        (late + 1, false),
    ] {
        tags.confirm(one, digest("one"), at(seconds));
        let written = tags.flush(at(seconds).steady, false);
        assert_eq!(written, is_written, "{seconds}");
    }
    tags.confirm(one, digest("two"), at(late + 2));
    assert!(
        tags.flush(at(late + 2).steady, false),
        "it means something else"
    );
}

#[test]
fn there_is_a_bound_and_the_oldest_go() {
    // Memory that starts anew would lose every tag at once, in the midst of an outage.
    let mut table = Table::default();
    let names: Vec<_> = (0..=TAGS_MAX).map(|index| format!("t{index}")).collect();
    let accept = digest("x");
    let key = |index: usize| TagKey {
        repository: "a",
        tag: &names[index],
        accept,
    };
    for index in 0..=TAGS_MAX {
        // Several of one moment each.
        table.confirm(key(index), accept, at(index as u64 / 3));
    }
    assert_eq!(table.len(), TAGS_MAX - TAGS_MAX / 8 + 1);
    let dropped = TAGS_MAX / 8;
    assert!(table.find(key(dropped - 1 - dropped % 3)).is_none());
    assert!((dropped + 3..=TAGS_MAX).all(|index| table.find(key(index)).is_some()));
}

#[test]
fn one_client_with_many_types_pushes_out_nobody_elses_tag() {
    let mut table = Table::default();
    for index in 0..100 {
        let accept = format!("{index}");
        table.confirm(key("a", "v1", &accept), digest("one"), at(index));
    }
    assert_eq!(table.len(), TAG_ACCEPTS_MAX);
    assert!(table.find(key("a", "v1", "99")).is_some());
    assert!(table.find(key("a", "v1", "91")).is_none());
}

#[test]
fn what_is_no_name_is_not_remembered() {
    let place = Place::new();
    let tags = place.open(at(0));
    for (repository, tag) in [
        ("A", "v1"),
        ("a b", "v1"),
        ("a", ""),
        ("a", "v 1"),
        ("a", "v\n"),
    ] {
        tags.confirm(key(repository, tag, "x"), digest("one"), at(0));
    }
    assert!(!tags.flush(at(0).steady, true));
}

#[test]
fn a_file_that_cannot_be_written_is_written_later() {
    let place = Place::new();
    let tags = place.open(at(0));
    fs::create_dir(place.0.path().join("tags.next")).unwrap();
    tags.confirm(key("a", "v1", "x"), digest("one"), at(0));
    assert!(!tags.flush(at(0).steady, true));
    fs::remove_dir(place.0.path().join("tags.next")).unwrap();
    assert!(tags.flush(at(1).steady, true));
    assert!(place.open(at(2)).find(key("a", "v1", "x"), at(2)).is_some());
}

#[test]
fn what_is_no_file_of_tags_is_as_good_as_none() {
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    assert_eq!(place.open(at(0)).find(key("a", "v1", "x"), at(0)), None);
}

proptest! {
    #[test]
    fn a_damaged_file_tells_nothing_that_was_not_said(place: u16, bit in 0_u32..8, cut: u16) {
        let mut bytes = line::HEADER.to_vec();
        let said = [("a/b", "v1", "one", 7), ("c", "latest", "two", 9)];
        for (repository, tag, of, seconds) in said {
            let wall = at(seconds).wall;
            line::encode(&mut bytes, key(repository, tag, "x"), digest(of), wall);
        }
        let length = bytes.len();
        bytes[usize::from(place) % length] ^= 1 << bit;
        bytes.truncate(length - usize::from(cut) % length);
        let found = line::read(&bytes, at(10), |found, found_digest, found_at| {
            assert!(said.iter().any(|(repository, tag, of, seconds)| {
                found == key(repository, tag, "x")
                    && found_digest == digest(of)
                    && found_at.wall == at(*seconds).wall
            }));
        });
        assert!(found.lines <= said.len());
        check_tags_file(&bytes);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, has_header: bool) {
        let mut file = if has_header { line::HEADER.to_vec() } else { Vec::new() };
        file.extend_from_slice(&bytes);
        check_tags_file(&file);
    }
}

//! Journals that are torn, damaged, replaced and cut: what is read was written, and "ended cleanly" is true.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::time::Instant;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::digest::{Algorithm, Digest};
use crate::store::layout::Kind;

fn digest(number: u32) -> Digest {
    let algorithm = match number % 5 {
        4 => Algorithm::Sha512,
        _ => Algorithm::Sha256,
    };
    Digest::of(algorithm, &number.to_le_bytes())
}

fn record(number: u32) -> Record {
    Record {
        kind: match number % 3 {
            0 => Kind::Manifest,
            _ => Kind::Blob,
        },
        digest: digest(number),
        size_bytes: u64::from(number) << 30,
        last_use: number,
        hits: number ^ 7,
        uses: 3,
        place: 1,
    }
}

fn put(number: u32) -> Change {
    Change::Put(record(number))
}

fn remove(number: u32) -> Change {
    Change::Remove(record(number).kind, digest(number))
}

/// A journal in a folder of its own.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    /// A place with these bytes as its journal.
    fn with(bytes: &[u8]) -> Self {
        let place = Self::new();
        fs::write(place.path(), bytes).unwrap();
        place
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("index")
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn open(&self) -> (Journal, Verdict, Vec<Change>) {
        let mut changes = Vec::new();
        let (journal, verdict) = Journal::open(self.path(), |change| changes.push(change)).unwrap();
        (journal, verdict, changes)
    }

    fn journal(&self) -> Journal {
        self.open().0
    }

    /// Names in the folder, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Returns a journal that ended cleanly after these changes.
fn ended(changes: &[Change]) -> Vec<u8> {
    let place = Place::new();
    let mut journal = place.journal();
    journal.append(changes).unwrap();
    journal.close().unwrap();
    place.bytes()
}

fn some_changes() -> Vec<Change> {
    vec![put(1), put(4), remove(1), put(3), remove(4), put(9)]
}

#[test]
fn what_a_human_sees_at_its_beginning_is_text() {
    let bytes = ended(&[put(1)]);
    let text = std::str::from_utf8(&bytes[..128]).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    assert!(first.starts_with("transship index 1 generation "), "{text}");
    assert!(
        second.starts_with("ended cleanly after 000000000001 slots, crc "),
        "{text}"
    );
    assert!(text.ends_with('\n'));
    assert_eq!(bytes.len(), 192);
}

#[test]
fn a_journal_that_is_torn_anywhere_is_used_up_to_there() {
    // A kill or a full disk in the middle of an append.
    let changes = some_changes();
    let whole = ended(&changes);
    for length in 0..whole.len() {
        let (_, verdict, found) = Place::with(&whole[..length]).open();
        assert!(changes.starts_with(&found), "{length}");
        assert_ne!(verdict, Verdict::Clean, "{length}");
        assert_eq!(verdict == Verdict::Absent, length == 0);
        let slots: usize = found.iter().map(slots_of).sum();
        let is_more = changes
            .get(found.len())
            .is_some_and(|next| 128 + 64 * (slots + slots_of(next)) <= length);
        assert!(!is_more, "{length}: something sound was not used");
    }
}

fn slots_of(change: &Change) -> usize {
    let (Change::Put(Record { digest, .. }) | Change::Remove(_, digest)) = change;
    digest.raw().len() / 32
}

#[test]
fn no_byte_can_be_damaged_without_its_being_seen() {
    // A bit that flipped on the medium would be another blob, or another size.
    let changes = some_changes();
    let whole = ended(&changes);
    for at in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let place = Place::with(&bytes);
            let (mut journal, verdict, found) = place.open();
            assert!(changes.starts_with(&found), "{at}");
            assert_ne!(verdict, Verdict::Clean, "{at}");
            assert_eq!(
                found.len() == changes.len(),
                (64..128).contains(&at),
                "{at}"
            );
            // And it can be written to all the same.
            journal.append(&[put(11)]).unwrap();
            let (_, verdict, again) = place.open();
            assert_ne!(verdict, Verdict::Clean, "{at}");
            assert_eq!(again, [&found[..], &[put(11)]].concat(), "{at}");
        }
    }
}

/// Every state that a file can be in while `before` becomes `after`: written from the front up to some byte, or,
/// after a power cut, with any of its blocks on the medium.
fn between(before: &[u8], after: &[u8]) -> Vec<Vec<u8>> {
    assert!(
        before.len() <= after.len(),
        "a journal never becomes shorter"
    );
    let mut states = Vec::new();
    for written in 0..=after.len() {
        let mut state = before.to_vec();
        state.resize(state.len().max(written), 0);
        state[..written].copy_from_slice(&after[..written]);
        states.push(state);
    }
    let blocks = after.len().div_ceil(64);
    for chosen in 0..1_u32 << blocks {
        let mut state = before.to_vec();
        state.resize(after.len(), 0);
        for block in (0..blocks).filter(|block| chosen >> block & 1 == 1) {
            let range = block * 64..after.len().min(block * 64 + 64);
            state[range.clone()].copy_from_slice(&after[range]);
        }
        states.push(state);
    }
    states
}

#[test]
fn a_kill_or_a_power_cut_never_leaves_ended_cleanly_over_later_changes() {
    // It would be believed at the next start: blobs that are there would be missing until they are filled again.
    let first = [put(1), put(4)];
    let second = [remove(1), put(2)];
    let both = [&first[..], &second[..]].concat();
    let place = Place::new();
    let mut journal = place.journal();
    journal.append(&first).unwrap();
    journal.close().unwrap();
    let closed = place.bytes();
    let mut journal = place.journal();
    journal.begin().unwrap();
    let begun = place.bytes();
    journal.append(&second).unwrap();
    let appended = place.bytes();
    journal.close().unwrap();
    let closed_again = place.bytes();
    // `begin` forces its write to the medium before anything else happens, so these steps do not mix; the
    // append and the end do.
    let steps = [
        (&closed, &begun, Some(&closed)),
        (&begun, &appended, None),
        (&begun, &closed_again, Some(&closed_again)),
        (&appended, &closed_again, Some(&closed_again)),
    ];
    for (before, after, clean) in steps {
        for state in between(before, after) {
            let (_, verdict, found) = Place::with(&state).open();
            assert!(both.starts_with(&found));
            if verdict == Verdict::Clean {
                assert_eq!(Some(&state), clean);
            }
        }
    }
    assert_eq!(Place::with(&closed).open().1, Verdict::Clean);
    assert_eq!(Place::with(&begun).open().1, Verdict::Unclean);
    assert_eq!(Place::with(&appended).open().1, Verdict::Unclean);
    assert_eq!(Place::with(&closed_again).open().1, Verdict::Clean);
}

#[test]
fn what_is_not_ours_is_kept_under_another_name() {
    let version = b"transship index 2\nin some other form".to_vec();
    let mut damaged = ended(&some_changes());
    damaged[20] ^= 1;
    let cases = [
        (version, Verdict::OtherVersion(2), "index.version-2"),
        (damaged, Verdict::Damaged, "index.damaged"),
        (b"GIF89a".to_vec(), Verdict::Foreign, "index.foreign"),
        (vec![0; 4096], Verdict::Foreign, "index.foreign"),
    ];
    for (bytes, expected, kept) in cases {
        let place = Place::with(&bytes);
        let (mut journal, verdict, found) = place.open();
        assert_eq!((verdict, found.len()), (expected.clone(), 0));
        assert_eq!(place.bytes(), bytes, "who only reads moves nothing");
        journal.append(&[put(1)]).unwrap();
        assert_eq!(place.names(), ["index", kept]);
        assert_eq!(fs::read(place.folder.path().join(kept)).unwrap(), bytes);
        assert_eq!(place.open().2, [put(1)]);
        // A second one is kept beside it, and a snapshot puts aside as well.
        fs::write(place.path(), &bytes).unwrap();
        place.journal().rewrite([record(2)]).unwrap();
        assert_eq!(place.names(), ["index", kept, &format!("{kept}.2")]);
        assert_eq!(place.open().2, [put(2)]);
    }
}

#[test]
fn a_folder_or_a_pipe_in_its_place_is_moved_away() {
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    fs::write(place.path().join("kept"), "x").unwrap();
    let (mut journal, verdict, _) = place.open();
    assert_eq!(verdict, Verdict::Foreign);
    journal.append(&[put(1)]).unwrap();
    assert!(place.folder.path().join("index.foreign/kept").exists());
    fs::remove_file(place.path()).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mkfifoat(rustix::fs::CWD, place.path(), mode).unwrap();
    let (mut journal, verdict, _) = place.open();
    assert_eq!(verdict, Verdict::Foreign);
    journal.append(&[put(2)]).unwrap();
    assert_eq!(place.open().2, [put(2)]);
}

#[test]
fn an_empty_file_is_none() {
    let place = Place::with(b"");
    let (mut journal, verdict, _) = place.open();
    assert_eq!(verdict, Verdict::Absent);
    journal.append(&[]).unwrap();
    assert_eq!(place.bytes(), b"", "nothing to write");
    journal.append(&[put(1)]).unwrap();
    assert_eq!(place.open().2, [put(1)]);
    assert_eq!(place.names(), ["index"]);
}

#[test]
fn an_append_that_stopped_in_the_middle_is_written_over() {
    // The disk was full for a moment. What a failed append left must not count behind a shorter one.
    use rustix::fs::{MemfdFlags, SealFlags};
    let memory = rustix::fs::memfd_create("index", MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&memory, 8192).unwrap();
    rustix::fs::fcntl_add_seals(&memory, SealFlags::GROW).unwrap();
    let header = record::header(1);
    let mut tail = Tail {
        file: File::from(memory),
        chain: Chain::begin(&header),
        is_begun: true,
    };
    let head = [header, record::no_mark()].concat();
    tail.file.write_all_at(&head, 0).unwrap();
    let many: Vec<_> = (0..300).map(put).collect();
    let before = tail.chain;
    assert!(tail.append(many.iter()).is_err());
    assert_eq!(tail.chain, before);
    let mut bytes = [0; 8192];
    tail.file.read_exact_at(&mut bytes, 0).unwrap();
    assert_ne!(bytes[4000..4100], [0; 100], "a part of it was written");
    assert!(!Place::with(&bytes).open().2.is_empty());
    tail.append([remove(7), put(8)].iter()).unwrap();
    tail.end().unwrap();
    tail.file.read_exact_at(&mut bytes, 0).unwrap();
    let (_, verdict, found) = Place::with(&bytes).open();
    assert_eq!((verdict, found), (Verdict::Clean, vec![remove(7), put(8)]));
}

#[test]
fn a_full_disk_is_an_error_and_the_same_changes_can_be_given_again() {
    let place = Place::new();
    let mut journal = place.journal();
    journal.append(&[put(1)]).unwrap();
    let file = journal.tail.as_mut().unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let good = std::mem::replace(&mut file.file, full);
    let error = file.append([put(2)].iter()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    file.file = good;
    journal.append(&[put(2)]).unwrap();
    assert!(!journal.is_due(2));
    journal.doubt();
    assert!(
        journal.is_due(2),
        "changes that were lost call for a new file"
    );
    assert!(journal.close().is_err());
    let (mut journal, verdict, found) = place.open();
    assert_eq!((verdict, found), (Verdict::Unclean, vec![put(1), put(2)]));
    journal.doubt();
    journal.rewrite([record(2)]).unwrap();
    assert!(!journal.is_due(1));
    journal.close().unwrap();
    let (_, verdict, found) = place.open();
    assert_eq!((verdict, found), (Verdict::Clean, vec![put(2)]));
}

#[test]
fn a_new_file_that_cannot_be_written_leaves_the_old_one() {
    let place = Place::new();
    let mut journal = place.journal();
    journal.append(&[put(1)]).unwrap();
    fs::create_dir(place.path().with_extension("next")).unwrap();
    assert!(journal.rewrite([record(2)]).is_err());
    journal.append(&[put(3)]).unwrap();
    assert_eq!(place.open().2, [put(1), put(3)]);
    fs::remove_dir(place.path().with_extension("next")).unwrap();
    // What a killed process left there is in nobody's way.
    fs::write(place.path().with_extension("next"), "half").unwrap();
    journal.rewrite([record(2)]).unwrap();
    assert_eq!(place.open().2, [put(2)]);
    assert_eq!(place.names(), ["index"]);
}

#[test]
fn a_file_that_somebody_replaced_removed_or_cut_is_not_written_to() {
    // Two processes that both think that they keep house: neither may write into the other's file.
    let meddle: [fn(&Place); 3] = [
        |place| fs::write(place.path(), b"").unwrap(),
        |place| fs::remove_file(place.path()).unwrap(),
        |place| {
            let mut other = place.journal();
            other.rewrite([record(6)]).unwrap();
        },
    ];
    for (number, meddle) in meddle.iter().enumerate() {
        let place = Place::new();
        let mut journal = place.journal();
        journal.append(&[put(1)]).unwrap();
        meddle(&place);
        let left = fs::read(place.path()).ok();
        let error = journal.append(&[put(2)]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{number}");
        assert_eq!(fs::read(place.path()).ok(), left, "{number}");
        assert!(journal.is_due(9), "{number}");
        journal.rewrite([record(1), record(2)]).unwrap();
        journal.append(&[put(3)]).unwrap();
        assert_eq!(place.open().2, [put(1), put(2), put(3)], "{number}");
    }
}

#[test]
fn who_becomes_the_writer_late_does_not_go_on_from_what_it_read_early() {
    let place = Place::new();
    place.journal().append(&[put(1)]).unwrap();
    let mut late = place.journal();
    let mut early = place.journal();
    early.append(&[put(2)]).unwrap();
    early.close().unwrap();
    assert_eq!(place.open().1, Verdict::Clean);
    late.begin().unwrap();
    assert_ne!(place.open().1, Verdict::Clean);
    assert!(late.is_due(2));
    late.rewrite([record(1), record(2)]).unwrap();
    assert!(!late.is_due(2));
}

#[test]
fn slots_count_at_their_own_place_in_their_own_file_alone() {
    // File systems give old blocks back after a power cut; disks write to the wrong place.
    let changes: Vec<_> = (0..4).map(put).collect();
    let (old, new) = (ended(&changes), ended(&changes));
    for slot in 0..4 {
        let range = 128 + slot * 64..128 + slot * 64 + 64;
        let mut bytes = new.clone();
        bytes[range.clone()].copy_from_slice(&old[range]);
        assert_eq!(Place::with(&bytes).open().2, changes[..slot]);
    }
    let mut swapped = new.clone();
    swapped[128..192].copy_from_slice(&new[192..256]);
    swapped[192..256].copy_from_slice(&new[128..192]);
    assert_eq!(Place::with(&swapped).open().2, []);
    let mut twice = new.clone();
    twice[192..256].copy_from_slice(&new[128..192]);
    assert_eq!(Place::with(&twice).open().2, changes[..1]);
    let mut mark = new;
    mark[64..128].copy_from_slice(&old[64..128]);
    let (_, verdict, found) = Place::with(&mark).open();
    assert_eq!((verdict, found), (Verdict::Unclean, changes));
}

#[test]
fn slots_with_a_right_checksum_that_mean_nothing_are_the_end() {
    for (at, byte) in [
        (0, b'.'),
        (0, 0),
        (0, b'x'),
        (1, b'x'),
        (2, b'9'),
        (2, b'5'),
    ] {
        let mut chain = Chain::begin(&record::header(7));
        let mut bytes = Vec::new();
        chain.encode(&put(1), &mut bytes);
        let mut slot: record::Slot = bytes[..].try_into().unwrap();
        slot[at] = byte;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&record::header(7));
        hasher.update(&slot[..60]);
        slot[60..].copy_from_slice(&hasher.finalize().to_le_bytes());
        let mut chain = Chain::begin(&record::header(7));
        let found = chain.decode(|number| (number == 0).then_some(slot));
        assert_eq!((found, chain.slots), (None, 0), "{at} {byte}");
    }
}

#[test]
fn it_is_written_anew_once_most_of_it_means_nothing() {
    let place = Place::new();
    let mut journal = place.journal();
    let entries: u32 = 100;
    let changes: Vec<_> = (0..entries).map(put).collect();
    let mut appended = 0;
    while !journal.is_due(u64::from(entries)) {
        journal.append(&changes).unwrap();
        appended += 1;
    }
    assert!((10..100).contains(&appended), "{appended}");
    journal.rewrite((0..entries).map(record)).unwrap();
    assert_eq!(place.open().2, changes);
    assert!(!journal.is_due(u64::from(entries)));
}

#[test]
fn a_link_to_a_journal_elsewhere_is_followed() {
    let place = Place::new();
    let other = Place::new();
    other.journal().append(&[put(1)]).unwrap();
    symlink(other.path(), place.path()).unwrap();
    let (mut journal, _, found) = place.open();
    assert_eq!(found, [put(1)]);
    journal.append(&[put(2)]).unwrap();
    assert_eq!(other.open().2, [put(1), put(2)]);
}

#[test]
fn a_million_entries_are_read_in_no_time() {
    // A start must be ready within two seconds; the time is printed, not asserted.
    let entries = if cfg!(debug_assertions) {
        50_000
    } else {
        1_000_000
    };
    let place = Place::new();
    let begun = Instant::now();
    let mut records = (0..entries).map(|number| Record {
        digest: digest(1),
        ..record(number)
    });
    place.journal().rewrite(&mut records).unwrap();
    let written = begun.elapsed();
    let begun = Instant::now();
    let mut count = 0;
    let mut bytes = 0_u64;
    let (_, verdict) = Journal::open(place.path(), |change| {
        let Change::Put(record) = change else { return };
        count += 1;
        bytes = bytes.wrapping_add(record.size_bytes);
    })
    .unwrap();
    println!(
        "{entries} entries: written in {written:?}, read in {:?}",
        begun.elapsed()
    );
    assert_eq!((count, verdict), (entries, Verdict::Unclean));
}

/// Something that happens to a journal.
#[derive(Clone, Debug)]
enum Event {
    Append(Vec<(bool, u32)>),
    Rewrite,
    /// The process is killed, and the next one begins.
    Kill,
    /// The same, in the middle of a write: some bytes follow that mean nothing.
    Tear(Vec<u8>),
    Close,
}

fn event() -> impl Strategy<Value = Event> {
    let changes = proptest::collection::vec((any::<bool>(), 0..12_u32), 0..6);
    prop_oneof![
        4 => changes.prop_map(Event::Append),
        1 => Just(Event::Rewrite),
        1 => Just(Event::Kill),
        1 => proptest::collection::vec(any::<u8>(), 1..200).prop_map(Event::Tear),
        1 => Just(Event::Close),
    ]
}

type Model = BTreeMap<Digest, Record>;

fn apply(model: &mut Model, change: Change) {
    match change {
        Change::Put(record) => drop(model.insert(record.digest, record)),
        Change::Remove(_, digest) => drop(model.remove(&digest)),
    }
}

/// Opens the journal as the next process does, and holds it against the model.
fn check(place: &Place, model: &Model, is_clean: bool) -> Journal {
    let mut found = Model::new();
    let (mut journal, verdict) =
        Journal::open(place.path(), |change| apply(&mut found, change)).unwrap();
    assert_eq!(&found, model);
    assert_eq!(verdict == Verdict::Clean, is_clean);
    journal.begin().unwrap();
    journal
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn after_any_history_the_index_is_what_it_was(events in proptest::collection::vec(event(), 0..20)) {
        let place = Place::new();
        let mut model = Model::new();
        let mut journal = check(&place, &model, false);
        for event in events {
            match event {
                Event::Append(numbers) => {
                    let changes: Vec<_> = numbers
                        .iter()
                        .map(|(is_put, number)| if *is_put { put(*number) } else { remove(*number) })
                        .collect();
                    journal.append(&changes).unwrap();
                    changes.into_iter().for_each(|change| apply(&mut model, change));
                }
                Event::Rewrite => journal.rewrite(model.values().cloned()).unwrap(),
                Event::Kill => journal = check(&place, &model, false),
                Event::Tear(bytes) => {
                    drop(journal);
                    let end = place.bytes().len() as u64;
                    let file = OpenOptions::new().write(true).open(place.path()).unwrap();
                    file.write_all_at(&bytes, end).unwrap();
                    journal = check(&place, &model, false);
                }
                Event::Close => {
                    journal.close().unwrap();
                    journal = check(&place, &model, true);
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), is_ours in any::<bool>()) {
        let mut file = bytes;
        if is_ours {
            file.splice(..0, [record::header(3), record::no_mark()].concat());
        }
        let (mut journal, verdict, found) = Place::with(&file).open();
        prop_assert_ne!(verdict, Verdict::Clean);
        prop_assert_eq!(found, []);
        prop_assert_eq!(journal.tail.is_some(), is_ours);
        journal.doubt();
    }

    #[test]
    fn a_mutant_of_a_journal_says_nothing_that_it_did_not_say(at in 0_usize..640, with in proptest::collection::vec(any::<u8>(), 0..80), is_inserted in any::<bool>()) {
        let changes = some_changes();
        let whole = ended(&changes);
        let mut bytes = whole.clone();
        let at = at.min(bytes.len());
        let end = if is_inserted { at } else { bytes.len().min(at + with.len()) };
        bytes.splice(at..end, with);
        let (_, verdict, found) = Place::with(&bytes).open();
        prop_assert!(changes.starts_with(&found));
        let slots_are_whole = bytes.starts_with(&whole);
        prop_assert_eq!(verdict == Verdict::Clean, slots_are_whole);
    }
}

use std::fs;
use std::os::unix::fs::FileExt;

use super::super::check::Finding;
use super::super::layout::Kind;
use super::*;
use crate::digest::{Algorithm, Digest};

const PACE: Pace = Pace {
    every: Duration::from_secs(30 * 86_400),
    rate_bytes_max: 32 << 20,
};

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn store(root: &Path, content: &[u8]) -> Digest {
    let digest = Digest::of(Algorithm::Sha256, content);
    let path = Layout::new(root.to_owned()).path(Kind::Blob, &digest);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    digest
}

fn holdings(files: &[Digest]) -> Holdings {
    Holdings {
        files: files.len() as u64,
        bytes: 3_000_000 * files.len() as u64,
    }
}

/// Steps until a file is done with or the round ends; keeps time.
fn next(scrub: &mut Scrub, now: &mut SystemTime, holdings: Holdings) -> Option<Checked> {
    let rounds = scrub.round.began;
    loop {
        let stepped = scrub.step(*now, holdings);
        assert!(stepped.read_bytes <= PIECE_BYTES as u64);
        *now += stepped.wait;
        if stepped.checked.is_some() || scrub.round.began != rounds {
            return stepped.checked;
        }
    }
}

fn three(root: &Path) -> Vec<Digest> {
    let mut files: Vec<_> = (0..3u8)
        .map(|seed| store(root, &vec![seed; 3_000_000]))
        .collect();
    files.sort_unstable();
    files
}

#[test]
fn a_round_reads_every_file_and_takes_its_whole_time() {
    let root = tempfile::tempdir().unwrap();
    let files = three(root.path());
    let mut now = start();
    let mut scrub = Scrub::open(root.path(), PACE, now);
    for round in 1..=2 {
        for file in &files {
            let checked = next(&mut scrub, &mut now, holdings(&files)).unwrap();
            assert_eq!((checked.digest, checked.size_bytes), (*file, 3_000_000));
            assert!(matches!(checked.finding, Finding::Sound), "{checked:?}");
        }
        assert!(next(&mut scrub, &mut now, holdings(&files)).is_none());
        let took = now.duration_since(start()).unwrap();
        assert!(
            took.abs_diff(round * PACE.every) < PACE.every / 50,
            "{took:?}"
        );
    }
}

#[test]
fn a_rotten_file_is_found_taken_away_and_told_of_once() {
    let root = tempfile::tempdir().unwrap();
    let files = three(root.path());
    let layout = Layout::new(root.path().to_owned());
    let path = layout.path(Kind::Blob, &files[1]);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"!", 2_999_999).unwrap();
    let mut now = start();
    let mut scrub = Scrub::open(root.path(), PACE, now);
    let mut findings = Vec::new();
    while let Some(checked) = next(&mut scrub, &mut now, holdings(&files)) {
        findings.push(matches!(
            checked.finding,
            Finding::Rotten {
                error: None,
                fate: Some(Ok(_))
            }
        ));
    }
    assert_eq!(findings, [false, true, false]);
    assert!(!path.exists());
    assert_eq!(fs::read_dir(layout.quarantine()).unwrap().count(), 1);
    assert!(next(&mut scrub, &mut now, holdings(&files)).is_some());
    assert!(next(&mut scrub, &mut now, holdings(&files)).is_some());
    assert!(next(&mut scrub, &mut now, holdings(&files)).is_none());
}

#[test]
fn a_restart_goes_on_behind_the_last_file() {
    // A cache that restarts each night would read the same tenth of its files for ever.
    let root = tempfile::tempdir().unwrap();
    let files = three(root.path());
    let mut now = start();
    let mut scrub = Scrub::open(root.path(), PACE, now);
    next(&mut scrub, &mut now, holdings(&files)).unwrap();
    scrub.save(now);
    let mut scrub = Scrub::open(root.path(), PACE, now);
    let checked = next(&mut scrub, &mut now, holdings(&files)).unwrap();
    assert_eq!(checked.digest, files[1]);
    // Half a file is read again.
    scrub.step(now, holdings(&files));
    scrub.save(now);
    let mut scrub = Scrub::open(root.path(), PACE, now);
    assert_eq!(
        next(&mut scrub, &mut now, holdings(&files)).unwrap().digest,
        files[2]
    );
    fs::write(root.path().join("scrub"), "damage").unwrap();
    let mut scrub = Scrub::open(root.path(), PACE, now);
    assert_eq!(
        next(&mut scrub, &mut now, holdings(&files)).unwrap().digest,
        files[0]
    );
}

#[test]
fn a_deleted_file_is_let_go_of_at_the_next_step() {
    // Its room would not come back before the scrub has read it to its end.
    let root = tempfile::tempdir().unwrap();
    let files = three(root.path());
    let mut now = start();
    let mut scrub = Scrub::open(root.path(), PACE, now);
    let stepped = scrub.step(now, holdings(&files));
    assert!(stepped.checked.is_none() && scrub.check.is_some());
    now += stepped.wait;
    let layout = Layout::new(root.path().to_owned());
    fs::remove_file(layout.path(Kind::Blob, &files[0])).unwrap();
    let stepped = scrub.step(now, holdings(&files));
    assert!(matches!(
        stepped.checked.unwrap().finding,
        Finding::Vanished
    ));
    assert!(scrub.check.is_none());
}

#[test]
fn an_empty_store_is_looked_at_again_within_the_hour() {
    let root = tempfile::tempdir().unwrap();
    let mut scrub = Scrub::open(root.path(), PACE, start());
    let stepped = scrub.step(start(), Holdings::default());
    assert_eq!(stepped.wait, EMPTY_AGAIN);
    let early = scrub.step(start() + EMPTY_AGAIN / 2, Holdings::default());
    assert_eq!(early.wait, EMPTY_AGAIN / 2);
}

use std::os::unix::fs::FileExt;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::digest::Algorithm;
use crate::store::manifest::Manifest;

fn place(root: &Path, kind: Kind, digest: &Digest, content: &[u8]) -> Stored {
    let layout = Layout::new(root.to_owned());
    let path = layout.path(kind, digest);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    Stored::find(&layout, kind, *digest).unwrap().unwrap()
}

fn open(stored: Stored) -> Check {
    Check::open(stored).unwrap_or_else(|_| panic!("opens"))
}

fn read(check: &mut Check, piece_bytes: usize) -> Verdict {
    let mut piece = vec![0; piece_bytes];
    loop {
        if let Some(verdict) = check.step(&mut piece) {
            return verdict;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_file_is_sound_exactly_as_long_as_no_bit_of_it_changed(
        content in prop::collection::vec(any::<u8>(), 0..5000),
        is_manifest in any::<bool>(), long in any::<bool>(), piece_bytes in 1usize..3000,
        flip in prop::option::of((any::<prop::sample::Index>(), 0u8..8)), cut in any::<bool>(),
    ) {
        let root = tempfile::tempdir().unwrap();
        let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let digest = Digest::of(algorithm, &content);
        let (kind, line) = match is_manifest {
            true => (Kind::Manifest, Manifest::encode(&Manifest {
                media_type: "a/b".to_owned(), bytes: content.clone(),
            })),
            false => (Kind::Blob, content.clone()),
        };
        let mut file = line.clone();
        // The media type is no part of what the digest covers.
        let covered = line.len() - content.len();
        match flip {
            Some((at, bit)) if !content.is_empty() => file[covered + at.index(content.len())] ^= 1 << bit,
            _ if cut => { file.pop(); }
            _ => {}
        }
        let mut check = open(place(root.path(), kind, &digest, &file));
        let verdict = read(&mut check, piece_bytes);
        let is_sound = matches!(verdict, Verdict::Sound);
        prop_assert_eq!(is_sound, file == line);
        prop_assert!(is_sound || matches!(verdict, Verdict::Rotten(None)));
    }
}

#[test]
fn what_was_replaced_while_it_was_read_is_not_condemned() {
    // A fresh fill would be thrown away for the damage of the file before it.
    let root = tempfile::tempdir().unwrap();
    let digest = Digest::of(Algorithm::Sha256, &[1; 100]);
    let mut check = open(place(root.path(), Kind::Blob, &digest, &[2; 100]));
    fs::remove_file(&check.stored.path).unwrap();
    place(root.path(), Kind::Blob, &digest, &[1; 100]);
    assert!(matches!(read(&mut check, 10), Verdict::Vanished));

    // Another name keeps the old inode alive: only the name tells then.
    let mut check = open(place(root.path(), Kind::Blob, &digest, &[2; 100]));
    fs::hard_link(&check.stored.path, root.path().join("other")).unwrap();
    let fresh = root.path().join("fresh");
    fs::write(&fresh, [1; 100]).unwrap();
    fs::rename(fresh, &check.stored.path).unwrap();
    assert!(matches!(read(&mut check, 10), Verdict::Vanished));

    let mut check = open(place(root.path(), Kind::Blob, &digest, &[2; 100]));
    let file = File::options()
        .write(true)
        .open(&check.stored.path)
        .unwrap();
    check.step(&mut [0; 10]);
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    file.write_all_at(&[1; 50], 50).unwrap();
    assert!(matches!(read(&mut check, 10), Verdict::Vanished));
}

#[test]
fn a_file_that_grows_or_is_no_manifest_at_all_ends() {
    let root = tempfile::tempdir().unwrap();
    let digest = Digest::of(Algorithm::Sha256, &[1; 100]);
    let mut check = open(place(root.path(), Kind::Blob, &digest, &[1; 100]));
    let file = File::options()
        .append(true)
        .open(&check.stored.path)
        .unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(matches!(read(&mut check, 1000), Verdict::Vanished));

    for content in [&b""[..], b"no line", b"a b\n", &[b'x'; 100_000]] {
        let stored = place(root.path(), Kind::Manifest, &digest, content);
        assert!(matches!(
            read(&mut open(stored), 10_000),
            Verdict::Rotten(None)
        ));
    }
    let stored = place(root.path(), Kind::Manifest, &digest, b"a/b\n");
    File::options()
        .write(true)
        .open(&stored.path)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    assert!(matches!(
        read(&mut open(stored), 10_000),
        Verdict::Rotten(None)
    ));
}

#[test]
fn a_disk_that_reads_nothing_is_not_emptied_file_by_file() {
    let root = tempfile::tempdir().unwrap();
    let judge = Judge::new(Layout::new(root.path().to_owned()), false);
    let medium = || Verdict::Rotten(Some(io::Error::from_raw_os_error(libc::EIO)));
    let mut taken = 0;
    for seed in 0..50u32 {
        let digest = Digest::of(Algorithm::Sha256, &seed.to_le_bytes());
        let stored = place(root.path(), Kind::Blob, &digest, b"x");
        let checked = judge.act(&stored, medium());
        taken += u32::from(!stored.path.exists());
        assert_eq!(
            matches!(checked.finding, Finding::Unreadable(_)),
            stored.path.exists()
        );
    }
    assert_eq!(taken, UNREADABLE_MAX);
    let digest = Digest::of(Algorithm::Sha256, b"x");
    let stored = place(root.path(), Kind::Blob, &digest, b"x");
    judge.act(&stored, Verdict::Sound);
    judge.act(&stored, medium());
    assert!(!stored.path.exists());
}

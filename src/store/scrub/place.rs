//! Where the scrub stands, as one line in `<root>/scrub`:
//!
//! ```text
//! transship-scrub 1 <began> <done> <kind> <digest> <crc32>
//! ```
//!
//! Seconds since the epoch, bytes, `blob`, `manifest` or `-`, the last file's digest or `-`, and the CRC-32 of
//! all before it in eight hex digits. Replaced by `rename`, never synced: a line that is damaged or missing
//! means to start over, which costs nothing but reading.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::seconds;
use crate::digest::Digest;
use crate::store::layout::Kind;
use crate::store::walk::Place;

const HEAD: &str = "transship-scrub 1";

/// Longer than any line: two numbers, two words, a SHA-512 digest.
const LINE_BYTES_MAX: u64 = 512;

/// One round over all that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) began: SystemTime,
    /// The cost of the files that are done with: see `schedule`.
    pub(super) done_bytes: u64,
    /// The last of them.
    pub(super) after: Option<Place>,
}

impl Round {
    pub(super) const fn begin(began: SystemTime) -> Self {
        Self {
            began,
            done_bytes: 0,
            after: None,
        }
    }
}

/// Returns the round that was written down, unless there is none or it is damaged.
pub(super) fn read(root: &Path) -> Option<Round> {
    let path = root.join("scrub");
    let is_line = fs::metadata(&path).is_ok_and(|line| line.len() <= LINE_BYTES_MAX);
    parse(&is_line.then(|| fs::read_to_string(path).ok())??)
}

pub(super) fn write(root: &Path, round: &Round) -> io::Result<()> {
    let next = root.join("scrub.next");
    fs::write(&next, line(round))?;
    fs::rename(&next, root.join("scrub"))
}

fn line(round: &Round) -> String {
    let (kind, digest) = match &round.after {
        Some((kind, digest)) => (kind.noun(), digest.to_string()),
        None => ("-", "-".to_owned()),
    };
    let began = seconds(round.began);
    let done = round.done_bytes;
    let text = format!("{HEAD} {began} {done} {kind} {digest}");
    format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()))
}

fn parse(line: &str) -> Option<Round> {
    let (text, crc) = line.strip_suffix('\n')?.rsplit_once(' ')?;
    if crc != format!("{:08x}", crc32fast::hash(text.as_bytes())) {
        return None;
    }
    let words: Vec<&str> = text.strip_prefix(HEAD)?.split(' ').skip(1).collect();
    let [began, done, kind, digest] = words[..] else {
        return None;
    };
    let after = match kind {
        "-" => None,
        kind => {
            let kind = Kind::ALL.into_iter().find(|known| known.noun() == kind)?;
            Some((kind, digest.parse::<Digest>().ok()?))
        }
    };
    Some(Round {
        began: UNIX_EPOCH.checked_add(Duration::from_secs(began.parse().ok()?))?,
        done_bytes: done.parse().ok()?,
        after,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Algorithm;

    fn rounds() -> impl Strategy<Value = Round> {
        let places = (any::<bool>(), any::<bool>(), any::<u64>()).prop_map(|(blob, long, seed)| {
            let kind = if blob { Kind::Blob } else { Kind::Manifest };
            let algorithm = if long {
                Algorithm::Sha512
            } else {
                Algorithm::Sha256
            };
            (kind, Digest::of(algorithm, &seed.to_le_bytes()))
        });
        (any::<u32>(), any::<u64>(), prop::option::of(places)).prop_map(|(began, done, after)| {
            Round {
                began: UNIX_EPOCH + Duration::from_secs(began.into()),
                done_bytes: done,
                after,
            }
        })
    }

    proptest! {
        #[test]
        fn a_round_survives_a_restart_and_damage_starts_over(
            round in rounds(), at in any::<prop::sample::Index>(), flip in 1u8..128,
        ) {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), &round).unwrap();
            prop_assert_eq!(read(root.path()), Some(round));
            let path = root.path().join("scrub");
            let mut bytes = fs::read(&path).unwrap();
            prop_assert!(bytes.len() as u64 <= LINE_BYTES_MAX);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            fs::write(&path, &bytes).unwrap();
            prop_assert_eq!(read(root.path()), None);
            fs::write(&path, &bytes[..at]).unwrap();
            prop_assert_eq!(read(root.path()), None);
        }

        #[test]
        fn no_text_is_a_panic(text in "(transship-scrub 1)?[ a-z0-9:\n-]{0,80}") {
            let crc = crc32fast::hash(text.as_bytes());
            let _ = parse(&text);
            let _ = parse(&format!("{text} {crc:08x}\n"));
        }
    }
}

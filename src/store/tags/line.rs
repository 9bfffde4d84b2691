//! The lines of the file of tags.
//!
//! ```text
//! transship tags 1
//! 5f0c63a1 library/busybox latest sha256:… sha256:… 1790000000
//! │        repository      tag    accepted manifest seconds since the epoch: the origin's last word
//! ╰ CRC-32 of the first line and of what follows the checksum
//! ```
//!
//! The checksum covers the version, so that a line of another version is damage here, whatever it looks like.

use super::{Moment, TagKey};
use crate::digest::Digest;
use crate::limits::TAGS_MAX;
use crate::registry::{Name, Tag};

/// The first line, with the version of the format.
pub(super) const HEADER: &[u8] = b"transship tags 1\n";

/// What was found in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Lines that say something.
    pub(super) lines: usize,
    /// Lines that were skipped. A torn last one counts, and so does a first one that is no header.
    pub(super) damaged: usize,
}

/// Says whether a line can be made of it.
pub(super) fn is_key(key: TagKey<'_>) -> bool {
    Name::parse(key.repository).is_ok() && Tag::parse(key.tag).is_ok()
}

/// Appends a line.
pub(super) fn encode(bytes: &mut Vec<u8>, key: TagKey<'_>, digest: Digest, seconds: u64) {
    let TagKey {
        repository,
        tag,
        accept,
    } = key;
    let rest = format!("{repository} {tag} {accept} {digest} {seconds}");
    let line = format!("{:08x} {rest}\n", checksum(&rest));
    bytes.extend_from_slice(line.as_bytes());
}

/// Hands each line that says something to `each`, with the moment that it tells: of now at most. Of lines
/// beyond the bound on tags none is looked at.
pub(super) fn read(
    bytes: &[u8],
    now: Moment,
    mut each: impl FnMut(TagKey<'_>, Digest, Moment),
) -> Found {
    let mut found = Found::default();
    let rest = bytes.strip_prefix(HEADER);
    if rest.is_none() && !bytes.is_empty() {
        found.damaged += 1;
    }
    for line in rest.unwrap_or_default().split_inclusive(|b| *b == b'\n') {
        if found.lines == TAGS_MAX {
            break;
        }
        match decode(line) {
            Some((key, digest, seconds)) => {
                found.lines += 1;
                let age = now.wall.saturating_sub(seconds);
                if let Some(at) = now.before(std::time::Duration::from_secs(age)) {
                    each(key, digest, at);
                }
            }
            None => found.damaged += 1,
        }
    }
    found
}

/// Returns what a line says; `None` if it is damaged.
fn decode(line: &[u8]) -> Option<(TagKey<'_>, Digest, u64)> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (found, rest) = text.split_once(' ')?;
    if found != format!("{:08x}", checksum(rest)) {
        return None;
    }
    let mut words = rest.split(' ');
    let mut next = || words.next();
    let (repository, tag) = (next()?, next()?);
    let (accept, digest) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let seconds = next()?.parse().ok()?;
    let key = TagKey {
        repository,
        tag,
        accept,
    };
    (words.next().is_none() && is_key(key)).then_some((key, digest, seconds))
}

fn checksum(rest: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(HEADER);
    hasher.update(rest.as_bytes());
    hasher.finalize()
}

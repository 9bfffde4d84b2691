//! The lines of the log of links.
//!
//! ```text
//! transship links 1
//! 5f0c63a1 library/busybox sha256:…      the origin has confirmed that the repository has the digest
//! 08d1e7c4 - sha256:…                    every link of the digest before this line is gone
//! ```
//!
//! A line begins with its checksum, CRC-32 of the first line and of what follows the checksum: no burst of
//! damage of up to 32 bits passes it, so a flipped bit cannot turn into another repository's right. It
//! covers the version too, so that a line of another version is damage here, whatever it looks like.

use std::io::{self, BufRead};

use crate::digest::{Digest, TEXT_BYTES_MAX};

/// The first line, with the version of the format.
pub(super) const HEADER: &[u8] = b"transship links 1\n";
/// What comes before the version in any version's first line.
const HEADER_NAME: &[u8] = b"transship links ";
/// Longest name of a repository, in bytes, as everywhere in transship.
const REPOSITORY_BYTES_MAX: usize = 255;
/// Bytes of a checksum in hex and its space.
const CHECKSUM_BYTES: usize = 9;
/// Longest line, in bytes, with its line feed.
const LINE_BYTES_MAX: usize = CHECKSUM_BYTES + REPOSITORY_BYTES_MAX + 1 + TEXT_BYTES_MAX + 1;

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// The repository has the digest.
    Link { repository: &'a str, digest: Digest },
    /// No repository is known to have the digest any more.
    Unlink { digest: Digest },
}

impl<'a> Record<'a> {
    /// Appends the line to `bytes`.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let (repository, digest) = match self {
            Self::Link { repository, digest } => (*repository, digest),
            Self::Unlink { digest } => ("-", digest),
        };
        let start = bytes.len();
        bytes.extend_from_slice(&[b' '; CHECKSUM_BYTES]);
        bytes.extend_from_slice(repository.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(digest.text().as_ref());
        let checksum = checksum(&bytes[start + CHECKSUM_BYTES..]);
        bytes[start..start + CHECKSUM_BYTES - 1].copy_from_slice(&checksum);
        bytes.push(b'\n');
    }

    /// Returns what a line says, which is without its line feed; `None` if it is damaged.
    fn decode(line: &'a [u8]) -> Option<Self> {
        let (found, rest) = line.split_at_checked(CHECKSUM_BYTES)?;
        if found != [&checksum(rest)[..], b" "].concat() {
            return None;
        }
        let (repository, digest) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
        let digest = digest.parse().ok()?;
        match repository {
            "-" => Some(Self::Unlink { digest }),
            _ if is_repository(repository) => Some(Self::Link { repository, digest }),
            _ => None,
        }
    }
}

/// Returns the checksum of what follows it on its line, in lower-case hex.
fn checksum(rest: &[u8]) -> [u8; CHECKSUM_BYTES - 1] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(HEADER);
    hasher.update(rest);
    let mut number = hasher.finalize();
    let mut hex = [0; CHECKSUM_BYTES - 1];
    for digit in &mut hex {
        *digit = b"0123456789abcdef"[(number >> 28) as usize];
        number <<= 4;
    }
    hex
}

/// Says whether `text` can be the name of a repository:
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`, of at most 255 bytes.
///
/// Source: OCI distribution-spec 1.1, "Pulling manifests".
pub(super) fn is_repository(text: &str) -> bool {
    text.len() <= REPOSITORY_BYTES_MAX && text.split('/').all(|part| is_component(part.as_bytes()))
}

fn is_component(part: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut words = part.chunk_by(|a, b| is_word(a) == is_word(b));
    let is_between =
        |gap: &[u8]| matches!(gap, b"." | b"_" | b"__") || gap.iter().all(|byte| *byte == b'-');
    part.first().is_some_and(is_word)
        && part.last().is_some_and(is_word)
        && words.all(|run| is_word(&run[0]) || is_between(run))
}

/// What was found in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The version that the first line names, if it is another one; nothing else was read then.
    pub(super) other_version: Option<String>,
    /// Lines that say something.
    pub(super) lines: usize,
    /// Lines that were skipped. A torn last one counts, and so does a first one that is no header.
    pub(super) damaged: usize,
    /// Bytes up to the last line feed.
    pub(super) bytes: u64,
}

/// Reads a log line by line, and hands each that says something to `each`.
///
/// # Errors
/// The input's. What was read before has been handed on.
pub(super) fn read(
    input: &mut impl BufRead,
    mut each: impl FnMut(&Record<'_>),
) -> io::Result<Found> {
    let mut found = Found::default();
    let mut line = Vec::with_capacity(LINE_BYTES_MAX + 1);
    let mut is_first = true;
    loop {
        line.clear();
        let (taken, is_ended) = next(input, &mut line)?;
        if taken == 0 {
            return Ok(found);
        }
        if is_ended {
            found.bytes += taken;
        }
        if std::mem::take(&mut is_first) {
            found.other_version = other_version(&line);
            if found.other_version.is_some() {
                return Ok(found);
            }
            if line == HEADER {
                continue;
            }
        }
        match line.strip_suffix(b"\n").and_then(Record::decode) {
            Some(record) => {
                found.lines += 1;
                each(&record);
            }
            None => found.damaged += 1,
        }
    }
}

/// Reads past the next line feed, keeping so much of the line in `line` that one that is too long shows.
/// Returns how many bytes went by, and whether the last of them was a line feed; 0 at the end.
fn next(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<(u64, bool)> {
    let mut taken = 0;
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let (used, is_ended) = match memchr::memchr(b'\n', chunk) {
            Some(at) => (at + 1, true),
            None => (chunk.len(), false),
        };
        let room = (LINE_BYTES_MAX + 1).saturating_sub(line.len());
        line.extend_from_slice(&chunk[..used.min(room)]);
        input.consume(used);
        taken += used as u64;
        if is_ended || used == 0 {
            return Ok((taken, is_ended));
        }
    }
}

/// Returns the version that a first line names, if it is not this one.
fn other_version(line: &[u8]) -> Option<String> {
    let number = line.strip_prefix(HEADER_NAME)?.strip_suffix(b"\n")?;
    let is_number = (1..=9).contains(&number.len()) && number.iter().all(u8::is_ascii_digit);
    (is_number && line != HEADER).then(|| String::from_utf8_lossy(number).into_owned())
}

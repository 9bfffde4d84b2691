//! Reading a journal from end to end, through a map of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::record::{Beginning, Chain, Change, SLOT_BYTES, SLOTS_AT, Slot};
use crate::rt::Mapped;

/// How much of the map is fetched at once, in bytes.
const WINDOW_BYTES: usize = 2 * 1024 * 1024;

/// What was found at the journal's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Verdict {
    /// Nothing, or an empty file.
    Absent,
    /// All of it was read, and its process ended cleanly: what it says is what was there.
    Clean,
    /// All of it was read, and its process did not end, or not cleanly.
    Unclean,
    /// From this offset on it is torn, damaged or cannot be read; what is before was used.
    Cut { at_bytes: u64, lost_bytes: u64 },
    /// It was written by another version of transship; nothing was used.
    OtherVersion(u32),
    /// Its first line is damaged; nothing was used.
    Damaged,
    /// It is no file of transship's; nothing was used.
    Foreign,
}

impl Verdict {
    /// Returns the ending of the name under which such a file is kept; `None` for one that can be written to.
    pub(super) fn kept_as(&self) -> Option<String> {
        match self {
            Self::Absent | Self::Clean | Self::Unclean | Self::Cut { .. } => None,
            Self::OtherVersion(version) => Some(format!("version-{version}")),
            Self::Damaged => Some("damaged".to_owned()),
            Self::Foreign => Some("foreign".to_owned()),
        }
    }
}

/// Opens what is at `path` if it can be a journal, and says what it begins with.
///
/// `Err(Verdict)` is told of what is none, or is not there.
pub(super) fn open(path: &Path) -> io::Result<Result<(File, [u8; SLOTS_AT]), Verdict>> {
    // Without waiting for somebody at the other end, if it is a pipe.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(Verdict::Absent)),
        Err(error) => return Err(crate::store::about(path, &error)),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Err(Verdict::Foreign));
    }
    if metadata.len() == 0 {
        return Ok(Err(Verdict::Absent));
    }
    let mut head = [0; SLOTS_AT];
    let count = read_up_to(&file, &mut head)?;
    Ok(match Beginning::of(&head[..count]) {
        Beginning::Ours => Ok((file, head)),
        Beginning::OtherVersion(version) => Err(Verdict::OtherVersion(version)),
        Beginning::Damaged => Err(Verdict::Damaged),
        Beginning::Foreign => Err(Verdict::Foreign),
    })
}

/// Reads from the beginning until `buf` is full or the file ends; returns how many bytes.
fn read_up_to(file: &File, buf: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buf.len() {
        match file.read_at(&mut buf[count..], count as u64) {
            Ok(0) => break,
            Ok(read) => count += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Hands every change of `file`, which begins with `head`, to `each`, in their order. Returns the chain up to
/// where its slots are right.
pub(super) fn read(
    file: &File,
    head: &[u8; SLOTS_AT],
    mut each: impl FnMut(Change),
) -> io::Result<(Verdict, Chain)> {
    let (header, mark) = halves(head);
    let length = file.metadata()?.len();
    let mut chain = Chain::begin(header);
    let mut slots = Slots::of(file, length);
    while let Some(change) = chain.decode(|number| slots.at(number)) {
        each(change);
    }
    let verdict = if *mark == chain.mark() {
        // Whatever is behind is left of an append that failed.
        Verdict::Clean
    } else if chain.end() == length {
        Verdict::Unclean
    } else {
        Verdict::Cut {
            at_bytes: chain.end(),
            lost_bytes: length.saturating_sub(chain.end()),
        }
    };
    Ok((verdict, chain))
}

/// Returns the two lines that a file begins with.
fn halves(head: &[u8; SLOTS_AT]) -> (&Slot, &Slot) {
    let (lines, _) = head.as_chunks();
    (&lines[0], &lines[1])
}

/// The slots of a mapped file.
struct Slots {
    mapped: Option<Mapped>,
    /// Length of the file when it was mapped.
    length: usize,
    /// What lies below is in memory.
    fetched: usize,
}

impl Slots {
    /// Maps `file`. Where that is impossible there are no slots.
    fn of(file: &File, length: u64) -> Self {
        let mapped = usize::try_from(length)
            .map_err(io::Error::other)
            .and_then(|length| Ok((Mapped::of(file, length)?, length)));
        let (mapped, length) = match mapped {
            Ok((mapped, length)) => (Some(mapped), length),
            Err(error) => {
                tracing::warn!(%error, "the index on disk cannot be mapped");
                (None, 0)
            }
        };
        Self {
            mapped,
            length,
            fetched: 0,
        }
    }

    /// Returns the slot of a number; `None` behind the last one, or where it cannot be read.
    fn at(&mut self, number: u64) -> Option<Slot> {
        let mapped = self.mapped.as_ref()?;
        let offset = usize::try_from(number)
            .ok()?
            .checked_mul(SLOT_BYTES)?
            .checked_add(SLOTS_AT)?;
        if offset.checked_add(SLOT_BYTES)? > self.length {
            return None;
        }
        while self.fetched < offset + SLOT_BYTES {
            let next = self.length.min(self.fetched + WINDOW_BYTES);
            if let Err(error) = mapped.fetch(self.fetched..next) {
                tracing::warn!(offset = self.fetched, %error, "a part of the index on disk cannot be read");
                self.mapped = None;
                return None;
            }
            self.fetched = next;
        }
        mapped.copy(offset)
    }
}

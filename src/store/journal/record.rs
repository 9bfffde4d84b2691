//! The format of the journal, as values.
//!
//! ```text
//!    0  "transship index 1 generation 0f…9a crc 5c…01     \n"    the first line of text, 64 bytes
//!   64  "ended cleanly after 0…02 slots, crc 08…e7        \n"    or "in use, or not ended cleanly"
//!  128  slot, slot, slot, …                                     64 bytes each
//! ```
//!
//! A slot is one change; one of a SHA-512 digest takes a second slot for the rest of the digest.
//!
//! ```text
//!  0 op   '+' put, '-' remove, '.' rest of a digest     8 last use    u32, seconds since 1970
//!  1 kind 'b' blob, 'm' manifest                       12 hits        u32
//!  2 algorithm '2' SHA-256, '5' SHA-512                16 size        u64, bytes
//!  3 uses                                              24 zero        u32
//!  4 place                                             28 digest      32 bytes of it
//!  5 zero, 3 bytes                                     60 checksum    u32
//! ```
//!
//! Numbers are little-endian. The checksum is a chain: CRC-32 of the first line and of every slot up to this
//! one, without their own checksums. So a slot counts only behind the very slots that it was written behind:
//! not at another place, not in another file (each has a random generation), and not where it is left of an
//! append that failed and was written over by a shorter one.
//!
//! The line at 64 is right only if it names the number of slots and the last checksum that are there.

use crate::digest::{Algorithm, Digest};
use crate::store::layout::Kind;

/// Bytes of a slot, and of each of the two lines before the first.
pub(super) const SLOT_BYTES: usize = 64;
/// Where the second line is.
pub(super) const MARK_AT: u64 = SLOT_BYTES as u64;
/// Where the first slot is.
pub(super) const SLOTS_AT: usize = 2 * SLOT_BYTES;

/// What the first line of any version begins with.
const NAME: &[u8] = b"transship index ";
/// Bytes of a digest in one slot.
const DIGEST_BYTES: usize = 32;
/// Bytes of a slot that are under its checksum.
const BODY_BYTES: usize = 60;

/// One slot, or one line.
pub(super) type Slot = [u8; SLOT_BYTES];

/// What is written of one entry of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Record {
    pub(in crate::store) kind: Kind,
    pub(in crate::store) digest: Digest,
    pub(in crate::store) size_bytes: u64,
    /// Seconds since 1970.
    pub(in crate::store) last_use: u32,
    pub(in crate::store) hits: u32,
    /// The policy's small count of uses. Any value can come back.
    pub(in crate::store) uses: u8,
    /// In which queue of the policy it is. Any value can come back.
    pub(in crate::store) place: u8,
}

/// One change of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Change {
    /// The entry is there, and is so.
    Put(Record),
    /// The entry is not there.
    Remove(Kind, Digest),
}

/// Where a chain of slots has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// Slots so far.
    pub(super) slots: u64,
    checksum: u32,
}

impl Chain {
    /// Returns the chain of a file that begins with `header`, and has no slots yet.
    pub(super) fn begin(header: &Slot) -> Self {
        let checksum = crc32fast::hash(header);
        Self { slots: 0, checksum }
    }

    /// Returns the offset behind its slots, in bytes.
    pub(super) const fn end(&self) -> u64 {
        SLOTS_AT as u64 + self.slots * SLOT_BYTES as u64
    }

    /// Appends the slots of `change` to `bytes`, and moves on behind them.
    pub(super) fn encode(&mut self, change: &Change, bytes: &mut Vec<u8>) {
        let (kind, digest) = match change {
            Change::Put(record) => (record.kind, &record.digest),
            Change::Remove(kind, digest) => (*kind, digest),
        };
        let mut slot = [0; SLOT_BYTES];
        slot[0] = b'-';
        slot[1] = match kind {
            Kind::Blob => b'b',
            Kind::Manifest => b'm',
        };
        slot[2] = match digest.algorithm() {
            Algorithm::Sha256 => b'2',
            Algorithm::Sha512 => b'5',
        };
        if let Change::Put(record) = change {
            slot[0] = b'+';
            slot[3] = record.uses;
            slot[4] = record.place;
            slot[8..12].copy_from_slice(&record.last_use.to_le_bytes());
            slot[12..16].copy_from_slice(&record.hits.to_le_bytes());
            slot[16..24].copy_from_slice(&record.size_bytes.to_le_bytes());
        }
        for part in digest.raw().chunks_exact(DIGEST_BYTES) {
            slot[28..BODY_BYTES].copy_from_slice(part);
            *self = self.after(&slot);
            slot[BODY_BYTES..].copy_from_slice(&self.checksum.to_le_bytes());
            bytes.extend_from_slice(&slot);
            slot = [0; SLOT_BYTES];
            slot[0] = b'.';
        }
    }

    /// Returns the chain one slot further, whatever checksum that slot bears.
    fn after(&self, slot: &Slot) -> Self {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.checksum);
        hasher.update(&slot[..BODY_BYTES]);
        Self {
            slots: self.slots + 1,
            checksum: hasher.finalize(),
        }
    }

    /// Returns what the next slots say and moves on behind them; `None` at the end, or where they are torn,
    /// damaged or not of this chain. `slot` returns the slot of a number.
    pub(super) fn decode(&mut self, mut slot: impl FnMut(u64) -> Option<Slot>) -> Option<Change> {
        let first = slot(self.slots)?;
        let mut next = self.follow(&first)?;
        let algorithm = match first[2] {
            b'2' => Algorithm::Sha256,
            b'5' => Algorithm::Sha512,
            _ => return None,
        };
        let mut raw = [0; 2 * DIGEST_BYTES];
        raw[..DIGEST_BYTES].copy_from_slice(&first[28..BODY_BYTES]);
        if algorithm == Algorithm::Sha512 {
            let rest = slot(next.slots)?;
            next = next.follow(&rest)?;
            if rest[0] != b'.' {
                return None;
            }
            raw[DIGEST_BYTES..].copy_from_slice(&rest[28..BODY_BYTES]);
        }
        let digest = Digest::from_raw(algorithm, &raw[..algorithm.bytes()])?;
        let change = change(&first, digest)?;
        *self = next;
        Some(change)
    }

    /// Returns the chain behind `slot`, if it belongs there.
    fn follow(&self, slot: &Slot) -> Option<Self> {
        let next = self.after(slot);
        (slot[BODY_BYTES..] == next.checksum.to_le_bytes()).then_some(next)
    }

    /// Returns the line that says that the file ends here, and that its process ended cleanly.
    pub(super) fn mark(&self) -> Slot {
        let (slots, checksum) = (self.slots, self.checksum);
        line(&format!(
            "ended cleanly after {slots:012x} slots, crc {checksum:08x}"
        ))
    }
}

/// Returns the change that a slot means; its checksum was right.
fn change(slot: &Slot, digest: Digest) -> Option<Change> {
    let kind = match slot[1] {
        b'b' => Kind::Blob,
        b'm' => Kind::Manifest,
        _ => return None,
    };
    let number = |at: usize| {
        slot.get(at..at + 4)?
            .try_into()
            .ok()
            .map(u32::from_le_bytes)
    };
    match slot[0] {
        b'+' => Some(Change::Put(Record {
            kind,
            digest,
            size_bytes: u64::from_le_bytes(slot[16..24].try_into().ok()?),
            last_use: number(8)?,
            hits: number(12)?,
            uses: slot[3],
            place: slot[4],
        })),
        b'-' => Some(Change::Remove(kind, digest)),
        _ => None,
    }
}

/// Returns the first line of a file. No two files have the same generation.
pub(super) fn header(generation: u64) -> Slot {
    let text = format!("transship index 1 generation {generation:016x}");
    let checksum = crc32fast::hash(text.as_bytes());
    line(&format!("{text} crc {checksum:08x}"))
}

/// Returns the second line of a file that is being written to.
pub(super) fn no_mark() -> Slot {
    line("in use, or not ended cleanly")
}

/// Returns `text`, which is at most 63 bytes, filled up with spaces to a line.
fn line(text: &str) -> Slot {
    debug_assert!(text.len() < SLOT_BYTES, "{text}");
    let mut line = [b' '; SLOT_BYTES];
    for (to, from) in line[..SLOT_BYTES - 1].iter_mut().zip(text.bytes()) {
        *to = from;
    }
    line[SLOT_BYTES - 1] = b'\n';
    line
}

/// What the beginning of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// A first line of this version: the slots may be read.
    Ours,
    /// The first line of another version of transship.
    OtherVersion(u32),
    /// A first line of transship's that is damaged.
    Damaged,
    /// Not written by transship.
    Foreign,
}

impl Beginning {
    /// Returns what a file is that begins with `bytes`, of which the first 128 are looked at.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let Some(rest) = bytes.strip_prefix(NAME) else {
            return Self::Foreign;
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let version = std::str::from_utf8(&rest[..digits]).ok().map(str::parse);
        match version {
            Some(Ok(1)) if is_header(bytes) => Self::Ours,
            Some(Ok(version)) if version != 1 => Self::OtherVersion(version),
            _ => Self::Damaged,
        }
    }
}

/// Says whether `bytes` begin with a first line as [`header`] writes it, and are no less than both lines.
fn is_header(bytes: &[u8]) -> bool {
    let generation = bytes
        .get(29..45)
        .and_then(|hex| std::str::from_utf8(hex).ok())
        .and_then(|hex| u64::from_str_radix(hex, 16).ok());
    bytes.len() >= SLOTS_AT
        && generation.is_some_and(|generation| header(generation) == bytes[..SLOT_BYTES])
}

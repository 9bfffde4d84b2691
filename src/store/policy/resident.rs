//! What the policy asks of that which it keeps.

/// Uses that a resident can have gathered: more say nothing more.
pub const USES_MAX: u8 = 3;

/// One thing that is kept, as the policy sees it. Others note uses meanwhile.
pub trait Resident: Clone {
    /// Returns 64 uniform bits that stand for it; the first of a digest are.
    fn fingerprint(&self) -> u64;
    /// Returns what it takes of the room. It never changes.
    fn size_bytes(&self) -> u64;
    /// Returns its uses since they were last set, at most [`USES_MAX`].
    fn uses(&self) -> u8;
    /// Sets its uses. A use that is noted at the same moment may be lost.
    fn set_uses(&self, uses: u8);
    /// Says whether it may be evicted.
    fn standing(&self) -> Standing;
}

/// Whether a resident may be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may go.
    Evictable,
    /// It is pinned: never a victim.
    Kept,
    /// It was removed elsewhere, for good: the queue only has to forget it.
    Gone,
}

//! STUB
use std::io;
use std::path::Path;
use std::time::Instant;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Holder,
    Waiting,
}
#[derive(Debug)]
pub(super) struct Lease;
impl Lease {
    pub(super) fn claim(_root: &Path, _now: Instant) -> io::Result<Self> {
        Ok(Self)
    }
    pub(super) fn tick(&mut self, _now: Instant) -> Standing {
        Standing::Holder
    }
    pub(super) fn has_company(&self) -> bool {
        false
    }
    pub(super) fn release(&mut self) {}
}

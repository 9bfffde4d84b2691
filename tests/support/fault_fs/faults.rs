//! What shall go wrong, where, and how often it has.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use crate::support::Gate;

/// Kinds of operations that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Of a file that is there.
    Open,
    /// Of a new file.
    Create,
    Read,
    Write,
    Allocate,
    Sync,
    Link,
    Rename,
    Unlink,
    /// A name is looked up, which comes before anything else that is done by path.
    Lookup,
}

impl Op {
    /// Everything that needs room or changes the disk.
    pub const CHANGES: [Self; 7] = [
        Self::Create,
        Self::Write,
        Self::Allocate,
        Self::Sync,
        Self::Link,
        Self::Rename,
        Self::Unlink,
    ];
}

/// One thing that goes wrong; built by chaining.
#[derive(Clone, Debug)]
pub struct Fault {
    ops: Vec<Op>,
    path: String,
    /// The number of the one file that is affected, if it is one.
    file: Option<u64>,
    from: u64,
    spare: Arc<AtomicU64>,
    how: How,
    struck: Arc<AtomicU64>,
}

#[derive(Clone)]
pub(super) enum How {
    Fail(Errno),
    /// Reads end in the middle of what was asked for.
    Short,
    Wait(Gate),
}

impl std::fmt::Debug for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fail(errno) => write!(f, "{errno}"),
            Self::Short => f.write_str("short"),
            Self::Wait(_) => f.write_str("wait"),
        }
    }
}

impl Fault {
    pub fn fail(ops: &[Op], errno: Errno) -> Self {
        Self::new(ops, How::Fail(errno))
    }

    /// Files seem to end in the middle of each read. (The kernel takes a short answer for the end.)
    pub fn short_reads() -> Self {
        Self::new(&[Op::Read], How::Short)
    }

    /// The operations wait until the gate is opened, and then do what they should.
    pub fn wait(ops: &[Op], gate: &Gate) -> Self {
        Self::new(ops, How::Wait(gate.clone()))
    }

    fn new(ops: &[Op], how: How) -> Self {
        Self {
            ops: ops.to_vec(),
            path: String::new(),
            file: None,
            from: 0,
            spare: Arc::default(),
            how,
            struck: Arc::default(),
        }
    }

    /// Only what has this in its path below the root.
    pub fn at(mut self, part: impl Into<String>) -> Self {
        self.path = part.into();
        self
    }

    /// Only this file, by whatever name, as with sectors gone bad; it is named as it is below the fault.
    pub fn in_file(mut self, real: &Path) -> Self {
        self.file = Some(fs::metadata(real).unwrap().ino());
        self
    }

    /// Only what reaches beyond this offset in its file.
    pub fn beyond(mut self, offset: u64) -> Self {
        self.from = offset;
        self
    }

    /// Only once this many bytes have been written, over all files.
    pub fn after_bytes(self, bytes: u64) -> Self {
        self.spare.store(bytes, Ordering::SeqCst);
        self
    }
}

/// How often a fault has struck.
#[derive(Clone, Debug)]
pub struct Struck(Arc<AtomicU64>);

impl Struck {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What an operation is about.
pub(super) struct Place<'p> {
    pub(super) path: &'p str,
    /// The number of the file; 0 where there is none yet.
    pub(super) file: u64,
    /// The end of what is read or written; 0 where that means nothing.
    pub(super) end: u64,
    pub(super) bytes: u64,
}

impl<'p> Place<'p> {
    pub(super) const fn of(path: &'p str, file: u64) -> Self {
        Self {
            path,
            file,
            end: 0,
            bytes: 0,
        }
    }
}

/// The faults that are switched on.
#[derive(Default)]
pub(super) struct Faults {
    on: Mutex<Vec<Fault>>,
}

impl Faults {
    pub(super) fn add(&self, fault: Fault) -> Struck {
        let struck = Struck(Arc::clone(&fault.struck));
        self.on.lock().unwrap().push(fault);
        struck
    }

    /// Switches all off and lets go what waits.
    pub(super) fn clear(&self) {
        for fault in self.on.lock().unwrap().drain(..) {
            if let How::Wait(gate) = fault.how {
                gate.open();
            }
        }
    }

    pub(super) fn shorten_reads(&self) -> bool {
        let on = self.on.lock().unwrap();
        on.iter().any(|fault| matches!(fault.how, How::Short))
    }

    /// What goes wrong with this operation, if anything.
    pub(super) fn strikes(&self, op: Op, place: &Place<'_>) -> Option<How> {
        let on = self.on.lock().unwrap();
        let fault = on.iter().find(|fault| fault.strikes(op, place))?;
        fault.struck.fetch_add(1, Ordering::SeqCst);
        Some(fault.how.clone())
    }
}

impl Fault {
    fn strikes(&self, op: Op, place: &Place<'_>) -> bool {
        let reaches = self.from == 0 || place.end > self.from;
        let is_here =
            place.path.contains(&self.path) && self.file.is_none_or(|file| file == place.file);
        if !(self.ops.contains(&op) && is_here && reaches) {
            return false;
        }
        let spend = |spare: u64| spare.checked_sub(place.bytes);
        let spare = self
            .spare
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend);
        // What writes nothing goes wrong along with the writes, once there is nothing to spare.
        !matches!(spare, Ok(spare) if spare > 0)
    }
}

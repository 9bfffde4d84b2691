//! Files without a name and without a disk.

use std::fs::File;
use std::io;

use rustix::fs::{MemfdFlags, memfd_create};

/// Returns an empty file in memory, gone with its last descriptor.
///
/// # Errors
/// The kernel's: no memory, or no descriptor.
pub fn memory_file() -> io::Result<File> {
    const NAME: &str = "transship-fill";
    match memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3 there was no such flag; since then a host may demand it.
        Err(rustix::io::Errno::INVAL) => Ok(memfd_create(NAME, MemfdFlags::CLOEXEC)?.into()),
        created => Ok(created?.into()),
    }
}

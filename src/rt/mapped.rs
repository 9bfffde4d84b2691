//! A file that is read through a map of memory, whatever happens to the file meanwhile.
//!
//! Other processes may write to the file, so no reference into the map is ever handed out, only copies of
//! bytes. Where the file cannot be read, or somebody cut it, touching its pages would be a signal that ends
//! the process: so pages are fetched first ([`Mapped::fetch`]), which turns that into an error.
#![expect(
    unsafe_code,
    reason = "memory that others change is read through pointers"
)]

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Advice, MmapOptions, MmapRaw};

/// The first bytes of a file, as a map that cannot be written to.
#[derive(Debug)]
pub struct Mapped {
    map: MmapRaw,
}

impl Mapped {
    /// Maps the first `length_bytes` of `file`, of which at least so many should be there.
    ///
    /// # Errors
    /// The kernel's: no memory, a file that cannot be mapped, a length of 0.
    pub fn of(file: &File, length_bytes: usize) -> io::Result<Self> {
        let map = MmapOptions::new()
            .len(length_bytes)
            .map_raw_read_only(file)?;
        Ok(Self { map })
    }

    /// Has the pages of a half-open range of offsets in memory, all at once.
    ///
    /// Kernels before 5.14 cannot say whether they could; there it does nothing.
    ///
    /// # Errors
    /// `Other` where reading would end in a signal: the file is shorter, or the disk does not give it.
    /// `InvalidInput` for a range beyond the map.
    pub fn fetch(&self, range: Range<usize>) -> io::Result<()> {
        let length = range.len();
        if range.end > self.map.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if length == 0 {
            return Ok(());
        }
        match self
            .map
            .advise_range(Advice::PopulateRead, range.start, length)
        {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            Err(error) => Err(io::Error::other(format!("cannot be read: {error}"))),
            Ok(()) => Ok(()),
        }
    }

    /// Returns a copy of `N` bytes at `offset`, which were fetched a moment ago; `None` beyond the map.
    #[must_use]
    pub fn copy<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset.checked_add(N)? > self.map.len() {
            return None;
        }
        let at = self.map.as_ptr().wrapping_add(offset).cast::<[u8; N]>();
        // SAFETY: the `N` bytes lie within the map, which lives as long as `self`; bytes need no
        // alignment and have no invalid values. Another process may change them at the same time, so
        // the read is volatile: it gives some bytes, old or new ones, and nothing is assumed of them.
        Some(unsafe { at.read_volatile() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_cut_under_its_map_is_an_error_and_no_signal() {
        // An operator's `> index` while a transship starts: the process would end with SIGBUS.
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 * 1024).unwrap();
        let mapped = Mapped::of(&file, 64 * 1024).unwrap();
        assert!(mapped.fetch(0..64 * 1024).is_ok());
        file.set_len(4096).unwrap();
        assert!(mapped.fetch(0..64 * 1024).is_err());
        assert!(mapped.fetch(0..4096).is_ok());
        assert!(mapped.fetch(0..64 * 1024 + 1).is_err(), "beyond the map");
        assert_eq!(mapped.copy(4092), Some([0; 4]));
    }

    #[test]
    fn bytes_are_those_of_the_file_and_end_with_the_map() {
        use std::os::unix::fs::FileExt as _;
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"0123456789", 0).unwrap();
        let mapped = Mapped::of(&file, 8).unwrap();
        mapped.fetch(0..8).unwrap();
        assert_eq!(&mapped.copy::<3>(5).unwrap(), b"567");
        assert_eq!(
            mapped.copy::<3>(6),
            None,
            "the file goes on, the map does not"
        );
        assert_eq!(mapped.copy::<1>(usize::MAX), None);
        file.write_all_at(b"x", 5).unwrap();
        assert_eq!(&mapped.copy::<3>(5).unwrap(), b"x67");
    }
}

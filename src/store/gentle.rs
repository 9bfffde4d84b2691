//! Reading a whole file that nobody asked for, without pushing what clients ask for out of memory.
//!
//! Before a piece is read, three of its pages are probed (`RWF_NOWAIT`, under a microsecond each). A piece of
//! which nothing was in memory is dropped from it after the read (`FADV_DONTNEED`); a piece of which anything
//! was there is left alone, as clients use it. Readahead is off (`FADV_RANDOM`), since a piece that our own
//! reading brought in would look like one in use; a piece is large enough to be read at once. `FADV_NOREUSE`
//! keeps the kernel (6.3) from taking our one look for a use of pages that stay.
//!
//! Where the file system cannot be probed nothing is dropped: the kernel's own order, by which pages read
//! once go first, is then better than a guess.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Bytes read at once: a third of a millisecond of a fast disk, some of SHA-256.
pub(super) const PIECE_BYTES: usize = 1024 * 1024;

/// Opens a file, never through a symbolic link, to be read by [`read`].
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    // Only advice: a file system that takes none still reads.
    let _ = fadvise(&file, 0, None, Advice::Random);
    let _ = fadvise(&file, 0, None, Advice::NoReuse);
    Ok(file)
}

/// Fills `piece` from `offset` as far as the file reaches; returns how much that is.
pub(super) fn read(file: &File, piece: &mut [u8], offset: u64) -> io::Result<usize> {
    let residence = probe(file, offset, piece.len());
    let mut filled = 0;
    while filled < piece.len() {
        match file.read_at(&mut piece[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if residence == Residence::Absent {
        let _ = fadvise(
            file,
            offset,
            NonZeroU64::new(piece.len() as u64),
            Advice::DontNeed,
        );
    }
    Ok(filled)
}

/// What was in memory of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Residence {
    Absent,
    Present,
    Unknown,
}

/// Probes the first, the middle and the last byte of a piece.
fn probe(file: &File, offset: u64, length: usize) -> Residence {
    let length = length as u64;
    for at in [0, length / 2, length.saturating_sub(1)] {
        let mut byte = [0];
        let mut buffers = [IoSliceMut::new(&mut byte)];
        match preadv2(file, &mut buffers, offset + at, ReadWriteFlags::NOWAIT) {
            // Behind the end there is nothing to be in memory.
            Ok(0) | Err(Errno::AGAIN) => {}
            Ok(_) => return Residence::Present,
            Err(_) => return Residence::Unknown,
        }
    }
    Residence::Absent
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a page is in memory. Asking has it read, so it is asked once.
    fn is_cached(file: &File, offset: u64) -> bool {
        let mut byte = [0];
        let mut buffers = [IoSliceMut::new(&mut byte)];
        preadv2(file, &mut buffers, offset, ReadWriteFlags::NOWAIT).is_ok()
    }

    /// Reads four pieces of a file of which a client uses the second; returns how many of the others are out
    /// of memory then.
    fn cold_after_reading(path: &Path) -> usize {
        const PIECE: u64 = PIECE_BYTES as u64;
        std::fs::write(path, vec![7; 3 * PIECE_BYTES + 100]).unwrap();
        let file = open(path).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        file.read_at(&mut [0; 1], PIECE + PIECE / 2).unwrap();
        let mut bytes = vec![0; PIECE_BYTES];
        for number in 0..4 {
            let count = read(&file, &mut bytes, number * PIECE).unwrap();
            assert_eq!(count, if number == 3 { 100 } else { PIECE_BYTES });
            assert!(bytes[..count].iter().all(|byte| *byte == 7));
        }
        assert!(is_cached(&file, PIECE) && is_cached(&file, 2 * PIECE - 1));
        let others = [0, 2 * PIECE, 3 * PIECE];
        others
            .into_iter()
            .filter(|&at| !is_cached(&file, at))
            .count()
    }

    #[test]
    fn what_was_cold_stays_cold_and_what_was_warm_stays_warm() {
        // A scrub of terabytes would evict from memory what every client asks for.
        // Beside the program: the folder for temporary files is often all memory.
        let program = std::env::current_exe().unwrap();
        let folder = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let path = folder.path().join("file");
        let cold: usize = (0..10).map(|_| cold_after_reading(&path)).sum();
        // The kernel keeps pages that it is busy with, here or where the test sets out: on a busy machine
        // most. Without the advice it keeps all.
        assert!(cold > 0);
    }
}

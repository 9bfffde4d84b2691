//! Calls on descriptors that monoio owns and lends out only as numbers: all unsafe code there is.
#![expect(
    unsafe_code,
    reason = "monoio hands out raw descriptors; rustix wants borrowed ones"
)]

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use rustix::io::ReadWriteFlags;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

/// Borrows a descriptor for the length of one call.
///
/// Callers pass the descriptor of a socket that they own, so that it is open until they return.
fn borrow<'fd>(fd: RawFd) -> BorrowedFd<'fd> {
    // SAFETY: every caller in `rt` holds the socket that owns `fd` (or, for deadlines, an entry whose
    // invariant says so) and lets go of the borrow before it returns; cores share no sockets.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Lets no program that this process starts have any of its descriptors but the standard ones: an accepted connection
/// is marked so only a moment after it is there, and may be inherited in that moment.
///
/// # Errors
/// The kernel's, when it does not tell which there are.
pub fn inherit_nothing() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let fd: Option<RawFd> = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(fd) = fd.filter(|fd| *fd > 2) {
            // One that is closed meanwhile, as the one of this very list, needs no mark.
            let _ = fcntl_setfd(borrow(fd), FdFlags::CLOEXEC);
        }
    }
    Ok(())
}

/// Takes over a descriptor that this process was started with.
///
/// Callers know from who started it that it is there for them, and call it once for each.
pub(super) fn own_inherited(fd: RawFd) -> OwnedFd {
    // SAFETY: nothing else in this process knows of `fd`, as it was open before the process began, and its only
    // caller (`activated`) returns each one once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Ends both directions of a socket. Cannot fail in a way that matters: a socket whose peer has gone
/// is as good as shut down.
pub(super) fn shut_down(fd: RawFd) {
    let _ = rustix::net::shutdown(borrow(fd), Shutdown::Both);
}

/// Ends the receiving direction of a socket: whoever waits there receives nothing more.
pub(super) fn shut_down_receive(fd: RawFd) {
    let _ = rustix::net::shutdown(borrow(fd), Shutdown::Read);
}

/// Ends the sending direction of a socket.
pub(super) fn shut_down_send(fd: RawFd) {
    let _ = rustix::net::shutdown(borrow(fd), Shutdown::Write);
}

/// Sets FD_CLOEXEC and O_NONBLOCK, which io_uring's accept in monoio leaves unset.
pub(super) fn set_accepted_flags(fd: RawFd) -> io::Result<()> {
    fcntl_setfd(borrow(fd), FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(borrow(fd), true)?;
    Ok(())
}

/// Sends without waiting; with `more`, the kernel holds a last partial segment for what follows.
pub(super) fn send(fd: RawFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    flags.set(SendFlags::MORE, more);
    Ok(rustix::net::send(borrow(fd), bytes, flags)?)
}

/// As [`send`], of parts that lie in different places.
pub(super) fn send_parts(fd: RawFd, parts: &[io::IoSlice<'_>], more: bool) -> io::Result<usize> {
    let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    flags.set(SendFlags::MORE, more);
    let mut nothing = SendAncillaryBuffer::default();
    Ok(rustix::net::sendmsg(
        borrow(fd),
        parts,
        &mut nothing,
        flags,
    )?)
}

/// Sends up to `count` bytes of `file` from `offset`, which it moves on. The socket is non-blocking.
pub(super) fn send_file(
    fd: RawFd,
    file: &File,
    offset: &mut u64,
    count: usize,
) -> io::Result<usize> {
    Ok(rustix::fs::sendfile(borrow(fd), file, Some(offset), count)?)
}

/// Says whether the page that holds `offset` is in memory, without waiting for it; starts reading it
/// if it is not (`RWF_NOWAIT`, Linux 4.14). Where the file system cannot say, it says yes.
///
/// # Errors
/// The disk's; `UnexpectedEof` when the file does not reach that far.
pub(super) fn is_in_memory(file: &File, offset: u64) -> io::Result<bool> {
    use rustix::io::Errno;
    let mut byte = [0];
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    match rustix::io::preadv2(file, &mut parts, offset, ReadWriteFlags::NOWAIT) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(Errno::AGAIN) => Ok(false),
        Ok(_) | Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Reads bytes of `file` from `offset` as far as they are in memory, without waiting for those that are
/// not; returns how many. 0 also where the file system cannot say. The file reaches to the end of `buf`.
///
/// # Errors
/// The disk's; `UnexpectedEof` when the file is shorter than that.
pub(super) fn read_in_memory(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut count = 0;
    while count < buf.len() {
        let mut parts = [io::IoSliceMut::new(&mut buf[count..])];
        match rustix::io::preadv2(
            file,
            &mut parts,
            offset + count as u64,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => count += read,
            Err(rustix::io::Errno::INTR) => {}
            // The rest is not in memory, or NOWAIT is unknown here.
            Err(_) => break,
        }
    }
    Ok(count)
}

/// Says whether nothing has arrived: no bytes, no end, no error. Takes nothing, does not wait.
pub(super) fn is_quiet(fd: RawFd) -> bool {
    let mut byte = [0];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let received = rustix::net::recv(borrow(fd), &mut byte, flags);
    matches!(received, Err(rustix::io::Errno::AGAIN))
}

/// Says whether bytes have arrived that nobody received. Takes nothing, does not wait.
pub(super) fn has_bytes(fd: RawFd) -> bool {
    let mut byte = [0];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(
        rustix::net::recv(borrow(fd), &mut byte, flags),
        Ok((_, 1..))
    )
}

/// Holds partial segments back, or lets them go (`TCP_CORK`).
pub(super) fn cork(fd: RawFd, on: bool) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_tcp_cork(borrow(fd), on)?)
}

//! A connected TCP socket on a core.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;

use super::deadline::{Deadline, DeadlineKind};
use super::{blocking, sys, turn};
use crate::limits::{SEND_SLICE_BYTES, SEND_TURN_BYTES};

/// A connected TCP socket. Dropping it closes it.
///
/// At most one receive and one send are in progress at a time; `&mut self` keeps it so.
#[derive(Debug)]
pub struct Socket {
    // Field order matters: the deadline lets go of the descriptor before the stream closes it.
    deadline: Deadline,
    stream: TcpStream,
}

impl Socket {
    /// Connects to `addr`.
    ///
    /// # Errors
    /// The kernel's, or `TimedOut` after `within`.
    pub async fn connect(addr: SocketAddr, within: Duration) -> io::Result<Self> {
        let connecting = TcpStream::connect_addr(addr);
        let stream = super::timeout(within, connecting)
            .await
            .map_err(|_| ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        Ok(Self::new(stream, false))
    }

    /// Takes a connection onto this core that this process got from another one, or made to give its other end away.
    ///
    /// # Errors
    /// The kernel's.
    pub fn adopt(stream: std::net::TcpStream) -> io::Result<Self> {
        let stream = TcpStream::from_std(stream)?;
        sys::set_accepted_flags(stream.as_raw_fd())?;
        Ok(Self::new(stream, false))
    }

    /// Takes over what a listener accepted.
    pub(super) fn accepted(stream: TcpStream) -> io::Result<Self> {
        sys::set_accepted_flags(stream.as_raw_fd())?;
        Ok(Self::new(stream, true))
    }

    fn new(stream: TcpStream, is_accepted: bool) -> Self {
        Self {
            deadline: Deadline::new(stream.as_raw_fd(), is_accepted),
            stream,
        }
    }

    fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Shuts the socket down unless the deadline is moved within `after` (to within a tick).
    pub fn set_deadline(&self, after: Duration, kind: DeadlineKind) {
        self.deadline.set(after, kind);
    }

    /// Waits without a deadline, for what another deadline bounds.
    pub fn clear_deadline(&self) {
        self.deadline.clear();
    }

    /// Says whether a deadline has passed, so that the caller can tell it from the peer's leaving.
    #[must_use]
    pub fn expired(&self) -> bool {
        self.deadline.expired()
    }

    /// Says whether it is open and nothing has arrived that was not received. Costs a system call.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        !self.expired() && sys::is_quiet(self.fd())
    }

    /// Receives into the spare capacity of `buf`, after what it holds. 0 means that the peer is done.
    ///
    /// # Errors
    /// The kernel's, or `TimedOut` when the deadline passed. The buffer always comes back.
    pub async fn recv(&mut self, mut buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        if buf.capacity() == buf.len() {
            buf.reserve(1024);
        }
        let (start, end) = (buf.len(), buf.capacity());
        let (outcome, slice) = self.stream.read(buf.slice_mut(start..end)).await;
        let outcome = match outcome {
            Ok(0) | Err(_) if self.expired() => Err(ErrorKind::TimedOut.into()),
            outcome => outcome,
        };
        (outcome, slice.into_inner())
    }

    /// Sends all of `buf`.
    ///
    /// # Errors
    /// The kernel's, or `TimedOut` when the deadline passed. The buffer always comes back.
    pub async fn send_all(&mut self, mut buf: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let mut sent = 0;
        while sent < buf.len() {
            let end = buf.len();
            let (outcome, slice) = self.stream.write(buf.slice(sent..end)).await;
            buf = slice.into_inner();
            match outcome {
                Ok(0) => return (Err(ErrorKind::WriteZero.into()), buf),
                Ok(count) => {
                    sent += count;
                    self.deadline.renew();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (Err(self.told(error)), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Sends all of `buf` and tells the kernel that more follows at once, so that a head and the file
    /// after it share segments. Costs one system call while the send buffer has room.
    ///
    /// # Errors
    /// As [`Socket::send_all`].
    pub async fn send_all_more(&mut self, buf: &[u8]) -> io::Result<()> {
        let mut rest = buf;
        while !rest.is_empty() {
            match sys::send(self.fd(), rest, true) {
                Ok(count) => rest = &rest[count..],
                Err(error) => self.wait_to_send(error).await?,
            }
        }
        Ok(())
    }

    /// Sends what the send buffer has room for, without waiting.
    pub(super) fn try_send(&self, parts: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
        sys::send_parts(self.fd(), parts, more)
    }

    /// Counts from here once more: the peer took something.
    pub(super) fn renew_deadline(&self) {
        self.deadline.renew();
    }

    /// Sends bytes `offset..end` of `file` from the page cache, without copying them.
    ///
    /// `end` lies within the file. `progress` is called after each slice that the socket took, with
    /// its length; that is the place to move the deadline. Gives way to the core's other tasks every
    /// [`SEND_TURN_BYTES`]. What is not in memory is read by a helper thread first, so that a cold
    /// file stalls this response alone; a slice that begins before `warm_end` skips that check.
    ///
    /// # Errors
    /// Whose fault it was; of the file's, `UnexpectedEof` when it is shorter than `end`.
    pub async fn send_file(
        &mut self,
        file: &Arc<File>,
        mut offset: u64,
        end: u64,
        warm_end: u64,
        mut progress: impl FnMut(&Self, usize),
    ) -> Result<(), SendFileError> {
        let mut turn = 0;
        // Without it each slice ends in a partial segment: 10 to 15 % more CPU for a large blob.
        let is_corked = end.saturating_sub(offset) > SEND_SLICE_BYTES as u64;
        if is_corked {
            sys::cork(self.fd(), true)?;
        }
        while offset < end {
            let slice_end = if offset < warm_end {
                end.min(warm_end)
            } else {
                warm(file, offset, end).await.map_err(SendFileError::File)?
            };
            let wanted = slice_bytes(slice_end - offset);
            match sys::send_file(self.fd(), file, &mut offset, wanted) {
                Ok(0) => return Err(SendFileError::File(ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    progress(self, count);
                    turn += count;
                }
                Err(error) if is_files(&error) => return Err(SendFileError::File(error)),
                Err(error) => {
                    self.wait_to_send(error).await?;
                    turn = 0;
                }
            }
            if turn >= SEND_TURN_BYTES && offset < end {
                self.give_way().await?;
                turn = 0;
            }
        }
        if is_corked {
            sys::cork(self.fd(), false)?;
        }
        Ok(())
    }

    /// Lets the core's other tasks run, and waits until the socket takes bytes.
    ///
    /// # Errors
    /// The kernel's, or `TimedOut` when the deadline passed.
    pub async fn give_way(&mut self) -> io::Result<()> {
        turn::step_back().await;
        self.writable().await
    }

    async fn writable(&mut self) -> io::Result<()> {
        // `relaxed` would return epoll's stale readiness and spin.
        let ready = self.stream.writable(false).await;
        if self.expired() {
            Err(ErrorKind::TimedOut.into())
        } else {
            ready
        }
    }

    /// Returns what `operation` returns, or `None` if the peer closes its side first. Bytes that the peer
    /// sends meanwhile (a next request) stay where they are, and end the watch for a close.
    ///
    /// The operation is then dropped, so it must be one that loses nothing by that. Costs nothing if it
    /// is ready at once.
    pub async fn unless_gone<T>(&self, operation: impl Future<Output = T>) -> Option<T> {
        let gone = async {
            // An error here is the peer's leaving too.
            let _ = self.stream.readable(false).await;
            if sys::has_bytes(self.fd()) {
                std::future::pending::<()>().await;
            }
        };
        let (mut gone, mut operation) = (pin!(gone), pin!(operation));
        poll_fn(|context| match operation.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => gone.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    /// Tells the peer that nothing more will be sent; what it sends can still be received.
    pub fn shut_down_send(&mut self) {
        sys::shut_down_send(self.fd());
    }

    /// Waits for room when `error` says that there is none; returns any other error.
    pub(super) async fn wait_to_send(&mut self, error: io::Error) -> io::Result<()> {
        match error.kind() {
            ErrorKind::WouldBlock => self.writable().await,
            ErrorKind::Interrupted => Ok(()),
            _ => Err(self.told(error)),
        }
    }

    /// Names the deadline as the cause where it was the cause.
    fn told(&self, error: io::Error) -> io::Error {
        if self.expired() {
            ErrorKind::TimedOut.into()
        } else {
            error
        }
    }
}

/// Returns how much of `rest` bytes goes into one `sendfile`.
fn slice_bytes(rest: u64) -> usize {
    usize::try_from(rest).map_or(SEND_SLICE_BYTES, |rest| rest.min(SEND_SLICE_BYTES))
}

/// Brings the first slice of `offset..end` of a file into memory if it is not there, and returns where the
/// slice ends: a probe of its last byte, which costs under a microsecond, and if that is missing a read on a
/// helper thread.
///
/// # Errors
/// The disk's; `UnexpectedEof` when the file is shorter.
pub async fn warm(file: &Arc<File>, offset: u64, end: u64) -> io::Result<u64> {
    let bytes = slice_bytes(end.saturating_sub(offset));
    let slice_end = offset + bytes as u64;
    if bytes == 0 || sys::is_in_memory(file, slice_end - 1)? {
        return Ok(slice_end);
    }
    let file = Arc::clone(file);
    // All of it: a read that met a bad page in its midst returns what lies before without an error.
    blocking(move || file.read_exact_at(&mut vec![0; bytes], offset)).await??;
    Ok(slice_end)
}

/// Why bytes of a file were not sent: whose fault it was.
#[derive(Debug)]
pub enum SendFileError {
    /// The file could not be read, or is shorter than it should be.
    File(io::Error),
    /// The connection failed, or its deadline passed.
    Socket(io::Error),
}

impl From<io::Error> for SendFileError {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

/// Says whether this error of `sendfile` is the file's: what file systems say and sockets never do.
fn is_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let files = [
        Errno::IO,
        Errno::NXIO,
        Errno::STALE,
        Errno::NODATA,
        Errno::BADMSG, // a checksum of the file system
        Errno::UCLEAN, // its structure
        Errno::ILSEQ,
        Errno::REMOTEIO,
        Errno::NOLINK,
        Errno::NODEV,
        Errno::NOKEY,
        Errno::KEYREJECTED,
    ];
    Errno::from_io_error(error).is_some_and(|errno| files.contains(&errno))
}

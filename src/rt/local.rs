//! Unix sockets, for those who are let in by the mode of a file.

use std::fs::Permissions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use monoio::buf::{IoBuf as _, IoBufMut as _};
use monoio::io::{AsyncReadRent as _, AsyncWriteRent as _};
use monoio::net::{UnixListener, UnixStream};
use socket2::{Domain, SockAddr, Socket as Socket2, Type};

use super::deadline::{Deadline, DeadlineKind};
use super::{Tier, sys};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Makes a socket at `path` that its owner alone may connect to, in place of one that is there: the last
/// process that was started has the path.
///
/// # Errors
/// The kernel's: no such directory, not permitted, a path that is too long.
pub fn bind_local(path: &Path) -> io::Result<(StdListener, LocalFile)> {
    let next = path.with_extension(format!("{}.next", std::process::id()));
    drop(std::fs::remove_file(&next));
    let socket = Socket2::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&next)?)?;
    // Nobody connects before it listens, and nobody else afterwards.
    let made = std::fs::set_permissions(&next, Permissions::from_mode(0o600))
        .and_then(|()| socket.listen(BACKLOG))
        .and_then(|()| LocalFile::of(&next))
        .and_then(|file| std::fs::rename(&next, path).map(|()| file));
    if made.is_err() {
        drop(std::fs::remove_file(&next));
    }
    let path = path.to_owned();
    let listener = StdListener::from(std::os::fd::OwnedFd::from(socket));
    made.map(|file| (listener, LocalFile { path, ..file }))
}

/// The file of a bound Unix socket, as it was made.
#[derive(Debug)]
pub struct LocalFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl LocalFile {
    fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            identity: (found.dev(), found.ino()),
        })
    }

    /// Removes the file, if it is still the one that was made: a successor may have put its own there.
    pub fn remove(self) {
        let is_ours = Self::of(&self.path).is_ok_and(|found| found.identity == self.identity);
        if is_ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a socket's file stays");
        }
    }
}

/// A listening Unix socket on a core.
#[derive(Debug)]
pub struct LocalListener {
    inner: UnixListener,
}

impl LocalListener {
    /// Takes a bound socket onto this core.
    ///
    /// # Errors
    /// The kernel's, on registering it with epoll.
    pub fn adopt(listener: StdListener, tier: &Tier) -> io::Result<Self> {
        listener.set_nonblocking(matches!(tier, Tier::Epoll { .. }))?;
        let inner = UnixListener::from_std(listener)?;
        Ok(Self { inner })
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// The kernel's; the caller waits and tries again.
    pub async fn accept(&self) -> io::Result<LocalSocket> {
        let (stream, _) = self.inner.accept().await?;
        sys::set_accepted_flags(stream.as_raw_fd())?;
        Ok(LocalSocket {
            deadline: Deadline::new(stream.as_raw_fd(), true),
            stream,
        })
    }
}

/// A connected Unix socket. Dropping it closes it.
#[derive(Debug)]
pub struct LocalSocket {
    // Field order matters: the deadline lets go of the descriptor before the stream closes it.
    deadline: Deadline,
    stream: UnixStream,
}

impl LocalSocket {
    /// Shuts the socket down unless the deadline is moved within `after` (to within a tick).
    pub fn set_deadline(&self, after: Duration, kind: DeadlineKind) {
        self.deadline.set(after, kind);
    }

    /// Receives into the spare capacity of `buf`, after what it holds. 0 means that the peer is done.
    ///
    /// # Errors
    /// The kernel's. The buffer always comes back.
    pub async fn recv(&mut self, mut buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        if buf.capacity() == buf.len() {
            buf.reserve(1024);
        }
        let (start, end) = (buf.len(), buf.capacity());
        let (outcome, slice) = self.stream.read(buf.slice_mut(start..end)).await;
        (outcome, slice.into_inner())
    }

    /// Sends all of `buf`.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn send_all(&mut self, mut buf: Vec<u8>) -> io::Result<()> {
        let mut sent = 0;
        while sent < buf.len() {
            let end = buf.len();
            let (outcome, slice) = self.stream.write(buf.slice(sent..end)).await;
            buf = slice.into_inner();
            match outcome {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_removed_by_who_made_it_and_a_successors_stays() {
        // Whoever is upgraded would leave the new server without its socket.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let (_old, old) = bind_local(&path).unwrap();
        let (_new, new) = bind_local(&path).unwrap();
        old.remove();
        assert!(path.exists(), "the successor's stays");
        new.remove();
        assert!(!path.exists());
    }
}

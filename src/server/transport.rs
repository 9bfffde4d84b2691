//! A client's connection, with or without TLS.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::limits::TLS_SLICE_BYTES;
use crate::rt::{DeadlineKind, Socket, TlsSocket, blocking};

/// Bytes to and from one client.
pub(super) enum Transport {
    Plain(Socket),
    Tls(Box<TlsSocket>),
}

impl Transport {
    /// Returns the socket below, for its deadline.
    pub(super) fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.socket(),
        }
    }

    /// As [`Socket::give_way`].
    pub(super) async fn give_way(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.give_way().await,
            Self::Tls(tls) => tls.give_way().await,
        }
    }

    /// As [`Socket::recv`].
    pub(super) async fn recv(&mut self, buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Self::Plain(socket) => socket.recv(buf).await,
            Self::Tls(tls) => tls.recv(buf).await,
        }
    }

    /// As [`Socket::send_all`].
    pub(super) async fn send_all(&mut self, buf: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        match self {
            Self::Plain(socket) => socket.send_all(buf).await,
            Self::Tls(tls) => {
                let outcome = tls.send_all(&buf).await;
                (outcome, buf)
            }
        }
    }

    /// Sends bytes that a file's follow at once.
    pub(super) async fn send_before_file(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.send_all_more(bytes).await,
            Self::Tls(tls) => tls.send_all(bytes).await,
        }
    }

    /// As [`Socket::send_file`]; over TLS the bytes are read and encrypted instead.
    pub(super) async fn send_file(
        &mut self,
        file: &Arc<File>,
        offset: u64,
        end: u64,
        is_warm: bool,
        progress: impl FnMut(&Socket, usize),
    ) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.send_file(file, offset, end, is_warm, progress).await,
            Self::Tls(tls) => send_file_encrypted(tls, file, offset..end, progress).await,
        }
    }

    /// Tells the client that nothing more will be sent.
    pub(super) async fn shut_down_send(&mut self) {
        match self {
            Self::Plain(socket) => socket.shut_down_send(),
            Self::Tls(tls) => tls.shut_down_send().await,
        }
    }

    /// Gives the client this long from here.
    pub(super) fn set_deadline(&self, after: std::time::Duration) {
        self.socket().set_deadline(after, DeadlineKind::Active);
    }
}

/// Reads on a helper thread, since a page may be cold, and encrypts here.
async fn send_file_encrypted(
    tls: &mut TlsSocket,
    file: &Arc<File>,
    range: std::ops::Range<u64>,
    mut progress: impl FnMut(&Socket, usize),
) -> io::Result<()> {
    let mut offset = range.start;
    let mut buf = Vec::new();
    while offset < range.end {
        let rest = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
        buf.resize(rest.min(TLS_SLICE_BYTES), 0);
        let file = Arc::clone(file);
        buf = blocking(move || file.read_exact_at(&mut buf, offset).map(|()| buf)).await??;
        tls.send_all(&buf).await?;
        offset += buf.len() as u64;
        progress(tls.socket(), buf.len());
    }
    Ok(())
}

//! A client's connection, with or without TLS.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::rt::{DeadlineKind, SendFileError, Socket, TlsSocket};

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
            Self::Tls(tls) => tls.send_before_file(bytes).await,
        }
    }

    /// As [`Socket::send_file`]; over TLS the bytes are read and encrypted instead.
    pub(super) async fn send_file(
        &mut self,
        file: &Arc<File>,
        offset: u64,
        end: u64,
        warm_end: u64,
        progress: impl FnMut(&Socket, usize),
    ) -> Result<(), SendFileError> {
        match self {
            Self::Plain(socket) => {
                let sending = socket.send_file(file, offset, end, warm_end, progress);
                sending.await
            }
            Self::Tls(tls) => tls.send_file(file, offset, end, progress).await,
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

//! TLS records over a [`Socket`], for either side, by rustls without I/O of its own.
//!
//! A byte of a file is copied twice on its way out: from the page cache to where rustls reads it, and by
//! rustls to the record in which it is encrypted in place. The records go to the kernel from where they are.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, ErrorKind, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustls::{Connection, ProtocolVersion};

use super::{SendFileError, Socket, blocking, sys, turn};
use crate::limits::{TLS_BATCH_BYTES, TLS_COLD_BYTES, TLS_TURN_BYTES};

/// Room for encrypted bytes of a peer that sends little, as clients do between two responses.
const RECEIVE_BYTES_MIN: usize = 4 * 1024;
/// Room for encrypted bytes of a peer that sends much: a few full records (RFC 8446 §5.2).
const RECEIVE_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// Where a core's connections put plain bytes of files, one after the other and for no longer than it
    /// takes to encrypt them: it stays in the processor's cache, and no connection has to keep one.
    static PLAIN: RefCell<Box<[u8]>> = RefCell::new(vec![0; TLS_BATCH_BYTES].into_boxed_slice());
}

/// A TLS connection.
#[derive(Debug)]
pub struct TlsSocket {
    socket: Socket,
    tls: Box<Connection>,
    /// Encrypted bytes received, of which `tls` has taken the first `taken`.
    ///
    /// The rest waits while `tls` holds plain bytes: it takes no more than about a record ahead.
    received: Vec<u8>,
    /// Invariant: `taken <= received.len()`
    taken: usize,
    /// Room for what is received next; grows with a peer that fills it.
    receive_bytes: usize,
    /// Plain bytes that go into one record with those of the file that follows: half a batch at most.
    held: Vec<u8>,
}

impl TlsSocket {
    /// Shakes hands. The caller has set a deadline on `socket`.
    ///
    /// # Errors
    /// The socket's, or `InvalidData` with what rustls says; the peer has then been sent an alert.
    pub async fn handshake(socket: Socket, tls: impl Into<Connection>) -> io::Result<Self> {
        let mut tls = tls.into();
        tls.set_buffer_limit(Some(2 * TLS_BATCH_BYTES));
        let mut this = Self {
            socket,
            tls: Box::new(tls),
            received: Vec::new(),
            taken: 0,
            receive_bytes: RECEIVE_BYTES_MIN,
            held: Vec::new(),
        };
        this.flush(false).await?;
        while this.tls.is_handshaking() {
            this.receive_records().await?;
            if this.owes_peer() {
                this.flush(false).await?;
            }
        }
        Ok(this)
    }

    /// Says whether the peer waits for what is not sent yet. What a server says after a handshake of
    /// TLS 1.3, its tickets, may as well go out with the first response.
    fn owes_peer(&self) -> bool {
        let is_server = matches!(*self.tls, Connection::Server(_));
        let is_tls13 = self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        self.tls.is_handshaking() || !is_server || !is_tls13
    }

    /// Returns the socket below, for its deadline.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// As [`Socket::give_way`].
    ///
    /// # Errors
    /// The socket's.
    pub async fn give_way(&mut self) -> io::Result<()> {
        self.socket.give_way().await
    }

    /// As [`Socket::is_quiet`], with nothing left to decrypt or to hand out either.
    #[must_use]
    pub fn is_quiet(&mut self) -> bool {
        let state = self.tls.process_new_packets();
        let is_empty = state
            .is_ok_and(|state| state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed());
        is_empty && self.taken == self.received.len() && self.socket.is_quiet()
    }

    /// As [`Socket::recv`]. A peer that leaves without `close_notify` is an `UnexpectedEof`, so that a
    /// cut cannot pass for an end (RFC 8446 §6.1).
    ///
    /// # Errors
    /// The socket's, or `InvalidData` with what rustls says.
    pub async fn recv(&mut self, mut buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        if buf.capacity() == buf.len() {
            buf.reserve(1024);
        }
        let mut has_received = false;
        loop {
            match self.take_plain(&mut buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return (outcome, buf),
            }
            // A peer may send records without content for as long as it likes.
            if std::mem::replace(&mut has_received, true) {
                turn::step_back().await;
            }
            if let Err(error) = self.receive_records().await {
                return (Err(error), buf);
            }
            // A key update (RFC 8446 §4.6.3) or an alert about renegotiation may have to go out.
            if self.owes_peer()
                && let Err(error) = self.flush(false).await
            {
                return (Err(error), buf);
            }
        }
    }

    /// As [`Socket::send_all`].
    ///
    /// # Errors
    /// The socket's.
    pub async fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes.len();
        for batch in bytes.chunks(TLS_BATCH_BYTES) {
            left -= batch.len();
            self.encrypt(batch)?;
            self.flush(left > 0).await?;
        }
        Ok(())
    }

    /// Sends bytes that a file's follow at once ([`Self::send_file`]): in one record with them if they are
    /// few.
    ///
    /// # Errors
    /// As [`Self::send_all`].
    pub async fn send_before_file(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > TLS_BATCH_BYTES / 2 {
            return self.send_all(bytes).await;
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends bytes `offset..end` of `file`, as [`Socket::send_file`] does.
    ///
    /// # Errors
    /// As [`Socket::send_file`].
    pub async fn send_file(
        &mut self,
        file: &Arc<File>,
        mut offset: u64,
        end: u64,
        mut progress: impl FnMut(&Socket, usize),
    ) -> Result<(), SendFileError> {
        let mut turn = 0;
        while offset < end {
            let count = match self.encrypt_warm(file, offset, end)? {
                0 => self.send_cold(file, offset, end).await?,
                count => count,
            };
            offset += count as u64;
            self.flush(offset < end).await?;
            progress(&self.socket, count);
            turn += count;
            if turn >= TLS_TURN_BYTES && offset < end {
                self.socket.give_way().await?;
                turn = 0;
            }
        }
        Ok(())
    }

    /// Encrypts what is held and as many bytes of the file from `offset` as are in memory and make a batch;
    /// returns how many those are. Does nothing when there are none.
    fn encrypt_warm(&mut self, file: &File, offset: u64, end: u64) -> Result<usize, SendFileError> {
        PLAIN.with_borrow_mut(|plain| {
            let head = self.held.len();
            let rest = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let batch = TLS_BATCH_BYTES.min(head.saturating_add(rest));
            let count = sys::read_in_memory(file, &mut plain[head..batch], offset)
                .map_err(SendFileError::File)?;
            if count > 0 {
                plain[..head].copy_from_slice(&self.held);
                self.held.clear();
                self.encrypt(&plain[..head + count])?;
            }
            Ok(count)
        })
    }

    /// Reads bytes of the file from `offset` on a helper thread and sends them, but for the last batch,
    /// which is encrypted; returns how many they are.
    async fn send_cold(
        &mut self,
        file: &Arc<File>,
        offset: u64,
        end: u64,
    ) -> Result<usize, SendFileError> {
        let rest = usize::try_from(end - offset).unwrap_or(usize::MAX);
        let count = rest.min(TLS_COLD_BYTES);
        let mut bytes = std::mem::take(&mut self.held);
        let file = Arc::clone(file);
        let bytes = blocking(move || {
            let head = bytes.len();
            bytes.resize(head + count, 0);
            file.read_exact_at(&mut bytes[head..], offset)
                .map(|()| bytes)
        })
        .await
        .flatten()
        .map_err(SendFileError::File)?;
        for batch in bytes.chunks(TLS_BATCH_BYTES) {
            self.flush(true).await?;
            self.encrypt(batch)?;
        }
        Ok(count)
    }

    /// Hands bytes to rustls, which has nothing else to send or little: at most a batch.
    fn encrypt(&mut self, plain: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(plain)
    }

    /// Tells the peer that nothing more will be sent (`close_notify`), and ends that direction.
    pub async fn shut_down_send(&mut self) {
        self.tls.send_close_notify();
        // A peer that is not there to hear it has lost nothing.
        drop(self.flush(false).await);
        self.socket.shut_down_send();
    }

    /// Moves decrypted bytes into the spare capacity of `buf`.
    fn take_plain(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        let mut reader = self.tls.reader();
        let plain = reader.fill_buf()?;
        let count = plain.len().min(buf.capacity() - buf.len());
        buf.extend_from_slice(&plain[..count]);
        reader.consume(count);
        Ok(count)
    }

    /// Hands received bytes to rustls until it has plain bytes or wants more; receives if there are none.
    async fn receive_records(&mut self) -> io::Result<()> {
        if self.taken == self.received.len() {
            self.received.clear();
            self.taken = 0;
            self.received.reserve_exact(self.receive_bytes);
            let received = std::mem::take(&mut self.received);
            let (outcome, received) = self.socket.recv(received).await;
            self.received = received;
            if self.received.len() >= self.receive_bytes {
                self.receive_bytes = RECEIVE_BYTES_MAX.min(2 * self.receive_bytes);
            }
            if outcome? == 0 {
                return self.take_end();
            }
        }
        let outcome = self.decrypt();
        if outcome.is_err() {
            // The alert that tells the peer why; what went wrong is already known.
            drop(self.flush(false).await);
        }
        outcome
    }

    /// Tells rustls that the peer is done sending.
    fn take_end(&mut self) -> io::Result<()> {
        self.tls.read_tls(&mut io::empty())?;
        self.tls.process_new_packets().map_err(invalid)?;
        if self.tls.is_handshaking() {
            Err(ErrorKind::UnexpectedEof.into())
        } else {
            Ok(())
        }
    }

    fn decrypt(&mut self) -> io::Result<()> {
        while self.taken < self.received.len() {
            let mut rest = &self.received[self.taken..];
            let count = self.tls.read_tls(&mut rest)?;
            self.taken += count;
            let state = self.tls.process_new_packets().map_err(invalid)?;
            if count == 0 || state.peer_has_closed() {
                // Past `close_notify` rustls reads nothing more; what follows is not the peer's to say.
                self.taken = self.received.len();
            }
            if state.plaintext_bytes_to_read() > 0 {
                break;
            }
        }
        Ok(())
    }

    /// Sends what rustls has to send; with `more`, the kernel holds a last partial segment for what follows.
    async fn flush(&mut self, more: bool) -> io::Result<()> {
        while self.tls.wants_write() {
            let mut outlet = Outlet {
                socket: &self.socket,
                more,
            };
            match self.tls.write_tls(&mut outlet) {
                Ok(_) => self.socket.renew_deadline(),
                Err(error) => self.socket.wait_to_send(error).await?,
            }
        }
        Ok(())
    }
}

/// Where rustls writes records: the kernel, without waiting and without a buffer between.
struct Outlet<'s> {
    socket: &'s Socket,
    more: bool,
}

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_send(&[IoSlice::new(bytes)], self.more)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_send(parts, self.more)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

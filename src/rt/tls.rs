//! TLS records over a [`Socket`], for either side, by rustls without I/O of its own.

use std::io::{self, BufRead, ErrorKind, Write};

use rustls::Connection;

use super::{Socket, turn};

/// Encrypted bytes received at once: a few full records (RFC 8446 §5.2).
const RECEIVE_BYTES: usize = 64 * 1024;
/// Plain bytes encrypted before they are sent: sixteen full records.
const BATCH_BYTES: usize = 256 * 1024;

/// A TLS connection. Costs two copies a byte sent: into rustls, and out of it encrypted.
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
    /// Encrypted bytes on their way out; kept for its capacity.
    outgoing: Vec<u8>,
}

impl TlsSocket {
    /// Shakes hands. The caller has set a deadline on `socket`.
    ///
    /// # Errors
    /// The socket's, or `InvalidData` with what rustls says; the peer has then been sent an alert.
    pub async fn handshake(socket: Socket, tls: impl Into<Connection>) -> io::Result<Self> {
        let mut tls = tls.into();
        tls.set_buffer_limit(Some(2 * BATCH_BYTES));
        let mut this = Self {
            socket,
            tls: Box::new(tls),
            received: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
        };
        this.flush().await?;
        while this.tls.is_handshaking() {
            this.receive_records().await?;
            this.flush().await?;
        }
        Ok(this)
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
            // A key update or a renegotiation alert may have to go out (RFC 8446 §4.6.3).
            if let Err(error) = self.flush().await {
                return (Err(error), buf);
            }
        }
    }

    /// As [`Socket::send_all`].
    ///
    /// # Errors
    /// The socket's.
    pub async fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        for batch in bytes.chunks(BATCH_BYTES) {
            self.tls.writer().write_all(batch)?;
            self.flush().await?;
        }
        Ok(())
    }

    /// Tells the peer that nothing more will be sent (`close_notify`), and ends that direction.
    pub async fn shut_down_send(&mut self) {
        self.tls.send_close_notify();
        // A peer that is not there to hear it has lost nothing.
        drop(self.flush().await);
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
            self.received.reserve(RECEIVE_BYTES);
            let received = std::mem::take(&mut self.received);
            let (outcome, received) = self.socket.recv(received).await;
            self.received = received;
            if outcome? == 0 {
                return self.take_end();
            }
        }
        let outcome = self.decrypt();
        if outcome.is_err() {
            // The alert that tells the peer why; what went wrong is already known.
            drop(self.flush().await);
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

    /// Sends what rustls has to send.
    async fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            let mut outgoing = std::mem::take(&mut self.outgoing);
            outgoing.clear();
            while self.tls.wants_write() {
                self.tls.write_tls(&mut outgoing)?;
            }
            let (outcome, outgoing) = self.socket.send_all(outgoing).await;
            self.outgoing = outgoing;
            outcome?;
        }
        Ok(())
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

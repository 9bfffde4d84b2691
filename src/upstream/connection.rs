//! A connection to a next hop, with or without TLS.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls_pki_types::ServerName;

use super::error::{Error, Phase};
use super::names::Names;
use super::peer::Peer;
use super::trust::Trust;
use super::{race, trust};
use crate::live::Live;
use crate::rt::{DeadlineKind, Socket, TlsSocket, timeout};

#[derive(Debug)]
enum Transport {
    Plain(Socket),
    Tls(Box<TlsSocket>),
}

/// A connection that carries one exchange at a time. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Connection {
    transport: Transport,
    peer: Peer,
    is_reused: bool,
}

/// How connections are made.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) names: Arc<Names>,
    pub(super) trust: Trust,
    /// For name resolution, TCP and TLS together.
    pub(super) connect_timeout: Live<Duration>,
}

impl Connector {
    /// Returns a new connection to `peer`; `host` names it in errors.
    ///
    /// # Errors
    /// `Unreachable`, `Tls`, or `TimedOut` in phase `Connect`.
    pub(super) async fn connect(&self, peer: Peer, host: &str) -> Result<Connection, Error> {
        let failed = |error: io::Error| {
            let host = host.to_owned();
            if error.kind() == io::ErrorKind::TimedOut {
                let phase = Phase::Connect;
                Error::TimedOut { host, phase }
            } else if trust::is_about_tls(&error) {
                let source = error;
                Error::Tls { host, source }
            } else {
                let source = error;
                Error::Unreachable { host, source }
            }
        };
        let now = Instant::now();
        let deadline = now
            .checked_add(self.connect_timeout.get())
            .unwrap_or(now + Duration::from_secs(3600));
        let transport = self.open(&peer, deadline).await.map_err(failed)?;
        Ok(Connection {
            transport,
            peer,
            is_reused: false,
        })
    }

    async fn open(&self, peer: &Peer, deadline: Instant) -> io::Result<Transport> {
        let left = || deadline.saturating_duration_since(Instant::now());
        let looking_up = self.names.lookup(&peer.host, peer.port);
        let addresses = timeout(left(), looking_up)
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        let socket = race::connect(&addresses, deadline).await?;
        if !peer.is_https {
            return Ok(Transport::Plain(socket));
        }
        let bare = peer.host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a TLS server name"))?;
        let session = ClientConnection::new(self.trust.toward(peer), name)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        socket.set_deadline(left(), DeadlineKind::Active);
        let socket = TlsSocket::handshake(socket, session).await?;
        Ok(Transport::Tls(Box::new(socket)))
    }
}

impl Connection {
    /// Returns one over a socket that is connected.
    pub(super) const fn over(socket: Socket, peer: Peer) -> Self {
        Self {
            transport: Transport::Plain(socket),
            peer,
            is_reused: false,
        }
    }

    /// Returns where it leads.
    pub(super) const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Says whether it has carried an exchange before, so that the peer may have closed it since.
    pub(super) const fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Marks it as reused.
    pub(super) const fn set_reused(&mut self) {
        self.is_reused = true;
    }

    /// Returns the socket, for its deadline.
    pub(super) fn socket(&self) -> &Socket {
        match &self.transport {
            Transport::Plain(socket) => socket,
            Transport::Tls(socket) => socket.socket(),
        }
    }

    /// Says whether nothing has come since the last response: no close, no bytes unasked.
    pub(super) fn is_quiet(&mut self) -> bool {
        match &mut self.transport {
            Transport::Plain(socket) => socket.is_quiet(),
            Transport::Tls(socket) => socket.is_quiet(),
        }
    }

    /// As [`Socket::recv`], in at most `within`.
    pub(super) async fn recv(
        &mut self,
        buf: Vec<u8>,
        within: Duration,
    ) -> (io::Result<usize>, Vec<u8>) {
        self.socket().set_deadline(within, DeadlineKind::Active);
        let outcome = self.recv_by_deadline(buf).await;
        // Whoever is slow to ask for more is not to blame the peer for it.
        self.socket().clear_deadline();
        outcome
    }

    /// As [`Socket::recv`], by the deadline that is set.
    pub(super) async fn recv_by_deadline(&mut self, buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        match &mut self.transport {
            Transport::Plain(socket) => socket.recv(buf).await,
            Transport::Tls(socket) => socket.recv(buf).await,
        }
    }

    /// As [`Socket::send_all`], by the deadline that is set.
    pub(super) async fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.transport {
            Transport::Plain(socket) => socket.send_all(bytes.to_vec()).await.0,
            Transport::Tls(socket) => socket.send_all(bytes).await,
        }
    }
}

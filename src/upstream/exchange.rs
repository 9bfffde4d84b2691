//! One request on one connection, up to the response head.
//!
//! ```text
//!        idle connection ──▶ closed before the first byte ──╮ once
//!       ╱                                                   ▼
//! send ─── none idle ────────────────────────────▶ new connection ──▶ head
//! ```

use std::io;
use std::time::Duration;

use memchr::memmem;
use url::Url;

use super::connection::{Connection, Connector};
use super::error::{Error, Phase};
use super::head::{self, Head};
use super::idle;
use super::peer::{Peer, authority};
use super::response::Response;
use super::trust;
use crate::limits::RESPONSE_HEAD_BYTES_MAX;
use crate::live::Live;
use crate::rt::{DeadlineKind, Socket};

/// Room for a response head and the beginning of its body; nearly always all that a head takes.
const HEAD_BUFFER_BYTES: usize = 16 * 1024;
/// Most interim responses (1xx) before the final one.
const INTERIM_RESPONSES_MAX: usize = 8;

/// What an exchange needs.
#[derive(Debug)]
pub(super) struct Exchanger {
    /// Number of the client that connections belong to.
    pub(super) client: u64,
    pub(super) connector: Connector,
    pub(super) head_timeout: Live<Duration>,
    pub(super) progress_timeout: Live<Duration>,
}

/// A failure on a connection; `is_silent` where the peer had sent nothing, so that it may have closed
/// the connection before it saw the request.
struct Broken {
    error: Error,
    is_silent: bool,
}

impl Exchanger {
    /// Sends a request head to where `url` leads, and receives the response head.
    ///
    /// # Errors
    /// `Unreachable`, `Tls`, `TimedOut` in phase `Connect` or `Head`, `Protocol`.
    pub(super) async fn exchange(
        &self,
        url: &Url,
        request: &[u8],
        is_head: bool,
    ) -> Result<Response, Error> {
        let host = authority(url);
        let peer = Peer::of(self.client, url).ok_or(Error::Request("not a web address"))?;
        if let Some(connection) = idle::take(&peer) {
            match self.attempt(connection, host, request, is_head).await {
                Err(broken) if broken.is_silent => {
                    tracing::debug!(host, "an idle connection had been closed");
                }
                outcome => return outcome.map_err(|broken| broken.error),
            }
        }
        let connection = self.connector.connect(peer, host).await?;
        let outcome = self.attempt(connection, host, request, is_head).await;
        outcome.map_err(|broken| broken.error)
    }

    /// As [`Exchanger::exchange`], over a connection that is there; `host` names who is at its other end.
    pub(super) async fn exchange_over(
        &self,
        socket: Socket,
        peer: Peer,
        host: &str,
        request: &[u8],
    ) -> Result<Response, Error> {
        let connection = Connection::over(socket, peer);
        let outcome = self.attempt(connection, host, request, false).await;
        outcome.map_err(|broken| broken.error)
    }

    async fn attempt(
        &self,
        mut connection: Connection,
        host: &str,
        request: &[u8],
        is_head: bool,
    ) -> Result<Response, Broken> {
        let socket = connection.socket();
        socket.set_deadline(self.head_timeout.get(), DeadlineKind::Active);
        if let Err(error) = connection.send_all(request).await {
            return Err(broken(host, error, connection.is_reused()));
        }
        let (head, rest) = receive_head(&mut connection, host, is_head).await?;
        connection.socket().clear_deadline();
        let host = host.to_owned();
        Ok(Response::new(
            host,
            head,
            connection,
            rest,
            self.progress_timeout.get(),
        ))
    }
}

/// Receives up to the end of the final head; returns it and what came after it.
async fn receive_head(
    connection: &mut Connection,
    host: &str,
    is_head: bool,
) -> Result<(Head, Vec<u8>), Broken> {
    let wrong = |what| Broken {
        error: Error::Protocol {
            host: host.to_owned(),
            what,
        },
        is_silent: false,
    };
    let mut buf = Vec::with_capacity(HEAD_BUFFER_BYTES);
    let mut is_silent = connection.is_reused();
    let mut interim_count = 0;
    // Bytes in which no head ends, so that each is looked at once.
    let mut seen = 0;
    loop {
        while let Some(end) = memmem::find(&buf[seen..], b"\r\n\r\n") {
            seen += end + 4;
            let Some((head, length)) = head::parse(&buf, is_head).map_err(wrong)? else {
                continue;
            };
            buf.drain(..length);
            seen = 0;
            if head.status >= 200 {
                return Ok((head, buf));
            }
            interim_count += 1;
            if head.status == 101 || interim_count > INTERIM_RESPONSES_MAX {
                return Err(wrong("interim responses that were not asked for"));
            }
        }
        seen = seen.max(buf.len().saturating_sub(3));
        if buf.len() >= RESPONSE_HEAD_BYTES_MAX {
            return Err(wrong("response head too long"));
        }
        if buf.len() == buf.capacity() {
            buf.reserve(HEAD_BUFFER_BYTES);
        }
        let (outcome, received) = connection.recv_by_deadline(buf).await;
        buf = received;
        match outcome {
            Ok(0) if buf.is_empty() => {
                let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(broken(host, error, is_silent));
            }
            Ok(0) => return Err(wrong("response head cut short")),
            Ok(_) => is_silent = false,
            Err(error) => return Err(broken(host, error, is_silent)),
        }
    }
}

fn broken(host: &str, error: io::Error, is_silent: bool) -> Broken {
    let host = host.to_owned();
    let is_late = error.kind() == io::ErrorKind::TimedOut;
    let error = if is_late {
        let phase = Phase::Head;
        Error::TimedOut { host, phase }
    } else if trust::is_about_tls(&error) {
        // Whether our certificate will do is told after the handshake (RFC 8446 §4.4.2.4).
        Error::Tls {
            host,
            source: error,
        }
    } else {
        Error::Unreachable {
            host,
            source: error,
        }
    };
    Broken {
        error,
        is_silent: is_silent && !is_late,
    }
}

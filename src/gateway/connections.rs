//! Bounds of connections: how many there may be, and how long one may keep its place for nothing.
//!
//! hyper bounds what it reads once it knows which HTTP a client speaks. What lies before and beside that is bounded
//! here: a client that never says so much, and one that does not take what it asked for.
//!
//! Invariant: each connection has a place from before its handshake until it is closed.

use std::collections::HashMap;
use std::future::Future;
use std::io::{self, Error, ErrorKind};
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// Most connections.
const CONNECTIONS_MAX: usize = 16 * 1024;
/// What tells one HTTP from another (RFC 9113 §3.4).
const FIRST_BYTES: usize = 24;

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Until it has said which HTTP it speaks.
    first: Duration,
    /// While it takes nothing of what is sent.
    stall: Duration,
}

const PATIENCE: Patience = Patience {
    first: Duration::from_secs(30),
    stall: Duration::from_secs(300),
};

/// Who is connected.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    most_of_one: usize,
    /// Many clients come from each of these.
    proxies: Vec<IpNet>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    of: HashMap<IpAddr, usize>,
    /// Whether somebody was turned away since there was last room.
    is_told: bool,
}

impl Connections {
    /// Returns room for as many as `open_files` allow: half of these, as each may need one to the backend. An address
    /// that is no proxy's has a quarter.
    pub(super) fn new(open_files: usize, proxies: Vec<IpNet>) -> Arc<Self> {
        let most = (open_files / 2).clamp(1, CONNECTIONS_MAX);
        Arc::new(Self {
            most,
            most_of_one: (most / 4).max(1),
            proxies,
            open: Mutex::default(),
        })
    }

    /// Returns a place for a client of this address, if there is one.
    fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let peer = host(peer);
        let is_proxy = self.proxies.iter().any(|network| network.contains(&peer));
        let most_of_one = if is_proxy {
            self.most
        } else {
            self.most_of_one
        };
        let mut open = self.open.lock();
        let own = open.of.get(&peer).copied().unwrap_or(0);
        if open.all >= self.most || own >= most_of_one {
            if !std::mem::replace(&mut open.is_told, true) {
                let all = open.all;
                tracing::warn!(%peer, own, all, "too many connections: new ones are closed");
            }
            return None;
        }
        open.all += 1;
        open.of.insert(peer, own + 1);
        Some(Place {
            connections: Arc::clone(self),
            peer,
        })
    }
}

/// Returns whom an address stands for: of IPv6 the network, as each host has many addresses there.
pub(super) fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

/// A connection's place, free again when it is dropped.
#[derive(Debug)]
struct Place {
    connections: Arc<Connections>,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.all -= 1;
        // Not at the first place that is free: it would be told with each connection that comes and goes.
        open.is_told &= open.all > self.connections.most / 2;
        if let Some(own) = open.of.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                open.of.remove(&self.peer);
            }
        }
    }
}

/// Accepts as `A` does, within bounds.
#[derive(Clone, Debug)]
pub(super) struct Bounded<A> {
    inner: A,
    connections: Arc<Connections>,
}

impl<A> Bounded<A> {
    pub(super) const fn new(inner: A, connections: Arc<Connections>) -> Self {
        Self { inner, connections }
    }
}

type Accepted<T, S> = Pin<Box<dyn Future<Output = io::Result<(T, S)>> + Send>>;

impl<A, S> Accept<TcpStream, S> for Bounded<A>
where
    A: Accept<TcpStream, S>,
    A::Future: Send + 'static,
    A::Stream: 'static,
    A::Service: 'static,
{
    type Stream = Kept<A::Stream>;
    type Service = A::Service;
    type Future = Accepted<Self::Stream, A::Service>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // Small answers are not held back for more to come.
        let opened = stream.set_nodelay(true).and_then(|()| stream.peer_addr());
        let place = opened.and_then(|peer| {
            let full = || Error::from(ErrorKind::QuotaExceeded);
            self.connections.enter(peer.ip()).ok_or_else(full)
        });
        match place {
            Err(error) => Box::pin(async move { Err(error) }),
            Ok(place) => {
                let accepted = self.inner.accept(stream, service);
                Box::pin(async move {
                    let (inner, service) = accepted.await?;
                    Ok((Kept::new(inner, place, PATIENCE), service))
                })
            }
        }
    }
}

/// A connection that does not wait for ever.
#[derive(Debug)]
pub(super) struct Kept<T> {
    inner: T,
    patience: Patience,
    /// When the client must have begun; `None` once it has.
    first: Option<Pin<Box<Sleep>>>,
    read_bytes: usize,
    /// When a client that takes nothing has done so for too long; `None` while it takes.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl<T> Kept<T> {
    fn new(inner: T, place: Place, patience: Patience) -> Self {
        Self {
            inner,
            patience,
            first: Some(Box::pin(sleep(patience.first))),
            read_bytes: 0,
            stalled: None,
            _place: place,
        }
    }

    /// Returns what came of writing, or an end for whoever has taken nothing for too long.
    fn written<R>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        // Who is answered has said enough.
        self.first = None;
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let new = || Box::pin(sleep(self.patience.stall));
        let stalled = self.stalled.get_or_insert_with(new);
        ready!(stalled.as_mut().poll(cx));
        // Asked once more it would wait again.
        stalled.as_mut().reset(Instant::now());
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Kept<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if let Some(first) = &mut self.first {
            let late = first.as_mut().poll(cx).is_ready();
            let more = buffer.filled().len().saturating_sub(before);
            self.read_bytes += more;
            if self.read_bytes >= FIRST_BYTES {
                self.first = None;
            } else if late {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Kept<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes before there is anything: that says nothing of the client.
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        if flushed.is_ready() {
            return flushed;
        }
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.written(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn connections() -> Arc<Connections> {
        Connections::new(32, vec!["10.0.0.0/8".parse().unwrap()])
    }

    #[test]
    fn one_address_has_its_share_and_a_proxy_what_there_is() {
        let connections = connections();
        let enter = |text: &str| connections.enter(address(text));
        let mut places: Vec<_> = (0..4).map(|_| enter("192.0.2.1").unwrap()).collect();
        assert!(enter("192.0.2.1").is_none());
        assert!(
            enter("::ffff:192.0.2.1").is_none(),
            "the same by another name"
        );
        places.extend((0..4).map(|n| enter(&format!("2001:db8::{n}")).unwrap()));
        assert!(enter("2001:db8::5").is_none(), "one network is one client");
        places.extend((0..8).map(|_| enter("10.1.2.3").unwrap()));
        assert!(enter("192.0.2.2").is_none(), "full");
        drop(places);
        assert!(enter("192.0.2.1").is_some());
        assert!(connections.open.lock().of.is_empty());
    }

    type Ends = (Kept<tokio::io::DuplexStream>, tokio::io::DuplexStream);

    fn kept(first: Duration, stall: Duration) -> Ends {
        let (own, client) = duplex(16);
        let place = connections().enter(address("192.0.2.1")).unwrap();
        (Kept::new(own, place, Patience { first, stall }), client)
    }

    const SOON: Duration = Duration::from_millis(10);
    const NEVER: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn who_never_says_which_http_it_speaks_is_let_go() {
        for said in ["", "P", "PRI * HTTP/2.0"] {
            let (mut own, mut client) = kept(SOON, NEVER);
            client.write_all(said.as_bytes()).await.unwrap();
            let error = own.read_exact(&mut [0; 24]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{said}");
        }
    }

    #[tokio::test]
    async fn who_has_said_so_or_is_answered_may_rest() {
        let (mut own, mut client) = kept(NEVER, NEVER);
        let said = async { client.write_all(&[0; FIRST_BYTES]).await.unwrap() };
        let read = async { own.read_exact(&mut [0; FIRST_BYTES]).await.unwrap() };
        tokio::join!(said, read);
        assert!(own.first.is_none());
        let (mut own, _client) = kept(NEVER, NEVER);
        own.flush().await.unwrap();
        assert!(own.first.is_some(), "nothing was written");
        own.write_all(b"HTTP/1.0 200").await.unwrap();
        assert!(own.first.is_none());
    }

    #[tokio::test]
    async fn who_takes_nothing_is_let_go_and_who_takes_something_is_waited_for_anew() {
        let (mut own, mut client) = kept(NEVER, NEVER);
        own.write_all(&[0; 16]).await.unwrap();
        let full = tokio::time::timeout(SOON, own.write_u8(0)).await;
        assert!(full.is_err() && own.stalled.is_some());
        client.read_u8().await.unwrap();
        own.write_u8(0).await.unwrap();
        assert!(own.stalled.is_none());
        let (mut own, _client) = kept(NEVER, SOON);
        let error = own.write_all(&[0; 48]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}

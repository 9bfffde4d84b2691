//! Listening sockets: one a core, on one address.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::{Pin, pin};
use std::task::Poll;

use monoio::io::Canceller;
use socket2::{Domain, Protocol, SockRef, Socket as Socket2, Type};

use super::{ListenAddr, Socket, Tier};

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds `count` sockets to one address, so that the kernel spreads connections over them.
///
/// Returns them with the address they got, of which the port is chosen by the kernel if it was 0.
///
/// # Errors
/// The kernel's: in use (also by another process that would share it), not permitted, no such address.
pub fn bind(addr: ListenAddr, count: usize) -> io::Result<(Vec<StdListener>, SocketAddr)> {
    let probe = match claim(addr.socket_addr()) {
        Err(error) if is_without_ipv6(&error) => match addr.without_ipv6() {
            Some(v4) => claim(v4)?,
            None => return Err(error),
        },
        outcome => outcome?,
    };
    let bound = probe
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    drop(probe);
    let listeners = (0..count)
        .map(|_| bind_one(bound))
        .collect::<io::Result<_>>()?;
    Ok((listeners, bound))
}

/// Binds a socket that shares its address with nobody: a second process that is started by mistake is
/// told so here, where `SO_REUSEPORT` would quietly give it half of the connections.
fn claim(addr: SocketAddr) -> io::Result<Socket2> {
    let socket = Socket2::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

fn bind_one(addr: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket2::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds `count` more sockets to an address that others of this kind, of the same user, are bound to.
///
/// # Errors
/// The kernel's.
pub fn bind_more(addr: SocketAddr, count: usize) -> io::Result<Vec<StdListener>> {
    (0..count).map(|_| bind_one(addr)).collect()
}

/// Spreads sockets of one address, that were bound by somebody else, over `count` cores: each core gets one at
/// least, and each socket a core at least, so that no connection waits where nobody looks.
///
/// # Errors
/// The kernel's, of a socket that is of no use.
pub fn spread_over(sockets: Vec<StdListener>, count: usize) -> io::Result<Vec<Vec<StdListener>>> {
    let mut cores: Vec<Vec<StdListener>> = (0..count).map(|_| Vec::new()).collect();
    // Cores that share a socket take connections as they come.
    let lacking = cores.iter_mut().skip(sockets.len());
    for (core, shared) in lacking.zip(sockets.iter().cycle()) {
        core.push(shared.try_clone()?);
    }
    for (index, socket) in sockets.into_iter().enumerate() {
        SockRef::from(&socket).set_tcp_nodelay(true)?;
        cores[index % count].push(socket);
    }
    Ok(cores)
}

/// A listening socket on a core.
#[derive(Debug)]
pub struct Listener {
    inner: monoio::net::TcpListener,
}

impl Listener {
    /// Takes a bound socket onto this core.
    ///
    /// # Errors
    /// The kernel's, on registering it with epoll.
    pub fn adopt(listener: StdListener, tier: &Tier) -> io::Result<Self> {
        // io_uring before 5.19 fails an accept on a non-blocking listener with EAGAIN; epoll needs one.
        listener.set_nonblocking(matches!(tier, Tier::Epoll { .. }))?;
        Ok(Self {
            inner: monoio::net::TcpListener::from_std(listener)?,
        })
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// The kernel's; `EMFILE` and the like pass, the caller waits and tries again.
    pub async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let (stream, peer) = self.inner.accept().await?;
        Ok((Socket::accepted(stream)?, peer))
    }

    /// As [`Listener::accept`], or `None` once `stop` is ready and no connection is there.
    ///
    /// A connection that comes at the very moment is returned, not lost: a client that was accepted by the kernel
    /// would see a reset otherwise. So it can be called after `stop` to take what still waits.
    pub async fn accept_unless(
        &self,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<io::Result<(Socket, SocketAddr)>> {
        let canceller = Canceller::new();
        let mut accepting = pin!(self.inner.cancelable_accept(canceller.handle()));
        let accepted = poll_fn(|context| {
            if let Poll::Ready(accepted) = accepting.as_mut().poll(context) {
                return Poll::Ready(Some(accepted));
            }
            stop.as_mut().poll(context).map(|()| None)
        });
        let accepted = match accepted.await {
            Some(accepted) => accepted,
            None => {
                canceller.cancel();
                Ok(accepting.await.ok()?)
            }
        };
        Some(accepted.and_then(|(stream, peer)| Ok((Socket::accepted(stream)?, peer))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_does_not_share_the_address_by_mistake() {
        let (first, bound) = bind(ListenAddr::loopback(0), 2).unwrap();
        assert_eq!(first.len(), 2);
        let again = bind(ListenAddr::loopback(bound.port()), 2).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        bind(ListenAddr::loopback(bound.port()), 1).unwrap();
    }
}

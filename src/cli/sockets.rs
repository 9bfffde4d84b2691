//! The sockets that the server listens on: bound here, by the service manager, or by the process before this one.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::handover::Bound;
use crate::rt::{self, ListenAddr};

/// What clients and operators connect to.
#[derive(Debug)]
pub(super) struct Sockets {
    /// One core's after another's.
    pub(super) clients: Vec<Vec<TcpListener>>,
    /// Where clients connect.
    pub(super) listen: SocketAddr,
    pub(super) admin: Option<TcpListener>,
}

/// Where sockets have come from that were not bound here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The process before this one. Its addresses may be others than ours.
    Predecessor,
    /// systemd: whatever its socket unit says counts.
    ServiceManager,
}

impl Sockets {
    /// Opens what clients and operators connect to, from what is there already as far as possible.
    ///
    /// # Errors
    /// The kernel's, with the key of the configuration that the address is from.
    pub(super) fn open(
        listen: ListenAddr,
        admin: Option<ListenAddr>,
        cores: usize,
        mut there: Bound,
        source: Source,
    ) -> io::Result<Self> {
        keep_fitting(&mut there.clients, Some(listen), source, "http.addr");
        keep_fitting(&mut there.admin, admin, source, "http.debug.addr");
        let (clients, listen) = match there.clients.first() {
            Some(first) => {
                let listen = first.local_addr()?;
                (rt::spread_over(there.clients, cores)?, listen)
            }
            None => {
                let (clients, bound) = bind(listen, cores, "http.addr")?;
                (clients.into_iter().map(|one| vec![one]).collect(), bound)
            }
        };
        let admin = match (there.admin.pop(), admin) {
            (Some(there), _) => Some(there),
            (None, Some(addr)) => bind(addr, 1, "http.debug.addr")?.0.pop(),
            (None, None) => None,
        };
        Ok(Self {
            clients,
            listen,
            admin,
        })
    }

    /// Returns the same sockets once more, for the process that comes after this one.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn again(&self) -> io::Result<Bound> {
        let clients = self.clients.iter().flatten();
        Ok(Bound {
            clients: clients
                .map(TcpListener::try_clone)
                .collect::<io::Result<_>>()?,
            admin: self
                .admin
                .iter()
                .map(TcpListener::try_clone)
                .collect::<io::Result<_>>()?,
        })
    }
}

/// Lets go of sockets that the configuration does not mean. The service manager's it does mean: an operator who wrote
/// a socket unit said there where to listen.
fn keep_fitting(
    there: &mut Vec<TcpListener>,
    wanted: Option<ListenAddr>,
    source: Source,
    key: &str,
) {
    let bound = |socket: &TcpListener| socket.local_addr().ok();
    let fits = |socket: &TcpListener| {
        wanted.is_some_and(|wanted| bound(socket).is_some_and(|at| wanted.is_bound_as(at)))
    };
    match source {
        Source::Predecessor => there.retain(fits),
        Source::ServiceManager => {
            for socket in there.iter().filter(|socket| !fits(socket)) {
                let listen = bound(socket).map(|at| at.to_string());
                let configured = wanted.map(|wanted| wanted.to_string());
                tracing::info!(
                    listen,
                    key,
                    configured,
                    "the service manager's socket counts"
                );
            }
        }
    }
}

/// Binds `count` sockets to an address that `key` of the configuration gave.
fn bind(addr: ListenAddr, count: usize, key: &str) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    rt::bind(addr, count)
        .map_err(|e| io::Error::new(e.kind(), format!("{key}: cannot listen on {addr}: {e}")))
}

/// Returns the service manager's sockets: those named `admin` are for operators, all others for clients.
///
/// # Errors
/// The service manager's, see [`rt::activated`].
pub(super) fn activated() -> io::Result<Bound> {
    let mut bound = Bound::default();
    for (name, socket) in rt::activated()? {
        match name.as_str() {
            "admin" => bound.admin.push(socket),
            _ => bound.clients.push(socket),
        }
    }
    Ok(bound)
}

//! The sockets that the server listens on: bound here, by the service manager, or by the process before this one.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener};

use super::handover::{Bound, ChosenBy};
use crate::rt::{self, ListenAddr};

/// What clients and operators connect to.
#[derive(Debug)]
pub(super) struct Sockets {
    /// One core's after another's.
    pub(super) clients: Vec<Vec<TcpListener>>,
    /// Where clients connect.
    pub(super) listen: SocketAddr,
    pub(super) admin: Option<TcpListener>,
    chosen_by: ChosenBy,
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
    ) -> io::Result<Self> {
        let chosen_by = there.chosen_by;
        keep_fitting(&mut there.clients, Some(listen), chosen_by, "http.addr");
        keep_fitting(&mut there.admin, admin, chosen_by, "http.debug.addr");
        let (clients, listen) = match there.clients.first() {
            Some(first) => {
                let listen = first.local_addr()?;
                let lacking = cores.saturating_sub(there.clients.len());
                if there.chosen_by == ChosenBy::Configuration {
                    there.clients.extend(rt::bind_more(listen, lacking)?);
                }
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
            chosen_by,
        })
    }

    /// Returns the same sockets once more, for the process that comes after this one.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn again(&self) -> io::Result<Bound> {
        let (mut seen, mut clients) = (HashSet::new(), Vec::new());
        for socket in self.clients.iter().flatten() {
            // Cores may share one.
            if seen.insert(rustix::fs::fstat(socket)?.st_ino) {
                clients.push(socket.try_clone()?);
            }
        }
        Ok(Bound {
            chosen_by: self.chosen_by,
            clients,
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
    chosen_by: ChosenBy,
    key: &str,
) {
    let bound = |socket: &TcpListener| socket.local_addr().ok();
    let fits = |socket: &TcpListener| {
        wanted.is_some_and(|wanted| bound(socket).is_some_and(|at| wanted.is_bound_as(at)))
    };
    match chosen_by {
        ChosenBy::Configuration => there.retain(fits),
        ChosenBy::ServiceManager => {
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
    let mut bound = Bound {
        chosen_by: ChosenBy::ServiceManager,
        ..Bound::default()
    };
    for (name, socket) in rt::activated()? {
        match name.as_str() {
            "admin" => bound.admin.push(socket),
            _ => bound.clients.push(socket),
        }
    }
    Ok(bound)
}

//! The sockets that the server listens on.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::rt;

/// Binds `count` sockets to an address that `key` of the configuration gave.
///
/// # Errors
/// The kernel's, with the key.
pub(super) fn bind(
    addr: rt::ListenAddr,
    count: usize,
    key: &str,
) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    rt::bind(addr, count)
        .map_err(|e| io::Error::new(e.kind(), format!("{key}: cannot listen on {addr}: {e}")))
}

//! Names to addresses, off the serving threads.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use super::blocking;

/// Returns every address of `host`, in the system resolver's order; never empty.
///
/// An address literal costs nothing; a name costs a `getaddrinfo` on a helper thread.
///
/// # Errors
/// The resolver's, or `NotFound` when the name has no address.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let name = host.to_owned();
    let found = blocking(move || (name.as_str(), port).to_socket_addrs()).await??;
    let addresses: Vec<_> = found.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(addresses)
}

//! Two ends of one TCP connection, both of this process: one to keep, one to give away.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// Returns both ends of a new connection over loopback. Nobody else can come in between: who else connects to the
/// port, which is open for a moment, is found by its address and sent away.
///
/// May block for as long as that takes.
///
/// # Errors
/// The kernel's.
pub fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let own = ours.local_addr()?;
    loop {
        let (theirs, peer) = listener.accept()?;
        if peer == own {
            ours.set_nodelay(true)?;
            theirs.set_nodelay(true)?;
            return Ok((ours, theirs));
        }
    }
}

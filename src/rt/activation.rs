//! Sockets that the service manager has bound (systemd's socket activation, sd_listen_fds(3)).

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{SockRef, Type};

use super::sys;

/// Returns the listening sockets that this process was started with, each with its name (`FileDescriptorName=`).
/// A second call returns none.
///
/// # Errors
/// The service manager's: variables that do not fit together, or a descriptor that is no listening TCP socket.
pub fn activated() -> io::Result<Vec<(String, TcpListener)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    sd_notify::listen_fds_with_names()?
        .map(|(descriptor, name)| {
            let descriptor = sys::own_inherited(descriptor);
            let socket = SockRef::from(&descriptor);
            let is_listening = socket.is_listener().unwrap_or(false);
            if !is_listening || socket.r#type()? != Type::STREAM {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("the service manager's socket {name} is no listening TCP socket"),
                ));
            }
            Ok((name, TcpListener::from(descriptor)))
        })
        .collect()
}

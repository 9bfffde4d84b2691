//! The side of the process that runs.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::channel::{self, DESCRIPTORS_MAX};
use super::{Bound, GO, Offer, READY, VARIABLE};

/// How long the next process may take until it serves. It reads its configuration, its certificates and its index.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What is said of a process that has gone.
const GONE: &str = "it ended before it was ready";

/// What is needed to start the next process.
#[derive(Debug)]
pub(in crate::cli) struct Giving {
    program: PathBuf,
    arguments: Vec<OsString>,
    bound: Bound,
}

/// A process that has taken over.
#[derive(Debug)]
pub(in crate::cli) struct Heir {
    /// Its process id.
    pub(in crate::cli) id: u32,
    /// Closed when this process ends, whatever ends it: that tells the other.
    channel: OwnedFd,
}

impl Heir {
    /// Has it take connections. If it has gone meanwhile, nobody does.
    pub(in crate::cli) fn let_go(&self) {
        if let Err(error) = channel::send(&self.channel, GO, &[]) {
            tracing::error!(%error, "the process that took over has ended");
        }
    }
}

impl Giving {
    /// Returns what starts the program that lies where this one was started from, with the same arguments.
    ///
    /// The sockets of `bound` stay open as long as it exists.
    ///
    /// # Errors
    /// When the kernel does not tell where the program lies.
    pub(in crate::cli) fn new(bound: Bound) -> io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            arguments: std::env::args_os().skip(1).collect(),
            bound,
        })
    }

    /// Starts the next process, gives it the sockets, and waits until it could serve. Blocks for as long as that takes,
    /// a minute at most.
    ///
    /// - `ask_at`: where it may ask for what is on its way here, and to those before this process.
    ///
    /// # Errors
    /// Why it does not serve; it is not there any more then.
    pub(in crate::cli) fn start(&self, ask_at: Vec<String>) -> io::Result<Heir> {
        let (ours, theirs) = channel::pair()?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env(VARIABLE, std::process::id().to_string())
            // Those were for this process alone; systemd takes the watchdog's word from the main one.
            .env_remove("WATCHDOG_PID")
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .stdin(Stdio::from(theirs))
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.program.display())))?;
        match self.give(&ours, ask_at) {
            Ok(()) => Ok(Heir {
                id: child.id(),
                channel: ours,
            }),
            Err(error) => Err(end(&mut child, error)),
        }
    }

    fn give(&self, channel: &OwnedFd, ask_at: Vec<String>) -> io::Result<()> {
        let offer = Offer {
            clients: self.bound.clients.len(),
            admin: self.bound.admin.len(),
            ask_at,
        };
        let offer = serde_json::to_vec(&offer)?;
        let sockets = self.bound.clients.iter().chain(&self.bound.admin);
        let descriptors: Vec<BorrowedFd<'_>> = sockets.map(TcpListener::as_fd).collect();
        let mut parts = descriptors.chunks(DESCRIPTORS_MAX);
        channel::send(channel, &offer, parts.next().unwrap_or_default())?;
        for part in parts {
            channel::send(channel, b"more", part)?;
        }
        set_socket_timeout(channel, Timeout::Recv, Some(READY_WITHIN))?;
        let (answer, _) = channel::receive(channel).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it was not ready within {} s", READY_WITHIN.as_secs()),
            ),
            // It never read what was sent.
            io::ErrorKind::ConnectionReset => io::Error::other(GONE),
            _ => error,
        })?;
        match answer.as_slice() {
            READY => Ok(()),
            [] => Err(io::Error::other(GONE)),
            _ => Err(io::Error::other(
                "it answered something that is not known here",
            )),
        }
    }
}

/// Makes sure that a process that did not get ready is gone; returns why, and how it ended.
fn end(child: &mut Child, why: io::Error) -> io::Error {
    let ended = match child.try_wait() {
        Ok(None) => child.kill().and_then(|()| child.wait()),
        Ok(Some(status)) => Ok(status),
        Err(error) => Err(error),
    };
    match ended {
        Ok(status) => io::Error::new(why.kind(), format!("{why}: {status}")),
        Err(_) => why,
    }
}

//! The side of the process that runs.

use std::ffi::OsString;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::channel::{self, DESCRIPTORS_MAX};
use super::{Bound, GO, Offer, READY, VARIABLE};

/// How long the next process may take until it serves. It reads its configuration, its certificates and its index.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What is said of a process that has gone.
const GONE: &str = "it ended before it was ready";

/// What is said of one that speaks otherwise than this one.
const STRANGE: &str = "it answered something that is not known here";

/// Where this process is the first one, all others end with it.
const FIRST: &str =
    "this is the first process of its container, which ends with it: replace the container instead";

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

    /// Waits for the next connection that it passes, and how far back it is for; `None` when it has ended.
    pub(in crate::cli) fn next(&self) -> Option<(usize, TcpStream)> {
        // Where that fails, it is asked for nothing for a minute, and then for nothing at all.
        let _ = set_socket_timeout(&self.channel, Timeout::Recv, None);
        loop {
            let (message, descriptors) = channel::receive(&self.channel).ok()?;
            let [back] = message.as_slice() else {
                return None;
            };
            if let Some(descriptor) = descriptors.into_iter().next() {
                return Some((usize::from(*back), TcpStream::from(descriptor)));
            }
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
            program: program()?,
            arguments: std::env::args_os().skip(1).collect(),
            bound,
        })
    }

    /// Starts the next process, gives it the sockets, and waits until it could serve. Blocks for as long as that takes,
    /// a minute at most.
    ///
    /// # Errors
    /// Why it does not serve; it is not there any more then.
    pub(in crate::cli) fn start(&self) -> io::Result<Heir> {
        if std::process::id() == 1 {
            return Err(io::Error::other(FIRST));
        }
        let (ours, theirs) = channel::pair()?;
        let mut launcher = Command::new(&self.program)
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
        let mut process = None;
        let given = self.give(&ours, &mut process);
        if given.is_err() {
            // It may have ended by itself. If it is another program it is not the one that starts another, but itself.
            drop(launcher.kill());
            if let Some(process) = process {
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
        }
        drop(launcher.wait());
        let id = given?;
        Ok(Heir { id, channel: ours })
    }

    /// - `process`: is set as soon as it is known who has to be ended if this fails.
    fn give(&self, channel: &OwnedFd, process: &mut Option<OwnedFd>) -> io::Result<u32> {
        set_socket_timeout(channel, Timeout::Recv, Some(READY_WITHIN))?;
        let id = told_id(channel)?;
        // By a descriptor: an id may be another's by the time that it is used.
        *process = pidfd_open(id, PidfdFlags::empty()).ok();
        let offer = Offer {
            clients: self.bound.clients.len(),
            admin: self.bound.admin.len(),
            chosen_by: self.bound.chosen_by,
        };
        let offer = serde_json::to_vec(&offer)?;
        let sockets = self.bound.clients.iter().chain(&self.bound.admin);
        let descriptors: Vec<BorrowedFd<'_>> = sockets.map(TcpListener::as_fd).collect();
        let mut parts = descriptors.chunks(DESCRIPTORS_MAX);
        channel::send(channel, &offer, parts.next().unwrap_or_default())?;
        for part in parts {
            channel::send(channel, b"more", part)?;
        }
        match hear(channel)?.as_str() {
            READY => Ok(id.as_raw_pid().cast_unsigned()),
            _ => Err(io::Error::other(STRANGE)),
        }
    }
}

/// Waits for the first word of the next process: its id.
fn told_id(channel: &OwnedFd) -> io::Result<Pid> {
    let id = hear(channel)?.parse().ok().and_then(Pid::from_raw);
    let id = id.filter(|id| !id.is_init());
    id.ok_or_else(|| io::Error::other(STRANGE))
}

/// Returns where this program was started from, links and all: what stands there by the time of an upgrade is what is
/// to run.
fn program() -> io::Result<PathBuf> {
    let named = std::env::args_os().next().map(PathBuf::from);
    match named.filter(|named| named.components().count() > 1) {
        Some(path) => std::path::absolute(path),
        // Found by the PATH of whoever started it.
        None => std::env::current_exe(),
    }
}

/// Waits for a word of the next process.
fn hear(channel: &OwnedFd) -> io::Result<String> {
    let heard = channel::receive(channel).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it was not ready within {} s", READY_WITHIN.as_secs()),
        ),
        // It never read what was sent.
        io::ErrorKind::ConnectionReset => io::Error::other(GONE),
        _ => error,
    });
    let (word, _) = heard?;
    if word.is_empty() {
        return Err(io::Error::other(GONE));
    }
    String::from_utf8(word).map_err(|_| io::Error::other(STRANGE))
}

//! The side of the process that runs.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{Pid, Signal, kill_process};

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
        if std::process::id() == 1 {
            return Err(io::Error::other(FIRST));
        }
        let (ours, theirs) = channel::pair()?;
        let told =
            |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", self.program.display()));
        let launched = Command::new(&self.program)
            .args(&self.arguments)
            .env(VARIABLE, std::process::id().to_string())
            // Those were for this process alone; systemd takes the watchdog's word from the main one.
            .env_remove("WATCHDOG_PID")
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .stdin(Stdio::from(theirs))
            .status();
        let launched = launched.map_err(told)?;
        if !launched.success() {
            return Err(io::Error::other(format!(
                "{}: {launched}",
                self.program.display()
            )));
        }
        let mut id = None;
        match self.give(&ours, ask_at, &mut id) {
            Ok(id) => Ok(Heir { id, channel: ours }),
            Err(error) => {
                if let Some(process) = id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
                    // It may have ended by itself.
                    let _ = kill_process(process, Signal::KILL);
                }
                Err(error)
            }
        }
    }

    /// - `id`: is set as soon as it is known whom there is to be ended if this fails.
    fn give(
        &self,
        channel: &OwnedFd,
        ask_at: Vec<String>,
        id: &mut Option<u32>,
    ) -> io::Result<u32> {
        set_socket_timeout(channel, Timeout::Recv, Some(READY_WITHIN))?;
        let process = told_id(channel)?;
        *id = Some(process);
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
        match hear(channel)?.as_str() {
            READY => Ok(process),
            _ => Err(io::Error::other(STRANGE)),
        }
    }
}

/// Waits for the first word of the next process: its id.
fn told_id(channel: &OwnedFd) -> io::Result<u32> {
    let id = hear(channel)?.parse().ok();
    id.filter(|id| *id > 1)
        .ok_or_else(|| io::Error::other(STRANGE))
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

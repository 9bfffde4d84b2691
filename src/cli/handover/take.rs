//! The side of the process that takes over.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Command;
use std::sync::Arc;

use rustix::net::sockopt::socket_peercred;
use rustix::process::Pid;

use super::channel;
use super::{BACK_MAX, Bound, GO, Offer, READY, VARIABLE};
use crate::rt;
use crate::upstream::{Passing, Predecessors};

/// Starts this very command once more, where this process was started only for that, and returns whether it could.
pub(in crate::cli) fn launch() -> Option<io::Result<()>> {
    let parent = rustix::process::getppid().map(Pid::as_raw_pid);
    let is_meant =
        named().is_some_and(|named| parent == Some(named)) && at_standard_input() == parent;
    is_meant.then(|| {
        rt::inherit_nothing()?;
        let program = std::env::current_exe()?;
        let arguments = std::env::args_os().skip(1);
        // Its standard input is ours. It is nobody's child when this process ends, as it does now.
        Command::new(program).args(arguments).spawn().map(drop)
    })
}

/// Returns the process that has had this one started to take over from it.
fn named() -> Option<i32> {
    std::env::var(VARIABLE).ok()?.parse().ok()
}

/// Returns the process that made the socket which is our standard input, if it is one.
fn at_standard_input() -> Option<i32> {
    let maker = socket_peercred(io::stdin()).ok()?;
    Some(maker.pid.as_raw_pid())
}

/// The process that this one takes over from.
#[derive(Debug)]
pub(in crate::cli) struct Predecessor(());

/// The way to the processes before this one.
#[derive(Debug)]
pub(in crate::cli) struct Way(());

impl Way {
    /// Passes on what the next process has for one before this one.
    ///
    /// # Errors
    /// When there is nobody.
    pub(in crate::cli) fn back(back: usize, connection: &TcpStream) -> io::Result<()> {
        let back = u8::try_from(back)
            .ok()
            .filter(|back| usize::from(*back) < BACK_MAX);
        let back = back.ok_or(io::ErrorKind::InvalidInput)?;
        channel::offer(io::stdin(), &[back], &[connection.as_fd()])
    }
}

impl Passing for Way {
    fn pass(&self, back: usize, connection: TcpStream) -> io::Result<()> {
        Self::back(back, &connection)
    }
}

impl Predecessor {
    /// Receives what a process hands over that started this one for that; `None` if none did.
    ///
    /// # Errors
    /// When what comes is not complete: the other goes on serving.
    pub(in crate::cli) fn receive() -> io::Result<Option<(Self, Bound)>> {
        if named().is_none_or(|named| at_standard_input() != Some(named)) {
            return Ok(None);
        }
        channel::send(io::stdin(), std::process::id().to_string().as_bytes(), &[])?;
        let (offer, mut descriptors) = channel::receive(io::stdin())?;
        let offer: Offer = serde_json::from_slice(&offer)?;
        while descriptors.len() < offer.clients.saturating_add(offer.admin) {
            let (message, more) = channel::receive(io::stdin())?;
            if message.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            descriptors.extend(more);
        }
        let mut sockets = descriptors
            .into_iter()
            .map(|one: OwnedFd| TcpListener::from(one));
        let bound = Bound {
            chosen_by: offer.chosen_by,
            clients: sockets.by_ref().take(offer.clients).collect(),
            admin: sockets.collect(),
        };
        Ok(Some((Self(()), bound)))
    }

    /// Returns the way to it, and to those before it.
    pub(in crate::cli) fn way(&self) -> Predecessors {
        Predecessors {
            count: BACK_MAX,
            passing: Arc::new(Way(())),
        }
    }

    /// Tells it that this process is ready, waits until it takes no more connections, and calls `left` when it has
    /// ended.
    ///
    /// # Errors
    /// When it ends before it says so: it was stopped, and so is this one then. When no thread can be started.
    pub(in crate::cli) fn relieve(self, left: impl FnOnce() + Send + 'static) -> io::Result<()> {
        channel::send(io::stdin(), READY.as_bytes(), &[])?;
        let (word, _) = channel::receive(io::stdin())?;
        if word != GO {
            return Err(io::Error::other(
                "the process before this one has ended, and not said that this one is to go on",
            ));
        }
        std::thread::Builder::new()
            .name("predecessor".to_owned())
            .spawn(move || {
                // It sends nothing more. Whatever comes, or fails, nobody is to be asked any more.
                drop(channel::receive(io::stdin()));
                left();
            })?;
        Ok(())
    }
}

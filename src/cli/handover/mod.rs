//! One process takes over from another while clients come and go: the upgrade without a gap.
//!
//! ```text
//!   the one that runs                                         the next one (the same command line, a new program)
//!   SIGUSR2 ─▶ start it, with one end of a socket pair as its standard input, by a process that ends at once
//!            ── listening sockets, where to ask for what is on its way ──▶ reads its configuration, opens the store
//!            ◀── "ready" ────────────────────────────────────────────────
//!   takes no more connections ── "go", or end of file ──▶ takes them, from the same sockets
//!   ends those that it has, gives the next one what is on its way
//!   ends ──── end of file ──▶ asks its predecessor no more
//! ```
//!
//! What starts the next process is a process of its own, which ends when it has: the next one is then a child of the
//! service manager, as this one was. One that is a child of somebody else systemd would not restart when it crashes.
//!
//! The sockets are the same ones, with the same queue of connections in the kernel, so none is refused or reset. The
//! next process asks its predecessor for blobs before it asks any next hop (`upstream`), so nothing is fetched twice.
//! If it does not get ready, the one that runs goes on as if nothing had happened.

mod channel;
mod give;
mod take;

use std::net::TcpListener;

use serde::{Deserialize, Serialize};

pub(in crate::cli) use give::{Giving, Heir};
pub(in crate::cli) use take::{Predecessor, launch};

/// Names the process that has this one started to take over from it: its id. Whoever's standard input is no socket of
/// that process ignores it.
const VARIABLE: &str = "TRANSSHIP_PREDECESSOR";

/// What the next process sends when it could serve, behind its id.
const READY: &str = "ready";
/// What it is told when it shall. Two that took connections at once would fetch what both are asked for.
const GO: &[u8] = b"go";

/// What is handed over, along with the sockets themselves: first those of clients, then that of the admin address.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    /// How many sockets clients connect to.
    clients: usize,
    /// How many sockets operators connect to.
    admin: usize,
    /// Where to ask for blobs that are on their way, the last process first: secrets.
    ask_at: Vec<String>,
}

/// Sockets that somebody else has bound, by what they are for.
#[derive(Debug, Default)]
pub(in crate::cli) struct Bound {
    pub(super) clients: Vec<TcpListener>,
    pub(super) admin: Vec<TcpListener>,
}

#[cfg(test)]
mod tests;

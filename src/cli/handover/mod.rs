//! One process takes over from another while clients come and go: the upgrade without a gap.
//!
//! ```text
//!   the one that runs                                         the next one (the same command line, a new program)
//!   SIGUSR2 ─▶ start it, with one end of a socket pair as its standard input, by a process that ends at once
//!            ◀── its process id ──────────────────────────────────────────
//!            ── listening sockets ──▶ reads its configuration, opens the store
//!            ◀── "ready" ────────────────────────────────────────────────
//!   takes no more connections ── "go" ──▶ takes them, from the same sockets
//!   ends those that it has            ◀── connections, each a place to ask for a blob that is on its way
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
pub(in crate::cli) use take::{Predecessor, Way, launch};

/// Names the process that has this one started to take over from it: its id. Whoever's standard input is no socket of
/// that process ignores it.
const VARIABLE: &str = "TRANSSHIP_PREDECESSOR";

/// What the next process sends when it could serve, behind its id.
const READY: &str = "ready";
/// What it is told when it shall. Two that took connections at once would fetch what both are asked for.
const GO: &[u8] = b"go";

/// Longest way back that a connection is passed: more than so many processes, each with its fills, means that upgrades
/// follow each other faster than any fill ends.
pub(in crate::cli) const BACK_MAX: usize = 4;

/// What is handed over, along with the sockets themselves: first those of clients, then that of the admin address.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    /// How many sockets clients connect to.
    clients: usize,
    /// How many sockets operators connect to.
    admin: usize,
    chosen_by: ChosenBy,
}

/// Whose word on where to listen counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) enum ChosenBy {
    /// The configuration's: sockets of other addresses are let go of.
    #[default]
    Configuration,
    /// The service manager's, which has bound them.
    ServiceManager,
}

/// Sockets that somebody else has bound, by what they are for.
#[derive(Debug, Default)]
pub(in crate::cli) struct Bound {
    pub(in crate::cli) chosen_by: ChosenBy,
    pub(super) clients: Vec<TcpListener>,
    pub(super) admin: Vec<TcpListener>,
}

#[cfg(test)]
mod tests;

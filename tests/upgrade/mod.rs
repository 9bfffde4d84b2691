//! One process takes over from another while clients pull: nobody notices, and nothing is fetched twice.

mod activation;
mod faults;
mod flight;
mod load;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use rustix::process::Signal;

use crate::support::process::until;
use crate::support::{Rig, Transship};

/// Environment that makes monoio use epoll.
const EPOLL: (&str, &str) = ("MONOIO_FORCE_LEGACY_DRIVER", "1");

/// A transship that is upgraded now and then.
struct Line<'t> {
    transship: &'t mut Transship,
    /// Process ids, the first one's first.
    ids: Vec<u32>,
}

impl<'t> Line<'t> {
    fn new(transship: &'t mut Transship) -> Self {
        let ids = vec![transship.process.id()];
        Self { transship, ids }
    }

    /// As [`Line::new`], where another process was told to take over.
    fn after_order(transship: &'t mut Transship) -> Self {
        let mut line = Self::new(transship);
        line.until_taken_over();
        line
    }

    /// Has another process take over; returns when it serves and the one before it leaves.
    fn upgrade(&mut self) {
        self.transship.process.signal_last(Signal::USR2);
        self.until_taken_over();
    }

    fn until_taken_over(&mut self) {
        let count = self.ids.len();
        let line = self.transship.process.line(nth(count, "has taken over"));
        let line = line.unwrap_or_else(|log| panic!("nobody took over:\n{log}"));
        let id: u32 = line
            .split("successor=")
            .nth(1)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        self.transship.process.adopt(i32::try_from(id).unwrap());
        self.ids.push(id);
    }

    /// Waits until all processes but the last one have ended.
    fn until_alone(&self) {
        for id in &self.ids[..self.ids.len() - 1] {
            until(&format!("process {id} ends"), || has_ended(*id));
        }
    }
}

/// Accepts the n-th line that holds `text`, from 1.
fn nth(count: usize, text: &'static str) -> impl Fn(&str) -> bool {
    let left = std::cell::Cell::new(count);
    move |line: &str| {
        if line.contains(text) {
            left.set(left.get() - 1);
        }
        left.get() == 0
    }
}

/// Says whether a process has ended, though nobody may have asked how.
fn has_ended(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"));
    stat.map_or(true, |stat| {
        let state = stat.rsplit(") ").next().unwrap_or_default();
        state.starts_with('Z') || state.starts_with('X')
    })
}

/// The addresses of this host that a process listens on.
fn listens_on(id: u32) -> Vec<SocketAddr> {
    let inodes = socket_inodes(id);
    let table = fs::read_to_string(format!("/proc/{id}/net/tcp")).unwrap();
    let rows = table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    let found = rows.filter(|row| row[3] == "0A" && inodes.iter().any(|inode| inode == row[9]));
    let port = |row: &Vec<&str>| u16::from_str_radix(row[1].split(':').nth(1).unwrap(), 16);
    found
        .map(|row| SocketAddr::from(([127, 0, 0, 1], port(&row).unwrap())))
        .collect()
}

/// The sockets that a process has, by their inodes.
fn socket_inodes(id: u32) -> Vec<String> {
    fs::read_dir(format!("/proc/{id}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(socket_inode(&link)?.to_owned()))
        .collect()
}

fn socket_inode(link: &Path) -> Option<&str> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')
}

/// A rig of either runtime whose drain lasts long enough for any machine.
fn patient(epoll: bool) -> Rig {
    let origin = crate::support::Origin::start();
    let options = Transship::behind(&[origin.url()], "").env("RUST_BACKTRACE", "1");
    let options = options.env("REGISTRY_HTTP_DRAINTIMEOUT", "100s");
    let options = if epoll {
        options.env(EPOLL.0, EPOLL.1)
    } else {
        options
    };
    Rig {
        transship: options.start(),
        origin,
    }
}

//! The kernel's settings, in one table that `tuning/90-transship.conf` is written from.

use super::host::Host;
use super::{Finding, State};

/// What a value has to be.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// The number in this place (from 0) is no smaller.
    AtLeast(usize, u64),
    /// The two numbers are so far apart.
    Apart(u64),
    /// Just this; a kernel that does not have the setting is well.
    Is(u64),
    /// Anything.
    Any,
}

/// A setting below `/proc/sys`.
struct Sysctl {
    name: &'static str,
    wanted: Wanted,
    /// What the file of settings sets it to.
    set: Option<&'static str>,
    reason: &'static str,
    source: &'static str,
}

const SYSCTLS: [Sysctl; 12] = [
    Sysctl {
        name: "net.core.somaxconn",
        wanted: Wanted::AtLeast(0, 4096),
        set: Some("4096"),
        reason: "transship asks for room for 4096 connections that wait to be accepted, and the kernel cuts that to \
                 this without a word: what comes beyond it in a burst is dropped, and tried again after a second",
        source: "listen(2)",
    },
    Sysctl {
        name: "net.ipv4.tcp_max_syn_backlog",
        wanted: Wanted::AtLeast(0, 4096),
        set: Some("4096"),
        reason: "half-open connections that are remembered where SYN cookies are off; with them on it bounds nothing \
                 below somaxconn",
        source: "kernel: networking/ip-sysctl",
    },
    Sysctl {
        name: "net.ipv4.ip_local_port_range",
        wanted: Wanted::Apart(16_384),
        set: None,
        reason: "each connection to a next hop takes a port, and one that was closed from here keeps it for a minute",
        source: "kernel: networking/ip-sysctl",
    },
    Sysctl {
        name: "net.ipv4.tcp_rmem",
        wanted: Wanted::AtLeast(2, 33_554_432),
        set: Some("4096 131072 33554432"),
        reason: "a connection from a far registry brings at most about half of the last number each round trip: with \
                 the kernel's 6 MiB some 170 Mbit/s at 150 ms, with 32 MiB some 900. Taken only by connections that \
                 need it",
        source: "tcp(7), and arithmetic",
    },
    Sysctl {
        name: "net.ipv4.tcp_wmem",
        wanted: Wanted::AtLeast(2, 4_194_304),
        set: None,
        reason: "what is on its way to one client: the kernel's own 4 MiB are some 30 Gbit/s at 1 ms, and a cache is \
                 near its clients",
        source: "tcp(7), and arithmetic",
    },
    Sysctl {
        name: "net.ipv4.tcp_slow_start_after_idle",
        wanted: Wanted::Is(0),
        set: Some("0"),
        reason: "connections to next hops are kept; with 1 each begins at ten packets a round trip again after it was \
                 idle, which a far registry makes slow",
        source: "kernel: networking/ip-sysctl; RFC 5681, 4.1",
    },
    Sysctl {
        name: "fs.file-max",
        wanted: Wanted::AtLeast(0, 2_097_152),
        set: None,
        reason: "open files of the whole host: a client is one, a blob that is being sent is one",
        source: "kernel: admin-guide/sysctl/fs",
    },
    Sysctl {
        name: "fs.nr_open",
        wanted: Wanted::AtLeast(0, 1_048_576),
        set: None,
        reason: "the most that LimitNOFILE= of the unit may be",
        source: "kernel: admin-guide/sysctl/fs",
    },
    Sysctl {
        name: "kernel.io_uring_disabled",
        wanted: Wanted::Is(0),
        set: Some("0"),
        reason: "without io_uring transship runs on epoll: 3 % more CPU for a small request, and a core that steps back by \
                 timers instead of completions",
        source: "measured: 4.91 against 4.75 µs of CPU for each small request on one core",
    },
    Sysctl {
        name: "vm.dirty_ratio",
        wanted: Wanted::Any,
        set: None,
        reason: "transship syncs what it has fetched every five seconds by itself, so little gathers",
        source: "docs/store.md",
    },
    Sysctl {
        name: "vm.dirty_background_ratio",
        wanted: Wanted::Any,
        set: None,
        reason: "likewise",
        source: "docs/store.md",
    },
    Sysctl {
        name: "net.ipv4.tcp_notsent_lowat",
        wanted: Wanted::Any,
        set: None,
        reason: "it keeps buffers small for those who change their mind about what to send; a blob does not change, \
                 and sendfile's bytes are pages of the cache that are there anyway",
        source: "tcp(7)",
    },
];

/// Returns what there is to say of each.
pub(super) fn findings(host: &Host) -> Vec<Finding> {
    SYSCTLS.iter().map(|sysctl| sysctl.finding(host)).collect()
}

impl Sysctl {
    fn finding(&self, host: &Host) -> Finding {
        let path = format!("proc/sys/{}", self.name.replace('.', "/"));
        let text = host.read(&path);
        let numbers: Option<Vec<u64>> = text
            .as_deref()
            .and_then(|text| text.split_whitespace().map(|n| n.parse().ok()).collect());
        Finding {
            name: self.name.to_owned(),
            here: text.map_or_else(|| "not there".to_owned(), |t| t.replace('\t', " ")),
            wanted: self.wanted.shown(),
            state: self.wanted.state(numbers.as_deref()),
            reason: self.reason,
            source: self.source,
            command: self
                .set
                .map(|value| format!("sysctl -w {}='{value}'", self.name)),
        }
    }
}

impl Wanted {
    fn shown(self) -> String {
        match self {
            Self::AtLeast(0, least) => format!("{least} or more"),
            Self::AtLeast(place, least) => format!("number {} {least} or more", place + 1),
            Self::Apart(least) => format!("{least} ports or more"),
            Self::Is(value) => value.to_string(),
            Self::Any => "anything".to_owned(),
        }
    }

    fn state(self, numbers: Option<&[u64]>) -> State {
        let holds = match (self, numbers) {
            (Self::Any, _) => return State::Indifferent,
            // Older kernels do not have what can be forbidden since.
            (Self::Is(_), None) => return State::Well,
            (_, None) => return State::Unknown,
            (Self::AtLeast(place, least), Some(numbers)) => {
                numbers.get(place).is_some_and(|&value| value >= least)
            }
            (Self::Apart(least), Some([low, high])) => high.saturating_sub(*low) >= least,
            (Self::Apart(_), Some(_)) => false,
            (Self::Is(value), Some(numbers)) => numbers == [value],
        };
        match holds {
            true => State::Well,
            false => State::Lacking,
        }
    }
}

/// Returns the text of `tuning/90-transship.conf`.
#[cfg(test)]
pub(super) fn file() -> String {
    let mut text = String::from(
        "# Kernel settings for a host whose main work is transship. Copy it to /etc/sysctl.d/, read it, then: sysctl --system.\n\
         # Written from src/cli/tune/sysctls.rs; a test tells when it is stale. `transship tune` says what this host lacks.\n",
    );
    for sysctl in &SYSCTLS {
        let Some(value) = sysctl.set else { continue };
        text += &format!("\n# {} [{}]\n", sysctl.reason, sysctl.source);
        // The minus: a kernel that does not have it is no failure.
        text += &format!("-{} = {value}\n", sysctl.name);
    }
    text
}

/// Returns the names of all.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SYSCTLS.iter().map(|sysctl| sysctl.name)
}

//! Who holds a lease: one process of one boot of one host, as a line that a human can read.
//!
//! ```text
//! transship lease 1 host=web1 boot=8f54…90f pids=4026531836 pid=123 start=4567 name=0f…9a counter=000000000042
//! ```
//!
//! `pids` is the namespace that `pid` means something in: two containers of one host may both be process 1.
//! `start` is when the process began, in ticks since the boot: a number that is used again is another process.
//! `name` is random, so that nobody takes another's line for its own. All but the counter stay the same.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::os::unix::fs::MetadataExt as _;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// What every line begins with.
const NAME: &str = "transship lease 1";
/// Most bytes of a host's name that are written.
const HOST_BYTES_MAX: usize = 64;

/// A process that shares a root directory with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    host: String,
    process: Process,
    name: u64,
}

/// What of it the kernel can be asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Empty where it is not known.
    pub(super) boot: String,
    /// 0 where it is not known.
    pub(super) pids: u64,
    pub(super) pid: i32,
    /// 0 where it is not known.
    pub(super) start: u64,
}

impl Identity {
    /// Returns a new name for this process.
    pub(super) fn of_this_process() -> Self {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Self::new(&host, Process::of(pid))
    }

    /// Returns a new name for `process` of `host`.
    pub(super) fn new(host: &str, process: Process) -> Self {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
        Self {
            host: host.chars().filter(is_plain).take(HOST_BYTES_MAX).collect(),
            process,
            name: RandomState::new().build_hasher().finish(),
        }
    }

    /// Returns the line with a counter. It is always of the same length.
    pub(super) fn line(&self, counter: u64) -> String {
        format!("{}{:012}\n", self.prefix(), counter % 1_000_000_000_000)
    }

    /// Returns the line up to the counter, which nobody else's line begins with.
    pub(super) fn prefix(&self) -> String {
        let Process {
            boot,
            pids,
            pid,
            start,
        } = &self.process;
        let (host, name) = (&self.host, self.name);
        format!(
            "{NAME} host={host} boot={boot} pids={pids} pid={pid} start={start} name={name:016x} counter="
        )
    }

    /// Says whether the process that wrote `line` cannot be alive any more, as this one's kernel knows; or is
    /// this very process.
    pub(super) fn knows_dead(&self, line: &[u8]) -> bool {
        let Some(other) = Process::parse(line) else {
            return false;
        };
        let is_near = other.boot == self.process.boot && other.pids == self.process.pids;
        let is_known = !other.boot.is_empty() && other.pids != 0 && other.start != 0;
        is_near && is_known && (other == self.process || other.is_dead())
    }
}

impl Process {
    /// Returns what is known of a process of this boot and this namespace.
    pub(super) fn of(pid: i32) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let pids = fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino());
        Self {
            boot: boot.trim().to_owned(),
            pids,
            pid,
            start: Stat::of(pid).map_or(0, |stat| stat.start),
        }
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.strip_prefix(NAME)?;
        let field = |name: &str| {
            line.split_ascii_whitespace()
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Self {
            boot: field("boot")?.to_owned(),
            pids: field("pids")?.parse().ok()?,
            pid: field("pid")?.parse().ok()?,
            start: field("start")?.parse().ok()?,
        })
    }

    /// Says whether the kernel knows that there is no such process. It is one of this boot and namespace.
    fn is_dead(&self) -> bool {
        let Some(pid) = Pid::from_raw(self.pid.max(0)) else {
            return false;
        };
        // Asked first, since /proc may hide the processes of others.
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return true;
        }
        Stat::of(self.pid).is_some_and(|stat| stat.has_ended || stat.start != self.start)
    }
}

/// What `/proc/<pid>/stat` says.
struct Stat {
    has_ended: bool,
    start: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The program's name is in parentheses and may hold anything.
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        Some(Self {
            has_ended: matches!(state, "Z" | "X"),
            // Field 22, of which the state is the third: proc(5).
            start: fields.nth(18)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::lease::tests::child;

    #[test]
    fn a_line_is_one_line_of_one_length_whatever_the_host_is_called() {
        let identity = Identity::new("we b\n1 pid=7 \u{e9}", Process::of(1));
        let line = identity.line(7);
        assert!(line.contains(" host=web1pid7 "), "{line}");
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(line.len(), identity.line(u64::MAX).len());
        assert_eq!(Process::parse(line.as_bytes()), Some(identity.process));
        assert!(
            Identity::new(&"a".repeat(999), Process::default())
                .line(0)
                .len()
                < 250
        );
    }

    #[test]
    fn only_what_the_kernel_says_is_proof_of_death() {
        // Whoever is taken for dead and is alive shares its work with another; whoever is dead and not known to
        // be costs ten seconds.
        let me = Identity::of_this_process();
        let knows = |process: &Process| {
            me.knows_dead(Identity::new("h", process.clone()).line(1).as_bytes())
        };
        let mut child = child();
        let alive = Process::of(child.id().try_into().unwrap());
        assert_ne!(alive.start, 0);
        assert!(!knows(&alive));
        let used_again = Process {
            start: alive.start - 1,
            ..alive.clone()
        };
        assert!(
            knows(&used_again),
            "the number belongs to another process now"
        );
        child.kill().unwrap();
        // It is not waited for yet: a zombie, once the kernel has come to it.
        while !knows(&alive) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(knows(&alive));
        let elsewhere = [
            Process {
                boot: "other".into(),
                ..alive.clone()
            },
            Process {
                boot: String::new(),
                ..alive.clone()
            },
            Process {
                pids: alive.pids + 1,
                ..alive.clone()
            },
            Process {
                start: 0,
                ..alive.clone()
            },
            Process {
                pid: 0,
                ..alive.clone()
            },
            Process {
                pid: -1,
                ..alive.clone()
            },
        ];
        for process in elsewhere {
            assert!(!knows(&process), "{process:?}");
        }
        assert!(knows(&me.process), "an earlier lease of this very process");
        for garbage in [
            &b""[..],
            b"transship lease 1",
            b"transship lease 2 boot=",
            b"\xff\0",
        ] {
            assert!(!me.knows_dead(garbage));
        }
    }
}

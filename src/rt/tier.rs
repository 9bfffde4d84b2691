//! Which kernel interface the cores run on, found out once at start.

use std::fmt;

use io_uring::IoUring;

/// Entries of the submission queue of a core's ring.
pub(super) const RING_ENTRIES: u32 = 4096;

/// The best interface that this kernel allows this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tier {
    /// io_uring; `flags` are the set-up flags that the kernel took.
    Uring {
        /// Set-up flags beyond the default.
        flags: UringFlags,
    },
    /// epoll.
    Epoll {
        /// Why io_uring is not used.
        reason: String,
    },
}

/// Sets of ring set-up flags, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UringFlags {
    /// `SINGLE_ISSUER | DEFER_TASKRUN` (Linux 6.1): 10–25 % less CPU per request.
    DeferTaskrun,
    /// `COOP_TASKRUN` (Linux 5.19).
    CoopTaskrun,
    /// No flags.
    Plain,
}

impl UringFlags {
    const BEST_FIRST: [Self; 3] = [Self::DeferTaskrun, Self::CoopTaskrun, Self::Plain];

    /// Returns a builder with these flags set.
    pub(super) fn builder(self) -> io_uring::Builder {
        let mut builder = IoUring::builder();
        match self {
            Self::DeferTaskrun => builder.setup_single_issuer().setup_defer_taskrun(),
            Self::CoopTaskrun => builder.setup_coop_taskrun(),
            Self::Plain => &mut builder,
        };
        builder
    }
}

impl Tier {
    /// Asks the kernel, by building rings as large as a core's and throwing them away.
    ///
    /// `force_epoll` is the operator's wish. Costs up to three `io_uring_setup` calls.
    #[must_use]
    pub fn probe(force_epoll: bool) -> Self {
        if force_epoll {
            return Self::Epoll {
                reason: "asked for".to_owned(),
            };
        }
        let mut refusal = None;
        for flags in UringFlags::BEST_FIRST {
            match flags.builder().build(RING_ENTRIES) {
                Ok(ring) => match missing_operation(&ring) {
                    None => return Self::Uring { flags },
                    Some(name) => {
                        return Self::Epoll {
                            reason: format!("the kernel's io_uring lacks {name}"),
                        };
                    }
                },
                Err(error) => refusal = Some(error),
            }
        }
        let reason = refusal.map_or_else(String::new, |error| format!("io_uring refused: {error}"));
        Self::Epoll { reason }
    }
}

/// Returns the name of an operation that the cores need and this kernel lacks.
fn missing_operation(ring: &IoUring) -> Option<&'static str> {
    use io_uring::opcode;
    let mut probe = io_uring::Probe::new();
    if ring.submitter().register_probe(&mut probe).is_err() {
        return Some("IORING_REGISTER_PROBE");
    }
    [
        (opcode::Accept::CODE, "IORING_OP_ACCEPT"),
        (opcode::Connect::CODE, "IORING_OP_CONNECT"),
        (opcode::Recv::CODE, "IORING_OP_RECV"),
        (opcode::Send::CODE, "IORING_OP_SEND"),
        (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
        (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
        (opcode::Timeout::CODE, "IORING_OP_TIMEOUT"),
    ]
    .into_iter()
    .find_map(|(code, name)| (!probe.is_supported(code)).then_some(name))
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uring {
                flags: UringFlags::DeferTaskrun,
            } => f.write_str("io_uring (SINGLE_ISSUER|DEFER_TASKRUN)"),
            Self::Uring {
                flags: UringFlags::CoopTaskrun,
            } => f.write_str("io_uring (COOP_TASKRUN)"),
            Self::Uring {
                flags: UringFlags::Plain,
            } => f.write_str("io_uring (no flags)"),
            Self::Epoll { reason } => write!(f, "epoll ({reason})"),
        }
    }
}

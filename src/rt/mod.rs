//! The runtime: cores, sockets, deadlines, wake-ups, helper threads, TLS records.
//!
//! It wraps monoio so that nothing above it names monoio, and heals what monoio 0.2.4 leaves open:
//! accepted sockets without CLOEXEC, name resolution and file calls on the serving thread, timeouts
//! that drop a read together with its bytes. It knows nothing of HTTP, blobs or registries.
//!
//! The invariant that matters: from submission until its completion, memory named by an operation
//! belongs to the kernel. monoio keeps it by owning the buffer of every operation; dropping a waiter
//! cancels, but does not free.
//!
//! Rules that callers keep:
//! - A task never yields by waking itself: under `DEFER_TASKRUN` completions are reaped only when no
//!   task is ready, so a task that is always ready would starve every socket. To give way, await an
//!   operation of the ring ([`Socket::give_way`], which knows what epoll needs instead).
//! - A task never blocks: what may block goes to a [`Pool`].

mod activation;
mod addr;
mod cores;
mod deadline;
mod flag;
mod group;
mod listen;
mod local;
mod mapped;
mod memory;
mod notify;
mod pair;
mod pool;
mod random;
mod resolve;
mod socket;
mod spread;
mod stamp;
mod sys;
mod tier;
mod tls;
mod turn;
mod unless;

pub use activation::activated;
pub use addr::{ListenAddr, ListenAddrError};
pub use cores::{Core, Cores, spawn};
pub use deadline::{DeadlineKind, cut_accepted, expire_idle};
pub use flag::Flag;
pub use group::Group;
pub use listen::{Listener, bind, bind_more, spread_over};
pub use local::{LocalFile, LocalListener, LocalSocket, bind_local};
pub use mapped::Mapped;
pub use memory::memory_file;
pub use monoio::time::{sleep, timeout};
pub use notify::Notify;
pub use pair::tcp_pair;
pub use pool::{Pool, blocking, close_later, helper_jobs_waiting};
pub use random::random;
pub use resolve::resolve;
pub use socket::{SendFileError, Socket, warm};
pub use spread::spread;
pub use stamp::Stamp;
pub use sys::inherit_nothing;
pub use tier::Tier;
pub use tls::TlsSocket;
pub use unless::unless;

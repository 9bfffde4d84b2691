//! Being written.

mod addr;

pub use addr::{ListenAddr, ListenAddrError};

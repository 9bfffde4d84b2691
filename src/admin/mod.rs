//! Being written.

use crate::rt::ListenAddr;

/// What an operator may say about the admin address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where it listens (`http.debug.addr`); `None` switches it off.
    pub listen: Option<ListenAddr>,
    /// Path of the metrics page (`http.debug.prometheus.path`), `/metrics` unless given.
    pub metrics_path: String,
}

//! What an operator may say about the access log.

use std::path::PathBuf;

/// Where requests are logged, and how (`transship.access_log`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to.
    pub target: Target,
    /// In which form; journald has fields of its own besides.
    pub format: Format,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// The socket of journald.
    Journald,
    /// A file, or a named pipe.
    File {
        /// Its path.
        path: PathBuf,
        /// Bytes that it grows to before another one is begun; 0 is no end.
        rotate_bytes: u64,
        /// How many older ones are kept, as `PATH.1` and so on.
        rotate_keep: u32,
    },
}

/// Form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache's combined format and more fields behind it.
    Combined,
    /// One JSON object a line.
    Json,
}

//! Being written.

mod options;

pub use options::Options;

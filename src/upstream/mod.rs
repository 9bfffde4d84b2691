//! Being written.

mod options;

pub use options::{Credentials, Hop, Options};

//! Who may have what: the origin's word on each user, signed URLs, the cache's own doors.

mod options;

pub use options::{Door, KeySource, Options, Rights};

//! A number to spread with what would else happen to many at once.

/// Returns a number from 0 to 1. It need not be hard to guess: the clock will do.
#[must_use]
pub fn spread() -> f64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    f64::from(since.map_or(0, |since| since.subsec_micros()) % 1000) / 1000.0
}

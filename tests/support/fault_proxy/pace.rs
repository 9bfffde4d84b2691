//! How fast bytes go out.

use std::thread;
use std::time::{Duration, Instant};

/// What a delayed thread may make up for.
const ARREARS: Duration = Duration::from_millis(20);
const PIECE_BYTES: u64 = 64 * 1024;

/// A connection's schedule.
pub(super) struct Pace {
    next: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            next: Instant::now(),
        }
    }

    /// Returns how much to send at once, so that a slow answer trickles and does not come in lumps.
    pub(super) fn piece(rate: u64) -> u64 {
        match rate {
            0 => PIECE_BYTES,
            rate => (rate / 20).clamp(1, PIECE_BYTES),
        }
    }

    /// Waits until so many bytes more are due at this rate.
    pub(super) fn wait(&mut self, bytes: usize, rate: u64) {
        if rate == 0 {
            return;
        }
        let now = Instant::now();
        let begun = now
            .checked_sub(ARREARS)
            .map_or(now, |then| self.next.max(then));
        self.next = begun + Duration::from_secs_f64(bytes as f64 / rate as f64);
        thread::sleep(self.next.saturating_duration_since(now));
    }
}

//! What is known of the response under way, for metrics and access log.

use std::sync::Arc;
use std::time::Instant;

use crate::digest::Digest;
use crate::metrics::CacheUse;

/// A request's response so far. Every response passes [`Exchange::tell`](super::exchange::Exchange::tell) when
/// it is over, and leaves on its way here what that tells.
#[derive(Debug)]
pub(super) struct Outcome {
    /// When the request's head was here.
    pub(super) begun: Instant,
    /// Status and use of the cache, once there is a response.
    pub(super) response: Option<(u16, CacheUse)>,
    /// When the system took its first bytes, where that was before its last.
    pub(super) first_byte: Option<Instant>,
    /// Bytes of content that the system took.
    pub(super) body_bytes: u64,
    /// Of what was sent, where the path does not say it.
    pub(super) digest: Option<Digest>,
    /// The next hop that answered.
    pub(super) upstream: Option<Arc<str>>,
}

impl Outcome {
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            response: None,
            first_byte: None,
            body_bytes: 0,
            digest: None,
            upstream: None,
        }
    }

    /// Takes note that the system took so many bytes of content.
    pub(super) fn sent(&mut self, bytes: u64) {
        if self.first_byte.is_none() {
            self.first_byte = Some(Instant::now());
        }
        self.body_bytes += bytes;
    }
}

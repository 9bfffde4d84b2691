//! Finds the end of a request head while its bytes arrive.

use super::RequestError;
use crate::limits::{REQUEST_HEAD_BYTES_MAX, REQUEST_TARGET_BYTES_MAX};

/// Longest request line, in bytes: the target, and what stands around it.
const LINE_BYTES_MAX: usize = REQUEST_TARGET_BYTES_MAX + 64;

/// A search for the end of one request head that goes on as bytes arrive.
///
/// Refuses bare LF, bare CR, NUL and what is too long at the first byte that proves it, so that no
/// buffer fills with a head that can never be served. The result does not depend on how the bytes
/// were split.
#[derive(Clone, Debug, Default)]
pub struct HeadScan {
    /// Bytes that need no second look. Only a CR at the end of what was there is looked at again.
    scanned: usize,
    /// Where the line begins that `scanned` stands in.
    line_start: usize,
    /// Bytes of the empty line before the request line: 0 or 2.
    skipped: usize,
    /// Whether the request line is complete.
    in_fields: bool,
}

impl HeadScan {
    /// Returns a search that has seen nothing; use a fresh one for each request.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            scanned: 0,
            line_start: 0,
            skipped: 0,
            in_fields: false,
        }
    }

    /// Returns the length of the head with its blank line, once that is in `buf`; `None` wants more.
    ///
    /// - `buf`: everything received since the request began; earlier bytes must be unchanged.
    ///
    /// One empty line before the request line is let pass and counted in (RFC 9112 §2.2). Costs one
    /// pass over the bytes that are new, no allocation.
    ///
    /// # Errors
    ///
    /// What [`RequestError`] says about lines and lengths; the connection must close.
    pub fn scan(&mut self, buf: &[u8]) -> Result<Option<usize>, RequestError> {
        loop {
            let bound = self.bound();
            let window = &buf[..buf.len().min(bound)];
            let fresh = window.get(self.scanned..).unwrap_or_default();
            let Some(found) = memchr::memchr3(b'\r', b'\n', 0, fresh) else {
                self.scanned = window.len();
                return self.wait(buf);
            };
            let at = self.scanned + found;
            match (window[at], window.get(at + 1)) {
                (b'\n', _) => return Err(RequestError::BareLf),
                (0, _) => return Err(RequestError::Nul),
                (_, Some(b'\n')) => {}
                (_, Some(_)) => return Err(RequestError::BareCr),
                (_, None) => {
                    self.scanned = at;
                    return self.wait(buf);
                }
            }
            let empty = at == self.line_start;
            self.scanned = at + 2;
            self.line_start = self.scanned;
            match (empty, self.in_fields) {
                (true, true) => return Ok(Some(self.scanned)),
                (true, false) if self.skipped == 0 => self.skipped = 2,
                (true, false) => return Err(RequestError::EmptyLines),
                (false, _) => self.in_fields = true,
            }
        }
    }

    /// Says whether any byte of a request has been seen: the head timeout runs, not the idle one.
    #[must_use]
    pub const fn is_started(&self) -> bool {
        self.scanned > self.skipped
    }

    /// Where the head, or for its first line that line, must have ended.
    const fn bound(&self) -> usize {
        if self.in_fields {
            REQUEST_HEAD_BYTES_MAX
        } else {
            self.skipped + LINE_BYTES_MAX
        }
    }

    fn wait(&self, buf: &[u8]) -> Result<Option<usize>, RequestError> {
        if buf.len() < self.bound() {
            Ok(None)
        } else if self.in_fields {
            Err(RequestError::HeadTooLong)
        } else {
            Err(RequestError::TargetTooLong)
        }
    }
}

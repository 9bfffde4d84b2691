//! A response whose head is here and whose body is received as it is asked for.
//!
//! ```text
//!  Length ───────╮ last byte
//!  Chunked ──────┼───────────▶ Ended, the connection kept if it may be
//!  UntilClose ───╯
//!     ╰── anything else ─────▶ Broken, the connection closed
//! ```

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::error::{Error, Phase};
use super::head::{Framing, Head};
use super::idle;
use super::lease::Lease;
use super::passed;
use super::request::{Urgency, Validator};
use crate::http::range::{self, ContentRange};
use crate::http::{Chunked, Piece, Side};

/// Longest body that is read and thrown away to keep a connection, in bytes.
const DISCARD_BYTES_MAX: usize = 16 * 1024;
/// Longest time that is spent on it.
const DISCARD_TIME: Duration = Duration::from_secs(1);
/// How a buffer of unknown need grows.
const GROW_BYTES: usize = 16 * 1024;

/// What is still to come of a body.
#[derive(Debug)]
enum Body {
    /// This many bytes, more than 0.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Ended,
    Broken,
}

/// A response of a next hop. Dropping it before its body has ended closes its connection.
pub struct Response {
    host: String,
    hop: String,
    is_own: bool,
    status: u16,
    fields: Vec<(String, String)>,
    length: Option<u64>,
    body: Body,
    /// `None` once the body is `Ended` or `Broken`.
    connection: Option<Connection>,
    is_persistent: bool,
    /// Bytes received behind the head and not yet handed out, from `taken` on.
    pending: Vec<u8>,
    /// Invariant: `taken <= pending.len()`
    taken: usize,
    progress_timeout: Duration,
    /// `None` once the body is `Ended` or `Broken`, and where no hop is answered for.
    lease: Option<Lease>,
}

impl Response {
    /// Returns the response of `host` with `head`, behind which `pending` was received.
    pub(super) fn new(
        host: String,
        head: Head,
        connection: Connection,
        pending: Vec<u8>,
        progress_timeout: Duration,
    ) -> Self {
        let body = match head.framing {
            Framing::Length(0) => Body::Ended,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Chunked::new(Side::Response)),
            Framing::UntilClose => Body::UntilClose,
        };
        let mut this = Self {
            hop: host.clone(),
            is_own: true,
            host,
            status: head.status,
            fields: head.fields,
            length: head.length,
            body,
            connection: Some(connection),
            is_persistent: head.is_persistent,
            pending,
            taken: 0,
            progress_timeout,
            lease: None,
        };
        if matches!(this.body, Body::Ended) {
            this.end();
        }
        this
    }

    /// Says which hop the request was sent to, and whether its own scheme, host and port answered.
    pub(super) fn of_hop(mut self, hop: &str, is_own: bool) -> Self {
        hop.clone_into(&mut self.hop);
        self.is_own = is_own;
        self
    }

    /// Keeps the room at the hop until the body has ended; a body without bytes has.
    pub(super) fn keep(&mut self, lease: Lease) {
        if !matches!(self.body, Body::Ended) {
            self.lease = Some(lease);
        }
    }

    /// Says who waits for the body from now on, of which what it takes at the hop depends. Cheap where that
    /// has not changed.
    pub fn set_urgency(&self, urgency: Urgency) {
        if let Some(lease) = &self.lease {
            lease.set_urgency(urgency);
        }
    }

    /// Says whether nobody waits for the body and a client has no room at the hop for it: it is to be dropped,
    /// and the rest asked for later. Cheap. Of several, as many are told as clients wait; who was told is
    /// counted on until it is dropped or somebody waits for it.
    #[must_use]
    pub fn should_give_way(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::should_give_way)
    }

    /// Says whether the hop itself answered, and not whoever it redirects to.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        self.is_own
    }

    /// Returns the challenges of a 401, to be passed on; none of whoever the hop redirects to, who has
    /// no claim to a client's credentials.
    pub(super) fn challenges(&self) -> Vec<String> {
        let lines = self.values("www-authenticate").filter(|_| self.is_own);
        lines.map(ToOwned::to_owned).collect()
    }

    /// Returns what the caches behind say of their part (`Cache-Status`, RFC 9211): a list that ends in a
    /// comma, to stand before our own word, or nothing.
    #[must_use]
    pub fn cache_status(&self) -> String {
        passed::cache_status(self.values("cache-status"))
    }

    /// Returns the status, 200 to 599.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Returns the next hop that was asked, `host[:port]`; redirects may have led elsewhere.
    #[must_use]
    pub fn hop(&self) -> &str {
        &self.hop
    }

    /// Returns the value of the first field of that name, in any case. Values are not otherwise checked.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Returns the values of all fields of that name, in order.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns what `Content-Length` says, in bytes; for HEAD and 304 that of a body that does not
    /// follow. `None` where the body ends by other means.
    #[must_use]
    pub const fn content_length(&self) -> Option<u64> {
        self.length
    }

    /// Returns which bytes a 206 says that it holds; `None` for any other status, and where what it says
    /// makes no sense: such a body is of no use.
    #[must_use]
    pub fn content_range(&self) -> Option<ContentRange> {
        let mut values = self.values("content-range");
        let value = values.next().filter(|_| self.status == 206)?;
        // Two that differ could be taken for either.
        values.next().is_none().then_some(())?;
        range::parse_content_range(value.as_bytes())
    }

    /// Returns what a later request for a range of the same content can be bound to.
    #[must_use]
    pub fn validator(&self) -> Option<Validator> {
        let etag = self.field("etag")?;
        range::is_strong_etag(etag.as_bytes()).then(|| Validator {
            hop: self.hop.clone(),
            etag: etag.to_owned(),
        })
    }

    /// Appends the next bytes of the body to `buf`, within its spare capacity (1 KiB if it has none),
    /// and returns how many. 0 means that the body has ended exactly as framed.
    ///
    /// Bytes go from the socket into `buf` without a copy (with TLS: two), but for those that came
    /// with the head. The time allowed counts from this call to its return.
    ///
    /// # Errors
    /// `Truncated`, `TimedOut` in phase `Body`, `Protocol`; from then on always `Truncated`. The buffer
    /// always comes back, with what it held before.
    pub async fn read(&mut self, mut buf: Vec<u8>) -> (Result<usize, Error>, Vec<u8>) {
        loop {
            if matches!(self.body, Body::Ended) {
                return (Ok(0), buf);
            }
            let start = buf.len();
            let (received, filled) = self.receive(buf).await;
            buf = filled;
            let kept = match received {
                Ok(0) => self.take_close(),
                Ok(_) => self.take_framing(&mut buf, start),
                Err(error) => Err(self.broken(error)),
            };
            match kept {
                Ok(0) => {}
                Ok(count) => return (Ok(count), buf),
                Err(error) => {
                    if let Some(lease) = self.lease.take() {
                        lease.broke(&error);
                    }
                    self.body = Body::Broken;
                    self.connection = None;
                    self.taken = self.pending.len();
                    buf.truncate(start);
                    return (Err(error), buf);
                }
            }
        }
    }

    /// Says whether [`Response::read`] would return at once. Costs a system call, unless bytes came
    /// with the head.
    pub fn has_more(&mut self) -> bool {
        let is_pending = self.taken < self.pending.len();
        is_pending
            || self
                .connection
                .as_mut()
                .is_none_or(|connection| !connection.is_quiet())
    }

    /// Returns the whole body. Allocates as bytes come, not as announced.
    ///
    /// # Errors
    /// `TooLarge` above `max_bytes`, else as [`Response::read`].
    pub async fn bytes(mut self, max_bytes: usize) -> Result<Vec<u8>, Error> {
        self.collect(max_bytes, None).await
    }

    /// As [`Response::bytes`], all of it in at most `within`.
    pub(super) async fn bytes_within(
        mut self,
        max_bytes: usize,
        within: Duration,
    ) -> Result<Vec<u8>, Error> {
        let deadline = Instant::now().checked_add(within);
        self.collect(max_bytes, deadline).await
    }

    /// Receives the body and throws it away if that is cheap, so that the connection is kept.
    pub(super) async fn discard(self) {
        drop(self.without_body().await);
    }

    /// As [`Self::discard`]; returns what the head says, holding nothing of the hop any more.
    pub(super) async fn without_body(mut self) -> Self {
        let is_short = self.length.is_some_and(|l| l <= DISCARD_BYTES_MAX as u64);
        if is_short && self.is_persistent && self.connection.is_some() {
            // Failing costs a connection, no more.
            let deadline = Instant::now().checked_add(DISCARD_TIME);
            drop(self.collect(DISCARD_BYTES_MAX, deadline).await);
        }
        if !matches!(self.body, Body::Ended) {
            self.body = Body::Broken;
            self.taken = self.pending.len();
        }
        self.connection = None;
        self.lease = None;
        self
    }

    async fn collect(
        &mut self,
        max_bytes: usize,
        deadline: Option<Instant>,
    ) -> Result<Vec<u8>, Error> {
        let too_large = |host: &str| Error::TooLarge {
            host: host.to_owned(),
            max_bytes,
        };
        let has_body = !matches!(self.body, Body::Ended);
        if has_body && self.length.is_some_and(|length| length > max_bytes as u64) {
            return Err(too_large(&self.host));
        }
        let mut body = Vec::new();
        loop {
            if body.capacity() == body.len() {
                body.reserve(body.len().max(GROW_BYTES));
            }
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                self.progress_timeout = self.progress_timeout.min(left);
            }
            let (outcome, received) = self.read(body).await;
            body = received;
            if outcome? == 0 {
                return Ok(body);
            }
            if body.len() > max_bytes {
                return Err(too_large(&self.host));
            }
        }
    }

    /// Takes bytes of the wire, framing and all, to the end of `buf`: what came with the head first.
    async fn receive(&mut self, mut buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let rest = &self.pending[self.taken..];
        if !rest.is_empty() {
            if buf.capacity() == buf.len() {
                buf.reserve(1024);
            }
            let count = rest.len().min(buf.capacity() - buf.len());
            buf.extend_from_slice(&rest[..count]);
            self.taken += count;
            return (Ok(count), buf);
        }
        self.pending = Vec::new();
        self.taken = 0;
        match &mut self.connection {
            Some(connection) => connection.recv(buf, self.progress_timeout).await,
            None => (Err(io::ErrorKind::NotConnected.into()), buf),
        }
    }

    /// Takes framing out of `buf[start..]`; returns how many bytes of content are left of it.
    fn take_framing(&mut self, buf: &mut Vec<u8>, start: usize) -> Result<usize, Error> {
        let count = buf.len() - start;
        let kept = match &mut self.body {
            Body::Length(left) => {
                let kept = usize::try_from(*left).map_or(count, |left| left.min(count));
                *left -= kept as u64;
                let is_end = *left == 0;
                (kept, is_end.then_some(kept))
            }
            Body::Chunked(decoder) => match unchunk(decoder, &mut buf[start..]) {
                Ok(kept) => kept,
                Err(_) => {
                    return Err(Error::Protocol {
                        host: self.host.clone(),
                        what: "malformed chunked body",
                    });
                }
            },
            Body::UntilClose | Body::Ended | Body::Broken => (count, None),
        };
        let (kept, end) = kept;
        buf.truncate(start + kept);
        if let Some(lease) = &self.lease {
            lease.count(kept);
        }
        if let Some(end) = end {
            // Bytes behind the body belong to nothing that was asked for.
            self.is_persistent &= end == count;
            self.end();
        }
        Ok(kept)
    }

    /// The peer has closed: the end of a body that is framed so, else a cut.
    fn take_close(&mut self) -> Result<usize, Error> {
        if matches!(self.body, Body::UntilClose) {
            self.end();
            return Ok(0);
        }
        Err(Error::Truncated {
            host: self.host.clone(),
            source: None,
        })
    }

    fn broken(&self, error: io::Error) -> Error {
        let host = self.host.clone();
        if error.kind() == io::ErrorKind::TimedOut {
            let phase = Phase::Body;
            Error::TimedOut { host, phase }
        } else {
            let source = Some(error);
            Error::Truncated { host, source }
        }
    }

    /// The body has ended exactly; keeps the connection if it may carry another request.
    fn end(&mut self) {
        self.body = Body::Ended;
        let is_clean = self.is_persistent && self.taken == self.pending.len();
        if let Some(connection) = self.connection.take()
            && is_clean
        {
            idle::keep(connection);
        }
        // The connection first: whoever has waited for the room may use it.
        if let Some(lease) = self.lease.take() {
            lease.ended();
        }
    }
}

/// Moves the content in `bytes` together at its front; returns its length and, where the body ends in
/// `bytes`, behind which byte.
fn unchunk(
    decoder: &mut Chunked,
    bytes: &mut [u8],
) -> Result<(usize, Option<usize>), crate::http::ChunkedError> {
    let (mut kept, mut at) = (0, 0);
    loop {
        match decoder.decode(&bytes[at..])? {
            Piece::Data(range) => {
                let (start, end) = (at + range.start, at + range.end);
                bytes.copy_within(start..end, kept);
                kept += end - start;
                at = end;
            }
            Piece::More => return Ok((kept, None)),
            Piece::End { consumed } => return Ok((kept, Some(at + consumed))),
        }
    }
}

impl fmt::Debug for Response {
    /// Fields may hold signed locations, so they are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} of {})", self.status, self.host)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn chunks_are_joined_in_place_however_they_are_split(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            step in 1_usize..60,
            surplus in 0_usize..3,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x};x=y\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\nDigest: x\r\n\r\n");
            let size = wire.len();
            wire.extend_from_slice(&b"HTTP"[..surplus]);
            let mut decoder = Chunked::new(Side::Response);
            let (mut content, mut at, mut ended) = (Vec::new(), 0, None);
            for part in wire.chunks(step) {
                let mut part = part.to_vec();
                let (kept, end) = unchunk(&mut decoder, &mut part).unwrap();
                content.extend_from_slice(&part[..kept]);
                if let Some(end) = end {
                    ended = Some(at + end);
                    break;
                }
                at += part.len();
            }
            prop_assert_eq!(content, chunks.concat());
            prop_assert_eq!(ended, Some(size));
        }
    }
}

//! A blob's bytes to one client: which of them, in which framing, from a file that may still grow.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::blob::describe;
use super::exchange::{Exchange, Next, Terms};
use super::open_blobs::CoreBlob;
use super::opening::{give_up, is_shortage};
use super::reply::{Reply, Status};
use crate::digest::Digest;
use crate::fill::{Follower, Order, Wanted};
use crate::http::response::Connection;
use crate::http::{Boundary, Framing, Method, Multipart, Ranges, Request, if_range_matches, range};
use crate::metrics::{CacheUse, Fault, RequestRefusal};
use crate::registry::{Code, media_type};
use crate::rt::{self, DeadlineKind, SendFileError, Socket};

/// Where a blob's bytes come from.
pub(super) enum Source {
    /// A committed file, in memory from where the response begins to `warm_end`; see [`warm`].
    Stored { blob: Rc<CoreBlob>, warm_end: u64 },
    /// A file that grows. Without a size only all of it can be sent, in chunks.
    Filling {
        fill: Rc<Follower>,
        size_bytes: Option<u64>,
    },
}

impl Source {
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Stored { blob, .. } => blob.digest,
            Self::Filling { fill, .. } => fill.digest(),
        }
    }

    /// Returns what caches behind the next hop said of their part in this very answer.
    pub(super) fn behind(&self) -> &str {
        match self {
            Self::Stored { .. } => "",
            Self::Filling { fill, .. } => fill.cache_status(),
        }
    }

    /// Returns the next hop that it comes from.
    fn hop(&self) -> Option<Arc<str>> {
        match self {
            Self::Stored { .. } => None,
            Self::Filling { fill, .. } => fill.hop(),
        }
    }

    fn size_bytes(&self) -> Option<u64> {
        match self {
            Self::Stored { blob, .. } => Some(blob.size_bytes),
            Self::Filling { size_bytes, .. } => *size_bytes,
        }
    }

    /// Asks for parts of a blob that is being filled before all else, until what is returned is dropped.
    fn want(&self, ranges: &[Range<u64>]) -> Option<Wanted<'_>> {
        match self {
            Self::Stored { .. } => None,
            Self::Filling { fill, .. } => Some(fill.want(ranges)),
        }
    }

    /// Returns the size where it is known, else "without end".
    pub(super) fn size_known(&self) -> u64 {
        self.size_bytes().unwrap_or(u64::MAX)
    }

    /// Makes sure that what is sent first by `plan` can be read, while the client can still be told that it
    /// has to come from elsewhere; `None` if it cannot.
    pub(super) async fn warmed(self, exchange: &Exchange, plan: &Plan) -> Option<Self> {
        let Self::Stored { blob, .. } = self else {
            return Some(self);
        };
        let (seconds, _) = exchange.context.now();
        let range = match plan {
            Plan::Whole => 0..blob.size_bytes,
            Plan::One(range) => range.clone(),
            Plan::Several(ranges) => ranges.first().cloned().unwrap_or_default(),
            Plan::Unsatisfiable | Plan::TooMany => 0..0,
        };
        let warm_end = warm(exchange, &blob, range, seconds).await?;
        Some(Self::Stored { blob, warm_end })
    }
}

/// Makes sure that the beginning of a range of a stored blob is in memory, and returns where what is known
/// to be there ends. `None` means that it cannot be read; then it is not in the store any more.
///
/// - `now`: in seconds since the epoch.
pub(super) async fn warm(
    exchange: &Exchange,
    blob: &CoreBlob,
    range: Range<u64>,
    now: u64,
) -> Option<u64> {
    // What was sent whole within the last seconds is in memory: the probe is saved.
    if range == (0..blob.size_bytes) && blob.sent_whole.get() + 2 > now {
        return Some(u64::MAX);
    }
    match rt::warm(&blob.file, range.start, range.end).await {
        Ok(warm_end) => Some(warm_end),
        // Of memory or descriptors: it may go better in a moment, and if not, the response ends short.
        Err(error) if is_shortage(&error) => Some(range.start),
        Err(error) => {
            give_up(&exchange.context.service.store, blob, error).await;
            None
        }
    }
}

/// Which bytes a response carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Whole,
    One(Range<u64>),
    Several(Vec<Range<u64>>),
    Unsatisfiable,
    TooMany,
}

impl Plan {
    /// Reads `Range` and `If-Range` against a blob (RFC 9110 §13.1.5, §14.2); both mean GET only.
    pub(super) fn of(request: &Request<'_>, source: &Source, etag: &str) -> Self {
        let (Some(value), Some(size_bytes)) = (request.range, source.size_bytes()) else {
            return Self::Whole;
        };
        if request.method != Method::Get {
            return Self::Whole;
        }
        if request
            .if_range
            .is_some_and(|condition| !if_range_matches(condition, etag.as_bytes()))
        {
            return Self::Whole;
        }
        match range::parse(value, size_bytes) {
            Ranges::Whole => Self::Whole,
            Ranges::One(range) => Self::One(range),
            Ranges::Several(ranges) => Self::Several(ranges),
            Ranges::Unsatisfiable => Self::Unsatisfiable,
            Ranges::TooMany => Self::TooMany,
        }
    }
}

/// Sends a whole response: head, then the bytes of the plan.
pub(super) async fn send(
    exchange: &mut Exchange,
    terms: Terms<'_>,
    source: &Source,
    plan: Plan,
    cache: CacheUse,
) -> Next {
    let size_known = source.size_known();
    match plan {
        Plan::Whole => {
            let framing = source
                .size_bytes()
                .map_or(Framing::Chunked, Framing::Length);
            write_head(exchange, terms, source, cache, Status::OK, framing, None);
            match framing {
                _ if terms.is_head => send_head(exchange, terms).await,
                Framing::Chunked => send_chunked(exchange, source, terms.connection).await,
                _ => send_range(exchange, source, 0..size_known, terms.connection).await,
            }
        }
        Plan::One(range) => {
            let framing = Framing::Length(range.end - range.start);
            let content_range = Some((&range, size_known));
            write_head(
                exchange,
                terms,
                source,
                cache,
                Status::PARTIAL_CONTENT,
                framing,
                content_range,
            );
            if terms.is_head {
                return send_head(exchange, terms).await;
            }
            let _wanted = source.want(std::slice::from_ref(&range));
            send_range(exchange, source, range, terms.connection).await
        }
        Plan::Several(ranges) => send_several(exchange, terms, source, cache, &ranges).await,
        Plan::Unsatisfiable => {
            let reply = Reply::error(Code::RangeInvalid, "the blob has no such bytes")
                .with("Content-Range", format!("bytes */{size_known}"));
            exchange
                .reply(terms, reply.by(cache, source.behind()))
                .await
        }
        Plan::TooMany => {
            let counters = &exchange.context.counters;
            counters.count_refused_request(RequestRefusal::Ranges);
            let reply = Reply::bad_request(400, "too many ranges");
            exchange.reply(terms, reply).await
        }
    }
}

/// Writes the head of a response whose content has the blob's own type.
fn write_head(
    exchange: &mut Exchange,
    terms: Terms<'_>,
    source: &Source,
    cache: CacheUse,
    status: Status,
    framing: Framing,
    content_range: Option<(&Range<u64>, u64)>,
) {
    let mut output = std::mem::take(&mut exchange.output);
    output.clear();
    let head = exchange.begin_head(&mut output, status, terms);
    let mut head = describe(head, &source.digest(), cache, source.behind())
        .field("Content-Type", media_type::BLOB);
    if let Some((range, size)) = content_range {
        head = head.content_range(range, size);
    }
    head.finish(framing, terms.connection);
    exchange.output = output;
    exchange.begin(cache, status.number());
    exchange.outcome.upstream = source.hop();
}

async fn send_head(exchange: &mut Exchange, terms: Terms<'_>) -> Next {
    let output = std::mem::take(&mut exchange.output);
    exchange.send(output, 0, terms.connection).await
}

/// Sends the head that is in `exchange.output`, then bytes `range` of the source.
pub(super) async fn send_range(
    exchange: &mut Exchange,
    source: &Source,
    range: Range<u64>,
    connection: Connection,
) -> Next {
    if let Err(next) = send_piece(exchange, source, range, u64::MAX).await {
        return next;
    }
    exchange.ended(Ok(()), connection)
}

/// Sends a `multipart/byteranges` response.
async fn send_several(
    exchange: &mut Exchange,
    terms: Terms<'_>,
    source: &Source,
    cache: CacheUse,
    ranges: &[Range<u64>],
) -> Next {
    let boundary = Boundary::new(random());
    let multipart = Multipart::new(boundary, media_type::BLOB, source.size_known(), ranges);
    let mut output = std::mem::take(&mut exchange.output);
    output.clear();
    let head = exchange.begin_head(&mut output, Status::PARTIAL_CONTENT, terms);
    describe(head, &source.digest(), cache, source.behind())
        .field("Content-Type", multipart.content_type())
        .finish(
            Framing::Length(multipart.content_length()),
            terms.connection,
        );
    exchange.output = output;
    exchange.begin(cache, Status::PARTIAL_CONTENT.number());
    exchange.outcome.upstream = source.hop();
    if terms.is_head {
        return send_head(exchange, terms).await;
    }
    // All of them at once, as each would else be a round trip behind the one before.
    let _wanted = source.want(ranges);
    for (index, range) in ranges.iter().enumerate() {
        multipart.part_head(index, &mut exchange.output);
        let later = ranges[index + 1..].iter().map(|range| range.start).min();
        let later = later.unwrap_or(u64::MAX);
        if let Err(next) = send_piece(exchange, source, range.clone(), later).await {
            return next;
        }
    }
    let mut output = std::mem::take(&mut exchange.output);
    multipart.closing(&mut output);
    exchange.send(output, 0, terms.connection).await
}

/// Sends a response of unknown length, in chunks. The last chunk comes only after the commit, so a
/// fill that fails cannot look complete (RFC 9112 §7.1).
async fn send_chunked(exchange: &mut Exchange, source: &Source, connection: Connection) -> Next {
    let Source::Filling { fill, .. } = source else {
        return Next::Abort;
    };
    // The head goes out before anything is waited for.
    if let Err(next) = send_piece(exchange, source, 0..0, u64::MAX).await {
        return next;
    }
    let mut cursor = 0;
    loop {
        exchange.transport.socket().clear_deadline();
        let more = fill.more(cursor, Order::InTurn);
        let filled = match exchange.transport.socket().unless_gone(more).await {
            Some(Ok(filled)) => filled,
            Some(Err(failure)) => return abort(exchange, failure.fault()),
            None => return abort(exchange, Fault::Client),
        };
        if filled == cursor {
            let mut output = std::mem::take(&mut exchange.output);
            output.extend_from_slice(b"0\r\n\r\n");
            return exchange.send(output, 0, connection).await;
        }
        let size = format!("{:x}\r\n", filled - cursor);
        exchange.output.extend_from_slice(size.as_bytes());
        if let Err(next) = send_piece(exchange, source, cursor..filled, u64::MAX).await {
            return next;
        }
        exchange.output.extend_from_slice(b"\r\n");
        cursor = filled;
    }
}

/// Sends what is in `exchange.output`, empties it, and sends bytes `range` of the source.
///
/// - `later`: the lowest byte that the response has still to come to after these.
async fn send_piece(
    exchange: &mut Exchange,
    source: &Source,
    range: Range<u64>,
    later: u64,
) -> Result<(), Next> {
    exchange
        .transport
        .set_deadline(exchange.context.service.bounds.send_timeout.get());
    let mut output = std::mem::take(&mut exchange.output);
    let outcome = match source {
        Source::Stored { blob, warm_end } => {
            send_stored(exchange, blob, *warm_end, &output, range).await
        }
        Source::Filling { fill, .. } => {
            let outcome;
            (outcome, output) = exchange.transport.send_all(output).await;
            match outcome {
                Ok(()) => {
                    // The head goes ahead of what is still to come from the next hop.
                    exchange.outcome.sent(0);
                    send_filling(exchange, fill, range, later).await?
                }
                Err(error) => Err(error.into()),
            }
        }
    };
    output.clear();
    exchange.output = output;
    let Err(error) = outcome else { return Ok(()) };
    let (error, fault) = match (error, source) {
        (SendFileError::File(error), Source::Stored { blob, .. }) if !is_shortage(&error) => {
            let kind = error.kind();
            give_up(&exchange.context.service.store, blob, error).await;
            (kind.into(), Fault::Disk)
        }
        (SendFileError::File(error), _) if is_shortage(&error) => (error, Fault::Us),
        (SendFileError::File(error), _) => (error, Fault::Disk),
        (SendFileError::Socket(error), _) => (error, Fault::Client),
    };
    // It counts the deadline, if that was it.
    exchange.ended(Err(error), Connection::Close);
    Err(abort(exchange, fault))
}

async fn send_stored(
    exchange: &mut Exchange,
    blob: &CoreBlob,
    warm_end: u64,
    head: &[u8],
    range: Range<u64>,
) -> Result<(), SendFileError> {
    if range.is_empty() {
        let (outcome, _) = exchange.transport.send_all(head.to_vec()).await;
        return Ok(outcome?);
    }
    exchange.transport.send_before_file(head).await?;
    let is_whole = range == (0..blob.size_bytes);
    let context = Rc::clone(&exchange.context);
    let passed = |count| context.counters.hit_bytes.add(count);
    send_file(exchange, &blob.file, range, warm_end, passed).await?;
    if is_whole {
        let (seconds, _) = exchange.context.now();
        blob.sent_whole.set(seconds);
    }
    Ok(())
}

/// Sends a range of a growing file, waiting for it where it has not been filled.
async fn send_filling(
    exchange: &mut Exchange,
    fill: &Follower,
    range: Range<u64>,
    later: u64,
) -> Result<Result<(), SendFileError>, Next> {
    let mut cursor = range.start;
    fill.pass(cursor.min(later));
    let order = fill.order_of(cursor);
    while cursor < range.end {
        // The next hop's deadlines bound this wait, not the client's.
        exchange.transport.socket().clear_deadline();
        let more = fill.more(cursor, order);
        let filled = match exchange.transport.socket().unless_gone(more).await {
            Some(Ok(filled)) => filled,
            Some(Err(failure)) => return Err(abort(exchange, failure.fault())),
            None => return Err(abort(exchange, Fault::Client)),
        };
        let end = filled.min(range.end);
        let Some(piece) = fill.piece(cursor, end).filter(|_| end > cursor) else {
            // What it holds no more went with the disk's failure, or the blob is shorter than was told.
            return Err(abort(exchange, Fault::Upstream));
        };
        exchange
            .transport
            .set_deadline(exchange.context.service.bounds.send_timeout.get());
        let passed = |count| {
            cursor += count;
            fill.pass(cursor.min(later));
        };
        let sent = send_file(exchange, &piece.file, piece.range, u64::MAX, passed).await;
        if sent.is_err() {
            return Ok(sent);
        }
    }
    Ok(Ok(()))
}

async fn send_file(
    exchange: &mut Exchange,
    file: &Arc<std::fs::File>,
    range: Range<u64>,
    warm_end: u64,
    mut passed: impl FnMut(u64),
) -> Result<(), SendFileError> {
    let send_timeout = exchange.context.service.bounds.send_timeout.get();
    let counters = Arc::clone(&exchange.context.counters);
    let outcome = &mut exchange.outcome;
    let progress = |socket: &Socket, count: usize| {
        counters.client_bytes.add(count as u64);
        outcome.sent(count as u64);
        socket.set_deadline(send_timeout, DeadlineKind::Active);
        passed(count as u64);
    };
    exchange
        .transport
        .send_file(file, range.start, range.end, warm_end, progress)
        .await
}

/// Ends a response short of its length (RFC 9112 §6.3).
fn abort(exchange: &Exchange, fault: Fault) -> Next {
    exchange.context.counters.count_error(fault);
    exchange.context.counters.responses_aborted.add(1);
    Next::Abort
}

/// Returns 128 random bits, which a blob's author cannot know.
fn random() -> u128 {
    use aws_lc_rs::rand::SecureRandom as _;
    let mut bytes = [0; 16];
    // Without randomness the boundary is guessable; the parts are still framed by their own lengths.
    let _ = aws_lc_rs::rand::SystemRandom::new().fill(&mut bytes);
    u128::from_ne_bytes(bytes)
}

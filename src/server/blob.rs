//! Blobs: from this core's open files, from the store, or from a fill.

use std::rc::Rc;
use std::sync::Arc;

use super::body::{self, Plan, Source};
use super::context::Context;
use super::exchange::{Exchange, Next, Terms};
use super::open_blobs::CoreBlob;
use super::reply::{Reply, Status};
use crate::digest::Digest;
use crate::fill::{Failure, Fill, Join};
use crate::http::response::Connection;
use crate::http::{Framing, Method, Request, ResponseHead, Version, if_none_match};
use crate::limits::REJOINS_MAX;
use crate::metrics::CacheUse;
use crate::registry::{Code, Name, Route, media_type};
use crate::upstream;

/// What a blob's name means never changes (distribution sends the same).
pub(super) const CACHE_CONTROL: &str = "max-age=31536000";

/// Where the date stands in [`CoreBlob::plain`].
const PLAIN_DATE: std::ops::Range<usize> = 23..52;

/// Answers the plain hit, a GET without conditions of a blob that this core has open, from a response
/// written before; `None` leaves the request to [`answer`]. The path of almost every request.
pub(super) async fn answer_plain(exchange: &mut Exchange, request: &Request<'_>) -> Option<Next> {
    let is_plain = request.method == Method::Get
        && request.version == Version::Http11
        && request.query.is_none()
        && request.range.is_none()
        && request.if_none_match.is_empty();
    if !is_plain {
        return None;
    }
    let prefix = &exchange.context.service.options.prefix;
    let Ok(Route::Blob { digest, .. }) = Route::parse(request.path, prefix) else {
        return None;
    };
    let blob = exchange.context.open_blobs.borrow_mut().find(&digest)?;
    let (seconds, date) = exchange.context.now();
    blob.entry.touch(seconds);
    let mut output = std::mem::take(&mut exchange.output);
    output.clear();
    output.extend_from_slice(blob.plain.get_or_init(|| write_plain(exchange, &blob)));
    output[PLAIN_DATE].copy_from_slice(date.as_bytes());
    let counters = Arc::clone(&exchange.context.counters);
    counters.count_request(CacheUse::Hit, 200);
    if blob.small.is_some() {
        counters.client_bytes.add(blob.size_bytes);
        return Some(exchange.send(output, Connection::Stay).await);
    }
    exchange.output = output;
    let source = Source::Stored(blob);
    Some(body::send_range(exchange, &source, 0..source.size_known(), Connection::Stay).await)
}

/// Writes the response to a plain GET, without the body of a blob that is not small.
fn write_plain(exchange: &Exchange, blob: &CoreBlob) -> Box<[u8]> {
    let terms = Terms {
        is_head: false,
        version: Version::Http11,
        connection: Connection::Stay,
        namespace: None,
    };
    let mut plain = Vec::new();
    let head = exchange.begin_head(&mut plain, Status::OK, terms);
    describe(head, &blob.digest, CacheUse::Hit)
        .field("Content-Type", media_type::BLOB)
        .finish(Framing::Length(blob.size_bytes), Connection::Stay);
    plain.extend_from_slice(blob.small.as_deref().unwrap_or_default());
    plain.into_boxed_slice()
}

/// Adds the fields that every response about a blob has.
pub(super) fn describe<'o>(
    head: ResponseHead<'o>,
    digest: &Digest,
    cache: CacheUse,
) -> ResponseHead<'o> {
    let text = digest.text();
    head.field("Docker-Content-Digest", text)
        .field_parts("ETag", &[b"\"", text.as_ref(), b"\""])
        .field("Accept-Ranges", "bytes")
        .field("Cache-Control", CACHE_CONTROL)
        .field("Cache-Status", cache.cache_status())
}

/// Answers any request for a blob.
pub(super) async fn answer(
    exchange: &mut Exchange,
    request: &Request<'_>,
    terms: Terms<'_>,
    name: Name<'_>,
    digest: Digest,
) -> Next {
    let context = Rc::clone(&exchange.context);
    match find(&context, digest).await {
        Ok(Some(blob)) => {
            let (seconds, _) = context.now();
            blob.entry.touch(seconds);
            send(
                exchange,
                request,
                terms,
                Source::Stored(blob),
                CacheUse::Hit,
            )
            .await
        }
        Ok(None) if terms.is_head => answer_head(exchange, terms, name, digest).await,
        Ok(None) => answer_absent(exchange, request, terms, name, digest).await,
        Err(error) => {
            tracing::error!(%digest, %error, "a stored blob could not be opened");
            exchange
                .reply(
                    terms,
                    Reply::error(Code::Unavailable, "the cache's disk failed"),
                )
                .await
        }
    }
}

/// Returns the blob open for sending, if it is here.
async fn find(context: &Context, digest: Digest) -> std::io::Result<Option<Rc<CoreBlob>>> {
    if let Some(blob) = context.open_blobs.borrow_mut().find(&digest) {
        return Ok(Some(blob));
    }
    let service = &context.service;
    let Some(blob) = service.opening.open(&service.store, digest).await? else {
        return Ok(None);
    };
    let blob = Rc::new(blob);
    context.open_blobs.borrow_mut().insert(Rc::clone(&blob));
    Ok(Some(blob))
}

/// Answers from a fill.
///
/// A refusal of the next hop is about the repository that the fill was started for; a request under
/// another name starts over with its own.
async fn answer_absent(
    exchange: &mut Exchange,
    request: &Request<'_>,
    terms: Terms<'_>,
    name: Name<'_>,
    digest: Digest,
) -> Next {
    let context = Rc::clone(&exchange.context);
    let needs_size = request.range.is_some() || terms.version == Version::Http10;
    exchange.transport.socket().clear_deadline();
    for _ in 0..REJOINS_MAX {
        let fills = &context.service.fills;
        let (fill, cache) = match fills.join(digest, name.as_str(), &context.counters) {
            Join::Lead(fill) => (fill, CacheUse::Miss),
            Join::Follow(fill) => (fill, CacheUse::Collapsed),
            Join::Busy => break,
            // Committed this very moment.
            Join::Stored => match find(&context, digest).await {
                Ok(Some(blob)) => {
                    let source = Source::Stored(blob);
                    return send(exchange, request, terms, source, CacheUse::Hit).await;
                }
                _ => continue,
            },
        };
        let head = wait_for_head(&fill, needs_size);
        match exchange.transport.socket().unless_gone(head).await {
            None => return Next::Abort,
            Some(Ok(size_bytes)) => {
                let source = Source::Filling { fill, size_bytes };
                return send(exchange, request, terms, source, cache).await;
            }
            Some(Err(Failure::Refused(_))) if fill.repository() != name.as_str() => {}
            Some(Err(failure)) => {
                let reply = Reply::of_failure(&failure, &digest.to_string());
                return exchange.reply(terms, reply.by(cache)).await;
            }
        }
    }
    let reply = Reply::error(Code::Unavailable, "too many transfers at once");
    exchange.reply(terms, reply.with("Retry-After", "1")).await
}

/// Waits for the next hop's head, and for the whole blob where its size must be known and was not told.
async fn wait_for_head(fill: &Fill, needs_size: bool) -> Result<Option<u64>, Failure> {
    match fill.head().await {
        Ok(None) if needs_size => fill.committed().await.map(Some),
        outcome => outcome,
    }
}

/// Answers HEAD of an absent blob by the next hop's word, without a fill.
async fn answer_head(
    exchange: &mut Exchange,
    terms: Terms<'_>,
    name: Name<'_>,
    digest: Digest,
) -> Next {
    exchange.transport.socket().clear_deadline();
    let request = upstream::Request {
        method: upstream::Method::Head,
        path: format!("/v2/{name}/blobs/{digest}"),
        repository: Some(name.as_str().to_owned()),
        accept: None,
        if_none_match: None,
        range: None,
    };
    let response = match exchange.context.service.upstream.send(&request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(%digest, %error, "HEAD of a blob failed upstream");
            return exchange
                .reply(terms, Reply::of_upstream_error(&error))
                .await;
        }
    };
    if response.status() != 200 {
        let subject = digest.to_string();
        let reply = Reply::of_upstream_status(response.status(), Code::BlobUnknown, &subject);
        return exchange.reply(terms, reply).await;
    }
    let mut output = std::mem::take(&mut exchange.output);
    output.clear();
    let head = exchange.begin_head(&mut output, Status::OK, terms);
    let framing = response
        .content_length()
        .map_or(Framing::Empty, Framing::Length);
    describe(head, &digest, CacheUse::Bypass)
        .field("Content-Type", media_type::BLOB)
        .finish(framing, terms.connection);
    exchange
        .context
        .counters
        .count_request(CacheUse::Bypass, 200);
    exchange.send(output, terms.connection).await
}

/// Sends what the request asks of a blob whose source is known.
async fn send(
    exchange: &mut Exchange,
    request: &Request<'_>,
    terms: Terms<'_>,
    source: Source,
    cache: CacheUse,
) -> Next {
    let digest = source.digest();
    let etag = format!("\"{digest}\"");
    if if_none_match(request.if_none_match.clone(), etag.as_bytes()) {
        let reply = Reply::not_modified()
            .with("Docker-Content-Digest", digest.to_string())
            .with("ETag", etag)
            .with("Cache-Control", CACHE_CONTROL);
        return exchange.reply(terms, reply.by(cache)).await;
    }
    let plan = Plan::of(request, &source, &etag);
    body::send(exchange, terms, &source, plan, cache).await
}

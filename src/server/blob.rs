//! Blobs: from this core's open files, from the store, or from a fill.

use std::rc::Rc;
use std::sync::Arc;

use super::absent::{Asked, Turn};
use super::body::{self, Plan, Source};
use super::context::Context;
use super::cycle;
use super::exchange::{Exchange, Next, Terms};
use super::grants::Credential;
use super::open_blobs::CoreBlob;
use super::opening::is_shortage;
use super::permit;
use super::reply::{Reply, Status};
use crate::access::{Item, Shown, Visit};
use crate::digest::Digest;
use crate::fill::{Failure, Follower, Join};
use crate::http::response::Connection;
use crate::http::{
    Framing, Method, RangeSpec, Request, ResponseHead, Version, if_none_match, if_range_matches,
    range,
};
use crate::limits::REJOINS_MAX;
use crate::metrics::CacheUse;
use crate::registry::{Code, Route, media_type};
use crate::rt;
use crate::upstream::{self, Span};

/// What a blob's name means never changes (distribution sends the same).
pub(super) const CACHE_CONTROL: &str = "max-age=31536000";

/// Where the date stands in [`CoreBlob::plain`].
const PLAIN_DATE: std::ops::Range<usize> = 23..52;

/// Answers the plain hit, a GET without conditions of a blob that this core has open, from a response
/// written before; `None` leaves the request to [`answer`]. The path of almost every request.
pub(super) async fn answer_plain(exchange: &mut Exchange, request: &Request<'_>) -> Option<Next> {
    let is_plain = request.method == Method::Get
        && request.version == Version::Http11
        && request.range.is_none()
        && request.if_none_match.is_empty();
    if !is_plain {
        return None;
    }
    let service = &exchange.context.service;
    let credential = Credential::of_plain(request, service.access.heeds_authorization())?;
    let Ok(Route::Blob { name, digest }) = Route::parse(request.path, &service.options.prefix)
    else {
        return None;
    };
    let blob = exchange.context.open_blobs.borrow_mut().find(&digest)?;
    let (seconds, date) = exchange.context.now();
    if !service.access.is_public() {
        let mut grants = exchange.context.grants.borrow_mut();
        // A clock that was just read: a permission is for a minute.
        let now = exchange.outcome.begun;
        if !grants.find(&digest, name.as_str(), credential, now) {
            return None;
        }
    }
    let warm_end = match blob.small {
        Some(_) => u64::MAX,
        None => body::warm(exchange, &blob, 0..blob.size_bytes, seconds).await?,
    };
    blob.touch(&exchange.context.service.store, seconds);
    let mut output = std::mem::take(&mut exchange.output);
    output.clear();
    output.extend_from_slice(blob.plain.get_or_init(|| write_plain(exchange, &blob)));
    output[PLAIN_DATE].copy_from_slice(date.as_bytes());
    exchange.begin(CacheUse::Hit, 200);
    if blob.small.is_some() {
        let counters = &exchange.context.counters;
        counters.client_bytes.add(blob.size_bytes);
        counters.hit_bytes.add(blob.size_bytes);
        let sending = exchange.send(output, blob.size_bytes, Connection::Stay);
        return Some(sending.await);
    }
    exchange.output = output;
    let source = Source::Stored { blob, warm_end };
    Some(body::send_range(exchange, &source, 0..source.size_known(), Connection::Stay).await)
}

/// Writes the response to a plain GET, without the body of a blob that is not small.
fn write_plain(exchange: &Exchange, blob: &CoreBlob) -> Box<[u8]> {
    let terms = Terms {
        is_head: false,
        version: Version::Http11,
        connection: Connection::Stay,
        namespace: None,
        shown: Shown::default(),
    };
    let mut plain = Vec::new();
    let head = exchange.begin_head(&mut plain, Status::OK, terms);
    describe(head, &blob.digest, CacheUse::Hit, "")
        .field("Content-Type", media_type::BLOB)
        .finish(Framing::Length(blob.size_bytes), Connection::Stay);
    plain.extend_from_slice(blob.small.as_deref().unwrap_or_default());
    plain.into_boxed_slice()
}

/// Adds the fields that every response about a blob has.
///
/// - `behind`: what caches behind the next hop said of their part, to stand before ours (RFC 9211 §2).
pub(super) fn describe<'o>(
    head: ResponseHead<'o>,
    digest: &Digest,
    cache: CacheUse,
    behind: &str,
) -> ResponseHead<'o> {
    let text = digest.text();
    head.field("Docker-Content-Digest", text)
        .field_parts("ETag", &[b"\"", text.as_ref(), b"\""])
        .field("Accept-Ranges", "bytes")
        .field("Cache-Control", CACHE_CONTROL)
        .field_parts(
            "Cache-Status",
            &[behind.as_bytes(), cache.cache_status().as_bytes()],
        )
}

/// Answers any request for a blob.
pub(super) async fn answer(
    exchange: &mut Exchange,
    request: &Request<'_>,
    terms: Terms<'_>,
    item: Item<'_>,
) -> Next {
    let context = Rc::clone(&exchange.context);
    let digest = item.digest;
    if permit::is_granted(&context, terms.shown, item.repository, &digest)
        && let Ok(Some(blob)) = find(&context, digest).await
        && let Some(next) = send_stored(exchange, request, terms, blob).await
    {
        return next;
    }
    exchange.transport.socket().clear_deadline();
    let admitted = permit::admit(&context, terms.shown, item);
    let visit = match exchange.transport.socket().unless_gone(admitted).await {
        None => return Next::Abort,
        Some(Ok(visit)) => visit,
        Some(Err(reply)) => return exchange.reply(terms, reply).await,
    };
    // Whether it is here is not looked at any closer before this client is known to be permitted.
    if !may_be_here(&context, digest).await {
        return answer_missing(exchange, request, terms, item, &visit).await;
    }
    let permitted = permit::permit(&context, terms.shown, &visit, item, None);
    match exchange.transport.socket().unless_gone(permitted).await {
        None => return Next::Abort,
        Some(Ok(())) => {}
        Some(Err(reply)) => return exchange.reply(terms, reply).await,
    }
    match find(&context, digest).await {
        Ok(Some(blob)) => {
            if let Some(next) = send_stored(exchange, request, terms, blob).await {
                return next;
            }
        }
        Ok(None) => {}
        Err(error) => {
            tracing::error!(%digest, %error, "a stored blob could not be opened");
            let reply = Reply::error(Code::Unavailable, "the cache's disk failed");
            return exchange.reply(terms, reply).await;
        }
    }
    answer_missing(exchange, request, terms, item, &visit).await
}

/// Answers the process that takes over, which has found out by itself who may have what; `None` if the blob is neither
/// here nor on its way.
pub(super) async fn answer_unasked(
    exchange: &mut Exchange,
    request: &Request<'_>,
    terms: Terms<'_>,
    digest: Digest,
) -> Option<Next> {
    let context = Rc::clone(&exchange.context);
    let wanted = wanted(request, &digest);
    let Some(fill) = context.service.fills.follow(&digest, wanted) else {
        // After the look at the fills: one commits before it leaves their list.
        let blob = find(&context, digest).await.ok().flatten()?;
        return send_stored(exchange, request, terms, blob).await;
    };
    let needs_size = request.range.is_some();
    exchange.transport.socket().clear_deadline();
    let head = wait_for_head(&fill, needs_size);
    let size_bytes = match exchange.transport.socket().unless_gone(head).await {
        None => return Some(Next::Abort),
        Some(head) => head.ok()?,
    };
    let fill = Rc::new(fill);
    let source = Source::Filling { fill, size_bytes };
    send(exchange, request, terms, source, CacheUse::Collapsed).await
}

/// Says whether a blob may be here: in the index, or on disk without it, as another process on the same
/// directory may have stored it. That look costs little beside the question to the next hop that it may save.
async fn may_be_here(context: &Context, digest: Digest) -> bool {
    let service = &context.service;
    if service.store.lookup(&digest).is_some() {
        return true;
    }
    if service.fills.is_running(&digest) {
        return false;
    }
    let store = Arc::clone(&service.store);
    rt::blocking(move || store.has_file(&digest))
        .await
        .unwrap_or(false)
}

/// Answers for a blob that is not here.
async fn answer_missing(
    exchange: &mut Exchange,
    request: &Request<'_>,
    terms: Terms<'_>,
    item: Item<'_>,
    visit: &Visit,
) -> Next {
    let absent = &exchange.context.service.absences;
    if let Some(reply) = absent.answer(&Asked::new(item, visit, None)) {
        return exchange.reply(terms, reply).await;
    }
    if terms.is_head {
        answer_head(exchange, terms, item, visit).await
    } else {
        answer_absent(exchange, request, terms, item, visit).await
    }
}

/// Sends a blob that is here to a client that may have it. `None` means that nothing was sent, as it cannot
/// be read and is not here any more.
async fn send_stored(
    exchange: &mut Exchange,
    request: &Request<'_>,
    terms: Terms<'_>,
    blob: Rc<CoreBlob>,
) -> Option<Next> {
    let (seconds, _) = exchange.context.now();
    blob.touch(&exchange.context.service.store, seconds);
    let warm_end = 0;
    let source = Source::Stored { blob, warm_end };
    send(exchange, request, terms, source, CacheUse::Hit).await
}

/// Returns the blob open for sending, if it is here.
async fn find(context: &Context, digest: Digest) -> std::io::Result<Option<Rc<CoreBlob>>> {
    if let Some(blob) = context.open_blobs.borrow_mut().find(&digest) {
        return Ok(Some(blob));
    }
    let service = &context.service;
    let mut opened = service.opening.open(&service.store, digest).await;
    if opened.as_ref().is_err_and(is_shortage) {
        context.open_blobs.borrow_mut().close_some();
        opened = service.opening.open(&service.store, digest).await;
    }
    let Some(blob) = opened? else {
        return Ok(None);
    };
    let blob = Rc::new(blob);
    context.open_blobs.borrow_mut().insert(Rc::clone(&blob));
    Ok(Some(blob))
}

/// Answers from a fill.
///
/// The next hop's answer is about the repository and the authority that the fill was started for. A
/// follower with others is checked by itself, and a refusal makes it start over with its own.
async fn answer_absent(
    exchange: &mut Exchange,
    request: &Request<'_>,
    terms: Terms<'_>,
    item: Item<'_>,
    visit: &Visit,
) -> Next {
    let context = Rc::clone(&exchange.context);
    let needs_size = request.range.is_some() || terms.version == Version::Http10;
    exchange.transport.socket().clear_deadline();
    for _ in 0..REJOINS_MAX {
        let (digest, name) = (item.digest, item.repository.as_str());
        let fills = &context.service.fills;
        let (fill, cache) = match fills.join(
            digest,
            name,
            &visit.authority,
            &visit.trail,
            wanted(request, &digest),
            &context.counters,
        ) {
            Join::Lead(fill) => (Rc::new(fill), CacheUse::Miss),
            Join::Follow(fill) => (Rc::new(fill), CacheUse::Collapsed),
            Join::Busy => break,
            // Committed this very moment.
            Join::Stored => return Box::pin(answer(exchange, request, terms, item)).await,
        };
        let permitted =
            wait_for_permitted_head(&context, &fill, terms.shown, item, visit, needs_size);
        match exchange.transport.socket().unless_gone(permitted).await {
            None => return Next::Abort,
            Some(Ok((size_bytes, is_answer_ours))) => {
                context.service.absences.forget(&digest);
                let source = Source::Filling {
                    fill: Rc::clone(&fill),
                    size_bytes,
                };
                let next = send(exchange, request, terms, source, cache).await;
                let next = next.unwrap_or(Next::Abort);
                // Not before: what came was anybody's word until it was proved to be the blob.
                if let Some(answered) = fill.proved_answer().filter(|_| is_answer_ours) {
                    permit::confirm(&context, visit, item, answered);
                }
                return next;
            }
            Some(Err(Ending::Failed(Failure::Refused(_))))
                if !fill.is_asked_as(name, &visit.authority) => {}
            // The leader's way went round in a cycle; this one's need not.
            Some(Err(Ending::Failed(Failure::Refused(refusal))))
                if refusal.status == 508 && *fill.trail() != visit.trail => {}
            // Nothing here may tell a refusal of what is stored from one of what is not.
            Some(Err(Ending::Failed(Failure::Refused(refusal)))) => {
                let (code, subject) = (Code::BlobUnknown, digest.to_string());
                let name = Some(item.repository);
                let asked = Asked::new(item, visit, None);
                context.service.absences.note(asked, &refusal);
                let reply = permit::refusal(&context, visit, name, &refusal, code, &subject);
                return exchange.reply(terms, reply).await;
            }
            Some(Err(Ending::Failed(failure))) => {
                let reply = Reply::of_failure(&failure);
                return exchange.reply(terms, reply.counted(cache)).await;
            }
            Some(Err(Ending::Denied(reply))) => return exchange.reply(terms, reply).await,
        }
    }
    exchange.reply(terms, Reply::too_many_fills()).await
}

/// Returns the part that a request asks for; `None` where it is all of the blob, or may be.
fn wanted(request: &Request<'_>, digest: &Digest) -> Option<Span> {
    let etag = format!("\"{digest}\"");
    let is_off = request
        .if_range
        .is_some_and(|condition| !if_range_matches(condition, etag.as_bytes()));
    let spec = range::parse_one(request.range.filter(|_| !is_off)?)?;
    Some(match spec {
        RangeSpec::Within(start, end) => Span::Within(start, end),
        RangeSpec::From(start) => Span::From(start),
        RangeSpec::Last(count) => Span::Last(count),
    })
}

/// Why a request gets nothing of a fill.
enum Ending {
    /// The fill has failed.
    Failed(Failure),
    /// It goes on, and is not for this client.
    Denied(Reply),
}

/// Waits until the next hop has answered and this client is known to be permitted; returns the size, and
/// whether the answer is to this client.
///
/// It is if it was still to come, to a question as this client would put it; then it is the permission.
async fn wait_for_permitted_head(
    context: &Context,
    fill: &Follower,
    shown: Shown<'_>,
    item: Item<'_>,
    visit: &Visit,
    needs_size: bool,
) -> Result<(Option<u64>, bool), Ending> {
    let is_answer_ours =
        fill.is_unanswered() && fill.is_asked_as(item.repository.as_str(), &visit.authority);
    if !is_answer_ours {
        let permitted = permit::permit(context, shown, visit, item, fill.size_bytes()).await;
        permitted.map_err(Ending::Denied)?;
    }
    let waited = cycle::wait_for_stranger(context, fill, item, visit).await;
    waited.map_err(Ending::Denied)?;
    let head = wait_for_head(fill, needs_size)
        .await
        .map_err(Ending::Failed)?;
    if is_answer_ours && !fill.is_answered_by_origin() {
        // The process before this one sends what it has, and says nothing of who may have it.
        let permitted = permit::permit(context, shown, visit, item, fill.size_bytes()).await;
        permitted.map_err(Ending::Denied)?;
        return Ok((head, false));
    }
    Ok((head, is_answer_ours))
}

/// Waits for the next hop's head, and for the whole blob where its size must be known and was not told.
async fn wait_for_head(fill: &Follower, needs_size: bool) -> Result<Option<u64>, Failure> {
    match fill.head().await {
        Ok(None) if needs_size => fill.size().await.map(Some),
        outcome => outcome,
    }
}

/// What the next hop tells of a blob that is not here.
#[derive(Clone, Debug)]
pub(super) struct Told {
    size_bytes: Option<u64>,
    /// What caches behind the next hop said of their part.
    behind: String,
    /// Who told it.
    hop: String,
}

/// Answers HEAD of an absent blob by the next hop's word, without a fill. It is asked once for all who ask it
/// for the same meanwhile.
async fn answer_head(
    exchange: &mut Exchange,
    terms: Terms<'_>,
    item: Item<'_>,
    visit: &Visit,
) -> Next {
    let context = Rc::clone(&exchange.context);
    let asked = Asked::new(item, visit, None);
    exchange.transport.socket().clear_deadline();
    let told = match context.service.heads.join(&asked, &visit.trail).await {
        Turn::Heard(told) => told,
        Turn::First(asking) => {
            let told = ask_head(&context, item, visit, asked).await;
            asking.answer(told.clone());
            told
        }
        Turn::Again => ask_head(&context, item, visit, asked).await,
    };
    let told = match told {
        Ok(told) => told,
        Err(reply) => return exchange.reply(terms, reply).await,
    };
    let mut output = std::mem::take(&mut exchange.output);
    output.clear();
    let head = exchange.begin_head(&mut output, Status::OK, terms);
    let framing = told.size_bytes.map_or(Framing::Empty, Framing::Length);
    describe(head, &item.digest, CacheUse::Bypass, &told.behind)
        .field("Content-Type", media_type::BLOB)
        .finish(framing, terms.connection);
    exchange.begin(CacheUse::Bypass, 200);
    exchange.outcome.upstream = Some(told.hop.as_str().into());
    exchange.send(output, 0, terms.connection).await
}

/// Asks the next hop for the head of a blob.
async fn ask_head(
    context: &Context,
    item: Item<'_>,
    visit: &Visit,
    asked: Asked,
) -> Result<Told, Reply> {
    let (name, digest) = (item.repository, item.digest);
    let request = upstream::Request {
        method: upstream::Method::Head,
        digest: Some(digest),
        trail: visit.trail.clone(),
        repository: Some(name.as_str().to_owned()),
        authority: visit.authority.clone(),
        ..upstream::Request::get(format!("/v2/{name}/blobs/{digest}"))
    };
    let outcome = context.service.upstream.send(&request).await;
    let response = outcome.map_err(|error| {
        if !error.is_known() && context.may_log() {
            let trace_id = visit.trail.trace_id();
            tracing::warn!(%digest, %error, trace_id, "HEAD of a blob failed upstream");
        }
        Reply::of_upstream_error(&error)
    })?;
    let behind = response.cache_status();
    if response.status() == 200 {
        return Ok(Told {
            size_bytes: response.content_length(),
            behind,
            hop: response.hop().to_owned(),
        });
    }
    let (subject, refusal) = (digest.to_string(), (&response).into());
    // Storage that a registry redirects to may sign its addresses for GET alone, and say 404 to anything else.
    if response.is_own() {
        context.service.absences.note(asked, &refusal);
    }
    let code = Code::BlobUnknown;
    Err(permit::refusal(
        context,
        visit,
        Some(name),
        &refusal,
        code,
        &subject,
    ))
}

/// Sends what the request asks of a blob whose source is known; `None` means that it is stored and cannot
/// be read, and that nothing was sent.
async fn send(
    exchange: &mut Exchange,
    request: &Request<'_>,
    terms: Terms<'_>,
    source: Source,
    cache: CacheUse,
) -> Option<Next> {
    let digest = source.digest();
    let etag = format!("\"{digest}\"");
    if if_none_match(request.if_none_match.clone(), etag.as_bytes()) {
        let reply = Reply::not_modified()
            .with("Docker-Content-Digest", digest.to_string())
            .with("ETag", etag)
            .with("Cache-Control", CACHE_CONTROL);
        let reply = reply.by(cache, source.behind());
        return Some(exchange.reply(terms, reply).await);
    }
    let plan = Plan::of(request, &source, &etag);
    let source = match terms.is_head {
        true => source,
        false => source.warmed(exchange, &plan).await?,
    };
    Some(body::send(exchange, terms, &source, plan, cache).await)
}

//! Requests that go round in a cycle of caches.
//!
//! Two caches that name each other as upstream would hand a request back and forth, and the fill of each would
//! wait for the other's. A request that has passed here before is therefore refused before it waits for
//! anything; see [`Trail`].

use std::time::Instant;

use parking_lot::Mutex;

use super::context::Context;
use super::reply::Reply;
use crate::access::{Item, Visit};
use crate::fill::Fill;
use crate::http::{Request, Trace};
use crate::limits::{CHAIN_PATIENCE, LOOP_LOG_EVERY};
use crate::rt;
use crate::upstream::{self, Trail};

/// When a line was last logged about them.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Option<Instant>>);

impl Seen {
    /// Says whether a line may be logged now; takes note that it is.
    fn may_log(&self, now: Instant) -> bool {
        let mut logged = self.0.lock();
        let is_due = logged.is_none_or(|at| now.saturating_duration_since(at) >= LOOP_LOG_EVERY);
        if is_due {
            *logged = Some(now);
        }
        is_due
    }
}

/// Returns what a request has passed.
///
/// # Errors
/// The 508 for one that goes round in a cycle; logged once a minute at most.
pub(super) fn trail(context: &Context, request: &Request<'_>) -> Result<Trail, Reply> {
    if request.via.is_empty() && request.traceparent.is_empty() {
        return Ok(Trail::default());
    }
    let trace = Trace::read(request.traceparent.clone(), request.tracestate.clone());
    let service = &context.service;
    let trail = service.upstream.trail(request.via.clone());
    trail.map(|trail| trail.within(trace)).map_err(|why| {
        if service.cycles.may_log(Instant::now()) {
            let via: Vec<_> = request.via.clone().map(String::from_utf8_lossy).collect();
            let (path, via) = (request.path, via.join(", "));
            let hint = "look at the upstreams of the caches that `via` names";
            tracing::error!(path, via, hint, "a request was refused: {why}");
        }
        Reply::looped(&why.to_string())
    })
}

/// Waits for the head of a fill that another request leads, unless the two wait for each other.
///
/// That can only be where both came by other ways, from caches: clients asked two caches of a cycle for the same
/// blob at the same moment, so that neither request has passed its own cache yet. A head that is late makes this
/// request ask in its own name, which shows a cycle at once.
///
/// # Errors
/// The 508 where they do.
pub(super) async fn wait_for_stranger(
    context: &Context,
    fill: &Fill,
    item: Item<'_>,
    visit: &Visit,
) -> Result<(), Reply> {
    if visit.trail.is_empty() || visit.trail == *fill.trail() {
        return Ok(());
    }
    if rt::timeout(CHAIN_PATIENCE, fill.head()).await.is_ok() {
        return Ok(());
    }
    let request = upstream::Request {
        method: upstream::Method::Head,
        digest: Some(item.digest),
        trail: visit.trail.clone(),
        repository: Some(item.repository.as_str().to_owned()),
        authority: visit.authority.clone(),
        ..upstream::Request::get(format!("/v2/{}/blobs/{}", item.repository, item.digest))
    };
    match context.service.upstream.send(&request).await {
        Ok(response) if response.status() == 508 => Err(Reply::of_loop(&response.cache_status())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute() {
        let (seen, start) = (Seen::default(), Instant::now());
        assert!(seen.may_log(start));
        assert!(!seen.may_log(start + LOOP_LOG_EVERY / 2));
        assert!(seen.may_log(start + LOOP_LOG_EVERY));
        assert!(!seen.may_log(start + LOOP_LOG_EVERY));
    }
}

//! The task that runs one fill: asks the next hop and feeds the sink.

use std::sync::Arc;

use super::progress::Done;
use super::sink::Sink;
use super::{Failure, Fill, Fills};
use crate::metrics::{Counters, FillOutcome};
use crate::rt;
use crate::upstream::{Request, Response};

/// Runs `fill` to its end, whatever that is, and takes it off the list.
pub(super) async fn run(fills: &Arc<Fills>, fill: &Arc<Fill>, counters: &Arc<Counters>) {
    counters.fills_running.add(1);
    let ending = Ending {
        fills,
        fill,
        counters,
    };
    let transferred = std::pin::pin!(transfer(fills, fill, counters));
    // A fill that is not stored is for its followers alone.
    match rt::unless(std::pin::pin!(fill.idle()), transferred).await {
        Some(Ok(done)) => {
            let outcome = match &done {
                Done::Stored { .. } => FillOutcome::Committed,
                Done::Passed { .. } => FillOutcome::PassedThrough,
            };
            tracing::debug!(digest = %fill.digest(), outcome = outcome.label(), "fill ended");
            counters.count_fill(outcome);
            fill.finish(done);
        }
        Some(Err(failure)) => {
            log_failure(fill, &failure);
            counters.count_fill(failure.outcome());
            // Off the list first: whoever hears of the failure and tries anew starts a new fill.
            fills.leave(fill);
            fill.fail(failure);
        }
        None => {
            tracing::debug!(digest = %fill.digest(), "fill ended: its last client left, and the disk does not take it");
            counters.count_fill(FillOutcome::PassedThrough);
        }
    }
    drop(ending);
}

/// Takes the fill off the list even if its task is dropped or panics, so that no follower waits for
/// ever and the next request tries anew.
struct Ending<'f> {
    fills: &'f Fills,
    fill: &'f Fill,
    counters: &'f Counters,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.fills.leave(self.fill);
        self.fill.fail(Failure::Lost);
        self.counters.fills_running.sub(1);
    }
}

/// A refusal is the next hop's word, not a fault; the rest wants someone's eye.
fn log_failure(fill: &Fill, failure: &Failure) {
    match failure {
        // The store has said it, once and not for every pull.
        Failure::Disk(error) => {
            tracing::debug!(digest = %fill.digest(), %error, "fill failed: no room in memory either");
        }
        // A client that must log in first is everyday; a cycle is logged by whoever finds it.
        Failure::Refused(refusal) if matches!(refusal.status, 401 | 403 | 404 | 508) => {
            tracing::debug!(digest = %fill.digest(), status = refusal.status, "fill refused");
        }
        Failure::Upstream(error) if error.is_known() => {
            tracing::debug!(digest = %fill.digest(), %error, "fill not begun");
        }
        _ => tracing::warn!(digest = %fill.digest(), %failure, "fill failed"),
    }
}

async fn transfer(
    fills: &Arc<Fills>,
    fill: &Arc<Fill>,
    counters: &Counters,
) -> Result<Done, Failure> {
    let repository = fill.repository();
    let request = Request {
        digest: Some(fill.digest()),
        trail: fill.trail().clone(),
        repository: Some(repository.to_owned()),
        authority: fill.authority().clone(),
        ..Request::get(format!("/v2/{repository}/blobs/{}", fill.digest()))
    };
    let mut response = fills.upstream.send(&request).await?;
    check(&response)?;
    let size_bytes = response.content_length();
    fill.set_cache_status(response.cache_status());
    // Before the followers' heads go out: they say nothing yet if there is no room at all.
    let sink = begin(fills, fill, size_bytes).await?;
    fill.start_streaming(size_bytes);
    let mut taken = 0;
    loop {
        let chunk = sink.buffer().await?;
        fill.room(taken).await;
        let (chunk, is_end) = receive(&mut response, chunk, &sink, counters).await?;
        taken += chunk.len() as u64;
        if !chunk.is_empty() {
            sink.push(chunk);
        }
        if is_end {
            return sink.finish().await;
        }
    }
}

async fn begin(
    fills: &Arc<Fills>,
    fill: &Arc<Fill>,
    size_bytes: Option<u64>,
) -> Result<Arc<Sink>, Failure> {
    let (fills, fill) = (Arc::clone(fills), Arc::clone(fill));
    // Not on the sinks' threads: it may wait for room, and they have others' bytes to write.
    rt::blocking(move || Sink::begin(fills, fill, size_bytes)).await?
}

/// A blob comes as it is, or not at all.
fn check(response: &Response) -> Result<(), Failure> {
    if response.status() != 200 {
        return Err(Failure::Refused(Arc::new(response.into())));
    }
    match response.field("content-encoding") {
        None => Ok(()),
        Some(coding) if coding.eq_ignore_ascii_case("identity") => Ok(()),
        Some(_) => Err(Failure::Corrupt("a content coding that was not asked for")),
    }
}

/// Receives into `chunk` until it is full, the body ends, or nothing more is at hand while the sink has
/// nothing to do: followers get bytes as they come, and a fast next hop is written in large pieces,
/// which the page cache keeps in large folios. Returns the chunk and whether the body has ended.
async fn receive(
    response: &mut Response,
    mut chunk: Vec<u8>,
    sink: &Arc<Sink>,
    counters: &Counters,
) -> Result<(Vec<u8>, bool), Failure> {
    while chunk.len() < chunk.capacity() {
        let (outcome, received) = response.read(chunk).await;
        chunk = received;
        let count = outcome?;
        counters.upstream_bytes.add(count as u64);
        if count == 0 {
            return Ok((chunk, true));
        }
        if sink.is_hungry() && !response.has_more() {
            break;
        }
    }
    Ok((chunk, false))
}

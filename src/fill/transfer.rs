//! The task that runs one fill from its first question to its end.

use std::sync::Arc;

use super::plan::{Plan, Purpose};
use super::progress::Done;
use super::schedule::Schedule;
use super::sink::Sink;
use super::stream::{Answer, read_answer};
use super::{Failure, Fill, Fills};
use crate::metrics::{Counters, FillOutcome};
use crate::rt;
use crate::upstream::{Response, Span};

/// Runs `fill` to its end, whatever that is, and takes it off the list.
///
/// - `opening`: the part that its first client waits for, where that lies ahead.
pub(super) async fn run(
    fills: &Arc<Fills>,
    fill: &Arc<Fill>,
    opening: Option<Span>,
    counters: &Arc<Counters>,
) {
    counters.fills_running.add(1);
    let ending = Ending {
        fills,
        fill,
        counters,
    };
    let transferred = std::pin::pin!(transfer(fills, fill, opening, counters));
    // A fill that is not stored is for its followers alone.
    match rt::unless(std::pin::pin!(fill.idle()), transferred).await {
        Some(Ok(done)) => {
            let outcome = match &done {
                Done::Stored { .. } => FillOutcome::Committed,
                Done::Passed { .. } => FillOutcome::PassedThrough,
            };
            tracing::debug!(digest = %fill.digest(), outcome = outcome.label(), "fill ended");
            counters.count_fill(outcome);
            fills.past.note(fill, outcome, None);
            fill.finish(done);
        }
        Some(Err(failure)) => {
            log_failure(fill, &failure);
            counters.count_fill(failure.outcome());
            fills.past.note(fill, failure.outcome(), Some(&failure));
            // Off the list first: whoever hears of the failure and tries anew starts a new fill.
            fills.leave(fill);
            fill.fail(failure);
        }
        None => {
            tracing::debug!(digest = %fill.digest(), "fill ended: its last client left, and the disk does not take it");
            counters.count_fill(FillOutcome::PassedThrough);
            fills.past.note(fill, FillOutcome::PassedThrough, None);
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
        Failure::Unwanted => {
            tracing::debug!(digest = %fill.digest(), "fill ended: only parts were asked for");
        }
        _ => tracing::warn!(digest = %fill.digest(), %failure, "fill failed"),
    }
}

async fn transfer(
    fills: &Arc<Fills>,
    fill: &Arc<Fill>,
    opening: Option<Span>,
    counters: &Counters,
) -> Result<Done, Failure> {
    let kept = fills.store.kept_bytes(&fill.digest());
    let rest = kept.map(Span::From);
    let (response, answer) = open(fills, fill, opening.or(rest)).await?;
    let size_bytes = answer.size_bytes;
    fill.set_cache_status(response.cache_status());
    fill.story.set_upstream(response.hop());
    // What an earlier fill has left is there, and hashing it again takes time.
    let goes_on = kept.is_some() && !answer.is_whole;
    if goes_on {
        fill.start_streaming(size_bytes);
    }
    // Before the followers' heads go out: they say nothing yet if there is no room at all.
    let sink = begin(fills, fill, size_bytes, goes_on).await?;
    if !goes_on {
        fill.start_streaming(size_bytes);
    }
    let mut plan = Plan::new(size_bytes, sink.written());
    let purpose = match answer.range.start == sink.written() {
        true => Purpose::Front,
        false => Purpose::Ahead,
    };
    let key = plan.claim(answer.range, purpose);
    let schedule = Schedule::new(fills, fill, counters, Arc::clone(&sink), plan);
    let outcome = schedule.run(key, purpose, response).await;
    drop(schedule);
    if let Err(failure) = &outcome {
        if matches!(failure, Failure::Corrupt(_)) {
            sink.spoil();
        }
        // What has come is left to the next fill, which takes a moment of the disk's time.
        rt::blocking(move || drop(sink)).await?;
    }
    outcome
}

/// Asks for the blob, or for a part of it that somebody waits for and that lies ahead.
async fn open(
    fills: &Fills,
    fill: &Fill,
    opening: Option<Span>,
) -> Result<(Response, Answer), Failure> {
    let mut request = fill.request();
    request.range = opening;
    let response = fills.upstream.send(&request).await?;
    let is_part = request.range.take().is_some();
    match read_answer(&response) {
        Ok(answer) => Ok((response, answer)),
        // The blob has no such part, or how large it is was not told: the whole of it tells.
        Err(_) if is_part && matches!(response.status(), 206 | 416) => {
            drop(response);
            let response = fills.upstream.send(&request).await?;
            let answer = read_answer(&response)?;
            Ok((response, answer))
        }
        Err(failure) => Err(failure),
    }
}

async fn begin(
    fills: &Arc<Fills>,
    fill: &Arc<Fill>,
    size_bytes: Option<u64>,
    goes_on: bool,
) -> Result<Arc<Sink>, Failure> {
    let (fills, fill) = (Arc::clone(fills), Arc::clone(fill));
    // Not on the sinks' threads: it may wait for room, and they have others' bytes to write.
    rt::blocking(move || Sink::begin(fills, fill, size_bytes, goes_on)).await?
}

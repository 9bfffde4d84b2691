//! The task that runs one fill from its first question to its end.

use std::sync::Arc;

use super::plan::{Key, Plan, Purpose};
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
            log_failure(fills, fill, &failure);
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
fn log_failure(fills: &Fills, fill: &Fill, failure: &Failure) {
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
            tracing::debug!(digest = %fill.digest(), "fill ended: nobody wants all of it");
        }
        _ if !fills.may_log() => tracing::debug!(digest = %fill.digest(), %failure, "fill failed"),
        _ => {
            let trace_id = fill.trail().trace_id();
            tracing::warn!(digest = %fill.digest(), %failure, trace_id, "fill failed");
        }
    }
}

async fn transfer(
    fills: &Arc<Fills>,
    fill: &Arc<Fill>,
    opening: Option<Span>,
    counters: &Counters,
) -> Result<Done, Failure> {
    // Hashing again what an earlier fill has left would keep somebody waiting who wants only a part.
    let kept = fills.store.kept_bytes(&fill.digest());
    let kept = kept.filter(|_| opening.is_none());
    let asked = opening.or(kept.map(Span::From));
    let (response, answer) = open(fills, fill, asked).await?;
    let size_bytes = answer.size_bytes;
    fill.set_cache_status(response.cache_status());
    fill.story.set_upstream(response.hop());
    // Before the followers' heads go out: they say nothing yet if there is no room at all. But what an earlier
    // fill has left is there, and hashing it takes time.
    let goes_on = kept.is_some() && !answer.is_whole;
    let is_word = response.is_word_of_hop();
    if goes_on {
        fill.start_streaming(size_bytes, is_word);
    }
    let sink = begin(fills, fill, size_bytes, goes_on).await?;
    if !answer.is_whole && opening.is_some() {
        pass_part(fills, fill, &sink, answer.range.start);
    }
    if !goes_on {
        fill.start_streaming(size_bytes, is_word);
    }
    let (plan, opened) = plan(&answer, fill, &sink);
    let schedule = Schedule::new(fills, fill, counters, Arc::clone(&sink), plan);
    let opened = opened.map(|key| (key, response));
    let outcome = schedule.run(opened).await;
    drop(schedule);
    if let Err(failure) = &outcome {
        let is_corrupt = matches!(failure, Failure::Corrupt(_));
        // What has come is left to the next fill, which takes a moment of the disk's time.
        let leave = move || {
            if is_corrupt {
                sink.spoil();
            }
            drop(sink);
        };
        rt::blocking(leave).await?;
    }
    outcome
}

/// Returns the plan, and the claim that the first answer is for: none where bytes are here already with which it
/// begins.
fn plan(answer: &Answer, fill: &Fill, sink: &Sink) -> (Plan, Option<Key>) {
    let here = match fill.is_part() {
        true => answer.range.start,
        false => sink.begun_with(),
    };
    let mut plan = Plan::new(answer.size_bytes, here);
    let gap = plan.gap_for(&answer.range);
    let Some(gap) = gap.filter(|gap| gap.start == answer.range.start) else {
        return (plan, None);
    };
    let purpose = match gap.start == here {
        true => Purpose::Front,
        false => Purpose::Ahead,
    };
    let key = plan.claim(gap.start..gap.end.min(answer.range.end), purpose);
    (plan, Some(key))
}

/// Has a part go past the disk by itself, where the disk does not take the blob and nobody but the client that
/// wants the part has come: else each part would cost all of the blob before it.
fn pass_part(fills: &Fills, fill: &Arc<Fill>, sink: &Sink, start: u64) {
    if !fill.is_spilled() || fill.is_wanted_whole() {
        return;
    }
    // Whoever comes now starts a fill of its own.
    fills.leave(fill);
    if fill.held.lock().followers() <= 1 {
        sink.begin_at(start);
    }
}

/// Asks for the blob, or for a part of it.
async fn open(
    fills: &Fills,
    fill: &Fill,
    asked: Option<Span>,
) -> Result<(Response, Answer), Failure> {
    let mut request = fill.request();
    request.range = asked;
    let response = fills.ask(fill, &mut request).await?;
    let is_part = request.range.take().is_some();
    match read_answer(&response) {
        Ok(answer) if is_answer_to(&answer, asked) => Ok((response, answer)),
        // The blob has no such part, how large it is was not told, or it is another part: the whole of it tells.
        _ if is_part && matches!(response.status(), 206 | 416) => {
            drop(response);
            let response = fills.ask(fill, &mut request).await?;
            let answer = read_answer(&response)?;
            match answer.is_whole {
                true => Ok((response, answer)),
                false => Err(Failure::Nonsense("a part where all was asked for")),
            }
        }
        Ok(_) => Err(Failure::Nonsense("a part where all was asked for")),
        Err(failure) => Err(failure),
    }
}

/// Says whether an answer begins where it was asked to.
fn is_answer_to(answer: &Answer, asked: Option<Span>) -> bool {
    let start = match asked {
        None => return answer.is_whole,
        Some(Span::Within(start, _) | Span::From(start)) => start,
        Some(Span::Last(count)) => answer.size_bytes.unwrap_or(0).saturating_sub(count),
    };
    answer.is_whole || answer.range.start == start
}

async fn begin(
    fills: &Arc<Fills>,
    fill: &Arc<Fill>,
    size_bytes: Option<u64>,
    goes_on: bool,
) -> Result<Arc<Sink>, Failure> {
    // Of parts nobody knows how many there will be.
    let room_bytes = size_bytes.filter(|_| fill.is_for_all());
    let (ours, fill) = (Arc::clone(fills), Arc::clone(fill));
    let begin = move || Sink::begin(ours, fill, size_bytes, room_bytes, goes_on);
    // Not on the sinks' threads: it may wait for room, and they have others' bytes to write. Hashing again what
    // was left takes long, and has threads of its own.
    match goes_on {
        true => fills.resuming.run(begin).await?,
        false => rt::blocking(begin).await?,
    }
}

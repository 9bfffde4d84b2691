//! One stream of a fill: asks a next hop for the bytes of a claim, and hands them to the sink.

use std::ops::Range;
use std::sync::Arc;

use super::Failure;
use super::plan::Key;
use super::schedule::Schedule;
use super::sink::Sink;
use crate::limits::{AHEAD_BYTES_MIN, BLOB_BYTES_MAX};
use crate::metrics::Counters;
use crate::upstream::{ContentRange, Response, Span};

/// Why a stream ended before its claim did.
#[derive(Debug)]
pub(super) enum Fault {
    /// The next hop's: another one, or the same one later, may do better.
    Hop(Failure),
    /// The next hop sends all of the blob to whoever asks for a part, which others are fetching.
    RangesIgnored,
    /// It made room for a client's request, as nobody waits for this one.
    GaveWay,
    /// Disk, hash, or a bug: nobody can do better.
    Ours(Failure),
}

/// Where the bytes of an answer lie that was asked for a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) range: Range<u64>,
    /// `None` where the blob ends when the body does.
    pub(super) size_bytes: Option<u64>,
    /// It is all of the blob, whatever was asked for.
    pub(super) is_whole: bool,
}

/// Says what an answer holds.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read_answer(response: &Response) -> Result<Answer, Failure> {
    let status = response.status();
    if !matches!(status, 200 | 206) {
        return Err(Failure::Refused(Arc::new(response.into())));
    }
    // A blob comes as it is, or not at all.
    if let Some(coding) = response.field("content-encoding")
        && !coding.eq_ignore_ascii_case("identity")
    {
        return Err(Failure::Nonsense("a content coding that was not asked for"));
    }
    if status == 200 {
        let size_bytes = response.content_length();
        let range = 0..size_bytes.unwrap_or(u64::MAX);
        return sane(Answer {
            range,
            size_bytes,
            is_whole: true,
        });
    }
    match response.content_range() {
        Some(ContentRange {
            range,
            total: total @ Some(_),
        }) => sane(Answer {
            range,
            size_bytes: total,
            is_whole: false,
        }),
        _ => Err(Failure::Nonsense("a part without a word on which")),
    }
}

/// No blob is so large; sums of offsets in a smaller one never overflow.
fn sane(answer: Answer) -> Result<Answer, Failure> {
    match answer.size_bytes {
        Some(size_bytes) if size_bytes > BLOB_BYTES_MAX => {
            Err(Failure::Nonsense("a size that no blob has"))
        }
        _ => Ok(answer),
    }
}

impl Schedule<'_> {
    /// Fetches what a claim has to come, beginning with an answer that is there if one is.
    pub(super) async fn stream(
        &self,
        key: Key,
        opened: Option<Response>,
    ) -> (Key, Result<(), Fault>) {
        (key, self.fetch(key, opened).await)
    }

    async fn fetch(&self, key: Key, opened: Option<Response>) -> Result<(), Fault> {
        let mut response = match opened {
            Some(response) => response,
            None => self.ask(key).await?,
        };
        let _flowing = self.flow();
        let said = self.reach(key, &response)?;
        loop {
            let rest = self.plan.borrow().rest(key);
            if rest.is_empty() {
                return Ok(());
            }
            let mut buffer = self.sink.buffer().await.map_err(Fault::Ours)?;
            if !self.fill.has_room(rest.start) {
                // What is on its way may be what a follower waits for: nobody waits for itself before it is there.
                self.sink.drain().await;
                self.fill.room(rest.start).await;
            }
            let received = receive(&mut response, buffer.take(), &self.sink, self.counters).await;
            let (mut bytes, end) = received;
            // What came before a failure counts. Others may have been given the end of the claim meanwhile.
            let rest = self.plan.borrow().rest(key);
            let most = usize::try_from(rest.end - rest.start).unwrap_or(usize::MAX);
            bytes.truncate(most);
            let count = bytes.len() as u64;
            buffer.hand_over(rest.start, bytes);
            self.note_received(count);
            self.fill.story.set_received(self.received.get());
            self.plan.borrow_mut().receive(key, count);
            match end {
                Ok(false) => {}
                Ok(true) => return self.heed_end(key, said),
                Err(failure) => return Err(Fault::Hop(failure)),
            }
            let urgency = self.fill.urgency();
            self.share
                .pay(usize::try_from(count).unwrap_or(usize::MAX), urgency)
                .await;
            response.set_urgency(urgency);
            // A client waits for room at this hop, and nobody for this: the rest is asked for in its turn.
            if response.should_give_way() {
                return Err(Fault::GaveWay);
            }
        }
    }

    /// Takes note of what an answer has to come; returns it.
    fn reach(&self, key: Key, response: &Response) -> Result<Range<u64>, Fault> {
        let end = read_answer(response).map_err(Fault::Hop)?.range.end;
        let mut plan = self.plan.borrow_mut();
        plan.set_reach(key, end);
        Ok(plan.rest(key).start..end)
    }

    /// Heeds that a body has ended as its framing says: of a blob without a size that is its end.
    ///
    /// - `said`: what was to come of it.
    fn heed_end(&self, key: Key, said: Range<u64>) -> Result<(), Fault> {
        let mut plan = self.plan.borrow_mut();
        if plan.size_bytes().is_none() {
            plan.end_at(key);
            return Ok(());
        }
        let rest = plan.rest(key);
        if rest.is_empty() {
            return Ok(());
        }
        if rest.start < said.end {
            return Err(Fault::Hop(Failure::Nonsense("less than was said")));
        }
        // A part of what was asked for will do, unless it takes a request for next to nothing.
        match said.end - said.start < AHEAD_BYTES_MIN {
            true => Err(Fault::Hop(Failure::Nonsense("next to nothing"))),
            false => Ok(()),
        }
    }

    /// Asks for what a claim has to come; returns an answer whose next byte is the claim's first one.
    async fn ask(&self, key: Key) -> Result<Response, Fault> {
        let (mut response, mut answer) = self.ask_once(key).await?;
        // Of a blob named by its digest all versions are one: the validator was another replica's.
        let validator = self.validator.take();
        if answer.is_whole && validator.is_some() && validator != response.validator() {
            self.is_validator_of_use.set(false);
            drop(response);
            (response, answer) = self.ask_once(key).await?;
        }
        let rest = self.plan.borrow().rest(key);
        let size_bytes = self.plan.borrow().size_bytes();
        match (size_bytes, answer.size_bytes) {
            (Some(size), Some(said)) if size != said => {
                let nonsense = Failure::Nonsense("a blob of another size than before");
                return Err(self.avoid(&response, nonsense));
            }
            (None, Some(said)) => self.plan.borrow_mut().set_size(said),
            _ => {}
        }
        if answer.is_whole {
            self.skip(&mut response, rest.start).await?;
        } else if answer.range.start != rest.start {
            let nonsense = Failure::Nonsense("other bytes than were asked for");
            return Err(self.avoid(&response, nonsense));
        }
        if self.is_validator_of_use.get() {
            *self.validator.borrow_mut() = response.validator();
        }
        Ok(response)
    }

    async fn ask_once(&self, key: Key) -> Result<(Response, Answer), Fault> {
        let (rest, size_bytes) = {
            let plan = self.plan.borrow();
            (plan.rest(key), plan.size_bytes())
        };
        let mut request = self.fill.request();
        request.patience = Some(self.patience_left());
        request.avoid = self.avoided.borrow().clone();
        if size_bytes != Some(rest.end) || rest.start > 0 {
            request.range = Some(match size_bytes {
                Some(_) => Span::Within(rest.start, rest.end),
                None => Span::From(rest.start),
            });
            request.if_range = self.validator.borrow().clone();
        }
        let sent = self.fills.ask(self.fill, &mut request).await;
        let response = sent.map_err(|error| Fault::Hop(error.into()))?;
        let answer = read_answer(&response).map_err(|failure| self.avoid(&response, failure))?;
        Ok((response, answer))
    }

    /// Has another hop asked next, where there is one.
    fn avoid(&self, response: &Response, failure: Failure) -> Fault {
        *self.avoided.borrow_mut() = Some(response.hop().to_owned());
        Fault::Hop(failure)
    }

    /// Reads and drops what was not asked for, where nothing else can be had.
    async fn skip(&self, response: &mut Response, mut surplus: u64) -> Result<(), Fault> {
        if surplus == 0 {
            return Ok(());
        }
        self.ignores_ranges.set(true);
        if self.plan.borrow().has_several_claims() {
            return Err(Fault::RangesIgnored);
        }
        let mut buffer = Vec::new();
        while surplus > 0 {
            buffer.clear();
            buffer.shrink_to(usize::try_from(surplus).unwrap_or(usize::MAX));
            if buffer.capacity() == 0 {
                let most = usize::try_from(surplus).unwrap_or(usize::MAX);
                buffer.reserve_exact(most.min(SKIP_BYTES));
            }
            let (outcome, received) = response.read(buffer).await;
            buffer = received;
            let count = outcome.map_err(|error| Fault::Hop(error.into()))? as u64;
            self.counters.upstream_bytes.add(count);
            self.share
                .pay(
                    usize::try_from(count).unwrap_or(usize::MAX),
                    self.fill.urgency(),
                )
                .await;
            if count == 0 || count > surplus {
                let failure = Failure::Nonsense("a blob of another size than before");
                return Err(Fault::Hop(failure));
            }
            surplus -= count;
        }
        Ok(())
    }
}

/// Most bytes that are read at once to be dropped.
const SKIP_BYTES: usize = 64 * 1024;

/// Receives into `chunk` until it is full, the body ends or breaks off, or nothing more is at hand while the
/// sink has nothing to do: followers get bytes as they come, and a fast next hop is written in large pieces,
/// which the page cache keeps in large folios. Returns the chunk and whether the body has ended.
async fn receive(
    response: &mut Response,
    mut chunk: Vec<u8>,
    sink: &Arc<Sink>,
    counters: &Counters,
) -> (Vec<u8>, Result<bool, Failure>) {
    while chunk.len() < chunk.capacity() {
        let (outcome, received) = response.read(chunk).await;
        chunk = received;
        match outcome {
            Ok(0) => return (chunk, Ok(true)),
            Ok(count) => counters.upstream_bytes.add(count as u64),
            Err(error) => return (chunk, Err(error.into())),
        }
        if sink.is_hungry() && !response.has_more() {
            break;
        }
    }
    (chunk, Ok(false))
}

//! One client connection: requests in order, one after the other, until one side has enough.

use std::net::IpAddr;
use std::rc::Rc;

use super::context::Context;
use super::exchange::{Exchange, Next};
use super::outcome::Outcome;
use super::refusal;
use super::succession::Caller;
use super::transport::Transport;
use crate::http::response::Connection;
use crate::http::{Body, Chunked, HeadScan, Piece, Request, RequestError, Side, parse};
use crate::limits::{DRAIN_BODY_BYTES_MAX, LINGER, REQUESTS_PER_TURN};
use crate::metrics::{DeadlinePassed, RequestRefusal};
use crate::rt::DeadlineKind;

/// Room for most request heads, in bytes.
const INPUT_BYTES: usize = 4096;

/// Serves one connection to its end.
pub(super) async fn run(
    context: &Rc<Context>,
    transport: Transport,
    client: IpAddr,
    caller: Caller,
) {
    let mut exchange = Exchange::new(Rc::clone(context), transport, client, caller);
    let mut input = Vec::with_capacity(INPUT_BYTES);
    let mut answered = 0_u64;
    loop {
        let head;
        (head, input) = receive_head(&mut exchange, input).await;
        exchange.outcome = Outcome::begin();
        let next = match head {
            Head::Received(length) => match parse(&input[..length]) {
                Ok(request) => {
                    let next = exchange.answer(&request).await;
                    exchange.tell(Some(&request), next);
                    let body = Remaining::of(&request);
                    input.drain(..length);
                    match next {
                        Next::Stay => pass_body(&mut exchange, &mut input, body).await,
                        next => next,
                    }
                }
                Err(error) => refuse(&mut exchange, error).await,
            },
            Head::Refused(error) => refuse(&mut exchange, error).await,
            Head::TooSlow => {
                let next = exchange.refuse_slow().await;
                exchange.tell(None, next);
                next
            }
            Head::Gone => return,
        };
        match next {
            Next::Stay => {}
            Next::Close => return linger(exchange.transport, input).await,
            Next::Abort => return,
        }
        if input.is_empty() && input.capacity() > INPUT_BYTES {
            // One long head must not cost its room for as long as the connection stays.
            input = Vec::with_capacity(INPUT_BYTES);
        }
        answered += 1;
        if answered.is_multiple_of(REQUESTS_PER_TURN) && !give_way(&mut exchange).await {
            return;
        }
    }
}

/// Answers a head that cannot be parsed.
async fn refuse(exchange: &mut Exchange, error: RequestError) -> Next {
    let reason = refusal::reason(error);
    exchange.context.counters.count_refused_request(reason);
    let next = exchange.refuse(error).await;
    exchange.tell(None, next);
    next
}

/// Lets the core's other connections have their turn: with epoll, a client that sends requests without
/// a pause and takes its responses would never let go of the core. Says whether the client is there.
async fn give_way(exchange: &mut Exchange) -> bool {
    let send_timeout = exchange.context.service.bounds.send_timeout.get();
    exchange.transport.set_deadline(send_timeout);
    let outcome = exchange.transport.give_way().await;
    exchange.ended(outcome, Connection::Stay) == Next::Stay
}

/// What came of waiting for a request.
enum Head {
    /// The first bytes of the input are a head of this length.
    Received(usize),
    Refused(RequestError),
    /// The head timeout passed in the middle of it.
    TooSlow,
    /// The client left, or was idle for too long.
    Gone,
}

/// Receives until the input begins with a whole head.
async fn receive_head(exchange: &mut Exchange, mut input: Vec<u8>) -> (Head, Vec<u8>) {
    let mut scan = HeadScan::new();
    let mut was_started = false;
    loop {
        match scan.scan(&input) {
            Ok(Some(length)) => {
                // The wait is over: what follows has deadlines of its own, and a drain lets it end.
                exchange.transport.socket().clear_deadline();
                return (Head::Received(length), input);
            }
            Ok(None) => {}
            Err(error) => return (Head::Refused(error), input),
        }
        let bounds = &exchange.context.service.bounds;
        let socket = exchange.transport.socket();
        match (scan.is_started(), was_started) {
            (false, _) => socket.set_deadline(bounds.idle_timeout.get(), DeadlineKind::Idle),
            (true, false) => socket.set_deadline(bounds.head_timeout.get(), DeadlineKind::Receive),
            (true, true) => {}
        }
        was_started = scan.is_started();
        let outcome;
        (outcome, input) = exchange.transport.recv(input).await;
        match outcome {
            Ok(0) => return (Head::Gone, input),
            Ok(_) => {}
            Err(_) if exchange.transport.socket().expired() => {
                return (too_slow(exchange, was_started), input);
            }
            Err(_) => return (Head::Gone, input),
        }
    }
}

/// Counts a deadline that passed, unless a drain ended the wait.
fn too_slow(exchange: &Exchange, was_started: bool) -> Head {
    let context = &exchange.context;
    if was_started {
        context.counters.count_deadline(DeadlinePassed::Head);
        return Head::TooSlow;
    }
    if !context.service.is_draining() {
        context.counters.count_deadline(DeadlinePassed::Idle);
    }
    Head::Gone
}

/// What of a request's body has not been received yet.
enum Remaining {
    Length(u64),
    Chunked(Chunked, u64),
}

impl Remaining {
    fn of(request: &Request<'_>) -> Self {
        match request.body {
            Body::None => Self::Length(0),
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunked(Chunked::new(Side::Request), 0),
        }
    }

    /// Takes body bytes off the front of `input`. Says whether the body has ended.
    ///
    /// # Errors
    /// When it cannot or should not be read to its end: where the next request begins is then unknown.
    fn take(&mut self, input: &mut Vec<u8>) -> Result<bool, RequestRefusal> {
        match self {
            Self::Length(left) => {
                let count = input
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                input.drain(..count);
                *left -= count as u64;
                Ok(*left == 0)
            }
            Self::Chunked(chunked, taken) => loop {
                match chunked.decode(input).map_err(|_| RequestRefusal::Body)? {
                    Piece::Data(range) => {
                        *taken += range.len() as u64;
                        input.drain(..range.end);
                    }
                    Piece::More => {
                        input.clear();
                        return Ok(false);
                    }
                    Piece::End { consumed } => {
                        input.drain(..consumed);
                        return Ok(true);
                    }
                }
                if *taken > DRAIN_BODY_BYTES_MAX {
                    return Err(RequestRefusal::BodyTooLong);
                }
            },
        }
    }
}

/// Receives and forgets a request's body, so that the next request can be found behind it.
///
/// The response has gone out before: a body that is malformed or too long can only be answered by a
/// close, which leaves none of its bytes to be read as a request. All of it has one deadline, whatever
/// trickles in meanwhile.
async fn pass_body(exchange: &mut Exchange, input: &mut Vec<u8>, mut body: Remaining) -> Next {
    let context = Rc::clone(&exchange.context);
    let within = context.service.bounds.head_timeout.get();
    let mut is_waiting = false;
    loop {
        match body.take(input) {
            Ok(true) => return Next::Stay,
            Ok(false) => {}
            Err(reason) => {
                context.counters.count_refused_request(reason);
                return Next::Close;
            }
        }
        let socket = exchange.transport.socket();
        if !std::mem::replace(&mut is_waiting, true) {
            socket.set_deadline(within, DeadlineKind::Whole);
        }
        let (outcome, received) = exchange.transport.recv(std::mem::take(input)).await;
        *input = received;
        if !matches!(outcome, Ok(1..)) {
            if exchange.transport.socket().expired() {
                context.counters.count_deadline(DeadlinePassed::Body);
            }
            return Next::Abort;
        }
    }
}

/// Ends the sending direction and reads on for a moment: a close with bytes unread would reset the
/// connection, and the client might never see the response (RFC 9112 §9.6).
async fn linger(mut transport: Transport, mut input: Vec<u8>) {
    transport.shut_down_send().await;
    transport.socket().set_deadline(LINGER, DeadlineKind::Whole);
    let mut left = DRAIN_BODY_BYTES_MAX;
    loop {
        input.clear();
        let (outcome, received) = transport.recv(input).await;
        input = received;
        match outcome {
            Ok(count @ 1..) if left >= count as u64 => left -= count as u64,
            _ => return,
        }
    }
}

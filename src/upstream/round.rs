//! One request on its way: whom it may still ask, until when, and what it has heard.

use std::time::{Duration, Instant};

use super::error::Error;
use super::throttle::Backoff;
use super::{Request, Response};
use crate::limits::ASK_TIME_MIN;

pub(super) struct Round<'r> {
    pub(super) request: &'r Request,
    /// When the client, or whoever else waits, gives up.
    pub(super) end: Instant,
    /// When it is too late to ask anybody: a hop would have no time to answer.
    last_call: Instant,
    /// When it is the turn of those who are avoided, if it has not come before.
    half_time: Instant,
    /// Hops that have not failed it, in the order of the policy.
    pub(super) left: Vec<usize>,
    /// Hops that are asked only when none of the others answers.
    avoided: Vec<usize>,
    /// Hops that are to be left alone by this request, and until when.
    pub(super) rests: Vec<(usize, Instant)>,
    pub(super) backoff: Backoff,
    /// What the hop said that failed last; nothing of the hop is held any more.
    pub(super) last: Option<Result<Response, Error>>,
    pub(super) has_waited: bool,
}

impl<'r> Round<'r> {
    /// - `end`: when the request is given up.
    /// - `order`: all hops, in order.
    /// - `is_avoided`: whether a hop is to be asked only when no other one answers.
    pub(super) fn new(
        request: &'r Request,
        end: Instant,
        order: Vec<usize>,
        is_avoided: impl Fn(usize) -> bool,
    ) -> Self {
        let now = Instant::now();
        let patience = end.saturating_duration_since(now);
        let (avoided, left) = order.into_iter().partition(|&hop| is_avoided(hop));
        let mut round = Self {
            request,
            end,
            last_call: now + (patience - ASK_TIME_MIN.min(patience / 4)),
            half_time: now + patience / 2,
            left,
            avoided,
            rests: Vec::new(),
            backoff: Backoff::new(),
            last: None,
            has_waited: false,
        };
        if round.left.is_empty() {
            round.turn();
        }
        round
    }

    /// Returns until when one of those who are left may be asked.
    pub(super) const fn by(&self) -> Instant {
        match self.has_avoided() {
            true => self.half_time,
            false => self.last_call,
        }
    }

    /// Says whether there are others, to be asked when none of those who are left answers.
    pub(super) const fn has_avoided(&self) -> bool {
        !self.avoided.is_empty()
    }

    /// Turns to those who were avoided, in the stead of who is left; says whether there are any.
    pub(super) fn turn(&mut self) -> bool {
        if !self.has_avoided() {
            return false;
        }
        self.left = std::mem::take(&mut self.avoided);
        self.rests.clear();
        true
    }

    /// Returns how long a hop may take to answer. The first one nearly always does; whoever comes after it
    /// must still get a chance, but for a moment that is of use to neither.
    pub(super) fn share(&self, is_last: bool) -> Duration {
        let left = self.end.saturating_duration_since(Instant::now());
        match is_last || left / 2 < ASK_TIME_MIN {
            true => left,
            false => left / 2,
        }
    }
}

//! What all cores know of the hops: who is up, who may ask, and what came of it.
//!
//! One small lock a hop, taken twice for a request that the store could not answer; never on a hit.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::authority::Quota;
use super::budget::{Gate, Kind, NoTurn, Permit, Reason};
use super::error::{Error, Phase};
use super::health::{Admission, Change, Failing, Health};
use super::policy::{self, Policy};
use super::throttle;
use super::view::Standing;
use crate::digest::Digest;
use crate::limits::PROBE_PATIENCE;
use crate::metrics::{HopNumbers, HopOutcome};
use crate::rt::{self, Notify};

/// The hops of one client.
#[derive(Debug)]
pub(super) struct Board {
    policy: Policy,
    hops: Vec<Hop>,
    /// Of the operator's hops, which are the first ones.
    seeds: Vec<u64>,
    turn: AtomicUsize,
    /// A probe has ended.
    probed: Notify,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Hop {
    state: Mutex<State>,
    numbers: Arc<HopNumbers>,
}

#[derive(Debug)]
struct State {
    health: Health,
    /// Why it failed last; empty if it never did.
    why: Arc<str>,
    is_late: bool,
}

impl Board {
    /// - `connections_max`: most requests at once to one hop.
    /// - `hops`: each hop's `host[:port]` and URL.
    /// - `own`: how many of them are the operator's: who is behind them has no place in the order, and is no hop
    ///   that anybody is told of.
    pub(super) fn new<'h>(
        policy: Policy,
        connections_max: usize,
        hops: impl ExactSizeIterator<Item = (&'h str, &'h str)>,
        own: usize,
    ) -> Self {
        let is_alone = own == 1;
        let (mut known, mut seeds) = (Vec::new(), Vec::new());
        for (name, url) in hops {
            seeds.push(policy::seed(url));
            known.push(Hop {
                state: Mutex::new(State {
                    health: Health::new(is_alone),
                    why: "".into(),
                    is_late: false,
                }),
                numbers: Arc::new(HopNumbers::new(name)),
            });
        }
        // Turns are as good at any hop; an order that somebody chose, or a blob's home, is worth a wait.
        let is_loyal = policy != Policy::RoundRobin;
        Self {
            policy,
            gate: Arc::new(Gate::new(known.len(), connections_max, is_loyal)),
            hops: known,
            seeds: {
                seeds.truncate(own);
                seeds
            },
            turn: AtomicUsize::new(0),
            probed: Notify::default(),
        }
    }

    /// Lets so many requests to one hop at once from now on; those that run go on.
    pub(super) fn set_connections_max(&self, max: usize) {
        self.gate.set_max(max);
    }

    /// Returns what is counted of each hop.
    pub(super) fn numbers(&self) -> impl Iterator<Item = Arc<HopNumbers>> {
        let own = self.hops[..self.own_hops()].iter();
        own.map(|hop| Arc::clone(&hop.numbers))
    }

    /// Returns how many hops are the operator's: the first ones.
    pub(super) const fn own_hops(&self) -> usize {
        self.seeds.len()
    }

    /// Returns how each hop is, in order.
    pub(super) fn standings(&self, now: Instant) -> Vec<Standing> {
        let standing = |hop: &Hop| {
            let state = hop.state.lock();
            Standing {
                numbers: Arc::clone(&hop.numbers),
                down_for: state
                    .health
                    .down_since()
                    .map(|since| now.saturating_duration_since(since)),
                asked_again_in: state
                    .health
                    .asked_again()
                    .map(|at| at.saturating_duration_since(now)),
                why: Arc::clone(&state.why),
            }
        };
        let own = self.hops[..self.own_hops()].iter();
        own.map(standing).collect()
    }

    /// Returns every hop, in the order in which a request asks them.
    pub(super) fn order(&self, digest: Option<&Digest>) -> Vec<usize> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let is_open = |hop: usize| self.hops[hop].state.lock().health.is_open(now);
        policy::order(self.policy, &self.seeds, turn, digest, is_open)
    }

    /// Says whether a request of now that comes to this hop would ask it.
    pub(super) fn may_be_asked(&self, hop: usize) -> bool {
        let state = self.hops[hop].state.lock();
        state.health.may_be_asked(Instant::now())
    }

    /// Returns the right to ask a hop; `None` where it is down and asking costs a timeout.
    pub(super) fn admit(&self, hop: usize) -> Option<Ticket<'_>> {
        let began = Instant::now();
        let admission = self.hops[hop].state.lock().health.admit(began);
        if admission == Admission::Closed {
            return None;
        }
        Some(Ticket {
            board: self,
            hop,
            began,
            is_probe: admission == Admission::Probe,
            is_heard: Cell::new(false),
            is_over: false,
        })
    }

    /// Waits for the right to ask one of `hops`, as far as others and the hops themselves allow it.
    ///
    /// # Errors
    /// Nobody can be asked until `end`; told at once where that is known.
    pub(super) async fn enter(
        &self,
        hops: &[usize],
        kind: Kind,
        end: Instant,
    ) -> Result<Permit, NoTurn> {
        self.gate.enter(hops, kind, end).await
    }

    /// Says whether a hop that is up could be asked at once by somebody for whom nobody would wait.
    pub(super) fn has_spare(&self) -> bool {
        let now = Instant::now();
        let is_up =
            |hop: usize| hop < self.own_hops() && self.hops[hop].state.lock().health.is_open(now);
        self.gate.has_spare(is_up)
    }

    /// Returns how many requests wait for a hop that may be asked.
    pub(super) fn waiting(&self) -> usize {
        self.gate.waiting()
    }

    /// Returns the error of a request for which no hop has room, or an ear, in time.
    pub(super) fn no_turn(&self, no_turn: NoTurn) -> Error {
        let numbers = &self.hops[no_turn.hop].numbers;
        numbers.count(HopOutcome::NotAsked);
        let host = numbers.name().to_owned();
        let retry_after = no_turn.retry_after;
        match no_turn.reason {
            Reason::Throttled => Error::Throttled { host, retry_after },
            Reason::Full => Error::Full { host, retry_after },
        }
    }

    /// Takes note that a hop asks to be left alone by all who draw on the same quota as this request.
    pub(super) fn throttled(&self, permit: &mut Permit, asked: Option<Duration>) {
        let numbers = &self.hops[permit.hop()].numbers;
        numbers.count_throttled();
        let (quota, change) = permit.heard(|load, request, now| {
            let quota = request.grant.kind.quota;
            let throttle = load.throttle(quota);
            let change = throttle.refused(asked, request.began, now, rt::spread());
            // Under the lock, so that the last word is the last one here too.
            numbers.set_throttled(load.is_throttled());
            (quota, change)
        });
        self.log_throttle(permit.hop(), quota, change);
    }

    /// Takes note that a hop answered a request.
    pub(super) fn not_throttled(&self, permit: &mut Permit) {
        let numbers = &self.hops[permit.hop()].numbers;
        let (quota, change) = permit.heard(|load, request, now| {
            let quota = request.grant.kind.quota;
            let throttle = load.throttle(quota);
            let change = throttle.answered(request.grant.is_probe, request.began, now);
            numbers.set_throttled(load.is_throttled());
            (quota, change)
        });
        self.log_throttle(permit.hop(), quota, change);
    }

    fn log_throttle(&self, hop: usize, quota: Quota, change: Option<throttle::Change>) {
        let (upstream, whom) = (self.hops[hop].numbers.name(), quota.name());
        match change {
            Some(throttle::Change::Began { wait }) => {
                let asked_again_after = format_args!("{:.1}s", wait.as_secs_f64());
                tracing::warn!(upstream, whom, %asked_again_after, "an upstream asks to slow down");
            }
            Some(throttle::Change::Ended { after }) => {
                let throttled_for = format_args!("{:.1}s", after.as_secs_f64());
                tracing::info!(upstream, whom, %throttled_for, "an upstream answers as before");
            }
            None => {}
        }
    }

    /// Counts bytes of a body that came by way of a hop.
    pub(super) fn count_bytes(&self, hop: usize, bytes: usize) {
        self.hops[hop].numbers.add_bytes(bytes as u64);
    }

    /// Takes note that a body of a hop ended exactly.
    pub(super) fn ended(&self, hop: usize) {
        self.hops[hop].state.lock().health.ended();
    }

    /// Takes note that a body broke off which a hop, or whoever it redirects to, was sending.
    pub(super) fn broke(&self, hop: usize, is_own: bool, why: &str) {
        let hop = &self.hops[hop];
        hop.numbers.count_broken_body();
        if !is_own {
            return;
        }
        let mut state = hop.state.lock();
        let change = state.health.broke(Instant::now(), rt::spread());
        if change.is_some() {
            state.why = why.into();
            state.is_late = false;
        }
        drop(state);
        log(&hop.numbers, change, why);
    }

    /// Waits until no hop is being probed, or for as long as one that works would take; says whether
    /// there was a probe to wait for.
    pub(super) async fn wait_for_probe(&self) -> bool {
        let is_probed = |hop: &Hop| hop.state.lock().health.is_probed();
        if !self.hops.iter().any(is_probed) {
            return false;
        }
        let over = self
            .probed
            .wait(|| (!self.hops.iter().any(is_probed)).then_some(()));
        rt::timeout(PROBE_PATIENCE, over).await.is_ok()
    }

    /// Returns the error of a request that asks nobody, since `hop` and all others are down.
    pub(super) fn away(&self, hop: usize) -> Error {
        let hop = &self.hops[hop];
        hop.numbers.count(HopOutcome::NotAsked);
        let state = hop.state.lock();
        let since = state.health.down_since();
        Error::Away {
            host: hop.numbers.name().to_owned(),
            since: since.map(|since| since.elapsed()).unwrap_or_default(),
            why: Arc::clone(&state.why),
            is_late: state.is_late,
        }
    }
}

/// The right to ask one hop once. Dropped without an outcome it leaves nothing behind: the client has
/// gone, and nothing can be told from that.
pub(super) struct Ticket<'b> {
    board: &'b Board,
    hop: usize,
    began: Instant,
    is_probe: bool,
    /// The hop itself has answered something.
    is_heard: Cell<bool>,
    is_over: bool,
}

impl Ticket<'_> {
    /// Takes note that the hop itself has sent a response head: a redirect or a challenge, say. What
    /// goes wrong from here on is not its fault.
    pub(super) fn hear(&self) {
        if !self.is_heard.replace(true) {
            let took = self.began.elapsed();
            self.board.hops[self.hop].numbers.add_head_time(took);
        }
    }

    /// Says whether the hop itself has answered.
    pub(super) fn is_heard(&self) -> bool {
        self.is_heard.get()
    }

    /// Ends it with an answer.
    pub(super) fn answered(mut self, outcome: HopOutcome) {
        let hop = &self.board.hops[self.hop];
        hop.numbers.count(outcome);
        let change = hop.state.lock().health.answered(Instant::now());
        log(&hop.numbers, change, "");
        self.end();
    }

    /// Ends it with a failure of the hop, told by `why`.
    pub(super) fn failed(mut self, failing: Failing, outcome: HopOutcome, why: &str) {
        let hop = &self.board.hops[self.hop];
        hop.numbers.count(outcome);
        let mut state = hop.state.lock();
        state.why = why.into();
        state.is_late = outcome == HopOutcome::TimedOut;
        let now = Instant::now();
        let spread = rt::spread();
        let (began, is_probe) = (self.began, self.is_probe);
        let change = state.health.failed(failing, began, now, is_probe, spread);
        drop(state);
        log(&hop.numbers, change, why);
        self.end();
    }

    fn end(&mut self) {
        self.is_over = true;
        if self.is_probe {
            self.board.probed.wake_all();
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.is_probe && !self.is_over {
            self.board.hops[self.hop].state.lock().health.abandoned();
            self.board.probed.wake_all();
        }
    }
}

fn log(numbers: &HopNumbers, change: Option<Change>, why: &str) {
    let upstream = numbers.name();
    match change {
        Some(Change::WentDown { wait }) => {
            numbers.set_up(false);
            let asked_again_after = format_args!("{:.1}s", wait.as_secs_f64());
            tracing::warn!(upstream, why, %asked_again_after, "an upstream is down");
        }
        Some(Change::CameBack { after }) => {
            numbers.set_up(true);
            let down_for = format_args!("{:.1}s", after.as_secs_f64());
            tracing::info!(upstream, %down_for, "an upstream is back");
        }
        None if !why.is_empty() => tracing::debug!(upstream, why, "an upstream failed"),
        None => {}
    }
}

/// Sorts a failure of a hop that had not answered before; `None` where it is not the hop's.
pub(super) fn sort(error: &Error) -> Option<(Failing, HopOutcome)> {
    Some(match error {
        Error::Unreachable { .. } => (Failing::Gone, HopOutcome::Unreachable),
        Error::Tls { .. } => (Failing::Gone, HopOutcome::Tls),
        Error::TimedOut {
            phase: Phase::Connect,
            ..
        } => (Failing::Gone, HopOutcome::TimedOut),
        Error::TimedOut { .. } => (Failing::Silent, HopOutcome::TimedOut),
        Error::Protocol { .. } => (Failing::Ill, HopOutcome::Protocol),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rt::{Cores, Tier, sleep, spawn};

    /// A site whose only upstream comes back: the first layer of an image finds out for all of them, and none
    /// of the others may fail meanwhile.
    #[test]
    fn those_who_come_during_a_probe_wait_for_it() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let tier = Tier::probe(true);
        let cores = Cores::start_unpinned("test-core", &tier, move |_| async move {
            let hops = [("a.example", "http://a.example/")];
            let own = hops.len();
            let board = Board::new(Policy::RoundRobin, usize::MAX, hops.into_iter(), own);
            let board = Arc::new(board);
            let mut ticket = board.admit(0).unwrap();
            ticket.began -= Duration::from_secs(5);
            ticket.failed(Failing::Gone, HopOutcome::TimedOut, "gone");
            assert!(!board.wait_for_probe().await, "nobody finds out yet");
            assert!(!board.may_be_asked(0));
            assert!(matches!(board.away(0), Error::Away { is_late: true, .. }));
            let probe = loop {
                match board.admit(0) {
                    Some(probe) => break probe,
                    None => sleep(Duration::from_millis(10)).await,
                }
            };
            assert!(board.admit(0).is_none());
            let (waiting, told) = (Arc::clone(&board), sender.clone());
            spawn(async move {
                told.send(waiting.wait_for_probe().await && waiting.admit(0).is_some())
                    .unwrap();
            });
            sleep(Duration::ZERO).await;
            probe.answered(HopOutcome::Answered);
        });
        assert!(receiver.recv().unwrap());
        cores.unwrap().join().unwrap();
    }
}

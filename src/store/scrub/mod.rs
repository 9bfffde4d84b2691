//! The scrub: reads everything that is stored again and again, so that rot is found before a client finds it.
//!
//! ```text
//!           due                 end of file              end of walk
//! Resting ───────▶ Reading ──────────────────▶ Resting ─────────────▶ Resting until the next round
//!                     ╰─ piece, at `scrub_rate` ─╯  as long as the schedule allows
//! ```
//!
//! A machine that does no waiting and asks for no time: [`Scrub::step`] is called with it, reads at most one
//! piece of 1 MiB, and says how long to wait. A file is read at the highest rate, so that it is not held
//! open for long, and the rest comes after it: see [`schedule`]. Where it stands is remembered across
//! restarts, to the file: see [`place`].

mod place;
mod schedule;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use schedule::{Holdings, Pace};

use super::check::{Check, Checked, Judge};
use super::gentle::PIECE_BYTES;
use super::layout::Layout;
use super::walk::{Place, Walk};
use place::Round;
use schedule::Schedule;

/// How often the place is written down at most: what a restart reads again.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// How soon a round that found nothing is followed by another: a store is not empty for long.
const EMPTY_AGAIN: Duration = Duration::from_secs(3600);

/// The scrub of one root directory. One process has one at a time.
pub struct Scrub {
    root: PathBuf,
    pace: Pace,
    judge: Judge,
    round: Round,
    walk: Walk,
    check: Option<Check>,
    schedule: Schedule,
    saved: Option<SystemTime>,
    piece: Vec<u8>,
}

/// What a step did, and when the next is wanted.
#[derive(Debug)]
pub struct Stepped {
    /// Bytes read from files.
    pub read_bytes: u64,
    /// The file that is done with, if one is. A rotten one has been taken away already, if that was
    /// possible; whoever keeps an index drops its entry.
    pub checked: Option<Checked>,
    /// How long to wait before the next step. An earlier one does nothing.
    pub wait: Duration,
}

impl Scrub {
    /// Goes on where the last process stopped, or starts over if that is not known.
    #[must_use]
    pub fn open(root: &Path, pace: Pace, now: SystemTime) -> Self {
        let mut round = place::read(root).unwrap_or_else(|| Round::begin(now));
        // A clock that was set back would have the round wait for the old time.
        round.began = round.began.min(now);
        Self {
            root: root.to_owned(),
            pace,
            judge: Judge::new(Layout::new(root.to_owned()), false),
            walk: Walk::new(root, round.after),
            round,
            check: None,
            schedule: Schedule::new(now),
            saved: None,
            piece: vec![0; PIECE_BYTES],
        }
    }

    /// Goes at another pace from the next step on.
    pub const fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Does what is due at `now`, if anything is: opens a file, or reads a piece of one.
    ///
    /// - `holdings`: what is stored, which the pace goes by.
    pub fn step(&mut self, now: SystemTime, holdings: Holdings) -> Stepped {
        if let Some(wait) = self.schedule.wait(now) {
            return rest(wait);
        }
        match self.check.take() {
            Some(check) => self.read(check, now, holdings),
            None => self.open_next(now, holdings),
        }
    }

    fn open_next(&mut self, now: SystemTime, holdings: Holdings) -> Stepped {
        match self.walk.next() {
            Some(Ok(stored)) => match Check::open(stored) {
                Ok(check) => {
                    self.schedule.begin_file(now);
                    self.read(check, now, holdings)
                }
                Err(unopened) => {
                    let (stored, verdict) = *unopened;
                    let place = stored.place();
                    let checked = self.judge.act(&stored, verdict);
                    self.finish(place, 0, now, holdings);
                    self.stepped(0, Some(checked), now)
                }
            },
            Some(Err(error)) => {
                tracing::warn!(%error, "the scrub passes over what it cannot read");
                self.schedule
                    .pause(now, schedule::FILE_COST_BYTES, self.pace.rate_max());
                self.stepped(0, None, now)
            }
            None => self.end_round(now),
        }
    }

    fn read(&mut self, mut check: Check, now: SystemTime, holdings: Holdings) -> Stepped {
        let before = check.offset();
        let verdict = check.step(&mut self.piece);
        let read_bytes = check.offset() - before;
        let Some(verdict) = verdict else {
            self.schedule.pause(now, read_bytes, self.pace.rate_max());
            self.check = Some(check);
            return self.stepped(read_bytes, None, now);
        };
        let size_bytes = check.offset();
        let stored = check.into_stored();
        let checked = self.judge.act(&stored, verdict);
        self.finish(stored.place(), size_bytes, now, holdings);
        self.stepped(read_bytes, Some(checked), now)
    }

    /// Notes that a file is done with, and rests for it.
    fn finish(&mut self, place: Place, size_bytes: u64, now: SystemTime, holdings: Holdings) {
        let cost = schedule::cost(size_bytes);
        self.round.after = Some(place);
        self.round.done_bytes = self.round.done_bytes.saturating_add(cost);
        let rate = schedule::rate(self.pace, holdings, self.round.done_bytes, self.left(now));
        self.schedule.end_file(now, cost, rate);
        let is_due = self
            .saved
            .is_none_or(|saved| now.duration_since(saved).is_ok_and(|age| age >= SAVE_EVERY));
        if is_due {
            self.save(now);
        }
    }

    /// Returns how much of the round's time is left.
    fn left(&self, now: SystemTime) -> Duration {
        let spent = now.duration_since(self.round.began).unwrap_or_default();
        self.pace.every.saturating_sub(spent)
    }

    fn end_round(&mut self, now: SystemTime) -> Stepped {
        let left = match self.round.done_bytes {
            0 => self.pace.every.min(EMPTY_AGAIN),
            // Never at once: a walk over nothing costs a thousand calls.
            _ => self.left(now).max(SAVE_EVERY),
        };
        self.round = Round::begin(now + left.min(schedule::WAIT_MAX));
        self.walk = Walk::new(&self.root, None);
        self.schedule.rest(now, left);
        self.save(now);
        self.stepped(0, None, now)
    }

    /// Writes down where the scrub stands, as it does by itself now and then: for an orderly end.
    pub fn save(&mut self, now: SystemTime) {
        self.saved = Some(now);
        if let Err(error) = place::write(&self.root, &self.round) {
            tracing::debug!(%error, "the place of the scrub could not be written down");
        }
    }

    fn stepped(&self, read_bytes: u64, checked: Option<Checked>, now: SystemTime) -> Stepped {
        Stepped {
            read_bytes,
            checked,
            wait: self.schedule.wait(now).unwrap_or_default(),
        }
    }
}

fn rest(wait: Duration) -> Stepped {
    Stepped {
        read_bytes: 0,
        checked: None,
        wait,
    }
}

/// Returns whole seconds since the epoch, which is what is written down.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests;

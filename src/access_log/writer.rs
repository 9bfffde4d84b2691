//! The one thread that formats and writes, so that no core does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Instant, SystemTime};

use super::format::Formatter;
use super::line::{Batch, Line};
use super::options::Format;
use super::output::{self, Output};
use super::{Order, Shared, Sheet};
use crate::limits::{LOG_LOOK_EVERY, LOG_LOOK_SOON, LOG_PIECE_BYTES};
use crate::metrics::Cell;

/// What the thread holds.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) sheet: Sheet,
    pub(super) formatter: Formatter,
    pub(super) lost: Arc<Cell>,
    pub(super) piece: Vec<u8>,
    /// Lines in `piece`.
    pub(super) lines: u64,
    /// Whether it was told that writing fails; until it goes well again.
    pub(super) is_failing: bool,
}

impl Writer {
    /// Writes until it is told to end, and then what there still is.
    pub(super) fn run(mut self) {
        loop {
            let order = self.shared.order.swap(Order::GO_ON, Ordering::AcqRel);
            if order == Order::REOPEN {
                self.reopen();
            }
            if self.sheet.output.is_none() {
                // What comes after it was turned on is not lost.
                self.turn();
            }
            let is_busy = self.drain();
            self.turn();
            if order == Order::END {
                return;
            }
            match self.sheet.output {
                Some(_) if is_busy => thread::park_timeout(LOG_LOOK_SOON),
                Some(_) => thread::park_timeout(LOG_LOOK_EVERY),
                // Whoever turns it on, or ends it, wakes it.
                None => thread::park(),
            }
        }
    }

    /// Turns to where lines go from now on, if that has changed.
    fn turn(&mut self) {
        if let Some(next) = self.shared.next.lock().take() {
            self.sheet = next;
            self.is_failing = false;
        }
    }

    fn reopen(&mut self) {
        let Some(output) = &mut self.sheet.output else {
            return;
        };
        match output.reopen() {
            Ok(()) => tracing::info!("the access log was opened again"),
            Err(error) => {
                tracing::error!(%error, "the access log could not be opened again: it stays the file that it was");
            }
        }
    }

    /// Writes what there is; says whether any core had a batch full.
    fn drain(&mut self) -> bool {
        let mut is_busy = false;
        let shared = Arc::clone(&self.shared);
        // Lines have the time of the clock that only goes forward.
        let now = (Instant::now(), SystemTime::now());
        for ring in &shared.rings {
            // Not more than were there: others wait as well.
            for _ in 0..crate::limits::LOG_BATCHES_MAX {
                let Some(batch) = ring.take() else { break };
                is_busy |= batch.is_full();
                self.put(&batch, now);
                ring.give_back(batch);
            }
        }
        self.flush();
        is_busy
    }

    fn put(&mut self, batch: &Batch, now: (Instant, SystemTime)) {
        for line in batch.lines() {
            let ago = now.0.saturating_duration_since(line.fixed.begun);
            let at = now.1.checked_sub(ago).unwrap_or(now.1);
            match self.sheet.output {
                Some(Output::Journal { .. }) => {
                    self.send(&line, at);
                    continue;
                }
                Some(_) => {}
                // It was turned off a moment ago.
                None => continue,
            }
            match self.sheet.format {
                Format::Combined => self.formatter.combined(&line, at, &mut self.piece),
                Format::Json => self.formatter.json(&line, at, &mut self.piece),
            }
            self.lines += 1;
            if self.piece.len() >= LOG_PIECE_BYTES {
                self.flush();
            }
        }
    }

    fn send(&mut self, line: &Line<'_>, at: SystemTime) {
        let mut message = Vec::new();
        self.formatter.combined(line, at, &mut message);
        let object = self.formatter.object(line, at);
        self.piece.clear();
        output::record(&message, &object, &mut self.piece);
        let Some(Output::Journal { socket, path }) = &self.sheet.output else {
            return;
        };
        let outcome = output::send(socket, path, &self.piece);
        self.piece.clear();
        self.told(outcome, 1);
    }

    fn flush(&mut self) {
        if self.lines == 0 {
            return;
        }
        let outcome = match &mut self.sheet.output {
            Some(output) => output.write(&self.piece),
            None => Ok(()),
        };
        self.piece.clear();
        let lines = std::mem::take(&mut self.lines);
        self.told(outcome, lines);
    }

    /// Takes note of what came of writing so many lines.
    fn told(&mut self, outcome: io::Result<()>, lines: u64) {
        match outcome {
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                tracing::info!("the access log is written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.lost.add(lines);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, "the access log cannot be written: lines are lost");
                }
            }
        }
    }
}

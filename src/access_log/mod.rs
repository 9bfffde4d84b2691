//! The access log: a line for each request, written by a thread of its own.
//!
//! ```text
//!  core 0 ─ Pen ─▶ ring ─╮
//!  core 1 ─ Pen ─▶ ring ─┼─▶ writer: format, large pieces ─▶ file | stdout | journald
//!  core … ─ Pen ─▶ ring ─╯
//! ```
//!
//! Invariants
//! - A core copies some 200 bytes a line, and never waits, wakes anybody or formats: whatever becomes of the
//!   disk or the pipe, only lines are dropped, and counted.
//! - Of a query only parameters are logged that are known to be no secret; of a head that could not be read,
//!   nothing.
//! - No byte of a client can end a line or a field; see [`format`].

mod format;
mod line;
mod options;
mod output;
mod ring;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use line::Entry;
pub use options::{Format, Options, Target};
pub use ring::Pen;

use crate::limits::LOG_END_WAIT;
use crate::live::Live;
use crate::metrics::{Cell, Counters};
use format::Formatter;
use output::Output;
use ring::Ring;
use writer::Writer;

/// How often the end looks whether the writer is done.
const END_TICK: Duration = Duration::from_millis(5);

/// What the writer is to do next.
struct Order;

impl Order {
    const GO_ON: u8 = 0;
    const REOPEN: u8 = 1;
    const END: u8 = 2;
}

/// What cores and writer share.
#[derive(Debug)]
struct Shared {
    rings: Box<[Arc<Ring>]>,
    order: AtomicU8,
    /// Whether lines are wanted at all.
    is_on: Live<bool>,
    /// Where lines go from now on, until the writer has taken it up; without an output, nowhere.
    next: Mutex<Option<Sheet>>,
}

/// Where lines go, and in which form.
#[derive(Debug)]
struct Sheet {
    output: Option<Output>,
    format: Format,
}

impl Sheet {
    fn open(options: Option<&Options>) -> io::Result<Self> {
        let output = options.map(|options| Output::open(&options.target));
        Ok(Self {
            output: output.transpose()?,
            format: options.map_or(Format::Combined, |options| options.format),
        })
    }
}

/// An access log that has been opened and is not written to yet.
#[derive(Debug)]
pub struct Opened(Sheet);

/// The access log of a process.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Opens the log for `cores` cores, and starts its writer.
    ///
    /// - `options`: without them nothing is written until [`AccessLog::turn_to`] says where.
    /// - `prefix`: what stands before `/v2/` in paths.
    /// - `lost`: counts lines that could not be written.
    ///
    /// # Errors
    /// When it cannot be opened, with its path, or a thread cannot be started.
    pub fn start(
        options: Option<&Options>,
        cores: usize,
        prefix: &str,
        lost: Arc<Cell>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            rings: (0..cores).map(|_| Arc::default()).collect(),
            order: AtomicU8::new(Order::GO_ON),
            is_on: Live::new(options.is_some()),
            next: Mutex::default(),
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            sheet: Sheet::open(options)?,
            formatter: Formatter::new(prefix),
            lost,
            piece: Vec::new(),
            lines: 0,
            is_failing: false,
        };
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self {
            shared,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Returns what core `index` writes its lines with; `None` if there is no such core.
    #[must_use]
    pub fn pen(&self, index: usize, counters: Arc<Counters>) -> Option<Pen> {
        let ring = self.shared.rings.get(index)?;
        Some(Pen::new(
            Arc::clone(&self.shared),
            Arc::clone(ring),
            counters,
        ))
    }

    /// Opens what `options` name; without them, nothing. Lines go on as before.
    ///
    /// # Errors
    /// When it cannot be opened, with its path.
    pub fn open(options: Option<&Options>) -> io::Result<Opened> {
        Sheet::open(options).map(Opened)
    }

    /// Has lines written there from now on.
    pub fn turn_to(&self, opened: Opened) {
        let is_on = opened.0.output.is_some();
        *self.shared.next.lock() = Some(opened.0);
        self.shared.is_on.set(is_on);
        if let Some(writer) = &*self.writer.lock() {
            writer.thread().unpark();
        }
    }

    /// Has the file opened again by its name, as something may have moved it away.
    pub fn reopen(&self) {
        let order = &self.shared.order;
        // An end that was asked for stays one.
        let _ = order.compare_exchange(
            Order::GO_ON,
            Order::REOPEN,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
    }

    /// Writes what the cores have handed over, and ends. Where nobody takes it, it is given up after
    /// [`LOG_END_WAIT`].
    pub fn end(&self) {
        let Some(writer) = self.writer.lock().take() else {
            return;
        };
        let give_up = Instant::now() + LOG_END_WAIT;
        self.shared.order.store(Order::END, Ordering::Release);
        writer.thread().unpark();
        while !writer.is_finished() {
            if Instant::now() >= give_up {
                tracing::warn!("the access log is not taken: its last lines are lost");
                return;
            }
            std::thread::sleep(END_TICK);
        }
        // It has no panics to tell of.
        drop(writer.join());
    }
}

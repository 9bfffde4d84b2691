//! The progress bar of a command that goes over much: `verify`, `import`, `warm`.
//!
//! It shows on standard error if that is a terminal, and lines for the operator are printed above it. Else
//! there is none: a log has no use for it. For a script the lines are gathered, and come with the figures at the end.

use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use serde_json::Value;

/// What is shown; a template that did not parse would be the plain bar.
const TEMPLATE: &str =
    "{msg}{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left";

/// Progress by bytes.
pub(super) struct Progress {
    bar: ProgressBar,
    /// What was said, where a script wants to know.
    gathered: Option<Mutex<Vec<String>>>,
}

impl Progress {
    pub(super) fn start() -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        let gathered = None;
        Self { bar, gathered }
    }

    /// As [`Progress::start`], for one who may want JSON.
    pub(super) fn start_for(is_script: bool) -> Self {
        Self {
            gathered: is_script.then(Mutex::default),
            ..Self::start()
        }
    }

    pub(super) fn of(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    pub(super) fn pass(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Shows that `done` of `total` bytes are here, and `note` beside it.
    pub(super) fn show(&self, done: u64, total: u64, note: &str) {
        self.bar.set_length(total.max(done));
        self.bar.set_position(done);
        self.bar.set_message(format!("{note} "));
    }

    /// Prints a line to `out`, above the bar.
    pub(super) fn print(&self, out: &mut dyn io::Write, line: &str) {
        self.bar.suspend(|| drop(writeln!(out, "{line}")));
    }

    /// Prints a line to standard output, or keeps it for the end.
    pub(super) fn say(&self, line: &str) {
        if let Some(gathered) = &self.gathered {
            return gathered.lock().push(line.to_owned());
        }
        // A reader that has gone changes nothing about what is done.
        self.bar
            .suspend(|| drop(writeln!(io::stdout().lock(), "{line}")));
    }

    /// Takes the bar away, and prints `text`; or, for a script, `figures` and all that was said.
    pub(super) fn conclude(&self, text: &str, mut figures: Value) {
        self.end();
        let Some(gathered) = &self.gathered else {
            return self.say(text);
        };
        figures["troubles"] = gathered.lock().as_slice().into();
        drop(writeln!(io::stdout().lock(), "{figures:#}"));
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Returns a length for reading: `1.5 GiB`.
pub(super) fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Returns how many threads read and hash: one for each processor that this process may use.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

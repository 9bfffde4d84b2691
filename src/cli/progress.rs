//! The progress bar of a command that goes over much: `verify`, `import`, `warm`.
//!
//! It shows on standard error if that is a terminal, and lines for the operator are printed above it. Else
//! there is none: a log has no use for it.

use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// What is shown; a template that did not parse would be the plain bar.
const TEMPLATE: &str =
    "{msg}{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left";

/// Progress by bytes.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn start() -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar }
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

    /// Prints a line to standard output.
    pub(super) fn say(&self, line: &str) {
        // A reader that has gone changes nothing about what is done.
        self.bar
            .suspend(|| drop(writeln!(io::stdout().lock(), "{line}")));
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

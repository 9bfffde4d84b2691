//! The command line.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program with `args`, the first of which is its own name.
pub fn run(_args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::FAILURE
}

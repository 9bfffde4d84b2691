//! The `transship` program: everything it does is in the library, see [`transship::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    transship::cli::run(std::env::args_os())
}

//! `transship serve`: being written.

use std::process::ExitCode;

use crate::config::Effective;

/// Serves until the process is told to stop.
pub(super) fn serve(effective: Effective) -> ExitCode {
    super::log::init(&effective.settings.log);
    for warning in &effective.warnings {
        tracing::warn!("{warning}");
    }
    tracing::error!("serving is not built in");
    ExitCode::FAILURE
}

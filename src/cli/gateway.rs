//! `transship gateway`: see [`crate::gateway`].

use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use sd_notify::NotifyState;

use crate::config::{self, Sources};

/// Serves until SIGTERM or SIGINT, then drains; or only tells what it would start with.
///
/// # Errors
/// What keeps it from starting, in lines.
pub(super) fn run(sources: &Sources, is_check: bool) -> Result<ExitCode, Vec<String>> {
    if is_check {
        return Ok(super::check::run_gateway(
            sources,
            &mut std::io::stdout().lock(),
        ));
    }
    let loaded = config::load_gateway(sources, SystemTime::now());
    let config::Gateway {
        options,
        log,
        warnings,
        values: _,
    } = loaded.map_err(|failure| super::lines(&failure))?;
    super::log::init(&log, Arc::default());
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let backend = options.backend.clone();
    let ready = |address| {
        tracing::info!(%address, %backend, "ready");
        super::serve::notify(&[NotifyState::Ready]);
    };
    Ok(match crate::gateway::run(options, ready) {
        Ok(()) => {
            tracing::info!("drained, ending");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    })
}

//! Makes the parts of a server from its settings, each with those that it needs. Nothing serves yet.

use std::io;
use std::sync::Arc;

use super::reload::Reloads;
use crate::access::Access;
use crate::access_log::AccessLog;
use crate::admin;
use crate::config::Settings;
use crate::fill::Fills;
use crate::health::{self, Health};
use crate::metrics::Metrics;
use crate::rt::Tier;
use crate::server::{Parts, Service};
use crate::store::{House, Store};
use crate::upstream::{Predecessors, Upstream};
use crate::warm::{self, Warm};

/// Most blobs that one core keeps open, whatever the limit on open files.
const OPEN_BLOBS_MAX: usize = 16 * 1024;

/// Threads that write and hash when there are few cores.
const SINK_THREADS_MIN: usize = 2;

/// A server that nobody talks to yet.
pub(super) struct Assembly {
    pub(super) parts: Reloads,
    pub(super) metrics: Metrics,
    /// Keeps the store in order.
    pub(super) house: House,
    pub(super) warm: Arc<Warm>,
}

/// Makes all parts.
///
/// - `open_files`: most files that may be open.
/// - `before_us`: the processes that this one takes over from.
///
/// # Errors
/// The operator's or the kernel's, with what it is about.
pub(super) fn make(
    settings: &Settings,
    cores: usize,
    open_files: usize,
    before_us: Option<&Predecessors>,
    tier: &Tier,
) -> io::Result<Assembly> {
    let metrics = Metrics::new(cores);
    let (store, house) = Store::open(&settings.store, metrics.store())?;
    let upstream = Upstream::after(before_us, settings.upstream.clone());
    let upstream = Arc::new(upstream.map_err(io::Error::other)?);
    let access = Access::new(
        settings.access.clone(),
        Arc::clone(&store),
        Arc::clone(&upstream),
    );
    let access = Arc::new(access?);
    let threads = cores.max(SINK_THREADS_MIN);
    let fills = Fills::new(
        Arc::clone(&store),
        Arc::clone(&upstream),
        settings.fill,
        threads,
    );
    let fills = Arc::new(fills?);
    let metrics = metrics
        .with_hops(upstream.numbers())
        .with_levels(super::levels::look(&fills, &upstream, &store));
    let access_log = start_access_log(settings, cores, &metrics)?;
    let parts = Parts {
        store: Arc::clone(&store),
        fills: Arc::clone(&fills),
        upstream: Arc::clone(&upstream),
        access: Arc::clone(&access),
        access_log: Some(Arc::clone(&access_log)),
        metrics: metrics.clone(),
        open_files_per_core: (open_files / 4 / cores).clamp(16, OPEN_BLOBS_MAX),
    };
    let warm = start_warm(&parts, tier)?;
    let service = Arc::new(Service::new(settings.server.clone(), parts)?);
    let parts = Reloads {
        health: start_health(&settings.health, &service)?,
        token: Arc::new(admin::Token::from_pointee(settings.admin.token.clone())),
        service,
        store,
        upstream,
        fills,
        access,
        access_log,
        open_files,
    };
    Ok(Assembly {
        parts,
        metrics,
        house,
        warm,
    })
}

/// Starts the thread that warms the store.
fn start_warm(parts: &Parts, tier: &Tier) -> io::Result<Arc<Warm>> {
    let parts = warm::Parts {
        store: Arc::clone(&parts.store),
        fills: Arc::clone(&parts.fills),
        upstream: Arc::clone(&parts.upstream),
        access: Arc::clone(&parts.access),
        counters: parts.metrics.warm(),
    };
    Warm::start(parts, tier)
}

/// Starts what the operator wants to be checked; clients are turned away while any of it fails.
fn start_health(options: &health::Options, service: &Arc<Service>) -> io::Result<Arc<Health>> {
    let service = Arc::clone(service);
    let health = Health::start(options, move |is_unwell| service.set_unwell(is_unwell));
    health.map(Arc::new)
}

fn start_access_log(
    settings: &Settings,
    cores: usize,
    metrics: &Metrics,
) -> io::Result<Arc<AccessLog>> {
    let (options, prefix) = (settings.access_log.as_ref(), &settings.server.prefix);
    let log = AccessLog::start(options, cores, prefix, metrics.log_lines_lost());
    let told = |e: io::Error| io::Error::new(e.kind(), format!("transship.access_log.output: {e}"));
    log.map(Arc::new).map_err(told)
}

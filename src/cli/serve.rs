//! `transship serve`: puts the parts together, runs the cores, and ends them in order.

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::SIGXFSZ;

use super::helm::{Helm, heed_signals};
use super::housekeeping::Housekeeping;
use super::reload::{Reading, Recipe, Reloader, Reloads};
use super::sockets::bind;
use super::watchdog::Watchdog;
use crate::access::Access;
use crate::access_log::AccessLog;
use crate::admin::{self, Admin};
use crate::config::{Effective, Running, Settings};
use crate::fill::Fills;
use crate::health::{self, Health};
use crate::limits::CERTIFICATES_LOOK_EVERY;
use crate::metrics::Metrics;
use crate::rt::{self, Cores, Tier};
use crate::server::{self, Parts, Service};
use crate::store::{House, Store, import};
use crate::upstream::Upstream;

/// Environment variable that asks for epoll; monoio's own name for it.
const FORCE_EPOLL: &str = "MONOIO_FORCE_LEGACY_DRIVER";

/// Root directory of the registry and of the content cache, after their documents.
const OLD_ROOT: &str = "/var/lib/registry";

/// Most blobs that one core keeps open, whatever the limit on open files.
const OPEN_BLOBS_MAX: usize = 16 * 1024;

/// Threads that write and hash when there are few cores.
const SINK_THREADS_MIN: usize = 2;

/// Serves until SIGTERM or SIGINT, then drains.
pub(super) fn serve(effective: Effective, recipe: Recipe) -> ExitCode {
    let log = super::log::init(&effective.settings.log);
    for warning in &effective.warnings {
        tracing::warn!("{warning}");
    }
    let running = Running::new(&effective.values);
    match run(
        effective.settings,
        Reading {
            recipe,
            running,
            log,
        },
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut settings: Settings, reading: Reading) -> io::Result<()> {
    // A file that may grow no further (RLIMIT_FSIZE) is a failed write, not the end of the process.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    let open_files = raise_open_files();
    let cores = settings.cores.unwrap_or_else(processors);
    bound_connections(&mut settings, open_files);
    announce_access(&settings);
    let tier = Tier::probe(std::env::var_os(FORCE_EPOLL).is_some_and(|value| value != "0"));
    let (listeners, listen) = bind(settings.server.listen, cores, "http.addr")?;
    tell_of_old_registry(&settings.store.root);
    let (parts, metrics, house) = assemble(&settings, cores, open_files)?;
    let access_log = settings.access_log.clone();
    let reloader = Arc::new(Reloader::new(reading, parts, access_log));
    let Reloads {
        service,
        store,
        fills,
        access_log,
        ..
    } = reloader.parts.clone();
    let shown = shown(&reloader, metrics);
    // First: what is asked for at the admin address are signals.
    heed_signals(Arc::clone(&service), reloader)?;
    let (admin, socket_file) = start_admin(&settings.admin, shown, listen)?;
    let housekeeping = Housekeeping::start(&store, house)?;
    let watchdog = Watchdog::asked(cores);
    let running = start_cores(&service, listeners, cores, &tier, watchdog.clone())?;
    follow_certificates(service)?;
    announce(&settings, listen, admin, &store, &tier, cores);
    watchdog.map_or(Ok(()), Watchdog::keep)?;
    running.join()?;
    fills.leave_all();
    housekeeping.end();
    access_log.end();
    if let Some(file) = socket_file {
        file.remove();
    }
    tracing::info!("drained, ending");
    Ok(())
}

/// Returns the parts of a server, the counters and whoever keeps the store in order.
fn assemble(
    settings: &Settings,
    cores: usize,
    open_files: usize,
) -> io::Result<(Reloads, Metrics, House)> {
    let metrics = Metrics::new(cores);
    let (store, house) = Store::open(&settings.store, metrics.store())?;
    let upstream = Arc::new(Upstream::new(settings.upstream.clone()).map_err(io::Error::other)?);
    let access = Arc::new(Access::new(
        settings.access.clone(),
        Arc::clone(&store),
        Arc::clone(&upstream),
    )?);
    let threads = cores.max(SINK_THREADS_MIN);
    let fills = Arc::new(Fills::new(
        Arc::clone(&store),
        Arc::clone(&upstream),
        settings.fill,
        threads,
    )?);
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
    let service = Arc::new(Service::new(settings.server.clone(), parts)?);
    let reloads = Reloads {
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
    Ok((reloads, metrics, house))
}

/// Returns what the admin address shows and steers.
fn shown(reloader: &Arc<Reloader>, metrics: Metrics) -> admin::Parts {
    let parts = &reloader.parts;
    let helm = Helm {
        service: Arc::clone(&parts.service),
        store: Arc::clone(&parts.store),
        reloader: Arc::clone(reloader),
    };
    admin::Parts {
        metrics,
        store: Arc::clone(&parts.store),
        fills: Arc::clone(&parts.fills),
        upstream: Arc::clone(&parts.upstream),
        listen: String::new(),
        token: Arc::clone(&parts.token),
        steering: Arc::new(helm),
    }
}

/// Says how to take over the storage of a registry, where there is one.
fn tell_of_old_registry(root: &Path) {
    let old = import::old_registry(root, root)
        .or_else(|| import::old_registry(root, Path::new(OLD_ROOT)));
    if let Some(old) = old {
        let (from, to) = (old.display(), root.display());
        tracing::info!(
            "{from} holds the storage of a registry: take it over with `transship import {from} --storage {to}`"
        );
    }
}

/// Returns how many processors this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Raises the limit on open files to the hard one, and returns it.
fn raise_open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files stays as it was");
        limit = getrlimit(Resource::Nofile);
    }
    limit
        .current
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or(1 << 20)
}

/// Half of the open files may be connections; a quarter are blobs; the rest is for next hops and fills.
pub(super) fn bound_connections(settings: &mut Settings, open_files: usize) {
    let wanted = settings.server.connections_max;
    let allowed = open_files / 2;
    if wanted > allowed {
        settings.server.connections_max = allowed;
        // One address keeps its share; a quarter or less stays what it was.
        if let Some(max) = &mut settings.server.connections_per_address_max {
            let share = max.get() * allowed / wanted;
            let cut = share.max(max.get().min(allowed / 4));
            *max = NonZeroUsize::new(cut).unwrap_or(NonZeroUsize::MIN);
        }
        tracing::info!(
            wanted,
            allowed,
            open_files,
            "connections_max is cut by RLIMIT_NOFILE"
        );
    }
}

/// Says who may pull; as a warning where that is everyone on a network.
fn announce_access(settings: &Settings) {
    let access = settings.access.audience();
    let listen = settings.server.listen;
    if settings.access.is_open() && !listen.is_loopback() {
        tracing::warn!(access, %listen, "who may pull: everyone who reaches this address");
    } else {
        tracing::info!(access, %listen, "who may pull");
    }
}

/// Starts what operators talk to; returns the address that it got, and the file of its Unix socket.
fn start_admin(
    options: &admin::Options,
    mut parts: admin::Parts,
    listen: std::net::SocketAddr,
) -> io::Result<(Option<std::net::SocketAddr>, Option<rt::LocalFile>)> {
    let (mut tcp, mut bound) = (None, None);
    if let Some(addr) = options.listen {
        let (mut listeners, addr) = bind(addr, 1, "http.debug.addr")?;
        (tcp, bound) = (listeners.pop(), Some(addr));
    }
    let local = options.socket.as_deref().map(|path| {
        let made = rt::bind_local(path);
        let key = "transship.admin.socket";
        made.map_err(|e| io::Error::new(e.kind(), format!("{key}: {}: {e}", path.display())))
    });
    let (local, file) = local.transpose()?.unzip();
    parts.listen = listen.to_string();
    if tcp.is_some() || local.is_some() {
        Admin::new(options, parts).start(tcp, local)?;
    }
    Ok((bound, file))
}

fn start_cores(
    service: &Arc<Service>,
    listeners: Vec<std::net::TcpListener>,
    cores: usize,
    tier: &Tier,
    watchdog: Option<Arc<Watchdog>>,
) -> io::Result<Cores> {
    let listeners: Arc<[_]> = listeners
        .into_iter()
        .map(|listener| parking_lot::Mutex::new(Some(listener)))
        .collect();
    let service = Arc::clone(service);
    Cores::start(cores, tier, move |core| {
        let (service, listeners) = (Arc::clone(&service), Arc::clone(&listeners));
        let (watchdog, index) = (watchdog.clone(), core.index);
        async move {
            let Some(listener) = listeners[core.index].lock().take() else {
                return;
            };
            if let Some(watchdog) = &watchdog {
                rt::spawn(Arc::clone(watchdog).beat(index));
            }
            if let Err(error) = server::serve(service, listener, core).await {
                tracing::error!(%error, "a core could not listen");
            }
            if let Some(watchdog) = watchdog {
                watchdog.end(index);
            }
        }
    })
}

/// Starts what the operator wants to be checked; clients are turned away while any of it fails.
fn start_health(options: &health::Options, service: &Arc<Service>) -> io::Result<Arc<Health>> {
    let service = Arc::clone(service);
    let health = Health::start(options, move |is_unwell| service.set_unwell(is_unwell));
    health.map(Arc::new)
}

/// Follows the files of the certificates, if there are any, on a thread of its own.
fn follow_certificates(service: Arc<Service>) -> io::Result<()> {
    std::thread::Builder::new()
        .name("certificates".to_owned())
        .spawn(move || {
            while service.look_at_certificates() {
                std::thread::sleep(CERTIFICATES_LOOK_EVERY);
            }
        })?;
    Ok(())
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

fn announce(
    settings: &Settings,
    listen: std::net::SocketAddr,
    admin: Option<std::net::SocketAddr>,
    store: &Store,
    tier: &Tier,
    cores: usize,
) {
    let upstream: Vec<_> = settings
        .upstream
        .hops
        .iter()
        .map(|hop| hop.url.as_str())
        .collect();
    tracing::info!(
        listen = %listen,
        admin = admin.map_or_else(|| "off".to_owned(), |addr| addr.to_string()),
        tls = settings.server.tls.is_some(),
        storage = %store.root().display(),
        blobs = store.entries(),
        publish = store.publish_method(),
        upstream = upstream.join(" "),
        runtime = %tier,
        cores,
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    notify(&[sd_notify::NotifyState::Ready]);
}

/// Tells systemd, if it asked to be told.
pub(super) fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

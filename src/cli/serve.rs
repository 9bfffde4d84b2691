//! `transship serve`: runs the parts of a server, and ends them in order. What makes them: see `assembly`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::SIGXFSZ;

use super::assembly::{self, Assembly};
use super::handover::Predecessor;
use super::helm::{Helm, heed_signals};
use super::housekeeping::Housekeeping;
use super::reload::{Reading, Recipe, Reloader, Reloads};
use super::sockets::{self, Sockets};
use super::upgrade::Upgrade;
use super::watchdog::Watchdog;
use crate::admin::{self, Admin, Recent};
use crate::config::{Effective, Running, Settings};
use crate::limits::CERTIFICATES_LOOK_EVERY;
use crate::rt::{self, Cores, Flag, Tier};
use crate::server::{self, Service};
use crate::store::{Store, import};
use crate::upstream::Upstream;

/// Environment variable that asks for epoll; monoio's own name for it.
const FORCE_EPOLL: &str = "MONOIO_FORCE_LEGACY_DRIVER";

/// Root directory of the registry and of the content cache, after their documents.
const OLD_ROOT: &str = "/var/lib/registry";

/// Serves until SIGTERM or SIGINT, then drains.
pub(super) fn serve(effective: Effective, recipe: Recipe) -> ExitCode {
    let recent = Arc::default();
    let log = super::log::init(&effective.settings.log, Arc::clone(&recent));
    for warning in &effective.warnings {
        tracing::warn!("{warning}");
    }
    let running = Running::new(&effective.values);
    let reading = Reading {
        recipe,
        running,
        log,
    };
    match run(effective.settings, reading, recent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut settings: Settings, reading: Reading, recent: Arc<Recent>) -> io::Result<()> {
    // A file that may grow no further (RLIMIT_FSIZE) is a failed write, not the end of the process.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    let open_files = raise_open_files();
    let cores = settings.cores.unwrap_or_else(processors);
    bound_connections(&mut settings, open_files);
    announce_access(&settings);
    let tier = Tier::probe(std::env::var_os(FORCE_EPOLL).is_some_and(|value| value != "0"));
    let (predecessor, sockets) = open_sockets(&settings, cores)?;
    let before_us = predecessor.as_ref().map(Predecessor::way);
    tell_of_old_registry(&settings.store.root);
    let Assembly {
        parts,
        metrics,
        house,
        warm,
    } = assembly::make(&settings, cores, open_files, before_us.as_ref(), &tier)?;
    let (service, succeeded) = (Arc::clone(&parts.service), Arc::new(Flag::default()));
    let again = sockets.again()?;
    let before_us_left = Arc::new(Flag::default());
    let left = Arc::clone(&before_us_left);
    let upgrade = Upgrade::new(service, cores, again, Arc::clone(&succeeded), left)?;
    let reloader = Reloader::new(reading, parts, settings.access_log.clone());
    let reloader = Arc::new(reloader);
    let Reloads {
        service,
        store,
        upstream,
        fills,
        access_log,
        ..
    } = reloader.parts.clone();
    let shown = admin::Parts {
        metrics,
        store: Arc::clone(&store),
        fills: Arc::clone(&fills),
        upstream: Arc::clone(&upstream),
        warm: Arc::clone(&warm),
        listen: sockets.listen.to_string(),
        token: Arc::clone(&reloader.parts.token),
        steering: Arc::new(Helm::new(&reloader)),
        succeeded,
        recent,
    };
    // First: what is asked for at the admin address are signals.
    heed_signals(
        Arc::clone(&service),
        reloader,
        Arc::new(upgrade),
        Arc::clone(&warm),
    )?;
    let listen = sockets.listen;
    let (admin, socket_file) = start_admin(&settings.admin, shown, sockets.admin)?;
    let housekeeping = Housekeeping::start(&store, house)?;
    let watchdog = Watchdog::asked(cores);
    let running = start_cores(&service, sockets.clients, cores, &tier, watchdog.clone())?;
    follow_certificates(Arc::clone(&service))?;
    announce(&settings, listen, admin, &store, &tier, cores);
    relieve(predecessor, upstream, store, before_us_left)?;
    service.begin();
    watchdog.map_or(Ok(()), Watchdog::keep)?;
    running.join()?;
    warm.end();
    fills.leave_all();
    housekeeping.end();
    access_log.end();
    if let Some(file) = socket_file {
        file.remove();
    }
    tracing::info!("drained, ending");
    Ok(())
}

/// Returns the process that this one takes over from, if there is one, and what to listen on.
fn open_sockets(settings: &Settings, cores: usize) -> io::Result<(Option<Predecessor>, Sockets)> {
    let (predecessor, there) = match Predecessor::receive()? {
        Some((predecessor, there)) => (Some(predecessor), there),
        None => (None, sockets::activated()?),
    };
    let (listen, admin) = (settings.server.listen, settings.admin.listen);
    let sockets = Sockets::open(listen, admin, cores, there)?;
    Ok((predecessor, sockets))
}

/// Takes over from the process before this one, if there is one, and from what it leaves behind when it ends.
fn relieve(
    predecessor: Option<Predecessor>,
    upstream: Arc<Upstream>,
    store: Arc<Store>,
    has_left: Arc<Flag>,
) -> io::Result<()> {
    let Some(predecessor) = predecessor else {
        has_left.raise();
        return Ok(());
    };
    predecessor.relieve(move || {
        upstream.predecessor_has_left();
        has_left.raise();
        store.look_at_what_was_left();
        tracing::info!("the process before this one has ended");
    })
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
    parts: admin::Parts,
    tcp: Option<TcpListener>,
) -> io::Result<(Option<SocketAddr>, Option<rt::LocalFile>)> {
    let bound = tcp.as_ref().map(TcpListener::local_addr).transpose()?;
    let local = options.socket.as_deref().map(|path| {
        let made = rt::bind_local(path);
        let key = "transship.admin.socket";
        made.map_err(|e| io::Error::new(e.kind(), format!("{key}: {}: {e}", path.display())))
    });
    let (local, file) = local.transpose()?.unzip();
    if tcp.is_some() || local.is_some() {
        Admin::new(options, parts)?.start(tcp, local)?;
    }
    Ok((bound, file))
}

fn start_cores(
    service: &Arc<Service>,
    listeners: Vec<Vec<TcpListener>>,
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
            let Some(listeners) = listeners[core.index].lock().take() else {
                return;
            };
            if let Some(watchdog) = &watchdog {
                rt::spawn(Arc::clone(watchdog).beat(index));
            }
            if let Err(error) = server::serve(service, listeners, core).await {
                tracing::error!(%error, "a core could not listen");
            }
            if let Some(watchdog) = watchdog {
                watchdog.end(index);
            }
        }
    })
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

fn announce(
    settings: &Settings,
    listen: SocketAddr,
    admin: Option<SocketAddr>,
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

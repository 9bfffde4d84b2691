//! What clients talk to: HTTP/1.1 connections, the registry's pull API, blobs by `sendfile`.
//!
//! ```text
//! accept ─▶ connection: head ─▶ exchange: route ─┬▶ blob ─▶ open blob, or fill ─▶ body ─▶ transport
//!   (core's own listener)                        ├▶ manifest ─▶ store, or next hop
//!                                                ╰▶ listing ─▶ next hop
//! ```
//!
//! Each core has its own listener, connections and open files; nothing on the path of a hit takes a
//! lock that another core holds. It knows nothing of rings (`rt`), of how a next hop is reached
//! (`upstream`), or of where a blob lies (`store`).

mod absent;
mod accept;
mod addresses;
mod blob;
mod body;
mod connection;
mod context;
mod cycle;
mod exchange;
mod grants;
mod listing;
mod manifest;
mod open_blobs;
mod opening;
mod options;
mod outcome;
mod permit;
mod refusal;
mod reply;
mod succession;
mod tags;
mod tls;
mod transport;

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

pub use accept::serve;
pub use options::{CIPHER_SUITES, ClientAuth, Options, Tls, TlsVersion};
pub use succession::{Leaving, Succession};

use crate::access::Access;
use crate::access_log::AccessLog;
use crate::fill::Fills;
use crate::live::Live;
use crate::manifests::Manifests;
use crate::metrics::Metrics;
use crate::rt::Flag;
use crate::store::Store;
use crate::upstream::Upstream;
use absent::{Absences, Questions};
use addresses::Addresses;
use opening::Opening;
use options::Bounds;
use reply::Reply;
use tags::Outage;
use tls::Certificates;

/// What all cores serve from.
#[derive(Debug)]
pub struct Service {
    options: Options,
    bounds: Bounds,
    /// A health check that the operator asked for fails.
    is_unwell: Live<bool>,
    store: Arc<Store>,
    fills: Arc<Fills>,
    upstream: Arc<Upstream>,
    access: Arc<Access>,
    access_log: Option<Arc<AccessLog>>,
    metrics: Metrics,
    outage: Outage,
    absences: Absences,
    manifests: Questions<Result<(), Reply>>,
    origin: Manifests,
    heads: Questions<Result<blob::Told, Reply>>,
    opening: Opening,
    certificates: Option<Certificates>,
    connections: AtomicUsize,
    addresses: Addresses,
    open_files_per_core: usize,
    cycles: cycle::Seen,
    /// Raised once connections are to be taken.
    begin: Flag,
    /// Raised once no more connections are to be taken.
    drain: Flag,
    /// A drain has come to its end.
    finished: AtomicBool,
    /// Set before the drain where another process takes over.
    succession: OnceLock<Succession>,
}

/// The parts that a service is made from.
#[derive(Debug)]
pub struct Parts {
    /// The disk.
    pub store: Arc<Store>,
    /// The fills.
    pub fills: Arc<Fills>,
    /// The next hops.
    pub upstream: Arc<Upstream>,
    /// Who may have what.
    pub access: Arc<Access>,
    /// The access log, if there is one.
    pub access_log: Option<Arc<AccessLog>>,
    /// The counters, one for each core.
    pub metrics: Metrics,
    /// Most blobs that one core keeps open.
    pub open_files_per_core: usize,
}

impl Service {
    /// Returns a service; certificates are read now.
    ///
    /// # Errors
    /// When a certificate or key cannot be used, with the file that it is about.
    pub fn new(options: Options, parts: Parts) -> io::Result<Self> {
        let certificates = options
            .tls
            .clone()
            .map(|tls| Certificates::read(tls, parts.metrics.clone()))
            .transpose()?;
        Ok(Self {
            origin: Manifests::new(
                Arc::clone(&parts.store),
                Arc::clone(&parts.upstream),
                Arc::clone(&parts.access),
            ),
            addresses: Addresses::new(options.connections_per_address_max),
            bounds: Bounds::new(&options),
            is_unwell: Live::new(false),
            options,
            store: parts.store,
            fills: parts.fills,
            upstream: parts.upstream,
            access: parts.access,
            access_log: parts.access_log,
            metrics: parts.metrics,
            outage: Outage::default(),
            absences: Absences::default(),
            manifests: Questions::default(),
            heads: Questions::default(),
            opening: Opening::new()?,
            certificates,
            connections: AtomicUsize::new(0),
            open_files_per_core: parts.open_files_per_core,
            cycles: cycle::Seen::default(),
            begin: Flag::default(),
            drain: Flag::default(),
            finished: AtomicBool::new(false),
            succession: OnceLock::new(),
        })
    }

    /// Has the cores take connections: not before. Those that came earlier wait in the kernel.
    pub fn begin(&self) {
        self.begin.raise();
    }

    /// Goes by those of `options` from now on that may change while clients are served: limits and times.
    /// What is waited for already is waited for as long as it was begun with.
    pub fn reload(&self, options: &Options) {
        self.bounds.set(options);
        self.addresses.set_max(options.connections_per_address_max);
    }

    /// Has every request answered with 503 while `is_unwell`, as the registry does.
    pub fn set_unwell(&self, is_unwell: bool) {
        self.is_unwell.set(is_unwell);
    }

    /// Stops taking connections; responses and fills in flight go on until they end or
    /// `drain_timeout` is over. [`serve`] then returns on every core.
    pub fn drain(&self) {
        self.drain.raise();
    }

    /// As [`Service::drain`], where another process has taken over the listening sockets: its clients' connections
    /// are closed with the response to their next request, so that none is closed under a request that is on its
    /// way, and the successor is given what is on its way to us. Has no effect while draining.
    pub fn hand_over(&self, succession: Succession) {
        if !self.is_draining() {
            // Only here, and `is_draining` afterwards.
            drop(self.succession.set(succession));
            self.drain();
        }
    }

    /// Has a connection served that the successor has passed.
    pub fn serve_successor(&self, connection: TcpStream) {
        if let Some(succession) = self.succession.get() {
            succession.pass(connection);
        }
    }

    /// Says whether another process has taken over.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        self.succession.get().is_some()
    }

    /// Reads the certificates again if their files have changed; to be called every
    /// [`limits::CERTIFICATES_LOOK_EVERY`](crate::limits::CERTIFICATES_LOOK_EVERY). Says whether there are
    /// any to look at.
    pub fn look_at_certificates(&self) -> bool {
        self.certificates
            .as_ref()
            .inspect(|certificates| certificates.look())
            .is_some()
    }

    /// Reads the certificates again, changed or not. Running connections stay as they are. Says whether
    /// there are any to read.
    pub fn reread_certificates(&self) -> bool {
        self.certificates
            .as_ref()
            .inspect(|certificates| certificates.reread())
            .is_some()
    }

    /// Says whether nothing is in flight any more; once that is so it stays so.
    fn is_finished(&self) -> bool {
        let leads_further = || self.succession.get().is_some_and(Succession::leads_further);
        let is_idle = || {
            self.connections.load(Ordering::Relaxed) == 0
                && !self.fills.are_busy()
                && !leads_further()
        };
        if !self.finished.load(Ordering::Acquire) && is_idle() {
            self.finished.store(true, Ordering::Release);
        }
        self.finished.load(Ordering::Acquire)
    }

    /// Says whether [`Service::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_raised()
    }
}

//! What an operator talks to: metrics, health and the API, on an address and a Unix socket of their own.
//!
//! ```text
//!  http.debug.addr ────────╮
//!                          ├─▶ head, body ─▶ page: health, metrics      on the admin thread, never blocks
//!  transship.admin.socket ─╯        ╰──────▶ guard ─▶ routes ─▶ api     on a thread of its own, may block
//! ```
//!
//! It runs on a thread of its own, so that no request here holds up a core, and a slow one no probe of
//! health. One request a connection: whoever asks is a person, a script or a monitor. It knows nothing of
//! clients' connections; what it does to the server goes by [`Steering`].
//!
//! Invariants
//! - Health, readiness, metrics and the status page need no token and change nothing; the page itself holds no
//!   figure, and asks for them under `/v1/`.
//! - Everything under `/v1/` passes `guard` first.
//! - No call of the API takes a helper thread that clients wait for: it has two of its own (`CALL_THREADS`).

mod api;
mod charts;
mod dashboard;
mod guard;
mod live;
mod page;
mod paging;
mod prometheus;
mod pulse;
mod recent;
mod routes;
mod seats;
mod views;
mod warm;

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::auth::Secret;
use crate::fill::Fills;
use crate::http::{Body, HeadScan, Method, Request, parse};
use crate::limits::ADMIN_BODY_BYTES_MAX;
use crate::metrics::Metrics;
use crate::rt::{
    self, Core, Cores, DeadlineKind, Flag, ListenAddr, Listener, LocalListener, LocalSocket, Pool,
    Socket, Tier,
};
use crate::store::Store;
use crate::upstream::Upstream;
use crate::warm::Warm;
use api::Api;
use guard::Door;
use page::{Page, Then};
use pulse::Pulse;
use routes::Route;
use seats::Seats;

pub use recent::{Event, Recent, Severity};

/// Longest time for one request and its response.
const DEADLINE: Duration = Duration::from_secs(10);

/// Wait after an accept that failed, for want of descriptors say.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Threads for calls of the API: one that lists a million blobs leaves the other for a drain.
const CALL_THREADS: usize = 2;

/// What an operator may say about the admin address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where it listens (`http.debug.addr`); `None` switches it off.
    pub listen: Option<ListenAddr>,
    /// Path of the metrics page (`http.debug.prometheus.path`), `/metrics` unless given.
    pub metrics_path: String,
    /// See [`Token`].
    pub token: Option<Secret>,
    /// Path of the Unix socket (`transship.admin.socket`); `None` makes none.
    pub socket: Option<PathBuf>,
}

/// What is done to the server as a whole.
pub trait Steering: Send + Sync {
    /// Says why the service is not ready; nothing means that it is.
    fn reasons(&self) -> Vec<String>;
    /// Returns the operator's own checks that fail, by name, each with its reason. They are among `reasons` too.
    fn failing_checks(&self) -> Vec<(String, String)>;
    /// Says whether it takes no new connections and finishes what is in flight.
    fn is_draining(&self) -> bool;
    /// Drains it, as SIGTERM does.
    fn drain(&self);
    /// Has the program that is installed now take over, as SIGUSR2 does.
    fn upgrade(&self);
    /// Reads the configuration again and applies what can be applied, as SIGHUP does. Blocks until that is done.
    fn reload(&self) -> Reloaded;
    /// Returns the name of the least severe level that is logged.
    fn log_level(&self) -> &'static str;
    /// Changes it until the next reload; says whether there is such a level.
    fn set_log_level(&self, name: &str) -> bool;
}

/// What came of a reload. Of secrets, keys only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys that have changed and count.
    pub applied: Vec<String>,
    /// Keys that have changed and count with the next start.
    pub needs_restart: Vec<String>,
    /// What is wrong. If anything is, nothing has changed.
    pub problems: Vec<String>,
}

/// Who shows it may use the API (`transship.admin.token`); `None` is whoever is on this host.
pub type Token = ArcSwapOption<Secret>;

/// The parts of the server that are shown and steered.
#[derive(Clone)]
pub struct Parts {
    /// The counters.
    pub metrics: Metrics,
    /// The disk.
    pub store: Arc<Store>,
    /// The fills.
    pub fills: Arc<Fills>,
    /// The next hops.
    pub upstream: Arc<Upstream>,
    /// The jobs that warm the store.
    pub warm: Arc<Warm>,
    /// Where clients connect.
    pub listen: String,
    /// The token of now.
    pub token: Arc<Token>,
    /// The server as a whole.
    pub steering: Arc<dyn Steering>,
    /// Raised when another process has taken over, along with the address.
    pub succeeded: Arc<Flag>,
    /// The last warnings and errors of the process.
    pub recent: Arc<Recent>,
}

/// What the admin address shows.
pub struct Admin {
    options: Options,
    api: Arc<Api>,
    calls: Pool,
    pulse: RefCell<Pulse>,
    seats: Seats,
}

impl Admin {
    /// Returns what shows `parts`.
    ///
    /// # Errors
    /// When the threads of the API cannot be started.
    pub fn new(options: &Options, parts: Parts) -> io::Result<Self> {
        let started = Instant::now();
        Ok(Self {
            options: options.clone(),
            api: Arc::new(Api {
                parts,
                started,
                charts: charts::Charts::default(),
            }),
            calls: Pool::start("admin-call", CALL_THREADS)?,
            pulse: RefCell::default(),
            seats: Seats::default(),
        })
    }

    /// Serves what listens on a thread of its own until the process ends.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(self, tcp: Option<TcpListener>, local: Option<UnixListener>) -> io::Result<()> {
        // epoll, whatever the cores use: this thread is about never busy.
        let tier = Tier::probe(true);
        let thread = Cores::start_unpinned("admin", &tier, move |core| async move {
            if let Err(error) = self.serve(tcp, local, &core).await {
                tracing::error!(%error, "the admin address is not served");
            }
        })?;
        drop(thread);
        Ok(())
    }

    async fn serve(
        self,
        tcp: Option<TcpListener>,
        local: Option<UnixListener>,
        core: &Core,
    ) -> io::Result<()> {
        let adopt = |tcp: TcpListener| {
            // The socket's own address counts: a service manager's may be another than the configuration's.
            let door = Door::of(tcp.local_addr()?);
            Ok::<_, io::Error>((Listener::adopt(tcp, &core.tier)?, door))
        };
        let tcp = tcp.map(adopt).transpose()?;
        let local = local
            .map(|local| LocalListener::adopt(local, &core.tier))
            .transpose()?;
        let admin = Rc::new(self);
        if let Some(local) = local {
            rt::spawn(Rc::clone(&admin).serve_local(local));
        }
        if let Some((tcp, door)) = tcp {
            rt::spawn(Rc::clone(&admin).serve_tcp(tcp, door));
        }
        loop {
            let beats = admin.api.parts.metrics.beats();
            admin.pulse.borrow_mut().look(beats, Instant::now());
            rt::sleep(pulse::LOOK_EVERY).await;
        }
    }

    async fn serve_tcp(self: Rc<Self>, listener: Listener, door: Door) {
        let succeeded = Arc::clone(&self.api.parts.succeeded);
        loop {
            let until = std::pin::pin!(succeeded.wait());
            match listener.accept_unless(until).await {
                Some(Ok((socket, _))) => {
                    socket.set_deadline(DEADLINE, DeadlineKind::Whole);
                    let admin = Rc::clone(&self);
                    rt::spawn(async move { admin.seat(Stream::Tcp(socket), door).await });
                }
                Some(Err(error)) => rest_after(&error).await,
                None => {}
            }
            // Whoever asks from now on asks the other process: the socket is the same.
            if succeeded.is_raised() {
                return;
            }
        }
    }

    async fn serve_local(self: Rc<Self>, listener: LocalListener) {
        loop {
            match listener.accept().await {
                Ok(socket) => {
                    socket.set_deadline(DEADLINE, DeadlineKind::Whole);
                    let admin = Rc::clone(&self);
                    let stream = Stream::Local(socket);
                    rt::spawn(async move { admin.seat(stream, Door::Local).await });
                }
                Err(error) => rest_after(&error).await,
            }
        }
    }

    /// Answers one request where there is a seat left, and closes.
    async fn seat(&self, stream: Stream, door: Door) {
        if let Some(_seat) = self.seats.take() {
            self.answer(stream, door).await;
        }
    }

    /// Answers one request and closes.
    async fn answer(&self, mut stream: Stream, door: Door) {
        let mut scan = HeadScan::new();
        let mut input = Vec::with_capacity(1024);
        let length = loop {
            match scan.scan(&input) {
                Ok(Some(length)) => break length,
                Ok(None) => {}
                Err(error) => {
                    stream
                        .send(Page::text(error.status(), error.reason()).write())
                        .await;
                    return;
                }
            }
            let Some(more) = stream.recv(input).await else {
                return;
            };
            input = more;
        };
        let mut rest = input.split_off(length);
        let page = match parse(&input) {
            Ok(request) => match read_body(&mut stream, request.body, &mut rest).await {
                Some(()) => self.page(&request, rest, door).await,
                None => Page::error(
                    413,
                    "TOO_LARGE",
                    "the body is too long, or of no told length",
                ),
            },
            Err(error) => Page::text(error.status(), error.reason()),
        };
        stream.send(page.write()).await;
        if page.then == Then::Drain {
            self.api.parts.steering.drain();
        }
    }

    async fn page(&self, request: &Request<'_>, body: Vec<u8>, door: Door) -> Page {
        let is_head = request.method == Method::Head;
        let is_api = request.path == "/v1" || request.path.starts_with("/v1/");
        let page = if is_api {
            self.call(request, body, door).await
        } else if is_head || request.method == Method::Get {
            self.plain(request)
        } else {
            let allow = Some("GET, HEAD".to_owned());
            Page {
                allow,
                ..Page::text(405, "GET or HEAD\n")
            }
        };
        Page { is_head, ..page }
    }

    fn plain(&self, request: &Request<'_>) -> Page {
        match request.path {
            "/" => dashboard::page(),
            "/healthz" => self.alive(),
            // What the registry serves on its debug address: `{}` says healthy.
            "/debug/health" | "/readyz" => {
                let is_json = request.path == "/debug/health" || wants_json(request);
                self.ready(is_json)
            }
            path if path == self.options.metrics_path => {
                let body = prometheus::render(&self.api.parts.metrics);
                Page::new(200, prometheus::CONTENT_TYPE, body)
            }
            _ => Page::text(404, "no such page\n"),
        }
    }

    async fn call(&self, request: &Request<'_>, body: Vec<u8>, door: Door) -> Page {
        if let Some(refusal) = guard::refuse(door, self.api.parts.token.load().as_deref(), request)
        {
            return refusal;
        }
        let (call, argument) = match routes::find(request.method, request.path) {
            Route::To(call, argument) => (call, argument),
            Route::Other(allow) => {
                let page = Page::error(405, "METHOD_NOT_ALLOWED", &format!("want {allow}"));
                return Page {
                    allow: Some(allow),
                    ..page
                };
            }
            Route::Unknown => return Page::error(404, "NOT_FOUND", "there is no such path"),
        };
        let request = api::Request {
            call,
            argument,
            query: request.query.unwrap_or_default().to_owned(),
            body,
        };
        let api = Arc::clone(&self.api);
        let answered = self.calls.run(move || api.answer(&request)).await;
        answered.unwrap_or_else(|error| Page::error(500, "INTERNAL", &error.to_string()))
    }

    /// Says whether the process does what it is there for; if not, nothing helps but a restart.
    fn alive(&self) -> Page {
        // A core that has drained goes through no loop any more.
        let wedged = match self.api.parts.steering.is_draining() {
            true => Vec::new(),
            false => self.pulse.borrow().wedged(),
        };
        if wedged.is_empty() {
            return Page::text(200, "ok\n");
        }
        let lines = wedged
            .iter()
            .map(|core| format!("core {core} stands still\n"));
        Page::text(503, lines.collect::<String>())
    }

    fn ready(&self, is_json: bool) -> Page {
        let reasons = self.api.parts.steering.reasons();
        let status = if reasons.is_empty() { 200 } else { 503 };
        if is_json {
            let reasons = reasons.into_iter();
            let checks = self.api.parts.steering.failing_checks().into_iter();
            let told = checks.clone().map(|(name, why)| tell_check(&name, &why));
            let told: Vec<_> = told.collect();
            let reasons = reasons.filter(|reason| !told.contains(reason));
            let reasons: serde_json::Map<_, _> = reasons
                .map(|reason| (reason, "failed".into()))
                .chain(checks.map(|(name, why)| (name, why.into())))
                .collect();
            let body = serde_json::Value::from(reasons).to_string();
            return Page::new(status, "application/json", body);
        }
        let body = match reasons.is_empty() {
            true => "ready\n".to_owned(),
            false => reasons.join("\n") + "\n",
        };
        Page::text(status, body)
    }
}

/// Returns the reason that a failing check is.
#[must_use]
pub fn tell_check(name: &str, why: &str) -> String {
    format!("{name}: {why}")
}

async fn rest_after(error: &io::Error) {
    tracing::warn!(%error, "accept failed on the admin address");
    rt::sleep(ACCEPT_RETRY).await;
}

fn wants_json(request: &Request<'_>) -> bool {
    let mut accepted = request.accept.clone();
    accepted.any(|value| {
        value
            .windows(16)
            .any(|part| part.eq_ignore_ascii_case(b"application/json"))
    })
}

/// Reads a body of `body` behind the `rest` that came with its head; `None` if it is refused or breaks off.
async fn read_body(stream: &mut Stream, body: Body, rest: &mut Vec<u8>) -> Option<()> {
    let length = match body {
        Body::None => 0,
        Body::Length(length) => usize::try_from(length).ok()?,
        Body::Chunked => return None,
    };
    if length > ADMIN_BODY_BYTES_MAX {
        return None;
    }
    while rest.len() < length {
        *rest = stream.recv(std::mem::take(rest)).await?;
    }
    rest.truncate(length);
    Some(())
}

/// A connection of either kind.
enum Stream {
    Tcp(Socket),
    Local(LocalSocket),
}

impl Stream {
    /// Receives more behind what is there; `None` when nothing comes any more.
    async fn recv(&mut self, input: Vec<u8>) -> Option<Vec<u8>> {
        let (outcome, input) = match self {
            Self::Tcp(socket) => socket.recv(input).await,
            Self::Local(socket) => socket.recv(input).await,
        };
        matches!(outcome, Ok(1..)).then_some(input)
    }

    /// Sends all of it; whoever has left needs no answer.
    async fn send(&mut self, output: Vec<u8>) {
        match self {
            Self::Tcp(socket) => {
                drop(socket.send_all(output).await);
                socket.shut_down_send();
            }
            Self::Local(socket) => drop(socket.send_all(output).await),
        }
    }
}

//! What an operator talks to: metrics and health, on an address of its own.
//!
//! It runs on a thread of its own, so that a scrape never holds up a core. It knows the counters and
//! is told whether the service is ready; it knows nothing of blobs or connections.

mod prometheus;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::http::{Connection, Framing, HeadScan, Method, Request, ResponseHead, parse};
use crate::metrics::Metrics;
use crate::rt::{self, Core, Cores, DeadlineKind, ListenAddr, Listener, Socket, Tier};

/// Longest time for one request and its response.
const DEADLINE: Duration = Duration::from_secs(10);

/// Wait after an accept that failed, for want of descriptors say.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What an operator may say about the admin address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where it listens (`http.debug.addr`); `None` switches it off.
    pub listen: Option<ListenAddr>,
    /// Path of the metrics page (`http.debug.prometheus.path`), `/metrics` unless given.
    pub metrics_path: String,
}

/// Says why the service is not ready; nothing means that it is.
pub type Readiness = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What the admin address shows.
#[derive(Clone)]
pub struct Admin {
    metrics_path: String,
    metrics: Metrics,
    readiness: Readiness,
}

impl Admin {
    /// Returns what shows `metrics` and `readiness`.
    #[must_use]
    pub fn new(options: &Options, metrics: Metrics, readiness: Readiness) -> Self {
        Self {
            metrics_path: options.metrics_path.clone(),
            metrics,
            readiness,
        }
    }

    /// Serves `listener` on a thread of its own until the process ends.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(self, listener: TcpListener) -> io::Result<()> {
        // epoll, whatever the cores use: this thread is about never busy.
        let tier = Tier::probe(true);
        let thread = Cores::start_unpinned("admin", &tier, move |core| async move {
            if let Err(error) = self.serve(listener, &core).await {
                tracing::error!(%error, "the admin address is not served");
            }
        })?;
        drop(thread);
        Ok(())
    }

    async fn serve(self, listener: TcpListener, core: &Core) -> io::Result<()> {
        let listener = Listener::adopt(listener, &core.tier)?;
        let admin = std::rc::Rc::new(self);
        loop {
            let (socket, _) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed on the admin address");
                    rt::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let admin = std::rc::Rc::clone(&admin);
            rt::spawn(async move { admin.answer(socket).await });
        }
    }

    /// Answers one request and closes.
    async fn answer(&self, mut socket: Socket) {
        socket.set_deadline(DEADLINE, DeadlineKind::Whole);
        let mut scan = HeadScan::new();
        let mut input = Vec::with_capacity(1024);
        let length = loop {
            match scan.scan(&input) {
                Ok(Some(length)) => break length,
                Ok(None) => {}
                Err(_) => return,
            }
            let outcome;
            (outcome, input) = socket.recv(input).await;
            if !matches!(outcome, Ok(1..)) {
                return;
            }
        };
        let mut page = match parse(&input[..length]) {
            Ok(request) => self.page(&request),
            Err(error) => Page::text(error.status(), error.reason().to_owned()),
        };
        drop(socket.send_all(page.write()).await);
        socket.shut_down_send();
    }

    fn page(&self, request: &Request<'_>) -> Page {
        let is_head = match request.method {
            Method::Get => false,
            Method::Head => true,
            _ => return Page::text(405, "GET or HEAD\n".to_owned()),
        };
        let page = match request.path {
            "/healthz" => Page::text(200, "ok\n".to_owned()),
            // What the registry serves on its debug address: `{}` says healthy.
            "/debug/health" | "/readyz" => self.ready(request.path == "/readyz"),
            path if path == self.metrics_path => Page {
                status: 200,
                media_type: prometheus::CONTENT_TYPE,
                body: prometheus::render(&self.metrics),
                is_head,
            },
            _ => Page::text(404, "no such page\n".to_owned()),
        };
        Page { is_head, ..page }
    }

    fn ready(&self, is_text: bool) -> Page {
        let reasons = (self.readiness)();
        let status = if reasons.is_empty() { 200 } else { 503 };
        if is_text {
            let body = if reasons.is_empty() {
                "ready\n".to_owned()
            } else {
                reasons.join("\n") + "\n"
            };
            return Page::text(status, body);
        }
        let reasons: serde_json::Map<_, _> = reasons
            .into_iter()
            .map(|reason| (reason, serde_json::Value::from("failed")))
            .collect();
        let body = serde_json::Value::from(reasons).to_string();
        Page {
            status,
            media_type: "application/json",
            body,
            is_head: false,
        }
    }
}

/// One response.
struct Page {
    status: u16,
    media_type: &'static str,
    body: String,
    is_head: bool,
}

impl Page {
    const fn text(status: u16, body: String) -> Self {
        Self {
            status,
            media_type: "text/plain; charset=utf-8",
            body,
            is_head: false,
        }
    }

    fn write(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        let date = httpdate::fmt_http_date(SystemTime::now());
        ResponseHead::begin(&mut output, self.status, &date)
            .field("Content-Type", self.media_type)
            .field("Cache-Control", "no-store")
            .finish(Framing::Length(self.body.len() as u64), Connection::Close);
        if !self.is_head {
            output.extend_from_slice(self.body.as_bytes());
        }
        output
    }
}

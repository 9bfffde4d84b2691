//! Listens, and answers until it is told to end.
//!
//! What a client may take without giving anything is bounded: places ([`connections`](super::connections)), the time
//! for a request's head, the bytes of one, the streams of a connection, and the time for an answer below anything but
//! `/v2/`, where blobs of any size pass.

use std::any::Any;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum_server::Handle;
use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::answer::ApiError;
use super::app::App;
use super::connections::{Bounded, Connections};
use super::options::Options;
use super::{Failure, accounts, api, proxy, tokens, web};

/// How often a certificate is looked at.
const CERTIFICATE_LOOK_EVERY: Duration = Duration::from_secs(30);
/// Longest time for a request's head, and for the next request of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest head of HTTP/1, in bytes. A token has 8 KiB at most.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// As before, of HTTP/2, where names and values count with 32 more each.
const FIELDS_BYTES_MAX: u32 = 32 * 1024;
/// Most requests at a time of one connection of HTTP/2, and what may wait to be sent for each.
const STREAMS_MAX: u32 = 100;
const STREAM_BYTES_MAX: usize = 128 * 1024;
/// How often a client of HTTP/2 is asked whether it is still there, and how long it may think about that.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time for an answer, with what is sent for it, below anything but `/v2/`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a gateway until SIGTERM or SIGINT, on threads of its own. `ready` is told the address when clients may come.
/// SIGHUP has it read the password file, the policy and the certificate again.
///
/// # Errors
/// [`Failure`] to start.
pub fn run(options: Options, ready: impl FnOnce(SocketAddr)) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new("threads", error))?;
    // Whoever makes a TLS configuration without saying so gets the provider that the rest uses; a second one is none.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    runtime.block_on(serve(options, ready))
}

async fn serve(options: Options, ready: impl FnOnce(SocketAddr)) -> Result<(), Failure> {
    // Before anything that takes time: without this it ends the process.
    let hangups = on(SignalKind::hangup())?;
    let (listener, tls, drain) = (bind(&options.listen)?, options.tls.clone(), options.drain);
    let address = listener.local_addr();
    let address = address.map_err(|error| Failure::new("http.addr", error))?;
    warn_of_plain_passwords(&options, address);
    let connections = Connections::new(raise_open_files(), options.proxies.clone());
    let app = App::new(options).await?;
    let handle = Handle::new();
    end_on_signals(handle.clone(), drain)?;
    let service = routes(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let failed = |error| Failure::new("http.addr", error);
    let mut server = axum_server::from_tcp(listener).map_err(failed)?;
    bound(server.http_builder());
    let server = server.handle(handle);
    let certificate = match tls {
        Some((certificate, key)) => Some(Certificate::read(certificate, key).await?),
        None => None,
    };
    let config = certificate.as_ref().map(|found| found.config.clone());
    tokio::spawn(follow(app, certificate, hangups));
    ready(address);
    let served = match config {
        Some(config) => {
            let acceptor = Bounded::new(RustlsAcceptor::new(config), connections);
            server.acceptor(acceptor).serve(service).await
        }
        None => {
            let acceptor = Bounded::new(DefaultAcceptor::new(), connections);
            server.acceptor(acceptor).serve(service).await
        }
    };
    served.map_err(failed)
}

/// Bounds what a connection may hold. Streams that are opened and reset again are bounded by h2 itself.
fn bound(builder: &mut Builder<TokioExecutor>) {
    builder
        .http1()
        // Without a timer there is no timeout.
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(STREAM_BYTES_MAX)
        .max_header_list_size(FIELDS_BYTES_MAX);
}

fn routes(app: App) -> Router {
    Router::new()
        .merge(tokens::routes())
        .merge(proxy::routes())
        .merge(api::routes())
        .merge(web::routes())
        .route("/healthz", get(|| async { StatusCode::OK }))
        .layer(from_fn_with_state(app.clone(), web::turn_away_foreign))
        .layer(from_fn_with_state(app.clone(), accounts::note_client))
        .layer(from_fn(name_host))
        .layer(from_fn(end_in_time))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(by_default(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; sandbox",
        ))
        .layer(by_default(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .with_state(app)
}

/// Sets a field where no answer has said otherwise. What a backend sends is of whoever pushed it, and comes from the
/// same origin as the page: a browser must not run it.
fn by_default(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// Puts the host where everybody looks for it: a request of HTTP/2, or one in absolute form, has it in its target,
/// which counts before the field (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
async fn name_host(mut request: Request, next: Next) -> Response {
    let authority = request.uri().authority();
    let host = authority.map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(host)) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    next.run(request).await
}

/// Ends what takes too long, where nothing is streamed: a body that never ends, a database that never answers.
async fn end_in_time(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/v2" || path.starts_with("/v2/") {
        return next.run(request).await;
    }
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await;
    answer.unwrap_or_else(|_| ApiError::Unavailable.into_response())
}

/// Answers what ended in a panic, which the log has; as errors are below `/v2/` and `/api/`.
fn answer_panic(_: Box<dyn Any + Send>) -> Response {
    ApiError::Internal.into_response()
}

/// Raises the limit on open files to the hard one, and returns it.
fn raise_open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files stays as it was");
        limit = getrlimit(Resource::Nofile);
    }
    let files = limit.current.and_then(|most| usize::try_from(most).ok());
    files.unwrap_or(1 << 20)
}

/// Says that passwords can be read on the way, where nothing says otherwise.
fn warn_of_plain_passwords(options: &Options, address: SocketAddr) {
    let is_https = options
        .host
        .as_ref()
        .is_some_and(|url| url.scheme() == "https");
    let is_behind = is_https || !options.proxies.is_empty();
    if options.tls.is_none() && !is_behind && !address.ip().is_loopback() {
        tracing::warn!(
            "passwords and tokens go over plain HTTP: set http.tls, or put a proxy with TLS before this and name it in \
             gateway.proxies"
        );
    }
}

fn bind(addresses: &[SocketAddr]) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(addresses);
    let listener = listener.and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let shown = addresses.first().map(ToString::to_string);
    listener.map_err(|error| Failure::new(shown.unwrap_or_default(), error))
}

fn on(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new("signals", error))
}

/// Lets what is in flight end within `drain` after the first signal.
fn end_on_signals(handle: Handle<SocketAddr>, drain: Duration) -> Result<(), Failure> {
    let (mut terminate, mut interrupt) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("draining");
        handle.graceful_shutdown(Some(drain));
    });
    Ok(())
}

/// Takes up a new certificate when its file changes, and at each SIGHUP that and the files of accounts.
async fn follow(app: App, mut certificate: Option<Certificate>, mut hangups: Signal) {
    let mut ticks = tokio::time::interval(CERTIFICATE_LOOK_EVERY);
    loop {
        let is_told = tokio::select! {
            told = hangups.recv() => told.is_some(),
            _ = ticks.tick() => false,
        };
        if is_told {
            tracing::info!("SIGHUP: files are read again");
            app.accounts.read_again().await;
        }
        if let Some(certificate) = &mut certificate {
            certificate.look(is_told).await;
        }
    }
}

/// The certificate, and its files as they were when it was read.
struct Certificate {
    files: Arc<[PathBuf; 2]>,
    config: RustlsConfig,
    seen: Stamps,
    /// What was wrong with the files when they were last looked at, so that it is said once.
    told: Option<String>,
}

type Stamps = [Option<std::time::SystemTime>; 2];

impl Certificate {
    async fn read(certificate: PathBuf, key: PathBuf) -> Result<Self, Failure> {
        let files = Arc::new([certificate, key]);
        let seen = stamps(&files);
        let config = RustlsConfig::from_pem_file(&files[0], &files[1]).await;
        let config = config.map_err(|error| Failure::new(files[0].display(), error))?;
        Ok(Self {
            files,
            config,
            seen,
            told: None,
        })
    }

    /// Reads the files again if they have changed, or if `is_told` to. What does not hold is looked at again and again:
    /// a key may follow its certificate.
    async fn look(&mut self, is_told: bool) {
        let now = stamps(&self.files);
        if now == self.seen && self.told.is_none() && !is_told {
            return;
        }
        let [certificate, key] = &*self.files;
        match self.config.reload_from_pem_file(certificate, key).await {
            Ok(()) => {
                tracing::info!("the certificate was read again");
                self.told = None;
            }
            Err(error) => {
                let text = error.to_string();
                if is_told || self.told.as_ref() != Some(&text) {
                    tracing::error!(%error, "the new certificate does not hold: the old one stays");
                }
                self.told = Some(text);
            }
        }
        self.seen = now;
    }
}

fn stamps(files: &[PathBuf; 2]) -> Stamps {
    files.each_ref().map(|path| {
        std::fs::metadata(path)
            .and_then(|file| file.modified())
            .ok()
    })
}

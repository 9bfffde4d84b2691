//! Listens, and answers until it is told to end.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio::signal::unix::{SignalKind, signal};
use tower_http::catch_panic::CatchPanicLayer;

use super::app::App;
use super::options::Options;
use super::{Failure, accounts, api, proxy, tokens, web};

/// How often a certificate is looked at.
const CERTIFICATE_LOOK_EVERY: Duration = Duration::from_secs(30);

/// Runs a gateway until SIGTERM or SIGINT, on threads of its own. `ready` is told the address when clients may come.
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
    let (listener, tls, drain) = (bind(&options.listen)?, options.tls.clone(), options.drain);
    let address = listener.local_addr();
    let address = address.map_err(|error| Failure::new("http.addr", error))?;
    let app = App::new(options).await?;
    let handle = Handle::new();
    end_on_signals(handle.clone(), drain)?;
    let service = routes(app).into_make_service_with_connect_info::<SocketAddr>();
    let failed = |error| Failure::new("http.addr", error);
    match tls {
        Some((certificate, key)) => {
            let config = RustlsConfig::from_pem_file(&certificate, &key).await;
            let config = config.map_err(|error| Failure::new(certificate.display(), error))?;
            follow_certificate(config.clone(), certificate, key);
            let server = axum_server::from_tcp_rustls(listener, config).map_err(failed)?;
            ready(address);
            server.handle(handle).serve(service).await.map_err(failed)
        }
        None => {
            let server = axum_server::from_tcp(listener).map_err(failed)?;
            ready(address);
            server.handle(handle).serve(service).await.map_err(failed)
        }
    }
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
        .layer(CatchPanicLayer::new())
        .with_state(app)
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

/// Lets what is in flight end within `drain` after the first signal.
fn end_on_signals(handle: Handle<SocketAddr>, drain: Duration) -> Result<(), Failure> {
    let failed = |error| Failure::new("signals", error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
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

/// Takes up a new certificate when its file changes.
fn follow_certificate(
    config: RustlsConfig,
    certificate: std::path::PathBuf,
    key: std::path::PathBuf,
) {
    let changed =
        move |path: &std::path::Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    tokio::spawn(async move {
        let mut seen = (changed(&certificate), changed(&key));
        let mut ticks = tokio::time::interval(CERTIFICATE_LOOK_EVERY);
        loop {
            ticks.tick().await;
            let now = (changed(&certificate), changed(&key));
            if now == seen {
                continue;
            }
            match config.reload_from_pem_file(&certificate, &key).await {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => {
                    tracing::error!(%error, "the new certificate does not hold: the old one stays")
                }
            }
            seen = now;
        }
    });
}

//! The one client for everything that the gateway asks: backend, caches, mirrors.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{Failure, options};

/// Longest time until a connection stands, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest silence in the middle of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the client: it trusts the public authorities and `gateway.cas`, follows no redirect, and uses no proxy of
/// the environment.
///
/// # Errors
/// A file of `gateway.cas` that is not one.
pub(super) fn client(options: &options::Options) -> Result<reqwest::Client, Failure> {
    built(builder(options)?.read_timeout(READ_TIMEOUT))
}

/// Returns a client for bodies that may take hours: whoever uses it bounds its silences. (reqwest's bound on silence
/// before the answer's head counts from the request's first byte, so it would cut long uploads.)
///
/// # Errors
/// As [`client`].
pub(super) fn streaming(options: &options::Options) -> Result<reqwest::Client, Failure> {
    built(builder(options)?)
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Failure> {
    let client = builder.build();
    client.map_err(|error| Failure::new("HTTP client", error))
}

fn builder(options: &options::Options) -> Result<reqwest::ClientBuilder, Failure> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for path in &options.cas {
        let told = |error| Failure::new(path.display(), error);
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| told(e.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| told(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| told(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new("TLS", error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT))
}

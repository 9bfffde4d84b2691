//! The server's side of TLS: certificates and protocol bounds from the configuration.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Tls, TlsVersion};

/// Reads certificates and key.
pub(super) fn server_config(options: &Tls) -> io::Result<ServerConfig> {
    let certificates = read_certificates(&options.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&options.key).map_err(|e| about(&options.key, e))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(options.minimum))
        .map_err(io::Error::other)?;
    let builder = if options.client_cas.is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        for path in &options.client_cas {
            for certificate in read_certificates(path)? {
                roots.add(certificate).map_err(|e| about(path, e))?;
            }
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|e| about(&options.certificate, e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn versions(minimum: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    match minimum {
        TlsVersion::Tls12 => vec![&version::TLS13, &version::TLS12],
        TlsVersion::Tls13 => vec![&version::TLS13],
    }
}

fn read_certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| about(path, e))?;
    let certificates: Vec<_> = certificates
        .collect::<Result<_, _>>()
        .map_err(|e| about(path, e))?;
    if certificates.is_empty() {
        return Err(about(path, "no certificate in it"));
    }
    Ok(certificates)
}

fn about(path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{}: {error}", path.display()),
    )
}

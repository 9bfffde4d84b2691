//! Whom to believe to be a next hop: the public certificate authorities and the operator's `cas`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Why the client cannot be set up. The operator's fault.
#[derive(Debug)]
pub enum SetupError {
    /// There is no next hop to ask.
    NoHops,
    /// A file of certificate authorities is of no use.
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel gives no random bytes.
    Random(io::Error),
    /// The TLS library refuses its own defaults. Our fault.
    Tls(rustls::Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHops => f.write_str("no upstream is given"),
            Self::Authorities { path, reason } => write!(f, "cas: {}: {reason}", path.display()),
            Self::Random(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tls(error) => Some(error),
            Self::Random(error) => Some(error),
            Self::NoHops | Self::Authorities { .. } => None,
        }
    }
}

/// Returns what TLS sessions with next hops are made from. Reads the files; for start-up only.
///
/// # Errors
/// A file that cannot be read, holds no certificate, or one that is no authority's.
pub(super) fn client_config(cas: &[PathBuf]) -> Result<Arc<ClientConfig>, SetupError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for path in cas {
        add_file(&mut roots, path).map_err(|reason| SetupError::Authorities {
            path: path.clone(),
            reason,
        })?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(SetupError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        count += 1;
    }
    if count == 0 {
        return Err("holds no PEM certificate".to_owned());
    }
    Ok(())
}

/// Says whether an error of a handshake is about TLS, not about the connection below it.
pub(super) fn is_about_tls(error: &io::Error) -> bool {
    tls_error(error).is_some()
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Returns what is wrong with the TLS of `host`, and where it can be known, what to do.
pub(super) fn explain(host: &str, error: &io::Error) -> String {
    use rustls::Error::{InvalidCertificate, InvalidMessage};
    match tls_error(error) {
        Some(InvalidCertificate(CertificateError::UnknownIssuer)) => format!(
            "{host} shows a certificate of an authority that is not trusted; if it is yours, add the \
             authority's certificate to `cas`"
        ),
        Some(InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => format!("{host} shows a certificate for another name"),
        Some(InvalidMessage(_)) => format!("{host} does not speak TLS at that port: {error}"),
        _ => format!("no TLS session with {host}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_authority_is_named_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let reason = |path: &Path| {
            client_config(&[path.to_owned()])
                .map(drop)
                .unwrap_err()
                .to_string()
        };
        assert!(reason(&path).contains("ca.pem: No such file"));
        std::fs::write(&path, "not a certificate").unwrap();
        assert!(reason(&path).ends_with("ca.pem: holds no PEM certificate"));
        let broken = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, broken).unwrap();
        assert!(reason(&path).contains("ca.pem: "));
    }
}

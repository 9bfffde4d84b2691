//! Whom to believe to be a next hop, the public certificate authorities and the operator's `cas`, and what
//! to show of oneself.
//!
//! A certificate of one's own is shown to the hops alone: whom they redirect to has no business with it,
//! unless the operator lists the host among the realms.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CertificateError, CipherSuite, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

use super::options::{ClientCertificate, Options};
use super::peer::Peer;

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
    /// A certificate of one's own, or its key, is of no use.
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS library refuses its own defaults. Our fault.
    Tls(rustls::Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHops => f.write_str("no upstream is given"),
            Self::Authorities { path, reason } => write!(f, "cas: {}: {reason}", path.display()),
            Self::Random(error) => error.fmt(f),
            Self::Certificate { path, reason } => {
                write!(f, "client_certificate: {}: {reason}", path.display())
            }
            Self::Tls(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tls(error) => Some(error),
            Self::Random(error) => Some(error),
            Self::NoHops | Self::Authorities { .. } | Self::Certificate { .. } => None,
        }
    }
}

/// What TLS sessions are made from.
#[derive(Debug)]
pub(super) struct Trust {
    /// With nobody in particular.
    plain: Arc<ClientConfig>,
    /// With those who are shown who asks.
    known: Option<Known>,
}

#[derive(Debug)]
struct Known {
    config: Arc<ClientConfig>,
    hops: Vec<Url>,
    /// Hosts, each with or without a port.
    realms: Vec<String>,
}

impl Trust {
    /// Reads the files; for start-up only.
    ///
    /// # Errors
    /// A file that cannot be read, or does not hold what it should.
    pub(super) fn read(options: &Options) -> Result<Self, SetupError> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for path in &options.cas {
            add_file(&mut roots, path).map_err(|reason| SetupError::Authorities {
                path: path.clone(),
                reason,
            })?;
        }
        let known = match &options.client_certificate {
            Some(certificate) => Some(Known {
                config: client_config(roots.clone(), Some(certificate))?,
                hops: options.hops.iter().map(|hop| hop.url.clone()).collect(),
                realms: options.realms.clone(),
            }),
            None => None,
        };
        Ok(Self {
            plain: client_config(roots, None)?,
            known,
        })
    }

    /// Returns what a session with `peer` is made from.
    pub(super) fn toward(&self, peer: &Peer) -> Arc<ClientConfig> {
        match &self.known {
            Some(known) if known.includes(peer) => Arc::clone(&known.config),
            _ => Arc::clone(&self.plain),
        }
    }
}

impl Known {
    fn includes(&self, peer: &Peer) -> bool {
        let is_hop = |hop: &Url| {
            hop.host_str() == Some(&peer.host) && hop.port_or_known_default() == Some(peer.port)
        };
        let is_realm = |realm: &String| {
            realm.eq_ignore_ascii_case(&peer.host)
                || realm.eq_ignore_ascii_case(&format!("{}:{}", peer.host, peer.port))
        };
        self.hops.iter().any(is_hop) || self.realms.iter().any(is_realm)
    }
}

fn client_config(
    roots: RootCertStore,
    certificate: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, SetupError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(SetupError::Tls)?
        .with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let (chain, key) = (read_chain(files)?, read_key(files)?);
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| refuse(&files.certificate, &error))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Returns the cryptography, which asks for AES-128 before AES-256: as safe, and two thirds of the price.
/// Go's clients do the same.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

fn read_chain(files: &ClientCertificate) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let path = &files.certificate;
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| refuse(path, &error))?;
    Ok(chain)
}

fn read_key(files: &ClientCertificate) -> Result<PrivateKeyDer<'static>, SetupError> {
    PrivateKeyDer::from_pem_file(&files.key).map_err(|error| refuse(&files.key, &error))
}

fn refuse(path: &Path, reason: &dyn fmt::Display) -> SetupError {
    SetupError::Certificate {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
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

/// Says whether the peer's own certificate is one of an authority. The type that says so is of a library below.
fn is_authority(error: &io::Error) -> bool {
    format!("{error:?}").contains("CaUsedAsEndEntity")
}

/// Returns what is wrong with the TLS of `host`, and where it can be known, what to do.
pub(super) fn explain(host: &str, error: &io::Error) -> String {
    use rustls::AlertDescription::CertificateRequired;
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    match tls_error(error) {
        Some(InvalidCertificate(CertificateError::UnknownIssuer)) => format!(
            "{host} shows a certificate of an authority that is not trusted; if it is yours, add the \
             authority's certificate to `cas`"
        ),
        Some(InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => format!("{host} shows a certificate for another name"),
        Some(InvalidCertificate(CertificateError::Other(_))) if is_authority(error) => format!(
            "{host} shows an authority's own certificate (CA:TRUE), which is no server's: make it one without CA:TRUE, \
             signed by that authority"
        ),
        Some(InvalidMessage(_)) => format!("{host} does not speak TLS at that port: {error}"),
        Some(AlertReceived(CertificateRequired)) => format!(
            "{host} wants a client certificate: give `transship.upstream.client_certificate`"
        ),
        _ => format!("no TLS session with {host}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::options;
    use super::*;

    #[test]
    fn a_file_that_is_no_authority_is_named_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let reason = |path: &Path| {
            let options = Options {
                cas: vec![path.to_owned()],
                ..options(Vec::new())
            };
            Trust::read(&options).map(drop).unwrap_err().to_string()
        };
        assert!(reason(&path).contains("ca.pem: No such file"));
        std::fs::write(&path, "not a certificate").unwrap();
        assert!(reason(&path).ends_with("ca.pem: holds no PEM certificate"));
        let broken = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, broken).unwrap();
        assert!(reason(&path).contains("ca.pem: "));
    }
    #[test]
    fn a_server_with_an_authority_s_own_certificate_is_told_what_to_do() {
        // What `openssl req -x509` makes, unless told otherwise.
        let mut params = rcgen::CertificateParams::new(vec!["h.example".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .unwrap();
        let name = "h.example".try_into().unwrap();
        let now = rustls_pki_types::UnixTime::now();
        let refused = rustls::client::danger::ServerCertVerifier::verify_server_cert(
            &*verifier,
            certificate.der(),
            &[],
            &name,
            &[],
            now,
        );
        let error = io::Error::new(io::ErrorKind::InvalidData, refused.unwrap_err());
        let said = explain("h.example", &error);
        assert!(said.contains("(CA:TRUE), which is no server's"), "{said}");
    }
}

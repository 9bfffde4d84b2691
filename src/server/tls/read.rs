//! From the files that the configuration names to what handshakes are made from.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{
    Error, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion, version,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::super::{ClientAuth, Tls, TlsVersion};
use super::any_client::AnyClient;

/// What the files held at one time.
pub(super) struct Files {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// Authorities of clients, in the order of the configuration.
    pub(super) authorities: Vec<CertificateDer<'static>>,
}

impl Files {
    /// Reads all of them.
    pub(super) fn read(options: &Tls) -> io::Result<Self> {
        let mut authorities = Vec::new();
        for path in &options.client_cas {
            authorities.append(&mut read_certificates(path)?);
        }
        Ok(Self {
            certificates: read_certificates(&options.certificate)?,
            key: PrivateKeyDer::from_pem_file(&options.key).map_err(|e| about(&options.key, e))?,
            authorities,
        })
    }

    /// Says what the certificate is about.
    pub(super) fn about(&self) -> io::Result<About> {
        let der = self.certificates.first().map_or(&[][..], |der| der);
        let (_, certificate) = X509Certificate::from_der(der).map_err(io::Error::other)?;
        Ok(About::of(&certificate))
    }

    /// Returns what handshakes are made from.
    pub(super) fn config(
        self,
        options: &Tls,
        ticketer: Arc<dyn ProducesTickets>,
    ) -> io::Result<ServerConfig> {
        let (provider, versions) = provider(options);
        let provider = Arc::new(provider);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(io::Error::other)?;
        let builder = if options.client_cas.is_empty() {
            builder.with_no_client_auth()
        } else {
            let mut roots = RootCertStore::empty();
            for authority in self.authorities {
                roots.add(authority).map_err(|error| {
                    invalid(format!("clientcas: one of them is no authority: {error}"))
                })?;
            }
            let vouched = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let vouched = match options.client_auth {
                ClientAuth::RequireAndVerify => vouched,
                _ => vouched.allow_unauthenticated(),
            };
            let vouched = vouched.build().map_err(io::Error::other)?;
            match options.client_auth {
                ClientAuth::RequireAndVerify | ClientAuth::VerifyIfGiven => {
                    builder.with_client_cert_verifier(vouched)
                }
                auth => builder.with_client_cert_verifier(Arc::new(AnyClient {
                    vouched,
                    is_mandatory: auth == ClientAuth::RequireAny,
                })),
            }
        };
        let mut config = builder
            .with_single_cert(self.certificates, self.key)
            .map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    let of = options.certificate.display();
                    about(&options.key, format!("not the key of {of}"))
                }
                error => about(&options.certificate, error),
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = ticketer;
        // Tickets are enough; a store would be a lock that all cores share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }
}

/// Returns the cryptography with the suites that are chosen, and the versions that they leave.
fn provider(options: &Tls) -> (CryptoProvider, Vec<&'static SupportedProtocolVersion>) {
    let mut provider = aws_lc_rs::default_provider();
    let chosen = &options.cipher_suites;
    if !chosen.is_empty() {
        provider
            .cipher_suites
            .retain(|suite| suite.tls13().is_some() || chosen.contains(&suite.suite()));
    }
    let has_tls12 = options.minimum == TlsVersion::Tls12
        && provider
            .cipher_suites
            .iter()
            .any(|suite| suite.tls13().is_none());
    let versions = if has_tls12 {
        vec![&version::TLS13, &version::TLS12]
    } else {
        vec![&version::TLS13]
    };
    (provider, versions)
}

/// What an operator wants to know of a certificate.
#[derive(Debug)]
pub(super) struct About {
    /// Names and addresses that it is for.
    names: Vec<String>,
    serial: String,
    not_after: String,
    /// Seconds since the epoch.
    pub(super) expires: i64,
}

impl About {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let extension = certificate.subject_alternative_name().ok().flatten();
        let names = extension.map_or(&[][..], |names| &names.value.general_names);
        let not_after = certificate.validity().not_after;
        Self {
            names: names.iter().filter_map(name).collect(),
            serial: certificate.raw_serial_as_string(),
            not_after: not_after.to_string(),
            expires: not_after.timestamp(),
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            names,
            serial,
            not_after,
            ..
        } = self;
        let names = names.join(" ");
        write!(f, "for {names}, serial {serial}, expires {not_after}")
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
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

fn about(path: &Path, error: impl fmt::Display) -> io::Error {
    invalid(format!("{}: {error}", path.display()))
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::super::super::CIPHER_SUITES;
    use super::*;

    fn options(cipher_suites: Vec<rustls::CipherSuite>) -> Tls {
        Tls {
            certificate: "/c".into(),
            key: "/k".into(),
            client_cas: Vec::new(),
            client_auth: ClientAuth::RequireAndVerify,
            minimum: TlsVersion::Tls12,
            cipher_suites,
        }
    }

    #[test]
    fn every_suite_that_may_be_named_is_there() {
        let all = aws_lc_rs::default_provider().cipher_suites;
        assert_eq!(all.len(), CIPHER_SUITES.len());
        for (name, suite) in CIPHER_SUITES {
            assert!(all.iter().any(|there| there.suite() == suite), "{name}");
        }
    }

    #[test]
    fn a_list_chooses_among_tls_1_2_and_leaves_1_3_alone() {
        let chosen = rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
        let (suites, versions) = provider(&options(vec![chosen]));
        assert_eq!((suites.cipher_suites.len(), versions.len()), (4, 2));
        let only = rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
        let (suites, versions) = provider(&options(vec![only]));
        assert_eq!((suites.cipher_suites.len(), versions.len()), (3, 1));
    }
}

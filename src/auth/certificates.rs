//! Keys of certificates: a bundle of those that are trusted, and chains that tokens bring along (`x5c`).
//!
//! A certificate of the bundle is trusted for its key, however old it is: the operator put it there. One
//! that may issue others is trusted for those too. A chain in a token counts only if its leaf is in the
//! bundle, byte for byte, or if webpki finds a path from it to a certificate of the bundle that may issue
//! (`CA:TRUE`, and `keyCertSign` where key usage is stated): each valid at the time, with good signatures,
//! and with `serverAuth` where an extended key usage is stated. Nothing is asked about revocation.
//!
//! Source: RFC 5280; RFC 7515 §4.1.6; libtrust's key identifiers, as distribution uses them.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::ParsedCertificate;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::key::{Key, Public, Unusable};
use crate::limits::TOKEN_CERTIFICATES_MAX;

/// Object identifiers: RFC 5480 §2.1.1, RFC 8410 §3.
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const RSA: &str = "1.2.840.113549.1.1.1";
const ED25519: &str = "1.3.101.112";

/// Returns the certificates of a PEM file; other sections of it are passed over. `None` if it is not PEM.
pub(super) fn read_pem(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .ok()
}

/// Returns a certificate's key, called by its libtrust identifier and its thumbprint.
///
/// # Errors
///
/// [`Unusable`].
pub(super) fn key(der: &CertificateDer<'_>) -> Result<Key, Unusable> {
    let certificate = parse(der)?;
    let info = certificate.public_key();
    Ok(public_key(info)?.also_called(libtrust_id(info.raw)))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Unusable> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Unusable::Malformed),
    }
}

fn public_key(info: &SubjectPublicKeyInfo<'_>) -> Result<Key, Unusable> {
    let bits: &[u8] = &info.subject_public_key.data;
    match &*info.algorithm.algorithm.to_id_string() {
        RSA => match info.parsed() {
            Ok(PublicKey::RSA(rsa)) => Key::new(Public::Rsa {
                modulus: rsa.modulus,
                exponent: rsa.exponent,
            }),
            _ => Err(Unusable::Malformed),
        },
        EC_PUBLIC_KEY => {
            let curve = info
                .algorithm
                .parameters
                .as_ref()
                .and_then(|any| any.as_oid().ok());
            let curve = curve.ok_or(Unusable::Malformed)?.to_id_string();
            let [4, point @ ..] = bits else {
                return Err(Unusable::Malformed);
            };
            let (x, y) = point.split_at(point.len() / 2);
            match &*curve {
                P256 => Key::new(Public::P256 { x, y }),
                P384 => Key::new(Public::P384 { x, y }),
                _ => Err(Unusable::Kind),
            }
        }
        ED25519 => Key::new(Public::Ed25519(bits)),
        _ => Err(Unusable::Kind),
    }
}

/// Returns libtrust's identifier of a key: 30 bytes of the SHA-256 of its SubjectPublicKeyInfo, as
/// base32 in groups of four.
fn libtrust_id(info_der: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = digest(&SHA256, info_der);
    let mut id = String::with_capacity(59);
    for (index, five) in hash.as_ref()[..30].chunks_exact(5).enumerate() {
        let bits = five
            .iter()
            .fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
        for digit in 0..8 {
            if digit % 4 == 0 && index + digit > 0 {
                id.push(':');
            }
            id.push(char::from(
                ALPHABET[(bits >> (35 - 5 * digit) & 31) as usize],
            ));
        }
    }
    id
}

/// The certificates of a bundle, as far as chains are traced to them.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    certificates: Vec<CertificateDer<'static>>,
    /// Those that may issue others.
    issuers: RootCertStore,
    signatures: WebPkiSupportedAlgorithms,
}

impl Bundle {
    /// Returns a bundle of these certificates; one that nothing can be traced to does no harm.
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut issuers = RootCertStore::empty();
        for certificate in certificates.iter().filter(|der| may_issue(der)) {
            // What webpki cannot read is no issuer.
            let _ = issuers.add(certificate.clone());
        }
        Self {
            certificates,
            issuers,
            signatures: rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms,
        }
    }

    /// Adds the certificates of another bundle.
    pub(super) fn join(&mut self, other: Self) {
        self.certificates.extend(other.certificates);
        self.issuers.extend(other.issuers.roots);
    }

    /// Returns the key of a chain's leaf if the chain is to be trusted at `now`, seconds since the epoch.
    ///
    /// Costs a signature for each certificate of the chain, of which there are at most
    /// [`TOKEN_CERTIFICATES_MAX`].
    pub(super) fn leaf_key(&self, chain: &[String], now: u64) -> Option<Key> {
        if chain.len() > TOKEN_CERTIFICATES_MAX {
            return None;
        }
        let decode = |text: &String| STANDARD.decode(text).ok().map(CertificateDer::from);
        let chain: Vec<CertificateDer<'_>> = chain.iter().map(decode).collect::<Option<_>>()?;
        let (leaf, others) = chain.split_first()?;
        if !self.certificates.contains(leaf) {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(leaf).ok()?,
                &self.issuers,
                others,
                UnixTime::since_unix_epoch(Duration::from_secs(now)),
                self.signatures.all,
            )
            .ok()?;
        }
        key(leaf).ok()
    }
}

/// Says whether a certificate may issue others (RFC 5280 §4.2.1.3, §4.2.1.9).
fn may_issue(der: &CertificateDer<'_>) -> bool {
    parse(der).is_ok_and(|certificate| {
        let usage = certificate.key_usage();
        certificate.is_ca()
            && usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()))
    })
}

//! TLS on both sides: `http.tls`, and the certificate that upstreams are shown.

use std::path::PathBuf;

use rustls::CipherSuite;

use super::read::{Reader, Spot};
use super::report::Origin;
use super::{FileUse, Role};
use crate::server::{CIPHER_SUITES, ClientAuth, Tls, TlsVersion};
use crate::upstream::ClientCertificate;

/// Returns the server's TLS options; the inner `None` is plain HTTP.
pub(super) fn server(
    reader: &mut Reader,
    root: &Spot<'_>,
    files: &mut Vec<FileUse>,
) -> Option<Option<Tls>> {
    let pair = pair(reader, root, "http.tls.certificate", "http.tls.key", files);
    let cas_spot = root.find("http.tls.clientcas");
    let client_cas = reader.paths(&cas_spot);
    let auth_spot = root.find("http.tls.clientauth");
    let client_auth = reader.choice(&auth_spot);
    let minimum = minimum(reader, root);
    let cipher_suites = cipher_suites(reader, root);
    let Some((certificate, key)) = pair? else {
        if cas_spot.node().is_some() {
            let text =
                "asks for client certificates, which needs http.tls.certificate and http.tls.key";
            reader
                .report
                .problem(&cas_spot.origin(), &cas_spot.shown, text);
            return None;
        }
        reader.row("http.tls", "off", Origin::Default);
        return Some(None);
    };
    let client_cas = client_cas?;
    if client_cas.is_empty() && auth_spot.node().is_some() {
        let text =
            "ignored, as the registry does: without http.tls.clientcas no certificate is asked for";
        reader
            .report
            .warning(&auth_spot.origin(), &auth_spot.shown, text);
    }
    for (spot, path) in &client_cas {
        files.push(FileUse::new(spot, path, Role::Authority));
    }
    Some(Some(Tls {
        certificate,
        key,
        client_cas: client_cas.into_iter().map(|(_, path)| path).collect(),
        client_auth: match client_auth?.as_str() {
            "request-client-cert" => ClientAuth::Request,
            "require-any-client-cert" => ClientAuth::RequireAny,
            "verify-client-cert-if-given" => ClientAuth::VerifyIfGiven,
            _ => ClientAuth::RequireAndVerify,
        },
        minimum: minimum?,
        cipher_suites: cipher_suites?,
    }))
}

fn minimum(reader: &mut Reader, root: &Spot<'_>) -> Option<TlsVersion> {
    let spot = root.find("http.tls.minimumtls");
    let want = "tls1.2, which is the lowest, or tls1.3";
    let parsed = reader.parsed(&spot, want, |text| {
        match text.to_ascii_lowercase().as_str() {
            "tls1.2" => Some(TlsVersion::Tls12),
            "tls1.3" => Some(TlsVersion::Tls13),
            _ => None,
        }
    });
    parsed?
}

/// Returns the suites that are named; of names that mean nothing here, one problem each.
fn cipher_suites(reader: &mut Reader, root: &Spot<'_>) -> Option<Vec<CipherSuite>> {
    let names: Vec<_> = CIPHER_SUITES.iter().map(|(name, _)| *name).collect();
    let want = format!(
        "a suite with forward secrecy and AEAD, one of {}",
        names.join(", ")
    );
    let spot = root.find("http.tls.ciphersuites");
    let suites = reader.list(&spot, "a list of cipher suites", |reader, item| {
        reader
            .parsed(item, &want, |text| {
                let mut known = CIPHER_SUITES.into_iter();
                known.find_map(|(name, suite)| (name == text).then_some(suite))
            })
            .flatten()
    });
    Some(suites?.into_iter().map(|(_, suite)| suite).collect())
}

/// Returns the certificate that upstreams are shown, if there is one.
pub(super) fn upstream(
    reader: &mut Reader,
    root: &Spot<'_>,
    files: &mut Vec<FileUse>,
) -> Option<Option<ClientCertificate>> {
    let pair = pair(
        reader,
        root,
        "transship.upstream.client_certificate",
        "transship.upstream.client_key",
        files,
    )?;
    Some(pair.map(|(certificate, key)| ClientCertificate { certificate, key }))
}

/// Returns a certificate with its key, of which there are both or neither.
pub(super) fn pair(
    reader: &mut Reader,
    root: &Spot<'_>,
    certificate_key: &str,
    key_key: &str,
    files: &mut Vec<FileUse>,
) -> Option<Option<(PathBuf, PathBuf)>> {
    let (certificate_spot, key_spot) = (root.find(certificate_key), root.find(key_key));
    let certificate = reader.path(&certificate_spot);
    let key = reader.path(&key_spot);
    let (spot, text) = match (certificate?, key?) {
        (None, None) => return Some(None),
        (Some(certificate), Some(key)) => {
            files.push(FileUse::new(
                &certificate_spot,
                &certificate,
                Role::Certificate,
            ));
            files.push(FileUse::new(&key_spot, &key, Role::Key));
            return Some(Some((certificate, key)));
        }
        (Some(_), None) => (certificate_spot, format!("has no key: give {key_key}")),
        (None, Some(_)) => (
            key_spot,
            format!("has no certificate: give {certificate_key}"),
        ),
    };
    reader.report.problem(&spot.origin(), &spot.shown, text);
    None
}

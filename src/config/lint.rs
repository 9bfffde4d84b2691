//! What a configuration looks like against the machine that it is for: its files, its root directory, its
//! own addresses.
//!
//! Everything is looked at and nothing is made or changed. What keeps transship from serving is a problem;
//! a certificate out of its time is a warning, as the clock may be what is wrong.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Access, access};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use url::{Host, Url};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer, X509Version};

use super::report::{Origin, Report};
use super::{FileUse, Role, Settings};
use crate::rt::ListenAddr;

/// Remarks on addresses that meet each other.
///
/// - `admin_origin`: where the admin address comes from.
/// - `hop_origins`: where each hop comes from, in the order of the hops.
pub(super) fn addresses(
    settings: &Settings,
    admin_origin: &Origin,
    hop_origins: &[Origin],
    report: &mut Report,
) {
    let listen = settings.server.listen;
    let port = listen.socket_addr().port();
    if let Some(admin) = settings.admin.listen {
        let (a, b) = (admin.socket_addr(), listen.socket_addr());
        let meet = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
        if port != 0 && a.port() == port && meet {
            let text =
                format!("{admin} is taken by http.addr ({listen}): want another port, or off");
            report.problem(admin_origin, "http.debug.addr", text);
        }
    }
    for (hop, origin) in settings.upstream.hops.iter().zip(hop_origins) {
        if is_self(&hop.url, listen) {
            let text = format!(
                "{} is this cache's own address ({listen}): it would ask itself",
                hop.url
            );
            report.problem(origin, "upstreams", text);
        }
    }
}

/// Says whether `url` leads over loopback to `listen`.
fn is_self(url: &Url, listen: ListenAddr) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => {
            name == "localhost" || name.trim_end_matches('.').ends_with(".localhost")
        }
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unspecified(),
        None => false,
    };
    let own = listen.socket_addr();
    loopback
        && url.port_or_known_default() == Some(own.port())
        && (listen.is_loopback() || own.ip().is_unspecified())
}

/// Remarks on the root directory: it, or the nearest directory above it, has to be writable.
pub(super) fn root(path: &Path, key: &str, origin: &Origin, report: &mut Report) {
    let mut nearest = path;
    while !nearest.exists() {
        match nearest.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => nearest = parent,
            _ => nearest = Path::new("."),
        }
    }
    let shown = path.display();
    if !nearest.is_dir() {
        let text = format!(
            "{shown} cannot be made: {} is not a directory",
            nearest.display()
        );
        report.problem(origin, key, text);
    } else if let Err(error) = access(nearest, Access::WRITE_OK | Access::EXEC_OK) {
        let reason = std::io::Error::from(error);
        let verb = if nearest == path { "written" } else { "made" };
        let text = format!(
            "{shown} cannot be {verb} by this user: {}: {reason}",
            nearest.display()
        );
        report.problem(origin, key, text);
    }
}

/// Remarks on certificates, keys, and files of users.
pub(super) fn files(files: &[FileUse], now: SystemTime, report: &mut Report) {
    // The chain that the next key belongs to; `None` where it is of no use.
    let mut before: Option<(&FileUse, Vec<CertificateDer<'static>>)> = None;
    for file in files {
        let Some(content) = content(file, report) else {
            if file.role == Role::Certificate {
                before = None;
            }
            continue;
        };
        match file.role {
            Role::Certificate => {
                let chain = certificates(file, &content, now, report);
                before = chain.map(|chain| (file, chain));
            }
            Role::Authority => {
                certificates(file, &content, now, report);
            }
            Role::Key => {
                let key = private_key(file, &content, report);
                if let (Some((certificate, chain)), Some(key)) = (before.take(), key) {
                    matching(certificate, chain, file, &key, report);
                }
            }
            Role::Passwords => super::logins::passwords(file, &content, report),
            Role::KeySet => super::logins::key_set(file, &content, report),
        }
    }
}

/// Largest file that is read, in bytes: bundles of public authorities are a quarter of this.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Returns what the file holds.
fn content(file: &FileUse, report: &mut Report) -> Option<Vec<u8>> {
    let read = std::fs::metadata(&file.path).and_then(|metadata| {
        if !metadata.is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        if metadata.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::other("larger than 1 MiB"));
        }
        std::fs::read(&file.path)
    });
    match read {
        Ok(content) => Some(content),
        Err(error) => {
            let text = format!("{} cannot be read: {error}", file.path.display());
            report.problem(&file.origin, &file.key, text);
            None
        }
    }
}

/// Returns the certificates of a PEM file, after remarks on each.
fn certificates(
    file: &FileUse,
    pem: &[u8],
    now: SystemTime,
    report: &mut Report,
) -> Option<Vec<CertificateDer<'static>>> {
    let shown = file.path.display();
    let parsed: Result<Vec<CertificateDer<'static>>, PemError> =
        CertificateDer::pem_slice_iter(pem).collect();
    let chain = match parsed {
        Ok(chain) if !chain.is_empty() => chain,
        Ok(_) => {
            let text = format!("{shown} holds no PEM certificate (-----BEGIN CERTIFICATE-----)");
            report.problem(&file.origin, &file.key, text);
            return None;
        }
        Err(error) => {
            let text = format!("{shown} is not a PEM file: {}", pem_fault(&error));
            report.problem(&file.origin, &file.key, text);
            return None;
        }
    };
    for (index, der) in chain.iter().enumerate() {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            let text = format!(
                "certificate {} of {shown} is not an X.509 certificate",
                index + 1
            );
            report.problem(&file.origin, &file.key, text);
            return None;
        };
        // The one that is shown as one's own; old authorities may well be of version 1.
        if file.role == Role::Certificate && index == 0 && certificate.version() != X509Version::V3
        {
            let text = format!(
                "certificate 1 of {shown} is of X.509 version {}, which cannot name who it is for: \
                 want version 3, with a subjectAltName",
                certificate.version().0.saturating_add(1)
            );
            report.problem(&file.origin, &file.key, text);
            return None;
        }
        validity(file, index, &certificate, now, report);
    }
    Some(chain)
}

/// Returns what is wrong with a PEM file; never a line of it, which may be part of a key.
const fn pem_fault(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "a section has no END line",
        PemError::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        PemError::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be parsed",
    }
}

/// Remarks on the time in which a certificate is valid.
fn validity(
    file: &FileUse,
    index: usize,
    certificate: &X509Certificate<'_>,
    now: SystemTime,
    report: &mut Report,
) {
    let now = now
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or_default();
    let validity = certificate.validity();
    let which = format!(
        "certificate {} of {} ({})",
        index + 1,
        file.path.display(),
        certificate.subject()
    );
    if now > validity.not_after.timestamp() {
        let text = format!("{which} expired on {}", validity.not_after);
        report.warning(&file.origin, &file.key, text);
    } else if now < validity.not_before.timestamp() {
        let text = format!("{which} is not valid before {}", validity.not_before);
        report.warning(&file.origin, &file.key, text);
    }
}

/// Returns the private key of a PEM file.
fn private_key(file: &FileUse, pem: &[u8], report: &mut Report) -> Option<PrivateKeyDer<'static>> {
    let fault = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => return Some(key),
        Err(PemError::NoItemsFound) => {
            let encrypted = memchr::memmem::find(pem, b"ENCRYPTED").is_some();
            if encrypted {
                "holds an encrypted key: want it unencrypted (openssl pkey -in … -out …)"
            } else {
                "holds no PEM private key (-----BEGIN PRIVATE KEY-----)"
            }
        }
        Err(error) => pem_fault(&error),
    };
    let text = format!("{}: {fault}", file.path.display());
    report.problem(&file.origin, &file.key, text);
    None
}

/// Remarks on a key that is not the certificate's.
fn matching(
    certificate: &FileUse,
    chain: Vec<CertificateDer<'static>>,
    file: &FileUse,
    key: &PrivateKeyDer<'_>,
    report: &mut Report,
) {
    use rustls::{Error::InconsistentKeys, InconsistentKeys::Unknown};
    let shown = file.path.display();
    let Ok(signer) = rustls::crypto::aws_lc_rs::sign::any_supported_type(key) else {
        let text = format!(
            "{shown} holds a key of a kind that is not supported: want RSA, ECDSA or Ed25519"
        );
        report.problem(&file.origin, &file.key, text);
        return;
    };
    match CertifiedKey::new(chain, signer).keys_match() {
        Ok(()) | Err(InconsistentKeys(Unknown)) => {}
        Err(InconsistentKeys(_)) => {
            let text = format!(
                "{shown} is not the key of {}'s first certificate",
                certificate.key
            );
            report.problem(&file.origin, &file.key, text);
        }
        Err(error) => {
            let shown = certificate.path.display();
            let text = format!("certificate 1 of {shown} cannot be used: {error}");
            report.problem(&certificate.origin, &certificate.key, text);
        }
    }
}

impl FileUse {
    /// Returns the use of `path`, which was named at `spot`.
    pub(super) fn new(spot: &super::read::Spot<'_>, path: &Path, role: Role) -> Self {
        Self {
            key: spot.shown.clone(),
            origin: spot.origin(),
            path: PathBuf::from(path),
            role,
        }
    }
}

//! Which clients are let in: by their certificate, their suites, their protocol.

use std::process::Command;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::{self, sign::any_supported_type};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CipherSuite, ClientConfig, Error, SignatureScheme, version};

use super::{Authority, Door, Pair};
use crate::support::process::output;
use crate::support::transship::BINARY;

fn door(mode: &str, authority: &Authority) -> Door {
    let more = format!(", clientcas: [@DIR@/clients.pem]{mode}");
    Door::open_with(&more, |files| files.put("clients.pem", &authority.pem()))
}

fn is_let_in(door: &Door, config: ClientConfig) -> bool {
    // TLS 1.3 tells a client only after its own handshake that it is not welcome.
    let reply = door
        .connect(config)
        .and_then(|mut session| session.get("/v2/"));
    match reply {
        Ok((status, _)) => status == 200,
        Err(error) => {
            let inner = error.get_ref().and_then(|error| error.downcast_ref());
            assert!(
                matches!(inner, Some(Error::AlertReceived(_))),
                "a refusal without a reason: {error}"
            );
            false
        }
    }
}

#[test]
fn client_certificates_are_asked_for_as_strictly_as_configured() {
    // One mode taken for another opens the cache to everybody, or closes it to its users.
    let ours = Authority::new("of clients");
    let (friend, stranger) = (ours.issue(), Authority::new("of strangers").issue());
    for (mode, nobody, anybody) in [
        ("", false, false),
        (", clientauth: require-and-verify-client-cert", false, false),
        (", clientauth: verify-client-cert-if-given", true, false),
        (", clientauth: require-any-client-cert", false, true),
        (", clientauth: request-client-cert", true, true),
    ] {
        let door = door(mode, &ours);
        assert_eq!(is_let_in(&door, door.client()), nobody, "nobody{mode}");
        let shows = |pair| is_let_in(&door, door.client_with(pair));
        assert!(shows(&friend), "friend{mode}");
        assert_eq!(shows(&stranger), anybody, "stranger{mode}");
    }
}

/// Shows a certificate and signs with another's key.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesClientCert for Thief {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn a_certificate_without_its_key_is_refused_in_every_mode() {
    // A certificate is no secret: whoever has seen one could show it.
    let ours = Authority::new("of clients");
    let (seen, own): (Pair, Pair) = (ours.issue(), ours.issue());
    let signer = any_supported_type(&own.key()).unwrap();
    for mode in ["", ", clientauth: request-client-cert"] {
        let door = door(mode, &ours);
        for version in [&version::TLS13, &version::TLS12] {
            let stolen = CertifiedKey::new(seen.chain(), Arc::clone(&signer));
            let config = door
                .builder_of(aws_lc_rs::default_provider(), &[version])
                .with_client_cert_resolver(Arc::new(Thief(Arc::new(stolen))));
            assert!(!is_let_in(&door, config), "{version:?}{mode}");
        }
    }
}

/// Returns a client of TLS 1.2 that offers these suites.
fn old_client(door: &Door, suites: &[CipherSuite]) -> ClientConfig {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .retain(|suite| suites.contains(&suite.suite()));
    door.builder_of(provider, &[&version::TLS12])
        .with_no_client_auth()
}

#[test]
fn the_suites_of_tls_1_2_are_those_that_were_chosen() {
    // An operator who forbids a suite would not notice that it is still spoken.
    let chosen = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    let other = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let more =
        ", ciphersuites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256]";
    let door = Door::open_with(more, |_| {});
    let mut session = door.connect(old_client(&door, &[other, chosen])).unwrap();
    let spoken = session.0.conn.negotiated_cipher_suite().unwrap();
    assert_eq!(spoken.suite(), chosen);
    assert_eq!(session.get("/v2/").unwrap().0, 200);
    assert!(!is_let_in(&door, old_client(&door, &[other])));
    // TLS 1.3 is not what the list is about.
    assert!(is_let_in(&door, door.client()));

    let new = Door::open_with(", minimumtls: tls1.3", |_| {});
    assert!(!is_let_in(&new, old_client(&new, &[chosen, other])));
    assert!(is_let_in(&new, new.client()));
}

#[test]
fn check_names_a_suite_that_is_not_there_and_those_that_are() {
    // A registry's file with suites of the last century must not start with others in silence.
    let door = Door::open();
    let path = door.dir.path().join("config.yml");
    let text = "version: 0.1\nhttp:\n  tls:\n    certificate: @DIR@/cert.pem\n    key: @DIR@/key.pem\n    \
                ciphersuites:\n      - TLS_AES_128_GCM_SHA256\n      - TLS_RSA_WITH_3DES_EDE_CBC_SHA\n";
    let text = text.replace("@DIR@", &door.dir.path().display().to_string());
    std::fs::write(&path, text).unwrap();
    let output = output(Command::new(BINARY).arg("check").arg(&path));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let told = ":8:9: http.tls.ciphersuites[1]: \"TLS_RSA_WITH_3DES_EDE_CBC_SHA\" is not accepted: want a \
                suite with forward secrecy and AEAD, one of TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, ";
    assert!(said.contains(told), "{said}");
}

#[test]
fn a_client_of_another_protocol_is_told_so() {
    // It would send HTTP/2 frames and get an answer to nothing that it asked.
    let door = Door::open();
    let offering = |protocols: &[&str]| {
        let mut config = door.client();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        door.connect(config)
    };
    let session = offering(&["h2", "http/1.1"]).unwrap();
    assert_eq!(session.0.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(offering(&[]).unwrap().0.conn.alpn_protocol(), None);
    let error = offering(&["h2"]).err().unwrap();
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    let told = AlertDescription::NoApplicationProtocol;
    assert_eq!(inner, Some(&Error::AlertReceived(told)), "{error}");
}

//! HTTPS: who is believed, and what the operator is told otherwise.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;

use super::connections;
use super::script::{Answer, Server, fetch_one, fetch_times, hop, ok, options};
use crate::upstream::{Error, Options};

/// An authority of one's own: its certificate in a file, and a server's signed by it for `names`.
fn authority(names: &[&str]) -> (TempDir, PathBuf, ServerConfig) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, root.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (dir, path, config)
}

fn trusting(server: &Server, host: &str, cas: Vec<PathBuf>) -> Options {
    Options {
        cas,
        ..options(vec![hop(server.url("https", host))])
    }
}

#[test]
fn a_hop_of_an_authority_of_ones_own_is_believed_by_name_and_by_address() {
    let (_dir, ca, tls) = authority(&["localhost", "127.0.0.1"]);
    let body = "x".repeat(300_000);
    let expected = body.clone();
    let server = Server::start_tls(tls, move |_| Answer::Keep(ok(&body)));
    for outcome in fetch_times(trusting(&server, "localhost", vec![ca.clone()]), 3) {
        assert!(outcome.unwrap().body == expected);
    }
    assert_eq!(connections(&server), [0, 0, 0]);
    assert!(fetch_one(trusting(&server, "127.0.0.1", vec![ca])).is_ok());
}

#[test]
fn an_authority_that_is_not_trusted_is_explained() {
    let (_dir, _, tls) = authority(&["localhost"]);
    let server = Server::start_tls(tls, |_| Answer::Keep(ok("blob")));
    let error = fetch_one(trusting(&server, "localhost", Vec::new())).unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains(&format!("localhost:{}", server.address.port())),
        "{text}"
    );
    assert!(text.contains("`cas`"), "{text}");
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let (_dir, ca, tls) = authority(&["registry.example"]);
    let server = Server::start_tls(tls, |_| Answer::Keep(ok("blob")));
    let error = fetch_one(trusting(&server, "localhost", vec![ca])).unwrap_err();
    assert!(error.to_string().ends_with("for another name"), "{error}");
}

#[test]
fn a_port_that_speaks_no_tls_is_told() {
    use std::io::Write;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        stream
    });
    let url = url::Url::parse(&format!("https://127.0.0.1:{port}")).unwrap();
    let error = fetch_one(options(vec![hop(url)])).unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    drop(peer.join());
}

/// An attacker who cuts the TCP connection must not be able to shorten a body (RFC 8446 §6.1).
#[test]
fn a_body_that_ends_with_the_session_needs_its_goodbye() {
    let (_dir, ca, tls) = authority(&["localhost"]);
    let server = Server::start_tls(tls, |seen| {
        let text = "HTTP/1.1 200 OK\r\n\r\nabc".to_owned();
        match seen.target() {
            "/v2/a/b/blobs/x" if seen.connection == 0 => Answer::Close(text),
            _ => Answer::Cut(text),
        }
    });
    let [whole, cut] = fetch_times(trusting(&server, "localhost", vec![ca]), 2)
        .try_into()
        .unwrap();
    assert_eq!(whole.unwrap().body, "abc");
    assert!(matches!(cut, Err(Error::Truncated { .. })), "{cut:?}");
}

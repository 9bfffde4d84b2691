//! TLS between a client and transship.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;

use crate::support::process::run;
use crate::support::{Blob, Origin, Tls, Transship, assert_same};

/// A transship with TLS at its door and one core, the origin behind it, and the authority's file.
struct Door {
    dir: TempDir,
    tls: Tls,
    origin: Origin,
    transship: Transship,
}

impl Door {
    fn open() -> Self {
        let (dir, tls, origin) = (TempDir::new().unwrap(), Tls::new(), Origin::start());
        for (name, text) in [
            ("ca.pem", &tls.authority),
            ("cert.pem", &tls.certificate),
            ("key.pem", &tls.key),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let path = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\n\
             http: {{addr: '127.0.0.1:0', tls: {{certificate: {}, key: {}}}}}\n\
             proxy: {{remoteurl: '{}'}}\n",
            path("cert.pem"),
            path("key.pem"),
            origin.url()
        );
        let transship = Transship::options().config(config).cores(1).start();
        Self {
            dir,
            tls,
            origin,
            transship,
        }
    }

    fn fetch(&self, blob: &Blob) -> Vec<u8> {
        let file = self.dir.path().join("body");
        let authority = self.dir.path().join("ca.pem");
        run(Command::new("curl")
            .args(["-sSf", "--max-time", "60", "--cacert"])
            .arg(authority)
            .arg("-o")
            .arg(&file)
            .arg(format!("https://{}{}", self.transship.addr, blob.path())));
        std::fs::read(file).unwrap()
    }
}

/// Shakes hands and returns the socket and the state.
fn shake_hands(addr: SocketAddr, tls: &Tls) -> (TcpStream, ClientConnection) {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(tls.authority.as_bytes()).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(addr.ip());
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(addr).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    (socket, connection)
}

#[test]
fn blobs_come_whole_over_tls_cold_and_warm() {
    // The DTR content cache's own sample serves TLS; its users change nothing.
    let door = Door::open();
    for size in [0, 1, 5000, 3_000_000] {
        let blob = door.origin.make(size as u64, size);
        assert_same(&door.fetch(&blob), &blob.bytes);
        assert_same(&door.fetch(&blob), &blob.bytes);
        assert_eq!(door.origin.count("GET", &blob.path()), 1);
    }
}

#[test]
fn a_peer_that_goes_on_after_its_close_notify_holds_up_nobody() {
    // One connection that says goodbye and keeps talking would spin its core for ever.
    let door = Door::open();
    let blob = door.origin.make(1, 100_000);
    for _ in 0..3 {
        let (mut socket, mut connection) = shake_hands(door.transship.addr, &door.tls);
        connection.send_close_notify();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes.extend_from_slice(&[0x17; 20_000]);
        // It may refuse the rest, which is as good.
        let _ = socket.write_all(&bytes);
        assert_same(&door.fetch(&blob), &blob.bytes);
    }
    assert_eq!(door.transship.terminate().code(), Some(0));
}

//! Clients that take their time: each deadline ends what it is for, and is counted by its kind.
//!
//! Timeouts here are short so that a test ends soon; nothing is asserted about when they pass.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;

use super::limits::rig_with;
use crate::support::client::request;
use crate::support::{Tls, Transship, until};

fn passed(transship: &Transship, kind: &str) -> u64 {
    let metrics = transship.metrics();
    metrics.sum("transship_deadlines_passed_total", &[("kind", kind)])
}

#[test]
fn a_connection_that_asks_for_nothing_is_closed() {
    // Every client that forgot a connection would keep a seat for good.
    let rig = rig_with("idle_timeout: 300ms");
    let mut client = rig.transship.client();
    assert_eq!(client.get("/v2/").status(), 200);
    client.expect_close();
    rig.transship.client().expect_close();
    until("both are counted", || passed(&rig.transship, "idle") == 2);
}

#[test]
fn a_head_that_trickles_in_is_refused() {
    // A byte now and then would hold a connection for ever.
    let rig = rig_with("head_timeout: 300ms");
    let mut client = rig.transship.client();
    client.send(b"GET /v2/ HTTP/1.1\r\n");
    until("the head is given up", || {
        client.send_what_it_takes(b"X: y\r\n");
        passed(&rig.transship, "head") == 1
    });
    assert_eq!(client.reply("GET").status(), 408);
    client.expect_close();
}

#[test]
fn a_body_that_trickles_in_is_given_up_as_a_whole() {
    // With a deadline for each byte, 64 KiB would hold a connection for weeks.
    let rig = rig_with("head_timeout: 300ms");
    let mut client = rig.transship.client();
    client.ask(
        "POST",
        "/v2/a/blobs/uploads/",
        &[("Content-Length", "60000")],
    );
    assert_eq!(client.reply("POST").status(), 405);
    until("the body is given up", || {
        client.send_what_it_takes(b"x");
        passed(&rig.transship, "body") == 1
    });
    client.expect_close();
}

#[test]
fn a_chunked_body_that_trickles_in_is_given_up_as_a_whole() {
    // As above, in chunks of one byte.
    let rig = rig_with("head_timeout: 300ms");
    let mut client = rig.transship.client();
    client.ask("GET", "/v2/", &[("Transfer-Encoding", "chunked")]);
    assert_eq!(client.reply("GET").status(), 200);
    until("the body is given up", || {
        client.send_what_it_takes(b"1\r\nx\r\n");
        passed(&rig.transship, "body") == 1
    });
    client.expect_close();
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    // Its response would hold a descriptor and kernel memory for ever.
    let rig = rig_with("send_timeout: 300ms");
    let blob = rig.hit(1, 48 << 20);
    let mut client = rig.transship.client();
    client.ask("GET", &blob.path(), &[]);
    until("the response is given up", || {
        passed(&rig.transship, "send") == 1
    });
    assert!(!client.reply("GET").whole);
}

/// A transship with TLS at its door.
struct Door {
    transship: Transship,
    tls: Tls,
    _dir: TempDir,
}

impl Door {
    fn open() -> Self {
        let (dir, tls) = (TempDir::new().unwrap(), Tls::new());
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let config = format!(
            "version: 0.1\nhttp: {{tls: {{certificate: {}, key: {}}}}}\n\
             transship: {{server: {{head_timeout: 300ms, idle_timeout: 1h}}}}\n",
            file("cert.pem", &tls.certificate),
            file("key.pem", &tls.key),
        );
        let transship = Transship::options().config(config);
        // Nothing is asked of it.
        let transship = transship.upstream("http://127.0.0.1:1").start();
        Self {
            transship,
            tls,
            _dir: dir,
        }
    }

    fn shake_hands(&self) -> (TcpStream, ClientConnection) {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.tls.authority.as_bytes());
        roots.add(authority.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::from(self.transship.addr.ip());
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut socket = TcpStream::connect(self.transship.addr).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
        (socket, connection)
    }
}

#[test]
fn new_keys_do_not_buy_a_client_new_time() {
    // TLS lets a peer ask for new keys whenever it likes; if the answer counted as progress, the deadline
    // would never pass.
    let door = Door::open();
    let (mut socket, mut connection) = door.shake_hands();
    socket.set_nonblocking(true).unwrap();
    connection.writer().write_all(b"GET /").unwrap();
    until("the head is given up", || {
        // A byte in between: a peer that asks for nothing but keys is cut off by other bounds.
        connection.writer().write_all(b"x").unwrap();
        connection.refresh_traffic_keys().unwrap();
        while connection.wants_write() && connection.write_tls(&mut socket).is_ok() {}
        while matches!(connection.read_tls(&mut socket), Ok(1..)) {
            if connection.process_new_packets().is_err() {
                break;
            }
        }
        passed(&door.transship, "head") == 1
    });
}

#[test]
fn a_handshake_that_does_not_end_is_given_up() {
    // It comes before any request, so no other deadline would see it.
    let door = Door::open();
    let mut silent = TcpStream::connect(door.transship.addr).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    until("it is counted", || {
        passed(&door.transship, "handshake") == 1
    });
}

#[test]
fn a_slow_client_that_ends_in_time_is_served() {
    // The bound is on the whole head, not on the pauses in it, and a new request has it anew.
    let rig = rig_with("head_timeout: 1h, idle_timeout: 1h");
    let mut client = rig.transship.client();
    for _ in 0..3 {
        for byte in request("GET", "/v2/", &[]) {
            client.send(&[byte]);
        }
        assert_eq!(client.reply("GET").status(), 200);
    }
    assert_eq!(passed(&rig.transship, "head"), 0);
}

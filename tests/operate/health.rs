//! The health checks that an operator asks for.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use crate::support::{Rig, Transship, client, until};

fn rig(checks: &str) -> Rig {
    let yaml = format!("version: 0.1\nhealth:\n  {checks}\n");
    Rig::with(Transship::options().config(yaml))
}

/// Waits until the check of this name fails, or is well, in all the places that tell of it.
fn until_failing(rig: &Rig, name: &str, why: Option<&str>) {
    let health = || client::get(rig.transship.admin, "/debug/health");
    until("the check has been made", || {
        let told = health().json();
        told.get(name).is_some() == why.is_some()
    });
    let (health, ready) = (health(), client::get(rig.transship.admin, "/readyz"));
    let status = if why.is_some() { 503 } else { 200 };
    assert_eq!((health.status(), ready.status()), (status, status));
    if let Some(why) = why {
        let told = health.json();
        assert_eq!(told.as_object().unwrap().len(), 1, "{told}");
        assert!(told[name].as_str().unwrap().contains(why), "{told}");
        assert!(ready.text().contains(name), "{}", ready.text());
        rig.transship.get("/v2/").expect_error(503, "UNAVAILABLE");
    } else {
        assert_eq!(rig.transship.get("/v2/").status(), 200);
    }
}

#[test]
fn a_file_that_is_made_takes_the_cache_out_of_service_until_it_goes() {
    // Operators take a registry out of a load balancer by it.
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("down");
    let rig = rig(&format!(
        "file: [{{file: {}, interval: 50ms}}]",
        path.display()
    ));
    let blob = rig.hit(1, 1000);
    std::fs::write(&path, "").unwrap();
    until_failing(&rig, path.to_str().unwrap(), Some("file exists"));
    // A hit that a core would answer by itself as well.
    assert_eq!(rig.transship.get(&blob.path()).status(), 503);
    std::fs::remove_file(&path).unwrap();
    until_failing(&rig, path.to_str().unwrap(), None);
    rig.expect_blob(&blob);
}

#[test]
fn a_port_that_takes_no_connection_fails_its_check() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let rig = rig(&format!(
        "tcp: [{{addr: '{addr}', interval: 50ms, timeout: 1s, threshold: 3}}]"
    ));
    // It is tried, and is well.
    drop(listener.accept().unwrap());
    until_failing(&rig, &addr.to_string(), None);
    drop(listener);
    until_failing(&rig, &addr.to_string(), Some("refused"));
    let listener = TcpListener::bind(addr).unwrap();
    until_failing(&rig, &addr.to_string(), None);
    drop(listener);
}

#[test]
fn an_address_that_answers_otherwise_fails_its_check() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/ping", listener.local_addr().unwrap());
    let status = Arc::new(AtomicU16::new(204));
    let (heads, head) = std::sync::mpsc::channel();
    let answered = Arc::clone(&status);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), [0; 1024]);
            let count = stream.read(&mut head).unwrap_or(0);
            let _ = heads.send(String::from_utf8_lossy(&head[..count]).into_owned());
            let status = answered.load(Ordering::Relaxed);
            let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let rig = rig(&format!(
        "http: [{{uri: '{uri}', interval: 50ms, timeout: 5s, statuscode: 204, headers: {{X-Probe: [one]}}}}]"
    ));
    let head = head.recv().unwrap();
    assert!(head.starts_with("HEAD /ping HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nX-Probe: one\r\n"), "{head}");
    until_failing(&rig, &uri, None);
    status.store(500, Ordering::Relaxed);
    until_failing(&rig, &uri, Some("status 500, not 204"));
    status.store(204, Ordering::Relaxed);
    until_failing(&rig, &uri, None);
}

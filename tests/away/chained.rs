//! A cache before a cache that is itself without its origin's word.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};

use super::{BY_TAG, TEXT, age, before, cache_status};
use crate::support::origin::MANIFEST;
use crate::support::{Origin, assert_same};

const STALE: &str = ", stale: {manifests: 1h}, access: {public: true}";

#[test]
fn each_cache_of_a_chain_says_that_it_has_no_word() {
    let origin = Origin::start();
    origin.tag("test/image", "latest", TEXT);
    let middle = before(&origin.url(), STALE).start();
    let front = before(&format!("http://{}", middle.addr), STALE).start();
    assert_eq!(front.get(BY_TAG).status(), 200);
    origin.overload(Some(503));
    let reply = front.get(BY_TAG);
    assert_same(&reply.body, TEXT.as_bytes());
    assert_eq!(
        cache_status(&reply),
        "transship; hit; fwd=stale; fwd-status=503, transship; hit; fwd=stale; fwd-status=304"
    );
    drop(middle);
    let reply = front.get(BY_TAG);
    assert_same(&reply.body, TEXT.as_bytes());
    assert!(cache_status(&reply).starts_with("transship; hit; fwd=stale; detail=upstream-"));
}

#[test]
fn a_tag_that_the_next_hop_has_from_memory_is_as_old_there_as_here() {
    // Each cache of a chain would begin the time anew, and a chain of three serve for three times as long.
    for (longest, is_served) in [("1h", false), ("2h", true)] {
        let addr = answer_once(5000);
        let more = format!(", stale: {{manifests: {longest}}}, access: {{public: true}}");
        let transship = before(&format!("http://{addr}"), &more).start();
        let reply = transship.get(BY_TAG);
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert!(age(&reply) >= Some(5000), "{:?}", reply.head);
        let reply = transship.get(BY_TAG);
        assert_eq!(reply.status() == 200, is_served, "{:?}", reply.head);
        assert!(!is_served || age(&reply) >= Some(5000), "{:?}", reply.head);
    }
}

/// A next hop that answers once, with a manifest so many seconds old, and is gone.
fn answer_once(age: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        drop(listener);
        let lines = BufReader::new(socket.try_clone().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.is_empty()));
        let length = TEXT.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {MANIFEST}\r\nAge: {age}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        socket
            .write_all(format!("{head}{TEXT}").as_bytes())
            .unwrap();
    });
    addr
}

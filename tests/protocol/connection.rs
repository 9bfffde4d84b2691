//! Framing: one connection, many requests, in whatever pieces they come.

use crate::support::client::request;
use crate::support::{Rig, assert_same};

#[test]
fn one_connection_serves_many_requests() {
    // Each layer would cost a new connection, and behind TLS a new handshake.
    let rig = Rig::start();
    let blob = rig.hit(1, 100_000);
    let mut client = rig.transship.client();
    for _ in 0..10 {
        assert_same(&client.get(&blob.path()).body, &blob.bytes);
        assert_eq!(client.get("/v2/").status(), 200);
        let reply = client.call("HEAD", &blob.path(), &[]);
        assert_eq!(reply.head.length(), Some(blob.len() as u64));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    // Replies that change places give one request's bytes to another.
    let rig = Rig::start();
    let first = rig.hit(2, 100_000);
    let second = rig.origin.make(3, 70_000);
    let mut client = rig.transship.client();
    let mut all = Vec::new();
    for _ in 0..3 {
        all.extend(request("GET", &first.path(), &[]));
        all.extend(request("GET", &second.path(), &[]));
        all.extend(request("HEAD", &first.path(), &[]));
    }
    client.send(&all);
    for _ in 0..3 {
        assert_same(&client.reply("GET").body, &first.bytes);
        assert_same(&client.reply("GET").body, &second.bytes);
        let head = client.reply("HEAD");
        assert_eq!(head.head.length(), Some(first.len() as u64));
    }
    assert_eq!(rig.origin.count("GET", &second.path()), 1);
}

#[test]
fn a_request_may_be_split_at_every_byte() {
    // A head that ends on a packet's edge would be refused or wait for ever.
    let rig = Rig::start();
    let blob = rig.hit(4, 5000);
    let whole = request(
        "GET",
        &blob.path(),
        &[("Range", "bytes=10-19"), ("X-Field", "x")],
    );
    let mut client = rig.transship.client();
    // The rest of one request goes out together with the start of the next. When the first is
    // answered, the server has read that start too, and waits for its rest: a split without a pause.
    client.send(&whole);
    for at in 1..whole.len() {
        let reply = client.reply("GET");
        assert_eq!(reply.status(), 206, "split at {}", at - 1);
        assert_same(&reply.body, &blob.bytes[10..20]);
        let mut both = whole.clone();
        both.extend_from_slice(&whole[..at]);
        client.send(&both);
        assert_eq!(client.reply("GET").status(), 206);
        client.send(&whole[at..]);
    }
    assert_same(&client.reply("GET").body, &blob.bytes[10..20]);
}

#[test]
fn a_request_may_come_byte_by_byte() {
    // Slow or odd network paths deliver heads in crumbs.
    let rig = Rig::start();
    let blob = rig.hit(5, 5000);
    let mut client = rig.transship.client();
    for byte in request("GET", &blob.path(), &[]) {
        client.send(&[byte]);
    }
    assert_same(&client.reply("GET").body, &blob.bytes);
}

#[test]
fn ambiguous_or_oversized_heads_are_refused_and_the_connection_closed() {
    // What two servers read differently lets one client's bytes pose as another's request.
    let rig = Rig::start();
    let blob = rig.hit(6, 5000);
    let long_field = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200_000));
    let cases: &[(&str, &str, &[u16])] = &[
        ("bare LF", "GET /v2/ HTTP/1.1\nHost: a\n\n", &[400]),
        (
            "folded field",
            "GET /v2/ HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
            &[400],
        ),
        ("no Host", "GET /v2/ HTTP/1.1\r\n\r\n", &[400]),
        (
            "two Hosts",
            "GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            &[400],
        ),
        (
            "space before colon",
            "GET /v2/ HTTP/1.1\r\nHost : a\r\n\r\n",
            &[400],
        ),
        (
            "control in a field",
            "GET /v2/ HTTP/1.1\r\nHost: a\r\nX: \u{1}\r\n\r\n",
            &[400],
        ),
        (
            "two lengths",
            "GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            &[400],
        ),
        (
            "length and chunks",
            "GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "unknown coding",
            "GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            &[400, 501],
        ),
        (
            "length with a sign",
            "GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
            &[400],
        ),
        ("no version", "GET /v2/\r\nHost: a\r\n\r\n", &[400, 505]),
        ("not HTTP", "\u{16}\u{3}\u{1}\u{2}\r\n\r\n", &[400]),
        ("long field", &long_field, &[400, 431]),
        ("long target", &long_target, &[400, 414, 431]),
    ];
    for (what, bytes, accepted) in cases {
        let mut client = rig.transship.client();
        client.send_what_it_takes(bytes.as_bytes());
        let reply = client.reply("GET");
        assert!(
            accepted.contains(&reply.status()),
            "{what}: {:?}",
            reply.head
        );
        client.expect_close();
    }
    assert_same(&rig.transship.get(&blob.path()).body, &blob.bytes);
}

#[test]
fn a_body_on_a_get_is_drained_and_the_next_request_understood() {
    // The body's bytes would be read as a request.
    let rig = Rig::start();
    let blob = rig.hit(7, 5000);
    let mut client = rig.transship.client();
    let smuggled = request("GET", "/v2/", &[]);
    let length = smuggled.len().to_string();
    let mut all = request("GET", &blob.path(), &[("Content-Length", &length)]);
    all.extend_from_slice(&smuggled);
    all.extend(request("HEAD", &blob.path(), &[]));
    client.send(&all);
    assert_same(&client.reply("GET").body, &blob.bytes);
    let head = client.reply("HEAD");
    assert_eq!(head.head.length(), Some(blob.len() as u64));
}

#[test]
fn connection_close_is_honoured() {
    // HTTP/1.0 tools and load balancers' probes would hang until a timeout.
    let rig = Rig::start();
    let blob = rig.hit(8, 5000);
    let mut client = rig.transship.client();
    let reply = client.call("GET", &blob.path(), &[("Connection", "close")]);
    assert_same(&reply.body, &blob.bytes);
    client.expect_close();
    let mut client = rig.transship.client();
    client.send(format!("GET {} HTTP/1.0\r\nHost: a\r\n\r\n", blob.path()).as_bytes());
    assert_same(&client.reply("GET").body, &blob.bytes);
    client.expect_close();
}

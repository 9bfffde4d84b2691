//! Bounds on what a client may have at once: connections, heads, pipelined requests. See `docs/limits.md`.

use std::fs;
use std::net::SocketAddr;

use crate::support::client::request;
use crate::support::{Client, Rig, Transship, until};

/// A rig whose server has these limits, written as YAML.
pub fn rig_with(limits: &str) -> Rig {
    let config = format!("version: 0.1\ntransship: {{server: {{{limits}}}}}\n");
    Rig::with(Transship::options().config(config))
}

/// Connects and has one request answered, so that the connection is known to be counted.
fn served(from: &str, addr: SocketAddr) -> Client {
    let mut client = Client::connect_from(from, addr);
    assert_eq!(client.get("/v2/").status(), 200);
    client
}

fn refused(rig: &Rig, reason: &str) -> u64 {
    let metrics = rig.transship.metrics();
    metrics.sum("transship_connections_refused_total", &[("reason", reason)])
}

#[test]
fn one_address_cannot_take_every_seat() {
    // A host gone wild, or one attacker, would lock out everyone else.
    let rig = rig_with("connections_per_address_max: 3");
    let addr = rig.transship.addr;
    let mut seats: Vec<_> = (0..3).map(|_| served("127.0.0.2", addr)).collect();
    for _ in 0..5 {
        Client::connect_from("127.0.0.2", addr).expect_close();
    }
    // The counters of the closing side may lag behind the close.
    until("five were refused", || refused(&rig, "address") == 5);
    assert_eq!(refused(&rig, "total"), 0);
    let _others = [served("127.0.0.1", addr), served("127.0.0.3", addr)];
    for seat in &mut seats {
        assert_eq!(seat.get("/v2/").status(), 200, "those inside stay");
    }
    seats.pop();
    until("the seat is free", || {
        rig.transship.metrics().sum("transship_connections", &[]) == 4
    });
    served("127.0.0.2", addr);
}

#[test]
fn there_are_no_more_connections_than_allowed() {
    // Descriptors would run out, and with them the blobs that could be opened.
    let rig = rig_with("connections_max: 4, connections_per_address_max: 0");
    let addr = rig.transship.addr;
    let mut seats: Vec<_> = (0..4).map(|_| served("127.0.0.1", addr)).collect();
    Client::connect(addr).expect_close();
    until("one was refused", || refused(&rig, "total") == 1);
    assert_eq!(refused(&rig, "address"), 0);
    for seat in &mut seats {
        assert_eq!(seat.get("/v2/").status(), 200);
    }
}

#[test]
fn refused_requests_are_counted_by_reason() {
    // An operator could not tell an attack from a broken client.
    let rig = Rig::start();
    let field = |fields: &str| format!("GET /v2/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    let long = "x".repeat(40_000);
    let cases = [
        ("head_too_long", field(&format!("X: {long}"))),
        ("target_too_long", format!("GET /{long} HTTP/1.1\r\n")),
        ("too_many_fields", field(&"X: y\r\n".repeat(101))),
        ("line_end", "GET / HTTP/1.1\n".to_owned()),
        ("request_line", "GET /\r\n\r\n".to_owned()),
        ("method", "BREW / HTTP/1.1\r\n\r\n".to_owned()),
        ("target", "GET /# HTTP/1.1\r\n\r\n".to_owned()),
        ("version", "GET / HTTP/3.0\r\n\r\n".to_owned()),
        ("field", field("X : y")),
        ("field_repeated", field("Range: a\r\nRange: b")),
        ("host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("content_length", field("Content-Length: x")),
        ("framing", field("Transfer-Encoding: gzip")),
        ("expectation", field("Expect: x")),
        ("body", field("Transfer-Encoding: chunked") + "x"),
        ("path", field("").replace("/v2/", "/v2/../")),
        ("query", field("").replace("/v2/", "/v2/?ns=a&ns=b")),
    ];
    for (reason, bytes) in cases {
        let mut client = rig.transship.client();
        client.send_what_it_takes(bytes.as_bytes());
        client.reply("GET");
        let name = "transship_requests_refused_total";
        rig.transship.until_metric(name, &[("reason", reason)], 1);
        let metrics = rig.transship.metrics();
        assert_eq!(metrics.sum(name, &[("reason", reason)]), 1, "{reason}");
    }
}

#[test]
fn ten_thousand_pipelined_requests_are_answered_in_order_in_bounded_memory() {
    // Requests that are read ahead of their turn would let a client fill the memory for nothing.
    const REQUESTS: usize = 10_000;
    const CLIENTS: usize = 16;
    let rig = Rig::start();
    let all: Vec<u8> = (0..REQUESTS)
        .flat_map(|number| {
            request(
                "GET",
                &format!("/v2/?ns=h{number}"),
                &[("X", &"x".repeat(200))],
            )
        })
        .collect();
    served("127.0.0.1", rig.transship.addr);
    let before = resident_kib(&rig);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut sender = rig.transship.client();
            let mut reader = sender.other_half();
            let all = &all;
            scope.spawn(move || sender.send(all));
            scope.spawn(move || {
                for number in 0..REQUESTS {
                    let reply = reader.reply("GET");
                    assert_eq!(reply.status(), 200);
                    let name = format!("h{number}");
                    assert_eq!(reply.field("oci-namespace"), Some(name.as_str()));
                }
            });
        }
    });
    let grown = resident_kib(&rig) - before;
    let sent = CLIENTS * all.len() / 1024;
    assert!(
        grown < 8 * 1024,
        "{grown} KiB more for {sent} KiB of requests"
    );
}

/// The most memory that the process has had so far (`VmHWM`, proc(5)).
fn resident_kib(rig: &Rig) -> usize {
    let path = format!("/proc/{}/status", rig.transship.process.id());
    let status = fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn a_client_that_never_pauses_does_not_keep_its_core() {
    // With epoll one flood of requests on one connection would starve every other client of the core.
    for driver in ["0", "1"] {
        let options = Transship::options().cores(1);
        let rig = Rig::with(options.env("MONOIO_FORCE_LEGACY_DRIVER", driver));
        let blob = rig.hit(1, 5000);
        let flood = request("GET", "/v2/", &[]).repeat(2000);
        let mut sender = rig.transship.client();
        let mut reader = sender.other_half();
        std::thread::scope(|scope| {
            scope.spawn(move || while sender.try_send(&flood) {});
            let (stop, is_stopped) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                // Whoever drops `stop` ends the flood, a failed assertion as well.
                while is_stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                    assert_eq!(reader.reply("GET").status(), 200);
                }
                reader.hang_up();
            });
            for _ in 0..20 {
                rig.expect_blob(&blob);
            }
            drop(stop);
        });
    }
}

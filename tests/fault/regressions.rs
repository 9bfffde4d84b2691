//! Faults that were there once.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use crate::support::{Gate, Plan, Rig, Transship, assert_same, until};

const SIZE: usize = 1 << 20;

#[test]
fn a_refusal_of_one_repository_is_not_told_to_clients_of_another() {
    // Anyone could break the pulls of a known blob by asking for it under a name that has none.
    let rig = Rig::start();
    let blob = rig.origin.make(1, SIZE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::status(404).wait_before_head(&gate));
    let mut stranger = rig.transship.client();
    let elsewhere = format!("/v2/some/other/blobs/{}", blob.digest);
    stranger.ask("GET", &elsewhere, &[]);
    gate.reached();
    let mut client = rig.transship.client();
    client.ask("GET", &blob.path(), &[]);
    rig.transship
        .until_metric("transship_connections_accepted_total", &[], 2);
    gate.open();
    assert_eq!(stranger.reply("GET").status(), 404);
    let reply = client.reply("GET");
    assert_eq!(reply.status(), 200);
    assert_same(&reply.body, &blob.bytes);
}

#[test]
fn a_client_that_leaves_a_stalled_fill_gives_its_seat_back() {
    // Clients that time out on a stalled origin and come again would use up connections_max.
    let rig = Rig::start();
    let blob = rig.origin.make(2, SIZE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(SIZE / 2, &gate));
    for turn in 0..5 {
        let mut client = rig.transship.client();
        client.ask("GET", &blob.path(), &[]);
        client.head();
        if turn == 0 {
            gate.reached();
        }
    }
    until("every seat is free again", || {
        rig.transship.metrics().sum("transship_connections", &[]) == 0
    });
    gate.open();
    rig.expect_committed(1);
    assert_same(&rig.transship.get(&blob.path()).body, &blob.bytes);
}

#[test]
fn a_drain_lets_a_request_end_that_waits_for_the_next_hop() {
    // Every restart would break the manifest requests of that moment.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, is_asked) = mpsc::channel();
    let (answer, may_answer) = mpsc::channel::<()>();
    let origin = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
        while !lines.next().unwrap().unwrap().is_empty() {}
        asked.send(()).unwrap();
        may_answer.recv().unwrap();
        socket
            .write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            )
            .unwrap();
    });
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\n\
         http: {{addr: '127.0.0.1:0', draintimeout: 100s}}\nproxy: {{remoteurl: '{url}'}}\n"
    );
    let mut transship = Transship::options().config(config).start();
    let mut client = transship.client();
    client.ask("GET", "/v2/a/b/manifests/latest", &[]);
    is_asked.recv().unwrap();
    transship.process.signal(rustix::process::Signal::TERM);
    until("new connections are refused", || {
        std::net::TcpStream::connect(transship.addr).is_err()
    });
    answer.send(()).unwrap();
    let reply = client.reply("GET");
    assert_eq!((reply.status(), &reply.body[..]), (200, &b"{}"[..]));
    assert_eq!(transship.process.exit().code(), Some(0));
    origin.join().unwrap();
}

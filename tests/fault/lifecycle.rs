//! transship itself is killed, or asked to stop.

use std::net::TcpStream;

use crate::support::{Gate, Origin, Plan, Rig, Transship, assert_same, until};

const SIZE: usize = 4 << 20;

#[test]
fn after_a_kill_in_mid_fill_nothing_partial_is_visible() {
    // A crash would leave half a layer under a whole layer's name.
    let Rig { transship, origin } = Rig::start();
    let kept = origin.make(1, SIZE);
    assert!(transship.get(&kept.path()).whole);
    transship.until_metric("transship_fills_total", &[("outcome", "committed")], 1);
    let blob = origin.make(2, SIZE);
    let gate = Gate::new();
    origin.plan(&blob, Plan::whole().wait_at(SIZE / 2, &gate));
    let mut client = transship.client();
    client.ask("GET", &blob.path(), &[]);
    client.head();
    client.exactly(1000);
    gate.reached();
    let killed = transship.kill();
    gate.open();

    let again = Transship::options()
        .upstream(origin.url())
        .storage(&killed.storage)
        .start();
    assert!(again.stores(&kept.digest));
    assert!(!again.stores(&blob.digest), "a partial fill is visible");
    let reply = again.get(&blob.path());
    assert_eq!(reply.cache(), "fwd=uri-miss");
    assert_same(&reply.body, &blob.bytes);
    let reply = again.get(&kept.path());
    assert_eq!(reply.cache(), "hit");
    assert_same(&reply.body, &kept.bytes);
    assert_eq!(origin.count("GET", &blob.path()), 2);
    assert_eq!(origin.count("GET", &kept.path()), 1);
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_takes_nothing_new() {
    // Every upgrade would break the pulls that run at that moment.
    let origin = Origin::start();
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /unused\n\
         http:\n  addr: 127.0.0.1:0\n  draintimeout: 100s\nproxy:\n  remoteurl: {}\n",
        origin.url()
    );
    let mut transship = Transship::options().config(config).start();
    let blob = origin.make(3, SIZE);
    let gate = Gate::new();
    origin.plan(&blob, Plan::whole().wait_at(SIZE / 2, &gate));
    let mut client = transship.client();
    client.ask("GET", &blob.path(), &[]);
    client.head();
    gate.reached();
    let mut idle = transship.client();
    assert_eq!(idle.get("/v2/").status(), 200);
    transship.process.signal(rustix::process::Signal::TERM);
    until("new connections are refused", || {
        TcpStream::connect(transship.addr).is_err()
    });
    idle.expect_close();
    gate.open();
    assert_same(&client.exactly(SIZE), &blob.bytes);
    client.expect_close();
    assert_eq!(transship.process.exit().code(), Some(0));
}

#[test]
fn sigterm_without_work_ends_at_once_with_success() {
    // An init system would wait out its timeout at every restart, and log a failure.
    let rig = Rig::start();
    rig.hit(4, 100_000);
    assert_eq!(rig.transship.terminate().code(), Some(0));
}

//! Ten thousand clients that dribble, and one that only wants its blobs.
//!
//! The flood is a client of our own: it knows when each of its connections is counted, and dribbles
//! for exactly as long as the good client works, where a tool would do both by the clock.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, getrlimit, setrlimit};

use super::limits::rig_with;
use crate::support::client::stream_from;
use crate::support::{Client, Rig, until};

/// As many as half of the open files that a test machine allows, less those of the good client.
const FLOOD: usize = 9_900;

/// Floods share this process's open files, so one goes after the other.
static ONE_FLOOD: Mutex<()> = Mutex::new(());

/// Connections that have each sent the start of a head.
struct Flood {
    streams: Vec<TcpStream>,
}

impl Flood {
    fn start(from: &str, addr: SocketAddr, count: usize) -> Self {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
        let connect = |_| {
            let mut stream = stream_from(from, addr).unwrap();
            // One that is refused may be gone already.
            let _ = stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n");
            stream.set_nonblocking(true).unwrap();
            stream
        };
        Self {
            streams: (0..count).map(connect).collect(),
        }
    }

    /// Sends one more field on every connection; returns how many took it.
    fn dribble(&mut self) -> usize {
        let takes = |stream: &mut TcpStream| match stream.write(b"X: y\r\n") {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        self.streams
            .iter_mut()
            .map(takes)
            .filter(|&took| took)
            .count()
    }

    /// Dribbles on all connections for as long as `work` takes.
    fn while_it_lasts(&mut self, work: impl FnOnce()) {
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Heads must not grow beyond their bounds, or the flood would end by itself.
                for _ in 0..90 {
                    if is_done.load(Ordering::Relaxed) {
                        return;
                    }
                    self.dribble();
                }
            });
            let _done = Done(&is_done);
            work();
        });
    }
}

/// Ends the dribbling, also when the work panics.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client that keeps its connection and one that comes anew for each request, cold and warm.
fn good_client_works(rig: &Rig) {
    let mut kept = Client::connect_from("127.0.0.1", rig.transship.addr);
    for seed in 0..20 {
        let blob = rig.origin.make(seed, 300_000);
        for _ in 0..3 {
            let reply = kept.get(&blob.path());
            assert_eq!(
                (reply.status(), reply.whole),
                (200, true),
                "{:?}",
                reply.head
            );
            assert_eq!(rig.expect_blob(&blob).status(), 200);
        }
    }
}

fn connections(rig: &Rig) -> u64 {
    rig.transship.metrics().sum("transship_connections", &[])
}

#[test]
fn ten_thousand_dribbling_clients_leave_others_unharmed() {
    // One machine and no bandwidth to speak of would take the cache away from everybody.
    let _alone = ONE_FLOOD.lock();
    let rig = rig_with("head_timeout: 1h, connections_per_address_max: 0");
    let mut flood = Flood::start("127.0.0.2", rig.transship.addr, FLOOD);
    until("all of them are in", || connections(&rig) >= FLOOD as u64);
    flood.while_it_lasts(|| good_client_works(&rig));
    assert!(
        connections(&rig) >= FLOOD as u64,
        "the flood was there all the time"
    );
    assert_eq!(flood.dribble(), FLOOD, "and none of it had been given up");
    drop(flood);
    until("every seat is free again", || connections(&rig) == 0);
}

#[test]
fn a_flood_beyond_its_addresss_bound_is_refused_at_the_door() {
    // With the defaults, whoever floods from one address does not even take the seats of others.
    let _alone = ONE_FLOOD.lock();
    let rig =
        rig_with("head_timeout: 1h, connections_max: 8000, connections_per_address_max: 2000");
    let mut flood = Flood::start("127.0.0.3", rig.transship.addr, FLOOD);
    let name = "transship_connections_refused_total";
    let refused = (FLOOD - 2000) as u64;
    rig.transship
        .until_metric(name, &[("reason", "address")], refused);
    assert_eq!(connections(&rig), 2000);
    flood.while_it_lasts(|| good_client_works(&rig));
    let metrics = rig.transship.metrics();
    assert_eq!(metrics.sum(name, &[("reason", "address")]), refused);
    assert_eq!(metrics.sum(name, &[("reason", "total")]), 0);
}

#[test]
fn dribbling_does_not_buy_time() {
    // Without a bound on the whole head the flood would stay for ever, however small.
    let _alone = ONE_FLOOD.lock();
    let rig = rig_with("head_timeout: 500ms");
    let mut flood = Flood::start("127.0.0.4", rig.transship.addr, 1000);
    let name = "transship_deadlines_passed_total";
    until("all of them are given up", || {
        flood.dribble();
        let metrics = rig.transship.metrics();
        metrics.sum(name, &[("kind", "head")]) == 1000
    });
    until("their seats are free", || connections(&rig) == 0);
    good_client_works(&rig);
}

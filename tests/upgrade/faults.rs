//! Upgrades that do not come to be, and processes that do not live to see the end of one.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use super::{Line, has_ended, nth, patient, socket_inodes};
use crate::support::blob::assert_same;
use crate::support::origin::{Gate, Plan};
use crate::support::process::{run, until};
use crate::support::transship::BINARY;
use crate::support::{Rig, Transship, client};

#[test]
fn a_program_that_does_not_start_takes_nothing_over() {
    let origin = crate::support::Origin::start();
    let dir = tempfile::TempDir::new().unwrap();
    let config = dir.path().join("config.yml");
    let text = format!("version: 0.1\nproxy: {{remoteurl: '{}'}}\n", origin.url());
    fs::write(&config, &text).unwrap();
    let mut rig = Rig {
        transship: Transship::options().file(&config).start(),
        origin,
    };
    let blob = rig.hit(1, 1000);
    fs::write(&config, format!("{text}no_such_key_at_all: [\n")).unwrap();
    rig.transship.process.signal(Signal::USR2);
    let failed = rig.transship.process.line(nth(1, "did not take over"));
    assert!(failed.unwrap().contains("ended before it was ready"));
    assert_eq!(rig.transship.get(&blob.path()).cache(), "hit");
    assert_eq!(client::get(rig.transship.admin, "/readyz").status(), 200);
    // Once it is mended, the same process hands over.
    fs::write(&config, &text).unwrap();
    let mut line = Line::new(&mut rig.transship);
    line.upgrade();
    line.until_alone();
    assert_eq!(rig.transship.get(&blob.path()).cache(), "hit");
    assert_eq!(client::get(rig.transship.admin, "/readyz").status(), 200);
}

#[test]
fn a_process_that_dies_while_it_leaves_costs_its_own_clients_alone() {
    let size = 8 * 1024 * 1024;
    let mut rig = patient(false);
    let blob = rig.origin.make(2, size);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(size / 2, &gate));
    let mut before = rig.transship.client();
    before.ask("GET", &blob.path(), &[]);
    before.wait_for_byte();
    let mut line = Line::new(&mut rig.transship);
    line.upgrade();
    let mut after = line.transship.client();
    after.ask("GET", &blob.path(), &[]);
    let head = after.head();
    let mut got = Vec::new();
    after.read_up_to(1024 * 1024, &mut |part| got.extend_from_slice(part));
    line.transship.process.signal(Signal::KILL);
    // Its client has the rest from the origin.
    let left = size as u64 - got.len() as u64;
    after.read_up_to(left, &mut |part| got.extend_from_slice(part));
    assert_eq!(head.length(), Some(size as u64));
    assert_same(&got, &blob.bytes);
    gate.open();
}

#[test]
fn a_second_order_while_one_is_carried_out_and_a_stop_afterwards_do_no_harm() {
    let mut rig = patient(false);
    let blob = rig.hit(3, 1000);
    let mut idle = rig.transship.client();
    assert_eq!(idle.get(&blob.path()).status(), 200);
    let mut line = Line::new(&mut rig.transship);
    line.upgrade();
    let first = line.ids[0];
    // To the one that leaves: it has nothing to hand over any more, and what stops all processes of a service
    // reaches it too.
    line.transship.process.signal(Signal::USR2);
    line.transship
        .process
        .line(nth(1, "SIGUSR2: another process"))
        .unwrap();
    line.transship.process.signal(Signal::TERM);
    line.transship
        .process
        .line(nth(1, "finishing what is in flight as before"))
        .unwrap();
    assert!(!has_ended(first));
    assert_eq!(idle.get(&blob.path()).status(), 200);
    line.until_alone();
    line.transship.process.signal_last(Signal::TERM);
    let last = *line.ids.last().unwrap();
    until("the last one ends", || has_ended(last));
}

#[test]
fn the_command_line_orders_it_and_the_admin_address_goes_along() {
    let mut rig = Rig::start();
    let admin = format!("http://{}", rig.transship.admin);
    let mut command = Command::new(BINARY);
    run(command.args(["upgrade", "--admin", &admin]));
    let line = Line::after_order(&mut rig.transship);
    line.until_alone();
    let mut command = Command::new(BINARY);
    let status = run(command.args(["status", "--json", "--admin", &admin]));
    assert!(status.contains("\"is_draining\": false"), "{status}");
}

#[test]
fn nobody_takes_over_by_its_environment_alone() {
    // A variable that is left over, or somebody else's, must not make a process wait for sockets.
    let rig = Rig::with(Transship::options().env("TRANSSHIP_PREDECESSOR", "1"));
    assert!(rig.hit(4, 1000).len() == 1000 && BINARY.contains("transship"));
}

#[test]
fn a_stop_while_the_next_process_starts_stops_both() {
    // Whoever stops a service finds it stopped, whatever was under way.
    let mut rig = Rig::start();
    let addr = rig.transship.addr;
    rig.transship.process.signal(Signal::USR2);
    rig.transship.process.signal(Signal::TERM);
    rig.transship.process.exit();
    until("nobody listens any more", || {
        std::net::TcpStream::connect(addr).is_err()
    });
}

#[test]
fn a_process_that_stands_still_holds_up_nobody_for_long() {
    let mut rig = patient(false);
    let slow = rig.origin.make(5, 8 * 1024 * 1024);
    let gate = Gate::new();
    rig.origin
        .plan(&slow, Plan::whole().wait_at(1024 * 1024, &gate));
    let mut before = rig.transship.client();
    before.ask("GET", &slow.path(), &[]);
    before.wait_for_byte();
    let mut line = Line::new(&mut rig.transship);
    line.upgrade();
    line.transship.process.signal(Signal::STOP);
    for seed in 6..9 {
        let blob = rig.origin.make(seed, 1000);
        assert!(line.transship.get(&blob.path()).whole);
    }
    // Asked once, and given up.
    let text = "a process before this one is not asked any more";
    let said = line.transship.process.log().matches(text).count();
    assert!(said <= 4, "{said}");
    line.transship.process.signal(Signal::CONT);
    gate.open();
    assert_same(&before.reply("GET").body, &slow.bytes);
}

#[test]
fn connections_of_clients_are_inherited_by_nobody() {
    // They would stay open in process after process, and their clients wait for ever.
    let mut rig = patient(false);
    let blob = rig.hit(10, 1000);
    let addr = rig.transship.addr;
    let over = AtomicBool::new(false);
    let mut line = Line::new(&mut rig.transship);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(client::get(addr, &blob.path()).status(), 200);
                }
            });
        }
        for _ in 0..10 {
            line.upgrade();
        }
        over.store(true, Ordering::Relaxed);
    });
    line.until_alone();
    let last = *line.ids.last().unwrap();
    until("no connection is left", || established(last, addr) == 0);
}

/// How many connections to `addr` a process holds.
fn established(id: u32, addr: SocketAddr) -> usize {
    let inodes = socket_inodes(id);
    let table = fs::read_to_string(format!("/proc/{id}/net/tcp")).unwrap();
    let port = format!(":{:04X}", addr.port());
    table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row[1].ends_with(&port) && row[3] != "0A")
        .filter(|row| inodes.iter().any(|inode| inode == row[9]))
        .count()
}

//! Socket activation by a systemd: its socket is the one that clients meet, whatever the server does.

use super::deb::{CONFIG, Cache, UNIT, package};
use super::machine::Machine;
use crate::support::process::until;
use crate::support::registry::free_host;
use crate::support::{Client, assert_same};

const SOCKET: &str = "transship.socket";

#[test]
fn a_client_of_systemd_s_socket_starts_the_server_and_never_meets_its_absence() {
    // Every restart would be a minute of refused pulls for those who counted on the socket.
    let machine = Machine::boot();
    let package = package(&machine, "0.1.0-1");
    machine.run(&["dpkg", "--install", &package]);
    let mut cache = Cache::configure(&machine, CONFIG);
    // Another address than the configuration's: the unit's counts.
    let addr = free_host();
    let script = format!(
        "mkdir -p /etc/systemd/system/{SOCKET}.d && \
         printf '[Socket]\\nListenStream=\\nListenStream={addr}\\n' >/etc/systemd/system/{SOCKET}.d/addr.conf"
    );
    machine.run(&["sh", "-c", &script]);
    machine.run(&["systemctl", "daemon-reload"]);
    machine.run(&["systemctl", "start", SOCKET]);
    assert_eq!(machine.property(UNIT, "ActiveState"), "inactive");
    cache.addr = addr.parse().unwrap();
    cache.pull(1);
    assert_eq!(machine.property(UNIT, "ActiveState"), "active");

    // The server is away, its socket is not: the request waits for the next one.
    machine.run(&[
        "systemctl",
        "kill",
        "--kill-whom=main",
        "--signal=KILL",
        UNIT,
    ]);
    let blob = cache.origin.make(2, 300_000);
    let reply = Client::connect(cache.addr).get(&blob.path());
    assert_same(&reply.body, &blob.bytes);
    until("systemd knows that it runs", || {
        machine.property(UNIT, "ActiveState") == "active"
    });
    let before = machine.property(UNIT, "MainPID");
    machine.run(&["systemctl", "restart", UNIT]);
    assert_ne!(machine.property(UNIT, "MainPID"), before);
    cache.pull(3);
}

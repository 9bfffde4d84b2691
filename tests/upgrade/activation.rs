//! Sockets from the service manager, and what it is told of an upgrade.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use super::Line;
use crate::support::process::{Process, until};
use crate::support::registry::free_host;
use crate::support::transship::BINARY;
use crate::support::{Origin, Rig, Transship, client};

#[test]
fn sockets_of_the_service_manager_are_served_by_every_core() {
    let origin = Origin::start();
    let blob = origin.make(1, 100_000);
    let (clients, admin) = (free_host(), free_host());
    let dir = tempfile::TempDir::new().unwrap();
    let mut command = Command::new("systemd-socket-activate");
    command
        .args([
            "-l",
            &clients,
            "-l",
            &admin,
            "--fdname=http:admin",
            BINARY,
            "serve",
        ])
        .args(["--upstream", &origin.url(), "--cores", "3", "--storage"])
        .arg(dir.path().join("storage"))
        .env("NO_COLOR", "1");
    let process = Process::start("transship", &mut command);
    process.line(|line| line.contains("Listening on")).unwrap();
    // The first connection starts it, and is not lost.
    let addr = clients.parse().unwrap();
    let first = client::get(addr, &blob.path());
    assert_eq!((first.status(), first.whole), (200, true));
    let ready = process
        .line(|line| line.contains("ready") && line.contains("listen="))
        .unwrap();
    assert!(
        ready.contains(&clients) && ready.contains(&admin),
        "{ready}"
    );
    until("it is stored", || {
        client::get(addr, &blob.path()).cache() == "hit"
    });
    assert_eq!(
        client::get(admin.parse().unwrap(), "/healthz").status(),
        200
    );
    // Cores that share the one socket: connections that stay, more than one core would be given at once.
    let mut many: Vec<_> = (0..30).map(|_| client::Client::connect(addr)).collect();
    for client in &mut many {
        assert_eq!(client.get(&blob.path()).status(), 200);
    }
}

#[test]
fn the_service_manager_is_told_who_the_main_process_is() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut rig = Rig::with(Transship::options().env("NOTIFY_SOCKET", &path));
    let told = || {
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    assert_eq!(told(), "READY=1\n");
    let mut line = Line::new(&mut rig.transship);
    line.upgrade();
    let mut all = vec![told()];
    while !all.last().unwrap().contains("MAINPID") {
        all.push(told());
    }
    assert_eq!(
        all.pop().unwrap(),
        format!("MAINPID={}\nREADY=1\n", line.ids[1])
    );
    assert!(all.iter().all(|text| text == "READY=1\n"), "{all:?}");
    line.until_alone();
}

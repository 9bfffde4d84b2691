//! systemd's watchdog, as systemd sees it: by its socket.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use tempfile::TempDir;

use super::next;
use crate::support::process::{Process, until};
use crate::support::{Origin, PATIENCE, Transship};

/// Returns the thread of a core.
fn thread(process: u32, name: &str) -> String {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let found = tasks.flatten().find(|task| {
        let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        comm.trim() == name
    });
    found.unwrap().file_name().into_string().unwrap()
}

#[test]
fn the_watchdog_is_fed_until_one_core_is_wedged() {
    // Half of the clients would hang for good while the other core, and the init system, are content.
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let transship = Transship::options()
        .upstream(Origin::start().url())
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "2000000")
        .start();
    let fed = || until("it is fed", || next(&socket).contains("WATCHDOG=1"));
    fed();
    fed();
    // SIGSTOP would stop all threads: a tracer holds this one at its next system call.
    let thread = thread(transship.process.id(), "core-1");
    let mut strace = Process::start(
        "strace",
        Command::new("strace")
            .args(["-qq", "-p", &thread, "-o", "/dev/null"])
            .args(["-e", "inject=all:delay_enter=600000000"]),
    );
    let told = || {
        let log = transship.process.log();
        log.matches("cores are stuck").count()
    };
    until("the keeper finds it stuck", || told() > 0);
    // What was said before is read away; from here on it stays silent.
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 4096]).is_ok() {}
    let before = told();
    until("it looks again and again", || told() >= before + 3);
    let silence = socket.recv(&mut [0; 4096]).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
    assert!(transship.process.log().contains("[1]"), "it names the core");
    strace.kill();
    socket.set_nonblocking(false).unwrap();
    fed();
}

//! Ten upgrades under load: not one request fails, and no byte is fetched twice.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::{Line, patient};
use crate::support::Shelf;
use crate::support::process::until;

const UPGRADES: usize = 10;
const PULLERS: usize = 200;
/// Of 64 KiB to 2 MiB.
const BLOBS: usize = 300;

/// wrk runs for so long unless it is told to stop; it then says what it has seen.
const WRK_SECONDS: &str = "600s";

fn nobody_notices(epoll: bool) {
    let mut rig = patient(epoll);
    let hot = rig.hit(1, 16 * 1024);
    let sizes = (0..BLOBS).map(|number| (64 << 10) << (number % 6));
    let shelf = Shelf::stock(&rig.origin, 7, sizes);
    let addr = rig.transship.addr;
    let wrk = Command::new("wrk")
        .args(["-t1", "-c16", "--timeout", "100s", "-d", WRK_SECONDS])
        .arg(format!("http://{addr}{}", hot.path()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (next, done, is_over) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );
    let mut line = Line::new(&mut rig.transship);
    std::thread::scope(|scope| {
        for puller in 0..PULLERS {
            let (shelf, next, done, is_over) = (&shelf, &next, &done, &is_over);
            scope.spawn(move || {
                // Some follow, some hit, some are the first.
                let mut number = puller;
                while !is_over.load(Ordering::Relaxed) {
                    shelf.pull(addr, number % BLOBS);
                    done.fetch_add(1, Ordering::Relaxed);
                    number = next.fetch_add(1, Ordering::Relaxed) / 3;
                }
            });
        }
        for _ in 0..UPGRADES {
            // All of them are at it, and have been answered by this process.
            let seen = done.load(Ordering::Relaxed);
            until("pulls go on", || {
                done.load(Ordering::Relaxed) > seen + PULLERS
            });
            line.upgrade();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let id = i32::try_from(wrk.id()).ok().and_then(Pid::from_raw);
    kill_process(id.unwrap(), Signal::INT).unwrap();
    let said = wrk.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("Requests/sec"), "{said}");
    assert!(
        !said.contains("Socket errors") && !said.contains("Non-2xx"),
        "{said}"
    );
    line.until_alone();
    let twice: Vec<_> = (0..BLOBS)
        .map(|number| shelf.blob(number))
        .filter(|blob| rig.origin.sent(&blob.path()) > blob.len() as u64)
        .map(|blob| (blob.len(), rig.origin.sent(&blob.path())))
        .collect();
    // A request that was on its way to the old process when the new one had already asked it in vain.
    assert!(twice.len() <= 3, "fetched twice: {twice:?}");
}

#[test]
fn nobody_notices_ten_upgrades_on_io_uring() {
    nobody_notices(false);
}

#[test]
fn nobody_notices_ten_upgrades_on_epoll() {
    nobody_notices(true);
}

//! What becomes of the access log's file.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;

use rustix::process::Signal;

use super::{Log, expect_combined};
use crate::support::origin::{Gate, Plan};
use crate::support::process::run;
use crate::support::{Rig, Transship, until};

#[test]
fn after_sighup_a_file_that_was_moved_away_is_left_alone() {
    // logrotate would compress a file that is still written to.
    let log = Log::new();
    let rig = Rig::with(log.options("combined", ""));
    rig.transship.get("/v2/");
    log.lines(1);
    let moved = log.dir.path().join("moved");
    fs::rename(log.path(), &moved).unwrap();
    rig.transship.process.signal(Signal::HUP);
    until("the file is there again", || log.path().exists());
    rig.transship.get("/v2/");
    log.lines(1);
    expect_combined(&log);
    assert_eq!(fs::read_to_string(moved).unwrap().lines().count(), 1);
}

#[test]
fn a_file_rotates_by_itself() {
    // It would fill the disk that the store needs.
    let log = Log::new();
    let path = log.path();
    let rig = Rig::with(Transship::options().config(format!(
        "version: 0.1\ntransship:\n  access_log: {{output: {}, rotate_size: 64KiB, rotate_keep: 1000}}\n",
        path.display()
    )));
    let mut client = rig.transship.client();
    let agent = "a".repeat(256);
    let first = log.dir.path().join("access.log.1");
    let mut asked = 0;
    until("it has rotated", || {
        for _ in 0..50 {
            client.call("GET", "/v2/", &[("User-Agent", &agent)]);
        }
        asked += 50;
        first.exists()
    });
    until("every line is there", || {
        let files = fs::read_dir(log.dir.path()).unwrap().flatten();
        let texts = files.map(|file| fs::read_to_string(file.path()).unwrap_or_default());
        texts.map(|text| text.lines().count()).sum::<usize>() == asked
    });
    assert!(fs::metadata(&first).unwrap().len() <= 128 * 1024);
    let metrics = rig.transship.metrics();
    assert_eq!(metrics.sum("transship_access_log_dropped_total", &[]), 0);
}

#[test]
fn a_pipe_that_nobody_reads_costs_lines_and_no_request() {
    // A log shipper that hangs would take the cache with it.
    let log = Log::new();
    run(Command::new("mkfifo").arg(log.path()));
    let rig = Rig::with(log.options("combined", "").cores(1));
    let mut client = rig.transship.client();
    let agent = "a".repeat(256);
    let request = crate::support::client::request("GET", "/v2/", &[("User-Agent", &agent)]);
    let many = request.repeat(100);
    let dropped = || {
        let metrics = rig.transship.metrics();
        metrics.sum("transship_access_log_dropped_total", &[("reason", "full")])
    };
    until("lines are dropped", || {
        for _ in 0..10 {
            client.send(&many);
            for _ in 0..100 {
                assert_eq!(client.reply("GET").status(), 200);
            }
        }
        dropped() > 0
    });
    // Whoever reads in the end gets whole lines.
    let mut options = fs::OpenOptions::new();
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let pipe = options.read(true).custom_flags(flags.try_into().unwrap());
    let mut pipe = pipe.open(log.path()).unwrap();
    let mut text = vec![0; 4096];
    let count = pipe.read(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text[..count]).into_owned();
    assert!(text.starts_with("127.0.0.1 - - ["), "{text}");
}

#[test]
fn what_was_answered_before_the_end_is_in_the_log() {
    // The last lines before a restart are those that somebody will look for.
    let log = Log::new();
    let rig = Rig::with(log.options("combined", ""));
    let mut client = rig.transship.client();
    for _ in 0..500 {
        assert_eq!(client.get("/v2/").status(), 200);
    }
    drop(client);
    assert_eq!(rig.transship.terminate().code(), Some(0));
    assert_eq!(log.text().lines().count(), 500);
}

#[test]
fn what_a_drain_cuts_is_in_the_log_as_that() {
    // Whoever asks why a pull broke at the time of the restart finds that it did.
    let log = Log::new();
    let options = log
        .options("json", "")
        .env("REGISTRY_HTTP_DRAINTIMEOUT", "1s");
    let rig = Rig::with(options);
    let blob = rig.origin.make(1, 8 << 20);
    let late = rig.origin.make(2, 1000);
    let (body, head) = (Gate::new(), Gate::new());
    rig.origin
        .plan(&blob, Plan::whole().wait_at(1 << 20, &body));
    rig.origin
        .plan(&late, Plan::whole().wait_before_head(&head));
    let mut client = rig.transship.client();
    client.ask("GET", &blob.path(), &[]);
    client.head();
    let mut other = rig.transship.client();
    other.ask("GET", &late.path(), &[]);
    body.reached();
    head.reached();
    assert_eq!(rig.transship.terminate().code(), Some(0));
    let lines = log.objects(2);
    for (path, status) in [(blob.path(), 200), (late.path(), 499)] {
        let line = lines.iter().find(|line| line["target"] == path.as_str());
        let line = line.unwrap_or_else(|| panic!("no line of {path}: {lines:?}"));
        assert_eq!(
            (&line["status"], &line["whole"]),
            (&status.into(), &false.into())
        );
    }
}

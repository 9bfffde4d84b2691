//! Lines from a core to the file.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use super::format::Formatter;
use super::line::{Batch, Entry};
use super::output::{self, Output};
use super::{AccessLog, Format, Options, Target};
use crate::digest::{Algorithm, Digest};
use crate::http::{Request, parse};
use crate::limits::{LOG_BATCH_LINES, LOG_BATCHES_MAX};
use crate::metrics::{CacheUse, Metrics};

const HEAD: &[u8] =
    b"GET /v2/a/b/manifests/latest?token=s3cret&ns=docker.io&%74oken=s3cret&n=1 HTTP/1.1\r\n\
    Host: a\r\nUser-Agent: evil\"\\\x80\r\nAuthorization: Bearer s3cret\r\n\r\n";

fn entry<'a>(request: Option<&'a Request<'a>>) -> Entry<'a> {
    Entry {
        client: [192, 0, 2, 1].into(),
        is_tls: true,
        request,
        begun: Instant::now(),
        first_byte: Some(Duration::from_micros(1500)),
        total: Duration::from_millis(2),
        response: Some((206, CacheUse::Collapsed)),
        body_bytes: 77,
        is_whole: false,
        digest: Some(Digest::of(Algorithm::Sha256, b"1")),
        upstream: Some("origin.example:5000"),
    }
}

fn file(path: &Path, rotate_bytes: u64, rotate_keep: u32) -> Options {
    Options {
        target: Target::File {
            path: path.to_owned(),
            rotate_bytes,
            rotate_keep,
        },
        format: Format::Combined,
    }
}

fn combined(batch: &Batch) -> String {
    let mut out = Vec::new();
    let mut formatter = Formatter::new("/");
    for line in batch.lines() {
        formatter.combined(&line, SystemTime::UNIX_EPOCH, &mut out);
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn a_combined_line_has_every_field_in_its_place_and_no_secret() {
    let request = parse(HEAD).unwrap();
    let mut batch = Batch::default();
    batch.add(&entry(Some(&request)));
    batch.add(&Entry {
        response: None,
        first_byte: None,
        digest: None,
        upstream: None,
        is_tls: false,
        ..entry(None)
    });
    let digest = Digest::of(Algorithm::Sha256, b"1");
    assert_eq!(
        combined(&batch),
        format!(
            "192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] \"GET /v2/a/b/manifests/latest?ns=docker.io&n=1 HTTP/1.1\" \
             206 77 \"-\" \"evil\\\"\\\\\\x80\" collapsed 1.500 2.000 {digest} origin.example:5000 https aborted\n\
             192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] \"-\" 499 77 \"-\" \"-\" - - 2.000 - - http aborted\n"
        )
    );
}

#[test]
fn a_json_line_has_the_same_by_name() {
    let request = parse(HEAD).unwrap();
    let mut batch = Batch::default();
    batch.add(&entry(Some(&request)));
    let mut out = Vec::new();
    let line = batch.lines().next().unwrap();
    Formatter::new("/").json(&line, SystemTime::UNIX_EPOCH, &mut out);
    assert!(!String::from_utf8_lossy(&out).contains("s3cret"));
    let object: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(object["time"], "1970-01-01T00:00:00.000Z");
    assert_eq!(
        object["target"],
        "/v2/a/b/manifests/latest?ns=docker.io&n=1"
    );
    assert_eq!(object["repository"], "a/b");
    assert_eq!(object["status"], 206);
    assert_eq!(object["first_byte_ms"], 1.5);
    assert_eq!(object["user_agent"], "evil\"\\\u{fffd}");
    assert_eq!(object["upstream"], "origin.example:5000");
    assert_eq!(
        (&object["tls"], &object["whole"]),
        (&true.into(), &false.into())
    );
}

#[test]
fn long_texts_are_cut_and_do_not_run_into_each_other() {
    let agent = "u".repeat(4000);
    let path = format!("/{}", "p".repeat(4000));
    let query = "n=".to_owned() + &"q".repeat(4000);
    let head =
        format!("GET {path}?{query}&ns=a HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\n\r\n");
    let request = parse(head.as_bytes()).unwrap();
    let mut batch = Batch::default();
    batch.add(&entry(Some(&request)));
    let line = batch.lines().next().unwrap();
    assert_eq!(line.path, &path.as_bytes()[..512]);
    assert_eq!(line.query, b"ns=a");
    assert_eq!(line.agent, &agent.as_bytes()[..256]);
    assert_eq!(line.upstream, b"origin.example:5000");
}

#[test]
fn all_lines_are_written_by_the_end_and_a_file_rotates_at_its_size() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("access.log");
    let metrics = Metrics::new(1);
    let options = file(&path, 64 * 1024, 2);
    let log = AccessLog::start(Some(&options), 1, "/", metrics.log_lines_lost()).unwrap();
    let mut pen = log.pen(0, metrics.core(0)).unwrap();
    assert!(log.pen(1, metrics.core(0)).is_none());
    for _ in 0..2000 {
        pen.add(&entry(None));
    }
    pen.flush();
    log.end();
    assert_eq!(metrics.core(0).log_lines_dropped.read(), 0);
    let names = ["access.log", "access.log.1", "access.log.2"];
    let files = names.map(|name| fs::read_to_string(dir.path().join(name)).unwrap());
    assert!(!dir.path().join("access.log.3").exists(), "two are kept");
    for text in &files {
        assert!(text.len() <= 2 * 64 * 1024, "{}", text.len());
        assert!(text.ends_with('\n') && text.starts_with("192.0.2.1 "));
    }
}

#[test]
fn a_pipe_that_nobody_reads_drops_lines_and_holds_up_nobody() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let metrics = Metrics::new(1);
    let log = AccessLog::start(Some(&file(&path, 0, 0)), 1, "/", metrics.log_lines_lost()).unwrap();
    let mut pen = log.pen(0, metrics.core(0)).unwrap();
    let room = LOG_BATCH_LINES * (LOG_BATCHES_MAX + 2);
    // What fits into the pipe and into the writer's hands besides.
    for _ in 0..2 * room {
        pen.add(&entry(None));
    }
    assert!(metrics.core(0).log_lines_dropped.read() > 0);
    log.end();
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew_when_it_is_reopened() {
    let dir = TempDir::new().unwrap();
    let (path, moved) = (dir.path().join("access.log"), dir.path().join("moved"));
    let mut output = Output::open(&file(&path, 0, 0).target).unwrap();
    output.write(b"one\n").unwrap();
    fs::rename(&path, &moved).unwrap();
    output.write(b"two\n").unwrap();
    output.reopen().unwrap();
    output.write(b"three\n").unwrap();
    assert_eq!(fs::read(&moved).unwrap(), b"one\ntwo\n");
    assert_eq!(fs::read(&path).unwrap(), b"three\n");
}

#[test]
fn a_disk_that_takes_nothing_loses_lines_and_says_so() {
    let metrics = Metrics::new(1);
    let options = file(Path::new("/dev/full"), 64 * 1024, 1);
    let log = AccessLog::start(Some(&options), 1, "/", metrics.log_lines_lost()).unwrap();
    let mut pen = log.pen(0, metrics.core(0)).unwrap();
    pen.add(&entry(None));
    pen.flush();
    log.end();
    assert_eq!(metrics.log_lines_lost().read(), 1);
}

#[test]
fn a_record_of_journald_is_names_and_values_whatever_a_client_sends() {
    let head = b"GET /v2/a/blobs/x HTTP/1.1\r\nHost: a\r\nUser-Agent: a\xc2\x85b\r\n\r\n";
    let request = parse(head).unwrap();
    let mut batch = Batch::default();
    batch.add(&entry(Some(&request)));
    let line = batch.lines().next().unwrap();
    let mut formatter = Formatter::new("/");
    let object = formatter.object(&line, SystemTime::UNIX_EPOCH);
    let mut record = Vec::new();
    output::record(b"a message\n", &object, &mut record);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    let journal = UnixDatagram::bind(&path).unwrap();
    output::send(&UnixDatagram::unbound().unwrap(), &path, &record).unwrap();
    let mut received = [0; 4096];
    let count = journal.recv(&mut received).unwrap();
    let text = std::str::from_utf8(&received[..count]).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.iter().all(|line| line.contains('=')), "{text}");
    assert!(lines.contains(&"MESSAGE=a message"), "{text}");
    assert!(lines.contains(&"TRANSSHIP_STATUS=206"), "{text}");
    assert!(lines.contains(&"TRANSSHIP_USER_AGENT=a\u{fffd}b"), "{text}");
}

#[test]
fn a_log_that_cannot_be_opened_is_named() {
    let options = file(Path::new("/nowhere/access.log"), 0, 0);
    let error = AccessLog::start(Some(&options), 1, "/", Arc::default()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/access.log"), "{error}");
}

#[test]
fn a_log_is_turned_on_elsewhere_and_off_while_it_is_written() {
    // An operator would have to end every pull to see who asks for what.
    let dir = TempDir::new().unwrap();
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
    let metrics = Metrics::new(1);
    let log = AccessLog::start(None, 1, "/", metrics.log_lines_lost()).unwrap();
    let mut pen = log.pen(0, metrics.core(0)).unwrap();
    let mut add = |count: usize| {
        for _ in 0..count {
            assert!(pen.is_on());
            pen.add(&entry(None));
        }
        pen.flush();
    };
    let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
    let until_lines = |path: &Path, count| {
        while lines(path) < count {
            std::thread::yield_now();
        }
        assert_eq!(lines(path), count);
    };
    let turn = |options: Option<&Options>| log.turn_to(AccessLog::open(options).unwrap());
    turn(Some(&file(&one, 0, 0)));
    add(3);
    until_lines(&one, 3);
    turn(Some(&file(&two, 0, 0)));
    // What is on its way when it turns may go to either.
    while log.shared.next.lock().is_some() {
        std::thread::yield_now();
    }
    add(2);
    until_lines(&two, 2);
    assert!(AccessLog::open(Some(&file(Path::new("/nowhere/a"), 0, 0))).is_err());
    turn(None);
    assert!(!pen.is_on());
    log.end();
    assert_eq!((lines(&one), lines(&two)), (3, 2));
}

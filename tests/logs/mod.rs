//! The access log, as whoever reads it finds it.

mod files;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::output;
use crate::support::signer::{claims, key_set};
use crate::support::transship::{Options, Transship};
use crate::support::{Blob, Client, Gate, Origin, Plan, Rig, Signer, until};

/// What every combined line is, written from `docs/logs.md` and not from the code.
const COMBINED: &str = r#"^[0-9a-f.:]+ - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(-|[A-Z]+ ([ !#-\[\]-~]|\\["\\]|\\x[0-9a-f]{2})+ HTTP/1\.[01])" \d{3} \d+ "-" "([ !#-\[\]-~]|\\["\\]|\\x[0-9a-f]{2})+" (-|hit|miss|collapsed|stale|negative|bypass) (-|\d+\.\d{3}) \d+\.\d{3} (-|sha(256|512):[0-9a-f]+) (-|[^ ]+) https? (whole|aborted)$"#;

/// A directory with an access log, and the configuration that writes it.
struct Log {
    dir: TempDir,
}

impl Log {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("access.log")
    }

    /// Options of a transship that logs here; `more` are keys of `transship`. One core: lines of several are in
    /// no order.
    fn options(&self, format: &str, more: &str) -> Options {
        let path = self.path();
        Transship::options()
            .config(format!(
                "version: 0.1\ntransship:\n  access_log: {{output: {}, format: {format}}}\n{more}",
                path.display()
            ))
            .cores(1)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap_or_default()
    }

    /// Waits until there are so many lines, and returns them.
    fn lines(&self, count: usize) -> Vec<String> {
        until(&format!("{count} lines are logged"), || {
            self.text().matches('\n').count() >= count
        });
        let text = self.text();
        assert_eq!(text.matches('\n').count(), count, "{text}");
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// As [`Log::lines`], as JSON.
    fn objects(&self, count: usize) -> Vec<Value> {
        let lines = self.lines(count);
        let object = |line: &String| serde_json::from_str(line).expect(line);
        lines.iter().map(object).collect()
    }
}

/// Checks that each line matches [`COMBINED`], as a reader other than ours has it.
#[track_caller]
fn expect_combined(log: &Log) {
    let mut grep = Command::new("grep");
    let odd = output(
        grep.args(["-a", "-n", "-v", "-P", COMBINED])
            .arg(log.path()),
    );
    assert_eq!(odd.status.code(), Some(1), "{odd:?}");
}

#[test]
fn every_kind_of_answer_has_its_line() {
    // What an operator looks for would be missing just where something is odd.
    let log = Log::new();
    let rig = Rig::with(log.options("json", ""));
    let (small, large) = (rig.hit(1, 1000), rig.origin.make(2, 300_000));
    let absent = Blob::seeded(3, 10);
    let mut client = rig.transship.client();
    let etag = format!("\"{}\"", small.digest);
    client.get(&small.path());
    client.get(&large.path());
    client.call("GET", &large.path(), &[("Range", "bytes=100-299")]);
    client.call("GET", &small.path(), &[("If-None-Match", &etag)]);
    client.call("HEAD", &small.path(), &[("User-Agent", "a head")]);
    client.call("GET", &small.path(), &[("Range", "bytes=5000-")]);
    client.get(&absent.path());
    client.get("/v2/");
    client.call("POST", "/v2/a/b/blobs/uploads/", &[]);
    client.send(b"GET nonsense\r\n\r\n");
    client.reply("GET");
    let lines = log.objects(11);
    let seen: Vec<_> = lines
        .iter()
        .map(|line| {
            let cache = line["cache"].as_str().unwrap();
            (
                line["status"].as_u64().unwrap(),
                cache,
                line["bytes"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen[..6],
        [
            (200, "miss", 1000),
            (200, "hit", 1000),
            (200, "miss", 300_000),
            (206, "hit", 200),
            (304, "hit", 0),
            (200, "hit", 0),
        ]
    );
    let statuses: Vec<_> = seen.iter().map(|line| line.0).collect();
    assert_eq!(statuses[6..], [416, 404, 200, 405, 400]);
    let upstream = rig.origin.url().replace("http://", "");
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["whole"], true, "{line}");
        assert_eq!(line["tls"], false);
        assert_eq!(line["client"], "127.0.0.1");
        let first = line["first_byte_ms"].as_f64().unwrap();
        assert!(first <= line["total_ms"].as_f64().unwrap(), "{line}");
        let asked = [0, 2, 7].contains(&index);
        assert_eq!(line["upstream"] == upstream, asked, "{index}: {line}");
    }
    assert_eq!(lines[1]["digest"], small.digest);
    assert_eq!(lines[1]["repository"], "test/image");
    assert_eq!(lines[1]["target"], small.path());
    assert_eq!(lines[5]["method"], "HEAD");
    assert_eq!(lines[5]["user_agent"], "a head");
    assert_eq!(lines[10]["target"], Value::Null);
    let metrics = rig.transship.metrics();
    for name in ["transship_first_byte_seconds", "transship_response_seconds"] {
        let count = |cache| metrics.sum(&format!("{name}_count"), &[("cache", cache)]);
        assert_eq!((count("miss"), count("hit")), (2, 5), "{name}");
        let bypass = count("bypass");
        assert_eq!(bypass, 4, "{name}");
    }
}

#[test]
fn a_follower_and_a_client_that_leaves_have_theirs() {
    // Bytes that were never sent would be billed, or a herd would look like so many fetches.
    let log = Log::new();
    let rig = Rig::with(log.options("json", ""));
    let blob = rig.origin.make(1, 8 << 20);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(1 << 20, &gate));
    let mut leader = rig.transship.client();
    leader.ask("GET", &blob.path(), &[]);
    leader.head();
    gate.reached();
    let mut follower = rig.transship.client();
    follower.ask("GET", &blob.path(), &[]);
    follower.head();
    let taken = follower.exactly(1000).len();
    drop(follower);
    let left = &log.objects(1)[0];
    assert_eq!(
        (&left["cache"], &left["status"]),
        (&"collapsed".into(), &200.into())
    );
    assert_eq!(left["whole"], false);
    let sent = left["bytes"].as_u64().unwrap();
    assert!((taken as u64..=1 << 20).contains(&sent), "{left}");
    assert!(left["upstream"].is_string());
    gate.open();
    assert_eq!(leader.exactly(blob.len()).len(), blob.len());
    let led = &log.objects(2)[1];
    assert_eq!(
        (&led["cache"], &led["whole"]),
        (&"miss".into(), &true.into())
    );
    assert_eq!(led["bytes"], 8 << 20);
}

#[test]
fn a_client_that_leaves_before_its_answer_is_told_apart() {
    // It would look as if it had never asked.
    let log = Log::new();
    let rig = Rig::with(log.options("json", ""));
    let blob = rig.origin.make(1, 1000);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_before_head(&gate));
    let mut client = rig.transship.client();
    client.ask("GET", &blob.path(), &[]);
    gate.reached();
    drop(client);
    let line = &log.objects(1)[0];
    gate.open();
    assert_eq!(
        (&line["status"], &line["whole"]),
        (&499.into(), &false.into())
    );
    assert_eq!(
        (&line["cache"], &line["first_byte_ms"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_tag_is_logged_with_what_it_meant() {
    // A pull could not be followed from its tag to its blobs.
    let log = Log::new();
    let rig = Rig::with(log.options("json", ""));
    let digest = rig
        .origin
        .tag("test/image", "latest", "{\"schemaVersion\": 2}");
    rig.transship
        .get("/v2/test/image/manifests/latest?ns=docker.io");
    let line = &log.objects(1)[0];
    assert_eq!(line["digest"], digest);
    assert_eq!(
        line["target"],
        "/v2/test/image/manifests/latest?ns=docker.io"
    );
    assert_eq!(line["upstream"], rig.origin.url().replace("http://", ""));
}

#[test]
fn no_secret_of_a_client_is_in_the_log() {
    // Whoever reads the log could pull with it for as long as the token lasts.
    let log = Log::new();
    let origin = Origin::start();
    let signer = Signer::ed25519("first");
    origin.hold_file("/.well-known/jwks.json", &key_set(&[&signer]));
    let options = log.options("combined", "  access: {require_token: true}\n");
    let transship = options.upstream(origin.url()).start();
    let blob = origin.make(1, 1000);
    let token = signer.sign(&claims("test/image", &blob.digest));
    let signature = token.rsplit('.').next().unwrap();
    let mut client = transship.client();
    let target = format!("{}?token={token}", blob.path());
    for _ in 0..2 {
        assert_eq!(client.get(&target).status(), 200);
    }
    let twice = format!(
        "{}?%74oken={token}&n=1&Token={token}&x&token={token}",
        blob.path()
    );
    client.get(&twice);
    let login = [("Authorization", "Basic c2VjcmV0OnNlY3JldA==")];
    client.call("GET", &blob.path(), &login);
    let lines = log.lines(4);
    expect_combined(&log);
    for line in &lines {
        assert!(
            !line.contains(signature) && !line.contains("c2Vj"),
            "{line}"
        );
    }
    assert!(lines[1].contains(" 200 1000 ") && lines[1].contains(" hit "));
    assert!(lines[3].contains(" 403 "), "{}", lines[3]);
}

#[test]
fn no_client_can_forge_a_line() {
    // One could hide behind lines of its own making, or take over the terminal of who reads them.
    let log = Log::new();
    let rig = Rig::with(log.options("combined", ""));
    for agent in ["\" 200 0 \"-\" \"x", "\\", "\\\"", "\u{9b}2J", "\t", "é"] {
        let mut client = rig.transship.client();
        client.call("GET", "/v2/", &[("User-Agent", agent)]);
    }
    // What could end a line in earnest is no head to begin with.
    for hostile in [&b"a\rb"[..], b"a\x1b[2Jb", b"a\0b", b"a\x7fb"] {
        let mut client = rig.transship.client();
        let head = [
            b"GET /v2/ HTTP/1.1\r\nHost: a\r\nUser-Agent: ",
            hostile,
            b"\r\n\r\n",
        ];
        client.send(&head.concat());
        assert_eq!(client.reply("GET").status(), 400);
    }
    for target in ["/v2/%0a%22/x", "/v2/a'b/<>", "/\"", "/a\x0bb"] {
        let mut client: Client = rig.transship.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        client.reply("GET");
    }
    let lines = log.lines(14);
    expect_combined(&log);
    assert!(
        lines[0].contains(r#""\" 200 0 \"-\" \"x" bypass"#),
        "{}",
        lines[0]
    );
    assert!(lines[3].contains(r#""\xc2\x9b2J""#), "{}", lines[3]);
}

#[test]
fn the_registrys_own_key_turns_it_on_and_nothing_else_does() {
    // Who takes over a registry's file finds its access log where it was, and nobody else pays for one.
    for (yaml, lines) in [
        ("log: {accesslog: {disabled: false}}", 1),
        ("log: {accesslog: {disabled: true}}", 0),
        ("log: {level: info}", 0),
        ("transship: {access_log: {output: stdout}}", 1),
        (
            "log: {accesslog: {disabled: false}}\ntransship: {access_log: {output: off}}",
            0,
        ),
    ] {
        let rig = Rig::with(Transship::options().config(format!("version: 0.1\n{yaml}\n")));
        rig.transship.get("/v2/");
        let mut transship = rig.transship;
        transship.process.signal(rustix::process::Signal::TERM);
        transship.process.exit();
        // To the end of both streams.
        let log = transship.process.line(|_| false).unwrap_err();
        let found = log
            .lines()
            .filter(|line| line.contains("\"GET /v2/ HTTP/1.1\" 200 2 "));
        assert_eq!(found.count(), lines, "{yaml}: {log}");
    }
}

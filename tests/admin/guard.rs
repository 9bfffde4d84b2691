//! Who is let in, and what hostile requests do.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tempfile::TempDir;

use super::{OWN, call, expect_error, get, listens, said, transship, url};
use crate::support::process::Process;
use crate::support::registry::free_host;
use crate::support::transship::BINARY;
use crate::support::{Client, Rig, Transship, client, until};

const SECRET: &str = "a-token-of-some-length";

fn with(admin: &str) -> Transship {
    Transship::options()
        .config(format!("version: 0.1\ntransship: {{admin: {{{admin}}}}}\n"))
        .start()
}

fn ask(server: &Transship, method: &str, target: &str, fields: &[(&str, &str)]) -> client::Reply {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in fields {
        text += &format!("{name}: {value}\r\n");
    }
    let mut client = Client::connect(server.admin);
    client.send((text + "\r\n").as_bytes());
    client.reply(method)
}

#[test]
fn a_web_page_can_neither_read_nor_change_anything() {
    // Whoever looks at a page on a host with a cache would purge it.
    let rig = Rig::start();
    let host = rig.transship.admin.to_string();
    let own = format!("http://{host}");
    let drain = |fields: &[(&str, &str)]| ask(&rig.transship, "POST", "/v1/drain", fields);
    expect_error(
        &drain(&[("Host", "evil.example"), OWN]),
        403,
        "FOREIGN_HOST",
    );
    expect_error(
        &drain(&[("Host", &host), ("Origin", "http://evil.example"), OWN]),
        403,
        "FOREIGN_ORIGIN",
    );
    expect_error(
        &drain(&[("Host", &host), ("Origin", &own)]),
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    );
    expect_error(
        &drain(&[("Host", &host), ("Content-Type", "text/plain")]),
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    );
    let status = ask(
        &rig.transship,
        "GET",
        "/v1/status",
        &[("Host", "evil.example")],
    );
    expect_error(&status, 403, "FOREIGN_HOST");
    assert_eq!(
        ask(
            &rig.transship,
            "GET",
            "/metrics",
            &[("Host", "cache.example")]
        )
        .status(),
        200
    );
    assert_eq!(get(&rig.transship, "/v1/status")["is_draining"], false);
    let allowed = ask(
        &rig.transship,
        "POST",
        "/v1/reload",
        &[("Host", &host), ("Origin", &own), OWN],
    );
    assert_eq!(allowed.status(), 200);
}

#[test]
fn with_a_token_nobody_is_let_in_without_it() {
    let server = with(&format!("token: {SECRET}"));
    let shown = format!("Bearer {SECRET}");
    for (authorization, status) in [
        ("", 401),
        ("Bearer wrong", 401),
        (SECRET, 401),
        (shown.as_str(), 200),
    ] {
        let fields = [("Host", "any.example"), ("Authorization", authorization)];
        assert_eq!(
            ask(&server, "GET", "/v1/status", &fields).status(),
            status,
            "{authorization}"
        );
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(
            ask(&server, "GET", path, &[("Host", "a")]).status(),
            200,
            "{path}"
        );
    }
    transship(&url(&server), &["status"]).expect(1, &["token is wanted"]);
    let mut command = Command::new(BINARY);
    command
        .arg("status")
        .env("TRANSSHIP_ADMIN", url(&server))
        .env("TRANSSHIP_ADMIN_TOKEN", SECRET);
    said(&mut command).expect(0, &["ready"]);
    assert!(!server.process.log().contains(SECRET));
}

#[test]
fn the_socket_is_its_owners_alone_and_needs_no_token() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("admin.sock");
    let shown = path.to_str().unwrap();
    let server = with(&format!("token: {SECRET}, socket: {shown}"));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    transship(shown, &["status"]).expect(0, &["ready"]);
    // The next one has the path, whatever became of the one before.
    drop(server.kill());
    assert!(path.exists() && !listens(&path));
    transship(shown, &["status"]).expect(3, &["no server answers"]);
    let again = with(&format!("socket: {shown}"));
    transship(shown, &["status"]).expect(0, &["ready"]);
    drop(again);

    let by_manager = Transship::options()
        .env("RUNTIME_DIRECTORY", dir.path())
        .start();
    transship(shown, &["status"]).expect(0, &["ready"]);
    drop(by_manager);
}

#[test]
fn hostile_requests_are_refused_and_harm_nobody() {
    let rig = Rig::start();
    let admin = rig.transship.admin;
    for (method, target, status) in [
        ("GET", "/v1/blobs?limit=0".to_owned(), 400),
        ("GET", "/v1/blobs?limit=1001".to_owned(), 400),
        (
            "GET",
            "/v1/blobs?limit=99999999999999999999999".to_owned(),
            400,
        ),
        ("GET", "/v1/blobs?after=x".to_owned(), 400),
        ("GET", "/v1/blobs?sort=name".to_owned(), 400),
        ("GET", format!("/v1/blobs?prefix={}", "a".repeat(4000)), 400),
        ("GET", "/v1/blobs/sha256:ab".to_owned(), 400),
        ("GET", "/v1/blobs/..%2F..%2Fetc%2Fpasswd".to_owned(), 400),
        (
            "DELETE",
            format!("/v1/blobs/sha256:{}", "A".repeat(64)),
            400,
        ),
        (
            "DELETE",
            format!("/v1/blobs/sha256:{}?force=maybe", "a".repeat(64)),
            400,
        ),
        ("DELETE", format!("/v1/pins/{}", "a".repeat(3000)), 400),
        ("DELETE", "/v1/pins/a%0Ab:c".to_owned(), 400),
        ("GET", "/v1/nothing".to_owned(), 404),
        ("GET", "/v1/".to_owned(), 404),
        ("POST", "/v1/status".to_owned(), 405),
        ("DELETE", "/v1/fills".to_owned(), 405),
    ] {
        let reply = call(admin, method, &target, "");
        assert_eq!(
            reply.status(),
            status,
            "{method} {target}: {}",
            reply.text()
        );
        assert!(reply.json()["error"]["code"].is_string());
    }
    assert_eq!(
        call(admin, "POST", "/v1/status", "").field("allow"),
        Some("GET, HEAD")
    );
}

#[test]
fn the_service_manager_s_socket_is_what_decides_who_can_reach_it() {
    // A unit may listen on all addresses where the configuration says loopback: the API would be the network's.
    let (clients, admin) = (free_host(), free_host());
    let port = admin.rsplit(':').next().unwrap();
    let dir = TempDir::new().unwrap();
    let mut command = Command::new("systemd-socket-activate");
    command
        .args(["-l", &clients, "-l", &format!("0.0.0.0:{port}")])
        .args(["--fdname=http:admin", BINARY, "serve", "--storage"])
        .arg(dir.path())
        .args(["--upstream", "http://127.0.0.1:9"])
        .env("NO_COLOR", "1");
    let process = Process::start("transship", &mut command);
    process.line(|line| line.contains("Listening on")).unwrap();
    let reply = call(admin.parse().unwrap(), "GET", "/v1/status", "");
    expect_error(&reply, 403, "TOKEN_NOT_SET");
}

#[test]
fn connections_are_bounded_and_those_within_are_answered() {
    let rig = Rig::start();
    let admin = rig.transship.admin;
    let mut seated: Vec<_> = (0..64).map(|_| Client::connect(admin)).collect();
    // The kernel has them wait in order: when this one is closed, all the others are in.
    Client::connect(admin).expect_close();
    for client in seated.drain(..32) {
        let mut client = client;
        client.ask("GET", "/healthz", &[]);
        assert_eq!(client.reply("GET").status(), 200);
    }
    until("seats are free again", || {
        let mut client = Client::connect(admin);
        client.try_send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n") && client.try_head().is_ok()
    });
}

#[test]
fn calls_of_the_api_have_threads_of_their_own() {
    // A dozen lists of a large store would leave no helper thread to open a client's blob.
    let rig = Rig::start();
    get(&rig.transship, "/v1/blobs");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", rig.transship.process.id())).unwrap();
    let names =
        tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
    let names: Vec<_> = names
        .filter(|name| name.starts_with("admin-call"))
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn what_is_too_long_or_never_comes_holds_nobody_up() {
    let rig = Rig::start();
    let admin = rig.transship.admin;
    let body = format!("{{\"reference\": \"{}\"}}", "a".repeat(1_000_000));
    let mut client = Client::connect(admin);
    client.send_what_it_takes(
        format!(
            "POST /v1/pins HTTP/1.1\r\nHost: {admin}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    expect_error(&client.reply("POST"), 413, "TOO_LARGE");
    let mut client = Client::connect(admin);
    let line = format!(
        "GET /v1/status?{} HTTP/1.1\r\nHost: a\r\n\r\n",
        "x".repeat(60_000)
    );
    client.send_what_it_takes(line.as_bytes());
    // Those who send nothing hold nobody up.
    let silent: Vec<_> = (0..50).map(|_| Client::connect(admin)).collect();
    until("health answers", || {
        call(admin, "GET", "/healthz", "").status() == 200
    });
    drop(silent);
    assert_eq!(
        get(&rig.transship, "/v1/pins")["pins"],
        serde_json::json!([])
    );
}

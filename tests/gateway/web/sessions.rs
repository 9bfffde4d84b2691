//! Sessions: what they may change, what comes from elsewhere, and when they end.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::{fs, thread};

use serde_json::{Value, json};

use super::{basic, call, enter, log_in, options, register};
use crate::support::gateway::Gateway;
use crate::support::process::run;
use crate::support::{Browser, until};

#[test]
fn a_change_in_a_sessions_name_shows_its_token_and_comes_from_its_own_page() {
    let gateway = options().start();
    let alice = log_in(&gateway, "alice", "wonderland");
    let other = log_in(&gateway, "root", "of all");
    let own = gateway.url();
    let cookie = ("Cookie", alice.cookie.as_str());
    let token = ("X-CSRF-Token", alice.csrf.as_str());
    let none = json!({"contentCacheUUID": ""});
    let patch = |fields: &[(&str, &str)]| {
        call(
            &gateway,
            "PATCH",
            "/api/v0/accounts/alice/settings",
            fields,
            &none,
        )
        .status()
    };
    assert_eq!(patch(&[]), 401);
    assert_eq!(patch(&[cookie, token]), 200);
    assert_eq!(patch(&[cookie, token, ("Origin", &own)]), 200);
    assert_eq!(
        patch(&[cookie, token, ("Sec-Fetch-Site", "same-origin")]),
        200
    );
    assert_eq!(patch(&[cookie]), 403);
    assert_eq!(patch(&[cookie, ("X-CSRF-Token", "")]), 403);
    assert_eq!(patch(&[cookie, ("X-CSRF-Token", &other.csrf)]), 403);
    assert_eq!(
        patch(&[cookie, token, ("Origin", "http://evil.example")]),
        403
    );
    assert_eq!(patch(&[cookie, token, ("Origin", "null")]), 403);
    assert_eq!(
        patch(&[cookie, token, ("Sec-Fetch-Site", "same-site")]),
        403
    );
    // A browser adds a password that it was told in a dialog to what any page asks.
    let basic = basic("alice", "wonderland");
    let basic = ("Authorization", basic.as_str());
    assert_eq!(patch(&[basic]), 200);
    assert_eq!(patch(&[basic, ("Sec-Fetch-Site", "cross-site")]), 403);
    // A password beside the cookie is what counts.
    let wrong = ("Authorization", "Basic YWxpY2U6cmFiYml0");
    assert_eq!(patch(&[cookie, token, wrong]), 401);
}

#[test]
fn a_session_begins_and_ends_by_its_own_page() {
    let gateway = options().start();
    let alice = log_in(&gateway, "alice", "wonderland");
    let cookie = ("Cookie", alice.cookie.as_str());
    let token = ("X-CSRF-Token", alice.csrf.as_str());
    let reply = call(
        &gateway,
        "DELETE",
        "/api/v0/session",
        &[cookie],
        &Value::Null,
    );
    reply.expect_error(403, "CROSS_SITE");
    let login = json!({"username": "alice", "password": "wonderland"});
    let reply = call(
        &gateway,
        "POST",
        "/api/v0/session",
        &[("Origin", "http://evil.example")],
        &login,
    );
    reply.expect_error(403, "CROSS_SITE");
    assert_eq!(reply.field("set-cookie"), None);
    let reply = call(
        &gateway,
        "GET",
        "/logout",
        &[cookie, ("Sec-Fetch-Site", "cross-site")],
        &Value::Null,
    );
    assert_eq!((reply.status(), reply.field("location")), (303, Some("/")));
    let look = || call(&gateway, "GET", "/api/v0/session", &[cookie], &Value::Null);
    assert_eq!(look().json()["username"], "alice");
    let reply = call(
        &gateway,
        "DELETE",
        "/api/v0/session",
        &[cookie, token],
        &Value::Null,
    );
    assert_eq!(reply.status(), 204);
    assert_eq!(look().status(), 401);
}

/// Serves one page to whoever asks, as long as the test runs; returns its port.
fn another_site(html: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            // What is asked for does not matter.
            let _ = stream.read(&mut request);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                html.len()
            );
            let _ = stream.write_all(format!("{head}{html}").as_bytes());
        }
    });
    port
}

#[test]
fn another_sites_page_changes_nothing_and_its_link_leads_in() {
    let gateway = options().start();
    let mut page = Browser::start();
    enter(&mut page, &gateway, "alice", "wonderland");
    let token = page.eval("me.csrf");
    let own = gateway.url();
    let site = another_site(format!(
        "<!doctype html><title>evil</title><p id=title>evil</p><a id=link href='{own}/'>in</a>"
    ));
    page.open(&format!("http://localhost:{site}/"));
    page.until_text("title", &["evil"]);
    // Even if it knew the token: the browser asks first whether it may show it, and is told no such thing.
    let body = json!({"username": "root", "password": "of all"});
    for (method, path, headers) in [
        (
            "POST",
            "/api/v0/session",
            json!({"Content-Type": "text/plain"}),
        ),
        (
            "POST",
            "/api/v0/session",
            json!({"Content-Type": "application/json"}),
        ),
        ("DELETE", "/api/v0/session", json!({"X-CSRF-Token": token})),
        ("GET", "/logout", json!({})),
        ("GET", "/api/v0/session", json!({})),
    ] {
        let body = if method == "POST" {
            format!("body: JSON.stringify({body}),")
        } else {
            String::new()
        };
        let read = page.eval(&format!(
            "fetch('{own}{path}', {{method: {method:?}, {body} headers: {headers}, credentials: 'include'}}).then(() => 'read', () => 'refused')"
        ));
        assert_eq!(read, "refused", "{method} {path}");
    }
    page.eval("document.getElementById('link').click()");
    page.until_text("username", &["alice"]);
    assert_eq!(page.eval("location.pathname"), "/");
}

#[test]
fn a_session_ends_with_its_user() {
    let gateway = options().start();
    let alice = log_in(&gateway, "alice", "wonderland");
    let look = || {
        call(
            &gateway,
            "GET",
            "/api/v0/content_caches",
            &[("Cookie", &alice.cookie)],
            &Value::Null,
        )
        .status()
    };
    assert_eq!(look(), 200);
    let path = gateway.file("htpasswd");
    let all = fs::read_to_string(&path).unwrap();
    let rest: Vec<&str> = all
        .lines()
        .filter(|line| !line.starts_with("alice:"))
        .collect();
    fs::write(&path, rest.join("\n") + "\n").unwrap();
    until("alice is gone", || look() == 401);
    // Who comes back under her name finds no open door.
    fs::write(&path, all).unwrap();
    until("the name is back", || {
        let alice = basic("alice", "wonderland");
        call(
            &gateway,
            "GET",
            "/api/v0/content_caches",
            &[("Authorization", &alice)],
            &Value::Null,
        )
        .status()
            == 200
    });
    assert_eq!(look(), 401);
}

#[test]
fn another_password_ends_a_session_for_good() {
    let gateway = options().start();
    let alice = log_in(&gateway, "alice", "wonderland");
    let cookie = ("Cookie", &*alice.cookie);
    let look = || call(&gateway, "GET", "/api/v0/session", &[cookie], &Value::Null).status();
    assert_eq!(look(), 200);
    let path = gateway.file("htpasswd");
    let old = fs::read_to_string(&path).unwrap();
    let lines = old.lines().map(|line| match line.split_once(':') {
        Some(("alice", _)) => format!("alice:{}\n", bcrypt::hash("elsewhere", 4).unwrap()),
        _ => format!("{line}\n"),
    });
    fs::write(&path, lines.collect::<String>()).unwrap();
    until("the session has ended", || look() == 401);
    // Nor does it come back with the old password.
    fs::write(&path, old).unwrap();
    until("the old password counts", || {
        let body = json!({"username": "alice", "password": "wonderland"});
        call(&gateway, "POST", "/api/v0/session", &[], &body).status() == 200
    });
    assert_eq!(look(), 401);
}

/// Returns what curl gets over HTTP/2, with its head.
fn over_http_2(gateway: &Gateway, path: &str, arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--http2-prior-knowledge", "-D-"])
        .args(arguments);
    run(curl.arg(format!("{}{path}", gateway.url())))
}

#[test]
fn a_page_over_http_2_is_our_own() {
    let gateway = options().start();
    let body = json!({"username": "alice", "password": "wonderland"}).to_string();
    let log_in = |origin: &str| {
        let origin = format!("Origin: {origin}");
        let kind = "Content-Type: application/json";
        over_http_2(
            &gateway,
            "/api/v0/session",
            &["-H", &origin, "-H", kind, "-d", &body],
        )
    };
    let said = log_in(&gateway.url());
    assert!(said.starts_with("HTTP/2 200"), "{said}");
    let registry = format!("\"registry\":\"{}\"", gateway.host());
    assert!(said.contains(&registry), "{said}");
    let said = log_in("http://other.example");
    assert!(
        said.starts_with("HTTP/2 403") && said.contains("CROSS_SITE"),
        "{said}"
    );
}

#[test]
fn a_page_is_kept_nowhere_and_says_nothing_to_who_is_not_logged_in() {
    let gateway = options()
        .http("  host: https://registry.example.org\n")
        .start();
    register(
        &gateway,
        &json!({"name": "zanzibar", "host": "https://zanzibar.example.org"}),
    );
    let get =
        |path: &str, fields: &[(&str, &str)]| call(&gateway, "GET", path, fields, &Value::Null);
    assert_eq!(get("/", &[]).field("location"), Some("/login"));
    let session = log_in(&gateway, "alice", "wonderland");
    assert!(
        session.cookie.starts_with("__Host-transship_session="),
        "{}",
        session.cookie
    );
    let cookie = ("Cookie", session.cookie.as_str());
    for (path, fields) in [("/login", &[][..]), ("/", &[cookie])] {
        let page = get(path, fields);
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(page.field("cache-control"), Some("no-store"));
        assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
        assert!(page.field("strict-transport-security").is_some());
        let policy = page.field("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-"),
            "{policy}"
        );
        assert_eq!(
            policy.contains("https://zanzibar.example.org"),
            path == "/",
            "{policy}"
        );
        for secret in ["alice", "zanzibar", &session.csrf, &session.cookie] {
            assert!(!page.text().contains(secret), "{path}: {secret}");
        }
    }
    assert_eq!(get("/login", &[cookie]).field("location"), Some("/"));
    // A cookie that a plain page could have set counts for nothing.
    let plain = session.cookie.replace("__Host-", "");
    assert_eq!(get("/api/v0/session", &[("Cookie", &plain)]).status(), 401);
    assert_eq!(
        get("/api/v0/session", &[cookie]).json()["registry"],
        "registry.example.org"
    );
    // A session is for pages and their API: the registry wants a token or a password.
    assert_eq!(get("/v2/", &[cookie]).status(), 401);
    let body = json!({"username": "alice", "password": "x".repeat(9000)});
    let reply = call(&gateway, "POST", "/api/v0/session", &[], &body);
    assert!([400, 413].contains(&reply.status()), "{}", reply.status());
}

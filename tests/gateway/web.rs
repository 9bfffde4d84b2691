//! The pages in a real browser, and what they stand on: sessions, and who may change what with one.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::{fs, thread};

use serde_json::{Value, json};

use crate::support::client::{Client, Reply};
use crate::support::gateway::{Gateway, Options};
use crate::support::{Browser, Rig, until};

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";
const POLICY: &str = "admins: [root]\nrules: []\n";

fn options() -> Options {
    Gateway::before(NOWHERE)
        .user("alice", "wonderland")
        .user("root", "of all")
        .policy(POLICY)
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = format!("{user}:{password}");
    let text = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Basic {text}")
}

/// Sends one request with a body of JSON.
fn call(
    gateway: &Gateway,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &Value,
) -> Reply {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        gateway.host(),
        body.len(),
    );
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut client = Client::connect(gateway.addr);
    client.send(format!("{head}\r\n{body}").as_bytes());
    client.reply(method)
}

/// Asks the API in the admin's name.
fn as_root(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Reply {
    let root = basic("root", "of all");
    call(gateway, method, path, &[("Authorization", &root)], body)
}

/// Registers a cache, and returns its id.
fn register(gateway: &Gateway, cache: &Value) -> String {
    let reply = as_root(gateway, "POST", "/api/v0/content_caches", cache);
    assert_eq!(reply.status(), 201, "{}", reply.text());
    reply.json()["id"].as_str().unwrap().to_owned()
}

/// What a program that keeps a cookie has after a login.
struct Session {
    cookie: String,
    csrf: String,
}

fn log_in(gateway: &Gateway, user: &str, password: &str) -> Session {
    let body = json!({"username": user, "password": password});
    let reply = call(gateway, "POST", "/api/v0/session", &[], &body);
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let cookie = reply.field("set-cookie").unwrap().split(';').next();
    Session {
        cookie: cookie.unwrap().to_owned(),
        csrf: reply.json()["csrf"].as_str().unwrap().to_owned(),
    }
}

/// The browser's side.
fn fill(page: &mut Browser, id: &str, text: &str) {
    page.eval(&format!(
        "(at => {{ at.focus(); at.select(); }})(document.getElementById({id:?}))"
    ));
    page.type_text(text);
}

fn click(page: &mut Browser, id: &str) {
    page.eval(&format!("document.getElementById({id:?}).click()"));
}

/// Logs in as a person does, and waits for the page.
fn enter(page: &mut Browser, gateway: &Gateway, user: &str, password: &str) {
    page.open(&gateway.url());
    page.until_text("title", &["Log in"]);
    fill(page, "username", user);
    page.press("Tab");
    page.type_text(password);
    page.press("Enter");
    page.until_text("username", &[user]);
    until("the page is ready", || {
        page.eval("document.documentElement.dataset.ready") == "yes"
    });
}

/// What a page complained of, but for servers that did not answer or refused.
fn faults(page: &mut Browser) -> Vec<String> {
    let mut all = page.complaints();
    all.retain(|one| !one.contains(r#""source":"network""#));
    all
}

/// Returns the status of what the page asks the API, as a script of it would.
fn asked(page: &mut Browser, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() {
        "undefined".to_owned()
    } else {
        format!("JSON.stringify({body})")
    };
    page.eval(&format!(
        "fetch({path:?}, {{method: {method:?}, body: {body}, headers: {{'Content-Type': 'application/json', \
         'X-CSRF-Token': me.csrf}}}}).then(answer => answer.status)"
    ))
}

#[test]
fn a_user_logs_in_chooses_a_cache_and_leaves() {
    let cache = Rig::start();
    let gateway = options().start();
    let near = register(
        &gateway,
        &json!({"name": "asia", "host": format!("http://{}", cache.transship.addr)}),
    );
    register(
        &gateway,
        &json!({"name": "europe", "host": NOWHERE, "isDefault": true}),
    );
    let mut page = Browser::start();
    page.open(&gateway.url());
    page.until_text("title", &["Log in"]);
    for (user, password) in [("alice", "rabbit"), ("nobody", "wonderland")] {
        fill(&mut page, "username", user);
        fill(&mut page, "password", password);
        page.press("Enter");
        page.until_text("wrong", &["The name or the password is wrong."]);
        assert_eq!(page.eval("location.pathname"), "/login");
        until("the form is free", || {
            page.eval("document.getElementById('submit').disabled") == false
        });
    }
    enter(&mut page, &gateway, "alice", "wonderland");
    page.until_text(
        "docker-login",
        &[&format!("docker login {}", gateway.host())],
    );
    page.until_text(
        "choice-list",
        &[
            "Automatic",
            "asia",
            " ms",
            "europe",
            "default",
            "unreachable from here",
        ],
    );
    assert_eq!(
        page.eval(&format!(
            "document.getElementById('choice-of-{near}').checked"
        )),
        false
    );
    assert_eq!(
        page.eval("document.getElementById('choice-save').disabled"),
        true
    );

    click(&mut page, &format!("choice-of-{near}"));
    page.until_text("choice-state", &["not saved yet"]);
    click(&mut page, "choice-save");
    page.until_text("choice-state", &["Saved: asia."]);
    let mine = || {
        as_root(
            &gateway,
            "GET",
            "/api/v0/accounts/alice/settings",
            &Value::Null,
        )
        .json()
    };
    assert_eq!(mine()["ContentCacheUUID"], *near);
    page.open(&gateway.url());
    page.until_text("choice-list", &["asia"]);
    assert_eq!(
        page.eval(&format!(
            "document.getElementById('choice-of-{near}').checked"
        )),
        true
    );
    click(&mut page, "choice-of-");
    click(&mut page, "choice-save");
    page.until_text("choice-state", &["Saved: automatic."]);
    assert_eq!(mine()["ContentCacheUUID"], "");
    assert_eq!(faults(&mut page), Vec::<String>::new());

    let cookies = page.call("Network.getCookies", json!({"urls": [gateway.url()]}));
    let cookie = cookies["cookies"][0].clone();
    assert_eq!(
        (&cookie["httpOnly"], &cookie["sameSite"]),
        (&json!(true), &json!("Strict"))
    );
    click(&mut page, "logout");
    page.until_text("title", &["Log in"]);
    let pair = format!(
        "{}={}",
        cookie["name"].as_str().unwrap(),
        cookie["value"].as_str().unwrap()
    );
    let reply = call(
        &gateway,
        "GET",
        "/api/v0/session",
        &[("Cookie", &pair)],
        &Value::Null,
    );
    assert_eq!(reply.status(), 401);
}

#[test]
fn who_is_no_admin_sees_nothing_of_it_and_the_api_refuses() {
    let gateway = options().start();
    let id = register(&gateway, &json!({"name": "asia", "host": NOWHERE}));
    let mut page = Browser::start();
    enter(&mut page, &gateway, "alice", "wonderland");
    page.until_text("choice-list", &["asia"]);
    assert_eq!(page.eval("[...document.querySelectorAll('[data-admin]')].filter(at => at.checkVisibility()).length"), 0);
    let one = format!("/api/v0/content_caches/{id}");
    let cache = json!({"name": "mine", "host": NOWHERE});
    for (method, path, body) in [
        ("POST", "/api/v0/content_caches", &cache),
        ("PUT", &*one, &cache),
        ("POST", &*format!("{one}/test"), &Value::Null),
        ("DELETE", &*one, &Value::Null),
        (
            "PATCH",
            "/api/v0/accounts/root/settings",
            &json!({"contentCacheUUID": id}),
        ),
    ] {
        assert_eq!(asked(&mut page, method, path, body), 403, "{method} {path}");
    }
    let get = "fetch('/api/v0/accounts').then(answer => answer.status)";
    assert_eq!(page.eval(get), 403);
    assert_eq!(faults(&mut page), Vec::<String>::new());
}

#[test]
fn an_admin_registers_tests_edits_and_removes_a_cache() {
    let cache = Rig::start();
    let gateway = options().start();
    let mut page = Browser::start();
    page.look(1280, "light");
    enter(&mut page, &gateway, "root", "of all");
    page.until_text("caches", &["None yet"]);
    page.until_text("users", &["alice", "root", "admin", "automatic", "2 users"]);
    page.until_text("rules", &["Nothing yet"]);
    click(&mut page, "register");
    page.until_text("cache-title", &["Register a cache"]);
    fill(&mut page, "cache-name", "asia");
    fill(&mut page, "cache-host", "asia.example");
    click(&mut page, "cache-save");
    // The browser refuses what is no address; what it takes for one, the gateway judges.
    assert_eq!(
        page.eval("document.getElementById('cache-host').validity.valid"),
        false
    );
    fill(&mut page, "cache-host", "ftp://asia.example");
    click(&mut page, "cache-save");
    page.until_text("cache-wrong", &["Refused"]);
    fill(
        &mut page,
        "cache-host",
        &format!("http://{}", cache.transship.addr),
    );
    fill(&mut page, "cache-networks", "10.1.0.0/16, 10.2.0.0/16");
    fill(&mut page, "cache-admin-url", "http://127.0.0.1:9");
    fill(&mut page, "cache-admin-token", "the-secret-token");
    click(&mut page, "cache-save");
    page.until_text("said", &["asia was registered."]);
    page.until_text(
        "cache-rows",
        &["asia", "10.1.0.0/16", "10.2.0.0/16", "http://127.0.0.1:9"],
    );
    assert!(!page.text("cache-rows").contains("without a token"));
    page.until_text("choice-list", &["asia", " ms"]);
    let list = || as_root(&gateway, "GET", "/api/v0/content_caches", &Value::Null).json();
    let id = list()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(list()[0]["hasAdminToken"], true);

    click(&mut page, &format!("test-{id}"));
    page.until_text("said", &["Test of asia: up"]);
    click(&mut page, &format!("edit-{id}"));
    page.until_text("cache-title", &["Edit asia"]);
    let token = "document.getElementById('cache-admin-token').value";
    assert_eq!(page.eval(token), "");
    fill(&mut page, "cache-name", "asia-1");
    click(&mut page, "cache-default");
    click(&mut page, "cache-save");
    page.until_text("said", &["asia-1 was changed."]);
    page.until_text("cache-rows", &["asia-1", "default"]);
    let now = list();
    assert_eq!(
        (&now[0]["isDefault"], &now[0]["hasAdminToken"]),
        (&json!(true), &json!(true))
    );

    let choice = json!({"contentCacheUUID": id});
    let chosen = as_root(
        &gateway,
        "PATCH",
        "/api/v0/accounts/alice/settings",
        &choice,
    );
    assert_eq!(chosen.status(), 200);
    click(&mut page, &format!("remove-{id}"));
    page.until_text("remove-text", &["1 user has chosen it: alice."]);
    page.press("Enter");
    until("the dialog is closed", || {
        page.eval("document.getElementById('remove-dialog').open") == false
    });
    assert_eq!(list().as_array().unwrap().len(), 1);
    click(&mut page, &format!("remove-{id}"));
    page.until_text("remove-text", &["1 user has chosen it: alice."]);
    click(&mut page, "remove-do");
    page.until_text("said", &["asia-1 was removed."]);
    page.until_text("caches", &["None yet"]);
    assert_eq!(list(), json!([]));
    assert_eq!(faults(&mut page), Vec::<String>::new());
}

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

#[test]
fn hostile_names_are_text_and_it_fits_every_window_in_both_schemes() {
    let markup =
        "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>";
    let cache = Rig::start();
    let gateway = options().start();
    let asia = register(
        &gateway,
        &json!({"name": "asia", "host": format!("http://{}", cache.transship.addr), "networks": ["10.1.0.0/16", "fd00:1234:5678::/48"], "isDefault": true, "adminURL": "https://cache.example.org:5001"}),
    );
    register(
        &gateway,
        &json!({"name": "europe-with-a-name-as-long-as-names-may-be-for-a-cache", "host": NOWHERE}),
    );
    let mut page = Browser::start();
    page.look(1280, "light");
    page.open(&gateway.url());
    page.until_text("title", &["Log in"]);
    shots(&mut page, "login");
    enter(&mut page, &gateway, "root", "of all");
    page.until_text("choice-list", &[" ms", "unreachable from here"]);
    page.eval(&format!(
        r#"(() => {{
        const evil = {markup:?}, long = evil + "long-".repeat(40), old = caches[0], at = "2026-11-22T01:02:03Z";
        caches.push({{...old, id: "evil", name: long, host: "https://" + "long-".repeat(30) + "x.example", networks: [evil], adminURL: evil, health: {{state: "down", reason: long, since: at}}}});
        runs = [
          {{id: "1", kind: "warm", repository: "website/ui", reference: "3-stable", target: "asia", state: "done", attempts: 1, message: "", created: at, updated: at}},
          {{id: "2", kind: "warm", repository: "website/ui", reference: "sha256:" + "0123456789abcdef".repeat(4), target: "europe", state: "waiting", attempts: 3, message: "the cache does not answer", created: at, updated: at}},
          {{id: "3", kind: "mirror", repository: long, reference: evil, target: evil, state: "failed", attempts: 9, message: long, created: at, updated: evil}}];
        accounts = [...accounts, {{name: evil, isAdmin: true, cache: "evil"}}, {{name: "bob", isAdmin: false, cache: {asia:?}}}];
        saved = "evil"; picked = "evil";
        tell(evil, "bad");
        showChoices(); showCaches(); showUsers(); showRuns();
    }})()"#
    ));
    for id in [
        "choice-list",
        "choice-note",
        "cache-rows",
        "user-rows",
        "rule-rows",
        "said",
    ] {
        let text = page.text(id);
        assert!(text.contains(markup), "{id}: {text}");
    }
    let made = page.eval("document.querySelectorAll('img, main script, header script').length");
    assert_eq!(made, 0);
    assert_ne!(page.eval("document.title"), "taken");
    shots(&mut page, "home");
    page.eval("edit(caches[0])");
    shots(&mut page, "cache-dialog");
    assert_eq!(faults(&mut page), Vec::<String>::new());
}

/// Writes pictures of the page, and holds each against what people can see.
fn shots(page: &mut Browser, name: &str) {
    for width in [360, 760, 1280, 1920] {
        for scheme in ["light", "dark"] {
            page.look(width, scheme);
            let to = Path::new(env!("CARGO_TARGET_TMPDIR"));
            page.picture(&to.join(format!("gateway-{name}-{width}-{scheme}.png")));
            let scrolls = page.eval("document.documentElement.scrollWidth - innerWidth");
            let wide = page.too_wide();
            assert_eq!(scrolls, 0, "{name} {width} {scheme}: {wide}");
            assert_eq!(wide, json!([]), "{name} {width} {scheme}");
            assert_eq!(page.faint(), json!([]), "{name} {width} {scheme}");
        }
    }
}

#[test]
fn it_is_found_by_keyboard_and_by_ear() {
    let gateway = options().start();
    let id = register(&gateway, &json!({"name": "asia", "host": NOWHERE}));
    let mut page = Browser::start();
    page.look(1280, "light");
    enter(&mut page, &gateway, "root", "of all");
    page.until_text("choice-list", &["unreachable"]);
    page.press("Tab");
    assert_eq!(page.eval("document.activeElement.className"), "skip");
    page.press("Enter");
    assert_eq!(page.eval("document.activeElement.id"), "main");
    page.press("Tab");
    assert_eq!(page.eval("document.activeElement.id"), "measure");
    page.press("Tab");
    assert_eq!(page.eval("document.activeElement.id"), "choice-of-");
    // What is drawn anew does not throw out who stands in it.
    page.eval("caches[0].isDefault = true; showChoices(); showCaches()");
    assert_eq!(page.eval("document.activeElement.id"), "choice-of-");
    let tree = page.call("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().unwrap();
    let named = |role: &str| -> Vec<String> {
        let nodes = nodes.iter().filter(|node| node["role"]["value"] == role);
        let name = |node: &Value| {
            node["name"]["value"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        nodes.map(name).collect()
    };
    assert_eq!(
        (
            named("main").len(),
            named("banner").len(),
            named("navigation").len()
        ),
        (1, 1, 1)
    );
    for role in [
        "region",
        "radio",
        "button",
        "textbox",
        "searchbox",
        "table",
        "columnheader",
    ] {
        assert!(!named(role).is_empty() || role == "textbox", "{role}");
        assert!(
            named(role).iter().all(|name| !name.trim().is_empty()),
            "{role}: {:?}",
            named(role)
        );
    }
    assert_eq!(named("region").len(), 5, "{:?}", named("region"));
    assert!(named("radio").iter().any(|name| name.contains("asia")));
    assert!(
        named("button").contains(&"Remove asia".to_owned()),
        "{:?}",
        named("button")
    );
    assert!(
        page.eval(&format!("document.getElementById('remove-{id}') !== null"))
            .as_bool()
            .unwrap()
    );
}

//! The pages in a real browser, and what they stand on: sessions, and who may change what with one.

mod look;
mod sessions;
mod using;

use serde_json::{Value, json};

use crate::support::client::{Client, Reply};
use crate::support::gateway::{Gateway, Options};
use crate::support::{Browser, until};

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

//! What people do on the pages: log in, choose, and take care of caches.

use serde_json::{Value, json};

use super::{NOWHERE, as_root, asked, call, click, enter, faults, fill, options, register};
use crate::support::gateway::Gateway;
use crate::support::{Browser, Rig, until};

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
    is_refused(&mut page, &gateway);
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
    leave(&mut page, &gateway);
}

fn is_refused(page: &mut Browser, gateway: &Gateway) {
    page.open(&gateway.url());
    page.until_text("title", &["Log in"]);
    for (user, password) in [("alice", "rabbit"), ("nobody", "wonderland")] {
        fill(page, "username", user);
        fill(page, "password", password);
        page.press("Enter");
        page.until_text("wrong", &["The name or the password is wrong."]);
        assert_eq!(page.eval("location.pathname"), "/login");
        until("the form is free", || {
            page.eval("document.getElementById('submit').disabled") == false
        });
    }
}

fn leave(page: &mut Browser, gateway: &Gateway) {
    let cookies = page.call("Network.getCookies", json!({"urls": [gateway.url()]}));
    let cookie = cookies["cookies"][0].clone();
    assert_eq!(
        (&cookie["httpOnly"], &cookie["sameSite"]),
        (&json!(true), &json!("Strict"))
    );
    click(page, "logout");
    page.until_text("title", &["Log in"]);
    let pair = format!(
        "{}={}",
        cookie["name"].as_str().unwrap(),
        cookie["value"].as_str().unwrap()
    );
    let reply = call(
        gateway,
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
    remove(&mut page, &gateway, &id);
}

/// Not by pressing Enter, but by saying so.
fn remove(page: &mut Browser, gateway: &Gateway, id: &str) {
    let list = || as_root(gateway, "GET", "/api/v0/content_caches", &Value::Null).json();
    click(page, &format!("remove-{id}"));
    page.until_text("remove-text", &["1 user has chosen it: alice."]);
    page.press("Enter");
    until("the dialog is closed", || {
        page.eval("document.getElementById('remove-dialog').open") == false
    });
    assert_eq!(list().as_array().unwrap().len(), 1);
    click(page, &format!("remove-{id}"));
    page.until_text("remove-text", &["1 user has chosen it: alice."]);
    click(page, "remove-do");
    page.until_text("said", &["asia-1 was removed."]);
    page.until_text("caches", &["None yet"]);
    assert_eq!(list(), json!([]));
    assert_eq!(faults(page), Vec::<String>::new());
}

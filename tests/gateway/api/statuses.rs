//! Every documented status, and what must not get through.

use serde_json::json;

use super::{ALICE, Api, CACHES, NOWHERE, basic, cache, filled, options};

#[test]
fn every_described_status_is_answered() {
    let api = Api::start();
    let id = api.register(cache("asia"));
    let one = format!("{CACHES}/{id}");
    let (test, users) = (format!("{one}/test"), format!("{one}/users"));
    let settings = || Some(json!({"contentCacheUUID": id}));
    let ok = |user: &str, method: &str, path: &str, body, status: u16| {
        let reply = api.ask(user, method, path, body);
        assert_eq!(reply.status(), status, "{method} {path}: {}", reply.text());
    };
    ok("alice", "GET", CACHES, None, 200);
    ok("alice", "GET", &one, None, 200);
    ok("root", "PUT", &one, Some(cache("asia")), 200);
    ok("root", "POST", &test, None, 200);
    ok("root", "GET", &users, None, 200);
    ok("root", "GET", "/api/v0/accounts", None, 200);
    ok("alice", "GET", ALICE, None, 200);
    ok("alice", "PATCH", ALICE, settings(), 200);
    ok("root", "PATCH", ALICE, settings(), 200);
    who_may_not(&api, &id);
    what_does_not_hold(&api, &one);
    ok("root", "DELETE", &one, None, 204);
    no_credentials(&api);
    expect_all_seen(&api);
}

/// Asks for what is not there, and as somebody who may not.
fn who_may_not(api: &Api, id: &str) {
    let one = format!("{CACHES}/{id}");
    let none = format!("{CACHES}/6d8c5f5e-0000-4000-8000-000000000000");
    let (test, users) = (format!("{one}/test"), format!("{one}/users"));
    let settings = || Some(json!({"contentCacheUUID": id}));
    let refused = |user: &str, method: &str, path: &str, body, status: u16, code: &str| {
        api.ask(user, method, path, body).expect_error(status, code);
    };
    for (method, path) in [("POST", CACHES), ("PUT", &one), ("DELETE", &one)] {
        refused(
            "alice",
            method,
            path,
            Some(cache("x")),
            403,
            "NOT_AUTHORIZED",
        );
    }
    for (method, path) in [
        ("POST", test.as_str()),
        ("GET", &users),
        ("GET", "/api/v0/accounts"),
    ] {
        refused("alice", method, path, None, 403, "NOT_AUTHORIZED");
    }
    refused("bob", "GET", ALICE, None, 403, "NOT_AUTHORIZED");
    refused("bob", "PATCH", ALICE, settings(), 403, "NOT_AUTHORIZED");
    let nobody = "/api/v0/accounts/nobody/settings";
    refused("bob", "GET", nobody, None, 403, "NOT_AUTHORIZED");
    refused("root", "GET", nobody, None, 404, "NO_SUCH_ACCOUNT");
    refused("root", "PATCH", nobody, settings(), 404, "NO_SUCH_ACCOUNT");
    let missing = [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/test"),
        ("GET", "/users"),
    ];
    for (method, more) in missing {
        let body = (method == "PUT").then(|| cache("x"));
        let path = format!("{none}{more}");
        refused("root", method, &path, body, 404, "NO_SUCH_CONTENT_CACHE");
    }
}

/// Sends bodies that are none, and asks for paths and methods that there are not.
fn what_does_not_hold(api: &Api, one: &str) {
    let refused = |user: &str, method: &str, path: &str, body, status: u16, code: &str| {
        api.ask(user, method, path, body).expect_error(status, code);
    };
    for (method, path) in [("POST", CACHES), ("PUT", one), ("PATCH", ALICE)] {
        let root = basic("root");
        let of_form = [
            ("Authorization", root.as_str()),
            ("Content-Type", "text/plain"),
        ];
        let reply = api.send(method, path, &of_form, "{}");
        reply.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
        let of_json = [
            of_form[0],
            ("Content-Type", "application/json; charset=utf-8"),
        ];
        api.send(method, path, &of_json, "{")
            .expect_error(400, "INVALID_JSON");
    }
    refused(
        "root",
        "POST",
        CACHES,
        Some(cache("asia")),
        400,
        "INVALID_CONTENT_CACHE",
    );
    api.register(cache("europe"));
    refused(
        "root",
        "PUT",
        one,
        Some(cache("europe")),
        400,
        "INVALID_CONTENT_CACHE",
    );
    refused("root", "PATCH", CACHES, None, 405, "METHOD_NOT_ALLOWED");
    refused("root", "GET", "/api/v0/nothing", None, 404, "NOT_FOUND");
}

/// Asks each path without credentials, with wrong ones, and for something that is no JSON.
fn no_credentials(api: &Api) {
    let paths = api.description["paths"].as_object().unwrap();
    for (path, item) in paths {
        let path = filled(path);
        for method in item.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let reply = api.send(&method, &path, &[], "");
            reply.expect_error(401, "NOT_AUTHENTICATED");
            assert!(
                reply
                    .field("www-authenticate")
                    .unwrap()
                    .starts_with("Basic ")
            );
            let html = [("Accept", "text/html, application/json;q=0")];
            let reply = api.send(&method, &path, &html, "");
            reply.expect_error(406, "NOT_ACCEPTABLE");
        }
    }
}

/// All but what only a database that is away makes.
fn expect_all_seen(api: &Api) {
    let seen = api.seen.borrow();
    let paths = api.description["paths"].as_object().unwrap().iter();
    let own = ["/api/v0/accounts", CACHES];
    let paths = paths.filter(|(path, _)| own.iter().any(|own| path.starts_with(own)));
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            for status in operation["responses"].as_object().unwrap().keys() {
                let answer = (path.clone(), method.clone(), status.parse().unwrap());
                let was_seen = status == "503" || seen.contains(&answer);
                assert!(was_seen, "{answer:?} is described, and was not answered");
            }
        }
    }
}

#[test]
fn only_a_password_opens_the_api_and_a_browser_is_not_challenged() {
    let api = Api::start();
    let token = api
        .gateway
        .get("/auth/token?service=x", Some(&basic("root")));
    let token = token.json()["token"].as_str().unwrap().to_owned();
    let wrong = format!("Basic {}", "cm9vdDpwdw==");
    for shown in [format!("Bearer {token}"), wrong] {
        let reply = api.send("GET", CACHES, &[("Authorization", &shown)], "");
        reply.expect_error(401, "NOT_AUTHENTICATED");
    }
    for field in [
        ("Sec-Fetch-Mode", "cors"),
        ("User-Agent", "Mozilla/5.0 (X11)"),
    ] {
        let reply = api.send("GET", CACHES, &[field], "");
        reply.expect_error(401, "NOT_AUTHENTICATED");
        assert_eq!(reply.field("www-authenticate"), None);
    }
}

#[test]
fn what_another_sites_page_sends_changes_nothing() {
    let api = Api::start();
    let root = basic("root");
    let id = api.register(cache("asia"));
    let path = format!("{CACHES}/{id}");
    for site in ["cross-site", "same-site"] {
        let fields = [("Authorization", root.as_str()), ("Sec-Fetch-Site", site)];
        let reply = api.send("DELETE", &path, &fields, "");
        reply.expect_error(403, "CROSS_SITE");
    }
    let fields = [
        ("Authorization", root.as_str()),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    assert_eq!(api.send("DELETE", &path, &fields, "").status(), 204);
}

#[test]
fn a_cache_that_makes_no_sense_is_refused() {
    let api = Api::start();
    let with = |field: &str, value: serde_json::Value| {
        let mut cache = cache("asia");
        cache[field] = value;
        cache
    };
    let unfit = [
        json!([]),
        json!({"name": "asia"}),
        json!({"host": NOWHERE}),
        with("name", json!("")),
        with("name", json!(" asia")),
        with("name", json!("as\u{202e}ia")),
        with("name", json!("as\nia")),
        with("name", json!("a".repeat(101))),
        with("host", json!("cache.example.org:5000")),
        with("host", json!("ftp://cache.example.org")),
        with("host", json!("https://user:word@cache.example.org")),
        with("host", json!("https://cache.example.org/v2/")),
        with("host", json!("https://cache.example.org?x=1")),
        with("networks", json!(["10.0.0.0/33"])),
        with("networks", json!("10.0.0.0/8")),
        with("networks", json!(vec!["10.0.0.0/8"; 257])),
        with("adminURL", json!("localhost:5001")),
        with("adminToken", json!("secret")),
        with("network", json!(["10.0.0.0/8"])),
        with("isDefault", json!("yes")),
    ];
    for body in unfit {
        let reply = api.ask("root", "POST", CACHES, Some(body));
        reply.expect_error(400, "INVALID_CONTENT_CACHE");
    }
    assert_eq!(api.ask("root", "GET", CACHES, None).json(), json!([]));
    for body in [
        json!([]),
        json!({"contentCacheUUID": "none"}),
        json!({"theme": "dark"}),
    ] {
        let reply = api.ask("alice", "PATCH", ALICE, Some(body));
        reply.expect_error(400, "INVALID_USER_SETTINGS");
    }
    let long = [
        ("Authorization", &*basic("root")),
        ("Content-Type", "application/json"),
    ];
    let reply = api.send(
        "POST",
        CACHES,
        &long,
        &format!("\"{}\"", "a".repeat(70_000)),
    );
    reply.expect_error(400, "INVALID_JSON");
}

#[test]
fn an_admin_token_is_shown_to_nobody_and_goes_nowhere_else() {
    let api = Api::of(options().start());
    let (place, token) = ("http://127.0.0.1:9", "the-admin-token");
    let mut with_token = cache("asia");
    with_token["adminURL"] = json!(place);
    with_token["adminToken"] = json!(token);
    let id = api.register(with_token);
    let path = format!("{CACHES}/{id}");
    let told = |user: &str| {
        let reply = api.ask(user, "GET", &path, None);
        assert!(!reply.text().contains(token), "{}", reply.text());
        let cache = reply.json();
        (cache["adminURL"].clone(), cache["hasAdminToken"].clone())
    };
    assert_eq!(told("root"), (json!(place), json!(true)));
    assert_eq!(told("alice"), (json!(null), json!(null)));
    // What an admin reads can be sent back as it is.
    let read = api.ask("root", "GET", &path, None).json();
    let put = |body| {
        let reply = api.ask("root", "PUT", &path, Some(body));
        assert_eq!(reply.status(), 200, "{}", reply.text());
    };
    put(read.clone());
    assert_eq!(told("root"), (json!(place), json!(true)));
    let mut moved = read.clone();
    moved["adminURL"] = json!("http://127.0.0.2:9");
    put(moved);
    assert_eq!(told("root"), (json!("http://127.0.0.2:9"), json!(false)));
    put(cache("asia"));
    assert_eq!(told("root"), (json!(null), json!(false)));
    assert!(!api.gateway.process.log().contains(token));
}

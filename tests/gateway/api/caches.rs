//! Content caches as DTR has them, what users chose, and health.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::{Value, json};

use super::{ALICE, Api, CACHES, NOWHERE, cache};
use crate::support::process::until;
use crate::support::{DockerRegistry, Transship};

#[test]
fn a_client_that_knows_dtrs_api_alone_finds_it() {
    let api = Api::start();
    let body = json!({"name": "region-us", "host": "https://cache.invalid:5000"});
    let made = api.ask("root", "POST", CACHES, Some(body.clone()));
    assert_eq!(made.status(), 201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.field("location"), Some(&*format!("{CACHES}/{id}")));
    let of_dtr = |cache: &Value| json!({"name": cache["name"], "host": cache["host"]});
    let listed = api.ask("alice", "GET", CACHES, None).json();
    assert_eq!(
        (listed.as_array().unwrap().len(), of_dtr(&listed[0])),
        (1, body.clone())
    );
    let path = format!("{CACHES}/{id}");
    let one = api.ask("alice", "GET", &path, None).json();
    assert_eq!((one["id"].as_str(), of_dtr(&one)), (Some(&*id), body));
    let chosen = api.ask(
        "alice",
        "PATCH",
        ALICE,
        Some(json!({"contentCacheUUID": id})),
    );
    assert_eq!(chosen.status(), 200);
    let settings = |user| api.ask(user, "GET", ALICE, None).json();
    assert_eq!(settings("alice"), json!({"ContentCacheUUID": id}));
    let users = format!("{path}/users");
    assert_eq!(
        api.ask("root", "GET", &users, None).json(),
        json!(["alice"])
    );
    // Another one in its place is what they chose.
    let reply = api.ask("root", "PUT", &path, Some(cache("region-eu")));
    assert_eq!(
        (reply.status(), reply.json()["id"].as_str()),
        (200, Some(&*id))
    );
    assert_eq!(settings("root"), json!({"ContentCacheUUID": id}));
    assert_eq!(api.ask("root", "DELETE", &path, None).status(), 204);
    assert_eq!(settings("alice"), json!({"ContentCacheUUID": ""}));
    api.ask("root", "DELETE", &path, None)
        .expect_error(404, "NO_SUCH_CONTENT_CACHE");
}

#[test]
fn an_empty_choice_is_none_and_no_choice_changes_nothing() {
    let api = Api::start();
    let id = api.register(cache("asia"));
    let patch = |body| api.ask("alice", "PATCH", ALICE, Some(body)).json();
    let chosen = json!({"ContentCacheUUID": id});
    assert_eq!(patch(json!({"contentCacheUUID": id})), chosen);
    assert_eq!(patch(json!({})), chosen);
    let accounts = api.ask("root", "GET", "/api/v0/accounts", None).json();
    let of = |name: &str, admin: bool, id: &str| json!({"name": name, "isAdmin": admin, "ContentCacheUUID": id});
    let want = json!([
        of("alice", false, &id),
        of("bob", false, ""),
        of("root", true, "")
    ]);
    assert_eq!(accounts, want);
    assert_eq!(
        patch(json!({"contentCacheUUID": ""})),
        json!({"ContentCacheUUID": ""})
    );
}

#[test]
fn there_is_one_default_at_most() {
    let api = Api::start();
    let default = |name: &str| json!({"name": name, "host": NOWHERE, "isDefault": true});
    let first = api.register(default("asia"));
    api.register(default("europe"));
    let defaults = || {
        let listed = api.ask("alice", "GET", CACHES, None).json();
        let caches = listed.as_array().unwrap().clone();
        let defaults = caches
            .into_iter()
            .filter(|cache| cache["isDefault"] == true);
        defaults
            .map(|cache| cache["name"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(defaults(), ["europe"]);
    api.ask(
        "root",
        "PUT",
        &format!("{CACHES}/{first}"),
        Some(default("asia")),
    );
    assert_eq!(defaults(), ["asia"]);
}

#[test]
fn networks_are_kept_as_networks() {
    let api = Api::start();
    let mut cache = cache("asia");
    cache["networks"] = json!(["10.1.2.3/8", "2001:db8::1", "10.0.0.0/8", "192.0.2.7"]);
    let id = api.register(cache);
    let read = api
        .ask("alice", "GET", &format!("{CACHES}/{id}"), None)
        .json();
    let want = json!(["10.0.0.0/8", "2001:db8::1/128", "192.0.2.7/32"]);
    assert_eq!(read["networks"], want);
}

#[test]
fn a_cache_is_up_while_it_answers_and_down_when_it_is_killed() {
    let registry = DockerRegistry::start();
    let near = Transship::before(registry.url());
    let api = Api::start();
    let id = api.register(json!({"name": "near", "host": format!("http://{}", near.addr)}));
    until("it is up", || api.health(&id)["state"] == "up");
    let health = api.health(&id);
    assert!(
        health["roundTripMilliseconds"].as_f64().unwrap() > 0.0,
        "{health}"
    );
    assert!(
        health["since"].as_u64() <= health["checkedAt"].as_u64(),
        "{health}"
    );
    let killed = near.kill();
    until("it is down", || api.health(&id)["state"] == "down");
    let reason = api.health(&id)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("refused"), "{reason}");
    drop(killed);
    // Its host moves: what was seen of the old one says nothing of the new one.
    let next = Transship::before(registry.url());
    let body = json!({"name": "near", "host": format!("http://{}", next.addr)});
    let moved = api
        .ask("root", "PUT", &format!("{CACHES}/{id}"), Some(body))
        .json();
    assert_ne!(moved["health"]["state"], "down");
    until("it is up again", || api.health(&id)["state"] == "up");
}

#[test]
fn what_stands_before_a_dead_cache_is_not_taken_for_it() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", proxy.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in proxy.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let api = Api::start();
    let id = api.register(json!({"name": "asia", "host": host}));
    let test = api
        .ask("root", "POST", &format!("{CACHES}/{id}/test"), None)
        .json();
    assert_eq!(test["state"], "down");
    assert_eq!(test["reason"], "it answers 502 Bad Gateway");
    // A registry that speaks plain HTTP has no certificate to show.
    let registry = DockerRegistry::start();
    let id = api.register(json!({"name": "plain", "host": format!("https://{}", registry.addr())}));
    let test = api
        .ask("root", "POST", &format!("{CACHES}/{id}/test"), None)
        .json();
    assert_eq!(test["state"], "down", "{test}");
    // Any registry is one.
    let id = api.register(json!({"name": "registry", "host": registry.url()}));
    let test = api
        .ask("root", "POST", &format!("{CACHES}/{id}/test"), None)
        .json();
    assert_eq!(test["state"], "up", "{test}");
}

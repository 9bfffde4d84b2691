//! Who is sent to a cache, who is not, and what a signed URL opens.

use serde_json::json;

use super::refusals::token;
use super::{Site, basic, before, call_with, code};
use crate::support::client::{Client, Reply};
use crate::support::{Blob, DockerRegistry, Transship, assert_same, until};

/// A site with a cache for everybody.
struct Sent {
    site: Site,
    cache: Transship,
}

impl Sent {
    fn start() -> Self {
        let registry = DockerRegistry::start();
        let more = "  probe: {interval: 200ms, timeout: 2s}\n";
        let gateway = before(registry.url()).more(more).start();
        let cache = Transship::before(gateway.url());
        let site = Site { gateway, registry };
        let body =
            json!({"name": "near", "host": format!("http://{}", cache.addr), "isDefault": true});
        let path = "/api/v0/content_caches";
        let login = basic("root");
        let made = site
            .gateway
            .call("POST", path, Some(&login), &body.to_string());
        assert_eq!(made.status(), 201, "{}", made.text());
        until("the cache is up", || {
            let listed = site.gateway.get(path, Some(&login)).json();
            listed[0]["health"]["state"] == "up"
        });
        Self { site, cache }
    }

    /// Asks the gateway with this `Authorization`.
    fn ask(&self, method: &str, path: &str, authorization: &str) -> Reply {
        let fields = [("Authorization", authorization)];
        Client::connect(self.site.gateway.addr).call(method, path, &fields)
    }

    /// Returns the path at the cache, with its token, that a user is sent to.
    #[track_caller]
    fn there(&self, user: &str, path: &str) -> String {
        let reply = self.site.call(user, "GET", path, b"");
        assert_eq!(reply.status(), 307, "{}", reply.text());
        assert_eq!(reply.field("cache-control"), Some("no-store"));
        let there = reply.field("location").unwrap();
        let host = format!("http://{}", self.cache.addr);
        let there = there.strip_prefix(&host).unwrap();
        assert!(there.starts_with(&format!("{path}?token=")), "{there}");
        there.to_owned()
    }
}

fn of(repository: &str, blob: &Blob) -> String {
    format!("/v2/{repository}/blobs/{}", blob.digest)
}

#[test]
fn the_right_to_one_repository_opens_no_blob_of_another_that_a_cache_has() {
    let sent = Sent::start();
    let secret = Blob::seeded(30, 10_000);
    sent.site.upload("dan", "other/secret", &secret);
    let there = sent.there("dan", &of("other/secret", &secret));
    assert_same(&sent.cache.get(&there).body, &secret.bytes);
    until("the cache has it", || sent.cache.stores(&secret.digest));
    // Of all names that bob may pull under, no repository has it.
    for (user, method) in [("bob", "GET"), ("bob", "HEAD"), ("alice", "GET")] {
        let reply = sent.site.call(user, method, &of("test/a", &secret), b"");
        assert_eq!(
            (reply.status(), reply.field("location")),
            (404, None),
            "{user}"
        );
    }
    // Once it is there as well, it is had there.
    sent.site.upload("alice", "test/a", &secret);
    let there = sent.there("bob", &of("test/a", &secret));
    assert_same(&sent.cache.get(&there).body, &secret.bytes);
    // What is deleted is not signed for again.
    let path = of("test/a", &secret);
    let deleted = sent.site.call("alice", "DELETE", &path, b"");
    assert_eq!(deleted.status(), 202);
    assert_eq!(sent.site.call("bob", "GET", &path, b"").status(), 404);
}

#[test]
fn a_signed_url_is_served_here_and_opens_its_blob_in_its_repository_alone() {
    let sent = Sent::start();
    let (blob, other) = (Blob::seeded(31, 10_000), Blob::seeded(32, 100));
    for repository in ["test/a", "test/b"] {
        sent.site.upload("alice", repository, &blob);
        sent.site.upload("alice", repository, &other);
    }
    let there = sent.there("bob", &of("test/a", &blob));
    let (_, query) = there.split_once('?').unwrap();
    // As the cache asks: with nothing else, and with whatever its client has shown.
    for user in ["", "carol", "bob"] {
        let reply = sent.site.call(user, "GET", &there, b"");
        assert_eq!(reply.status(), 200, "{user}");
        assert_same(&reply.body, &blob.bytes);
    }
    assert_eq!(sent.site.call("", "HEAD", &there, b"").status(), 200);
    for path in [of("test/a", &other), of("test/b", &blob)] {
        let reply = sent
            .site
            .call("bob", "GET", &format!("{path}?{query}"), b"");
        assert_eq!((reply.status(), &*code(&reply)), (403, "DENIED"));
    }
    // It opens nothing else.
    let manifests = format!("/v2/test/a/manifests/v1?{query}");
    assert_eq!(sent.site.call("", "GET", &manifests, b"").status(), 401);
    let (_, token) = query.split_once('=').unwrap();
    let shown = format!("Bearer {token}");
    let reply = sent.ask("GET", &of("test/a", &blob), &shown);
    assert_eq!(reply.status(), 401, "a signed URL is no registry token");
    assert_eq!(sent.ask("DELETE", &there, &shown).status(), 401);
}

#[test]
fn what_comes_from_a_cache_and_what_asks_before_a_push_is_served() {
    let sent = Sent::start();
    let blob = Blob::seeded(33, 10_000);
    sent.site.upload("alice", "test/a", &blob);
    let path = of("test/a", &blob);
    let via = |value: &str| {
        let fields = [("Via", value)];
        call_with(&sent.site.gateway, "bob", "GET", &path, &fields, b"")
    };
    assert_same(&via("1.1 transship-0123456789abcdef").body, &blob.bytes);
    assert_eq!(via("1.1 squid").status(), 307);
    let pull = token(&sent.site, "alice", "repository:test/a:pull");
    let push = token(&sent.site, "alice", "repository:test/a:pull,push");
    for (method, shown, status) in [
        ("GET", &pull, 307),
        ("HEAD", &pull, 307),
        ("GET", &push, 307),
        ("HEAD", &push, 200),
    ] {
        assert_eq!(
            sent.ask(method, &path, shown).status(),
            status,
            "{method} {shown}"
        );
    }
}

#[test]
fn a_cache_that_is_down_sends_nobody_away() {
    let mut sent = Sent::start();
    let blob = Blob::seeded(34, 10_000);
    sent.site.upload("alice", "test/a", &blob);
    let path = of("test/a", &blob);
    sent.there("bob", &path);
    sent.cache.process.kill();
    until("the gateway serves it", || {
        sent.site.call("bob", "GET", &path, b"").status() == 200
    });
}

#[test]
fn a_cache_that_is_the_gateway_itself_is_no_loop() {
    let site = Site::start();
    let blob = Blob::seeded(35, 10_000);
    site.upload("alice", "test/a", &blob);
    let body = json!({"name": "me", "host": site.gateway.url(), "isDefault": true});
    let login = basic("root");
    let path = "/api/v0/content_caches";
    site.gateway
        .call("POST", path, Some(&login), &body.to_string());
    let of_blob = of("test/a", &blob);
    until("somebody is sent there", || {
        site.call("bob", "GET", &of_blob, b"").status() == 307
    });
    let reply = site.call("bob", "GET", &of_blob, b"");
    let there = reply.field("location").unwrap();
    let there = there.strip_prefix(&site.gateway.url()).unwrap();
    assert_same(&site.call("", "GET", there, b"").body, &blob.bytes);
}

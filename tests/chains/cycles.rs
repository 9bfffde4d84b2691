//! Caches that name each other as upstream: an error at once, never a wait.

use crate::support::{Blob, Relay, Transship, until};

/// Caches each of which has the next one as upstream, and the last one the first.
fn ring(length: usize) -> (Vec<Transship>, Vec<Relay>) {
    let relays: Vec<_> = (0..length).map(|_| Relay::held()).collect();
    let caches = relays
        .iter()
        .map(|relay| Transship::behind(&[relay.url()], "").start());
    (caches.collect(), relays)
}

fn close(caches: &[Transship], relays: &[Relay]) {
    for (index, relay) in relays.iter().enumerate() {
        relay.lead_to(caches[(index + 1) % caches.len()].addr);
    }
}

/// Asks for one of everything; each must be refused, and none may wait for a time-out.
fn expect_refused(transship: &Transship) {
    let mut client = transship.client();
    let blob = Blob::seeded(1, 10);
    for target in [
        blob.path(),
        "/v2/test/image/manifests/latest".to_owned(),
        format!("/v2/test/image/manifests/{}", blob.digest),
        "/v2/test/image/tags/list".to_owned(),
    ] {
        let reply = client.get(&target);
        reply.expect_error(508, "UNKNOWN");
        assert!(reply.text().contains("cycle"), "{}", reply.text());
        assert_eq!(client.call("HEAD", &target, &[]).status(), 508, "{target}");
    }
    let keys = client.get("/.well-known/jwks.json");
    assert_eq!(keys.json()["keys"], serde_json::json!([]));
    let metrics = transship.metrics();
    let timed_out = metrics.sum(
        "transship_upstream_requests_total",
        &[("outcome", "timed_out")],
    );
    assert_eq!(timed_out, 0, "{}", metrics.text);
    assert_eq!(metrics.sum("transship_upstream_up", &[]), 1);
}

#[test]
fn caches_in_a_ring_answer_508_at_once_and_say_so_once() {
    // Each cache's fill waits for the next one's: a misprint in a configuration stops everything.
    for length in 1..=3 {
        let (caches, relays) = ring(length);
        close(&caches, &relays);
        let reply = caches[0].get(&Blob::seeded(4, 10).path());
        reply.expect_error(508, "UNKNOWN");
        for cache in &caches {
            let metrics = cache.metrics();
            let asked = metrics.sum("transship_upstream_requests_total", &[]);
            assert_eq!(asked, 1, "the request went round more than once");
        }
        for cache in &caches {
            expect_refused(cache);
        }
        for cache in &caches {
            let log = cache.process.log();
            let told = log.lines().filter(|line| line.contains("form a cycle"));
            assert_eq!(told.count(), 1, "{log}");
            assert!(!log.contains("fill failed"), "{log}");
            let looped = [("status", "508")];
            assert!(cache.metrics().sum("transship_requests_total", &looped) > 0);
        }
    }
}

#[test]
fn two_fills_that_wait_for_each_other_find_out() {
    // Neither request has passed its own cache yet: only asking once more shows the cycle.
    let (caches, relays) = ring(2);
    let blob = Blob::seeded(2, 10);
    let mut clients: Vec<_> = caches.iter().map(Transship::client).collect();
    for client in &mut clients {
        client.ask("GET", &blob.path(), &[]);
    }
    until("both fills are on their way", || {
        relays.iter().all(|relay| relay.connections() == 1)
    });
    close(&caches, &relays);
    for client in &mut clients {
        client.reply("GET").expect_error(508, "UNKNOWN");
    }
    for cache in &caches {
        let timed_out = [("outcome", "timed_out")];
        let metrics = cache.metrics();
        assert_eq!(
            metrics.sum("transship_upstream_requests_total", &timed_out),
            0
        );
        let running = metrics.sum("transship_fills_running", &[]);
        assert_eq!(running, 0);
    }
}

#[test]
fn what_is_here_is_served_whatever_way_the_request_came() {
    let origin = crate::support::Origin::start();
    let cache = Transship::behind(&[origin.url()], "").start();
    let blob = origin.make(3, 1000);
    let far = ["1.1 x"; 9].join(", ");
    let mut client = cache.client();
    let reply = client.call("GET", &blob.path(), &[("Via", &far)]);
    reply.expect_error(508, "UNKNOWN");
    assert_eq!(client.get(&blob.path()).status(), 200);
    assert_eq!(origin.seen().len(), 1);
}

//! Several upstreams of one cache, of which some are away.

use super::asked;
use crate::support::{Blob, Origin, Relay, Transship, assert_same, until};

/// Small blobs that every one of the origins holds.
fn held_by_all(origins: &[&Origin], count: u64) -> Vec<Blob> {
    let blobs: Vec<_> = (0..count).map(|seed| Blob::seeded(seed, 1000)).collect();
    for origin in origins {
        for blob in &blobs {
            origin.hold(blob);
        }
    }
    blobs
}

fn pull(transship: &Transship, blob: &Blob) {
    let reply = transship.get(&blob.path());
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_same(&reply.body, &blob.bytes);
}

/// Asks for what is always asked for upstream.
fn list(transship: &Transship) {
    let reply = transship.get("/v2/test/image/tags/list");
    assert_eq!(reply.status(), 200, "{}", reply.text());
}

fn is_up(transship: &Transship, upstream: &str) -> u64 {
    let metrics = transship.metrics();
    assert!(metrics.has("transship_upstream_up"));
    metrics.sum("transship_upstream_up", &[("upstream", upstream)])
}

fn lines(transship: &Transship, text: &str) -> usize {
    let log = transship.process.log();
    log.lines().filter(|line| line.contains(text)).count()
}

#[test]
fn a_dead_upstream_among_three_costs_one_request_its_patience_and_comes_back() {
    // While one of three caches is unplugged, every third pull would hang.
    let (one, other, third) = (Origin::start(), Origin::start(), Origin::start());
    let relay = Relay::to_nowhere();
    let blobs = held_by_all(&[&one, &other, &third], 60);
    let upstreams = [relay.url(), one.url(), other.url()];
    let transship = Transship::behind(&upstreams, "    head_timeout: 1s\n").start();
    let name = relay.addr.to_string();
    for blob in &blobs {
        pull(&transship, blob);
    }
    // One, and the probes of a machine that was held up.
    let asked_in_vain = relay.connections();
    assert!((1..6).contains(&asked_in_vain), "{asked_in_vain}");
    assert!(asked(&one) > 20 && asked(&other) > 20);
    assert_eq!(is_up(&transship, &name), 0);
    let timed_out = [("upstream", &*name), ("outcome", "timed_out")];
    let metrics = transship.metrics();
    assert!(metrics.sum("transship_upstream_requests_total", &timed_out) >= 1);

    relay.lead_to(third.addr);
    until("a request has found out that it is back", || {
        list(&transship);
        is_up(&transship, &name) == 1
    });
    assert!(asked(&third) >= 1);
    assert_eq!(lines(&transship, "an upstream is down"), 1);
    assert_eq!(lines(&transship, "an upstream is back"), 1);
}

#[test]
fn failover_asks_the_second_only_while_the_first_is_away() {
    // A mirror far away is for the day when the near one is down, and costs money on all others.
    let (near, far) = (Origin::start(), Origin::start());
    let relay = Relay::held();
    relay.lead_to(near.addr);
    let blobs = held_by_all(&[&near, &far], 30);
    let upstreams = [relay.url(), far.url()];
    let more = "    head_timeout: 1s\n    policy: failover\n";
    let transship = Transship::behind(&upstreams, more).start();
    for blob in &blobs[..10] {
        pull(&transship, blob);
    }
    assert_eq!((asked(&near), asked(&far)), (10, 0));
    relay.cut();
    for blob in &blobs[10..20] {
        pull(&transship, blob);
    }
    assert_eq!((asked(&near), asked(&far)), (10, 10));
    relay.lead_to(near.addr);
    until("the first is asked again", || {
        list(&transship);
        asked(&near) > 10
    });
    let before = asked(&far);
    for blob in &blobs[20..] {
        pull(&transship, blob);
    }
    assert_eq!(asked(&far), before);
}

#[test]
fn the_only_upstream_that_is_away_is_not_waited_for_by_everyone() {
    // Cached images took minutes while the registry was away, since each layer waited for it anew.
    let origin = Origin::start();
    let relay = Relay::held();
    relay.lead_to(origin.addr);
    let blobs = held_by_all(&[&origin], 3);
    let transship = Transship::behind(&[relay.url()], "    head_timeout: 1s\n").start();
    pull(&transship, &blobs[0]);
    relay.cut();
    let not_asked = [("outcome", "not_asked")];
    until("requests fail without asking", || {
        let reply = transship.get(&blobs[1].path());
        reply.expect_error(504, "UNKNOWN");
        let status = reply.field("cache-status").unwrap();
        assert!(
            status.starts_with("transship; fwd=miss; detail=upstream-"),
            "{status}"
        );
        let metrics = transship.metrics();
        metrics.sum("transship_upstream_requests_total", &not_asked) > 0
    });
    assert_eq!(is_up(&transship, &relay.addr.to_string()), 0);
    relay.lead_to(origin.addr);
    until("it is asked again", || {
        transship.get(&blobs[1].path()).status() == 200
    });
    assert_eq!(is_up(&transship, &relay.addr.to_string()), 1);
}

#[test]
fn the_only_upstream_that_refuses_connections_is_asked_every_time() {
    // It costs nothing, and a registry that restarts must not be missed for seconds after it is there.
    let origin = Origin::start();
    let blobs = held_by_all(&[&origin], 1);
    let relay = Relay::held();
    let nobody = Origin::start();
    nobody.stop();
    relay.lead_to(nobody.addr);
    let transship = Transship::behind(&[relay.url()], "").start();
    for _ in 0..5 {
        transship.get(&blobs[0].path()).expect_error(502, "UNKNOWN");
    }
    assert_eq!(relay.connections(), 5);
    relay.lead_to(origin.addr);
    pull(&transship, &blobs[0]);
}

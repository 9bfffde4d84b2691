//! A chain of caches: HEAD, ranges, errors and what each cache says of its part.

use super::asked;
use crate::support::origin::MANIFEST;
use crate::support::{Blob, Origin, Relay, Transship, assert_same};

const SIZE: usize = 300_000;

fn chain(origin: &Origin, length: usize) -> Vec<Transship> {
    let mut caches: Vec<Transship> = Vec::new();
    for _ in 0..length {
        let next = caches.last().map_or(origin.url(), url);
        caches.push(Transship::behind(&[next], "").start());
    }
    caches
}

fn url(transship: &Transship) -> String {
    format!("http://{}", transship.addr)
}

fn status(reply: &crate::support::Reply) -> &str {
    reply.field("cache-status").unwrap_or_default()
}

#[test]
fn three_caches_in_a_row_fetch_once_and_each_says_its_part() {
    // "Where did this come from?" has no answer when each cache hides those behind it.
    let origin = Origin::start();
    let caches = chain(&origin, 3);
    let blob = origin.make(1, SIZE);
    let reply = caches[2].get(&blob.path());
    assert_same(&reply.body, &blob.bytes);
    let miss = "transship; fwd=uri-miss";
    assert_eq!(status(&reply), [miss; 3].join(", "));
    for cache in &caches {
        cache.until_metric("transship_fills_total", &[("outcome", "committed")], 1);
    }
    assert_eq!(origin.count("GET", &blob.path()), 1);
    let hit = caches[2].get(&blob.path());
    assert_eq!(status(&hit), "transship; hit");
    // A cache that is new meets the one in the middle.
    let late = Transship::behind(&[url(&caches[1])], "").start();
    let reply = late.get(&blob.path());
    assert_same(&reply.body, &blob.bytes);
    assert_eq!(status(&reply), format!("transship; hit, {miss}"));
    assert_eq!(origin.count("GET", &blob.path()), 1);
}

#[test]
fn head_ranges_and_errors_pass_through_a_chain() {
    // A cache before a cache got 404 for the HEAD of what was not there yet.
    let origin = Origin::start();
    let caches = chain(&origin, 2);
    let mut client = caches[1].client();
    let blob = origin.make(2, SIZE);
    let head = client.call("HEAD", &blob.path(), &[]);
    assert_eq!(
        (head.status(), head.head.length()),
        (200, Some(SIZE as u64))
    );
    assert_eq!(
        status(&head),
        "transship; fwd=bypass, transship; fwd=bypass"
    );
    assert_eq!(origin.count("GET", &blob.path()), 0);
    let range = client.call("GET", &blob.path(), &[("Range", "bytes=1000-1999")]);
    assert_eq!(range.status(), 206);
    assert_same(&range.body, &blob.bytes[1000..2000]);
    assert_eq!(origin.count("GET", &blob.path()), 1);

    let unknown = Blob::seeded(3, 10);
    let reply = client.get(&unknown.path());
    reply.expect_error(404, "BLOB_UNKNOWN");
    let missing = "transship; fwd=miss; fwd-status=404";
    assert_eq!(status(&reply), [missing; 2].join(", "));
    let reply = client.get("/v2/test/image/manifests/none");
    reply.expect_error(404, "MANIFEST_UNKNOWN");
    assert_eq!(status(&reply), [missing; 2].join(", "));

    let text = format!("{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\"}}");
    let digest = origin.tag("test/image", "v1", &text);
    let reply = client.get("/v2/test/image/manifests/v1");
    assert_eq!(reply.text(), text);
    assert_eq!(reply.field("docker-content-digest"), Some(&*digest));
    assert_eq!(status(&reply), ["transship; fwd=uri-miss"; 2].join(", "));
    let reply = client.get("/v2/test/image/manifests/v1");
    let unchanged = "transship; hit; fwd=stale; fwd-status=304";
    assert_eq!(status(&reply), [unchanged; 2].join(", "));
}

#[test]
fn an_origin_that_is_away_does_not_make_the_caches_before_it_look_dead() {
    // Their blobs would be out of reach although they are well.
    let origin = Origin::start();
    let (one, two) = (
        Transship::behind(&[origin.url()], "").start(),
        Transship::behind(&[origin.url()], "").start(),
    );
    let upstreams = [url(&one), url(&two)];
    let front = Transship::behind(&upstreams, "    policy: rendezvous\n").start();
    let blobs: Vec<_> = (10..20).map(|seed| origin.make(seed, 1000)).collect();
    for blob in &blobs {
        assert_eq!(front.get(&blob.path()).status(), 200);
    }
    origin.overload(Some(500));
    for seed in 20..30 {
        let absent = Blob::seeded(seed, 1000);
        assert_eq!(front.get(&absent.path()).status(), 502);
    }
    let metrics = front.metrics();
    assert_eq!(
        metrics.sum("transship_upstream_up", &[]),
        2,
        "{}",
        metrics.text
    );
    assert!(metrics.sum("transship_upstream_head_seconds_count", &[]) >= 20);
}

#[test]
fn the_way_of_a_request_is_told_to_the_origin_and_secrets_are_not() {
    let origin = Origin::start();
    let caches = chain(&origin, 2);
    let blob = origin.make(4, 1000);
    let mut client = caches[1].client();
    let reply = client.call("GET", &blob.path(), &[("Via", "1.1 proxy.example")]);
    assert_eq!(reply.status(), 200);
    let seen = origin.seen();
    let via = seen[0].field("via").unwrap();
    let names: Vec<_> = via.split(", ").collect();
    assert_eq!(names.len(), 3, "{via}");
    assert_eq!(names[0], "1.1 proxy.example");
    assert!(
        names[1..]
            .iter()
            .all(|name| name.starts_with("1.1 transship-")),
        "{via}"
    );
    assert_ne!(names[1], names[2]);
    assert_eq!(asked(&origin), 1);
}

#[test]
fn one_who_claims_to_have_come_far_spoils_the_fill_for_nobody_else() {
    // Whoever leads a fill says how far it has come; the next cache may refuse that, and means only this one.
    let origin = Origin::start();
    let store = Transship::behind(&[origin.url()], "").start();
    let relay = Relay::held();
    let front = Transship::behind(&[relay.url()], "").start();
    let blob = origin.make(5, 1000);
    let far = ["1.1 x"; 8].join(", ");
    let (mut leader, mut follower) = (front.client(), front.client());
    leader.ask("GET", &blob.path(), &[("Via", &far)]);
    crate::support::until("the fill has begun", || relay.connections() == 1);
    follower.ask("GET", &blob.path(), &[]);
    relay.lead_to(store.addr);
    leader.reply("GET").expect_error(508, "UNKNOWN");
    let reply = follower.reply("GET");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_same(&reply.body, &blob.bytes);
}

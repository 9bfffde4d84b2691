//! What is here needs nobody; what is not fails at once, and says so in the words of a registry.

use super::{BY_TAG, Stage, TEXT, Way};
use crate::support::{Blob, Reply, assert_same};

const PUBLIC: &str = ", access: {public: true}";
const WAYS: [Way; 4] = [Way::Refused, Way::Silent, Way::Says(500), Way::Says(503)];

#[test]
fn whatever_is_not_here_fails_with_an_error_that_clients_understand() {
    // A dead mirror costs containerd 30 s for each blob, unless it says that it is of no use.
    for way in WAYS {
        let stage = Stage::set(PUBLIC);
        let blob = stage.origin.make(1, 1000);
        let digest = stage.origin.tag("test/image", "latest", TEXT);
        stage.leave(way);
        let by_digest = format!("/v2/test/image/manifests/{digest}");
        let referrers = format!("/v2/test/image/referrers/{digest}");
        for target in [
            &*blob.path(),
            BY_TAG,
            &*by_digest,
            "/v2/test/image/tags/list",
            &*referrers,
            "/v2/_catalog",
        ] {
            expect_away(&stage.transship.get(target), target, way);
            let head = stage.transship.client().call("HEAD", target, &[]);
            assert!(matches!(head.status(), 502 | 504), "HEAD {target} {way:?}");
        }
    }
}

fn expect_away(reply: &Reply, target: &str, way: Way) {
    let told = match way {
        Way::Silent => 504,
        Way::Refused | Way::Says(_) => 502,
    };
    assert_eq!(reply.status(), told, "{target} {way:?}: {}", reply.text());
    assert_eq!(reply.field("content-type"), Some("application/json"));
    let code = &reply.json()["errors"][0]["code"];
    assert!(code.is_string(), "{target} {way:?}: {}", reply.text());
}

#[test]
fn an_upstream_without_a_catalogue_has_an_empty_one_and_one_that_fails_has_not() {
    // Scripts that mirror what a catalogue lists would delete everything.
    let stage = Stage::set(PUBLIC);
    let reply = stage.transship.get("/v2/_catalog");
    assert_eq!((reply.status(), reply.text()), (200, EMPTY.into()));
    for status in [429, 500, 503] {
        stage.leave(Way::Says(status));
        let reply = stage.transship.get("/v2/_catalog");
        assert!(
            matches!(reply.status(), 502 | 503),
            "{status}: {}",
            reply.text()
        );
    }
}

const EMPTY: &str = r#"{"repositories":[]}"#;

#[test]
fn while_a_silent_upstream_is_down_nobody_else_waits_for_it() {
    // Ten layers of an image would wait ten times, one after the other.
    let stage = Stage::set(PUBLIC);
    stage.leave(Way::Silent);
    // It is alone: three answers in a row have to be late.
    for seed in 1..=3 {
        let absent = Blob::seeded(seed, 10);
        assert_eq!(stage.transship.get(&absent.path()).status(), 504);
    }
    let up = stage.transship.metrics().sum("transship_upstream_up", &[]);
    assert_eq!(up, 0);
    let connections = stage.relay.connections();
    // One may find out whether it is back; the others ask nobody.
    let targets = ["/v2/test/image/tags/list", BY_TAG, "/v2/_catalog"];
    let mut told_at_once = 0;
    for target in targets.iter().cycle().take(9) {
        let reply = stage.transship.get(target);
        assert_eq!(reply.status(), 504, "{}", reply.text());
        told_at_once += usize::from(reply.cache().contains("upstream-down"));
    }
    let asked = stage.relay.connections() - connections;
    assert!(told_at_once >= 9 - asked, "{asked} asked");
    assert!(told_at_once > 0);
}

#[test]
fn what_is_here_is_served_without_a_word_to_anybody() {
    // Cached images went down with the registry: the caches asked it first.
    for way in WAYS {
        for access in [PUBLIC, ""] {
            let stage = Stage::set(access);
            let blobs = [stage.origin.make(1, 1000), stage.origin.make(2, 300_000)];
            let digest = stage.origin.tag("test/image", "latest", TEXT);
            let by_digest = format!("/v2/test/image/manifests/{digest}");
            assert_eq!(stage.transship.get(&by_digest).status(), 200);
            for blob in &blobs {
                assert_same(&stage.transship.get(&blob.path()).body, &blob.bytes);
            }
            let committed = [("outcome", "committed")];
            let fills = blobs.len() as u64;
            stage
                .transship
                .until_metric("transship_fills_total", &committed, fills);
            stage.leave(way);
            let before = (stage.relay.connections(), stage.origin.seen().len());
            for _ in 0..3 {
                let mut client = stage.transship.client();
                for blob in &blobs {
                    let reply = client.get(&blob.path());
                    assert_eq!(reply.cache(), "hit", "{way:?}");
                    assert_same(&reply.body, &blob.bytes);
                    let range = client.call("GET", &blob.path(), &[("Range", "bytes=10-19")]);
                    assert_same(&range.body, &blob.bytes[10..20]);
                    assert_eq!(client.call("HEAD", &blob.path(), &[]).status(), 200);
                }
                assert_same(&client.get(&by_digest).body, TEXT.as_bytes());
            }
            let after = (stage.relay.connections(), stage.origin.seen().len());
            assert_eq!(after, before, "{way:?}");
        }
    }
}

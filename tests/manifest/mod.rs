//! Manifests go by the origin's word: a tag is asked each time, a digest is known for ever.

use crate::support::origin::MANIFEST;
use crate::support::{Blob, Rig, assert_same};

const OLD: &str = r#"{"schemaVersion":2,"layers":[],"annotations":{"version":"old"}}"#;
const NEW: &str = r#"{"schemaVersion":2,"layers":[],"annotations":{"version":"newer"}}"#;
const BY_TAG: &str = "/v2/test/image/manifests/latest";

fn by_digest(digest: &str) -> String {
    format!("/v2/test/image/manifests/{digest}")
}

#[test]
fn a_tag_is_revalidated_each_time_and_costs_no_body_while_unchanged() {
    // Nodes would run an outdated image, or every pull would pay for the manifest again.
    let rig = Rig::start();
    let digest = rig.origin.tag("test/image", "latest", OLD);
    for _ in 0..3 {
        let reply = rig.transship.get(BY_TAG);
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert_eq!(reply.field("docker-content-digest"), Some(digest.as_str()));
        assert_eq!(reply.field("content-type"), Some(MANIFEST));
        assert_same(&reply.body, OLD.as_bytes());
    }
    let asked = rig.origin.count("GET", BY_TAG) + rig.origin.count("HEAD", BY_TAG);
    assert_eq!(asked, 3);
    let sent = rig.origin.sent(BY_TAG) + rig.origin.sent(&by_digest(&digest));
    assert_eq!(sent, OLD.len() as u64);
}

#[test]
fn the_order_of_accepted_types_makes_no_other_tag() {
    // dockerd shuffles its Accept: every one of its pulls would pay for the manifest again.
    let rig = Rig::start();
    rig.origin.tag("test/image", "latest", OLD);
    let types = [MANIFEST, "application/vnd.oci.image.index.v1+json", "*/*"];
    for turn in 0..3 {
        let mut shuffled = types;
        shuffled.rotate_left(turn);
        let accept = shuffled.join(", ");
        let fields = [("Accept", accept.as_str())];
        let reply = rig.transship.client().call("GET", BY_TAG, &fields);
        assert_same(&reply.body, OLD.as_bytes());
    }
    assert_eq!(rig.origin.sent(BY_TAG), OLD.len() as u64);
}

#[test]
fn a_tag_that_moves_is_new_at_the_next_request() {
    // A rollout would start the old version and report success.
    let rig = Rig::start();
    rig.origin.tag("test/image", "latest", OLD);
    assert_same(&rig.transship.get(BY_TAG).body, OLD.as_bytes());
    let digest = rig.origin.tag("test/image", "latest", NEW);
    let reply = rig.transship.get(BY_TAG);
    assert_eq!(reply.field("docker-content-digest"), Some(digest.as_str()));
    assert_same(&reply.body, NEW.as_bytes());
}

#[test]
fn a_known_digest_needs_no_upstream_call() {
    // Pulls by digest would burn the origin's rate limit and stop with its outage.
    let rig = Rig::start();
    let digest = rig.origin.tag("test/image", "latest", OLD);
    assert_eq!(rig.transship.get(&by_digest(&digest)).status(), 200);
    let seen = rig.origin.seen().len();
    for _ in 0..3 {
        let reply = rig.transship.get(&by_digest(&digest));
        assert_eq!(reply.field("content-type"), Some(MANIFEST));
        assert_same(&reply.body, OLD.as_bytes());
    }
    assert_eq!(rig.origin.seen().len(), seen);
    rig.origin.stop();
    assert_same(&rig.transship.get(&by_digest(&digest)).body, OLD.as_bytes());
    let by_tag = rig.transship.get(BY_TAG);
    assert!(matches!(by_tag.status(), 502 | 504), "{:?}", by_tag.head);
    assert!(by_tag.json()["errors"][0]["code"].is_string());
}

#[test]
fn a_manifest_that_does_not_match_its_digest_is_refused() {
    // Pinning an image by digest would protect nobody behind the cache.
    let rig = Rig::start();
    let wanted = Blob::new(OLD.as_bytes().to_vec());
    rig.origin.forge_manifest("test/image", &wanted.digest, NEW);
    let reply = rig.transship.get(&by_digest(&wanted.digest));
    assert!(matches!(reply.status(), 502 | 504), "{:?}", reply.head);
    rig.origin.forge_manifest("test/image", &wanted.digest, OLD);
    assert_same(
        &rig.transship.get(&by_digest(&wanted.digest)).body,
        OLD.as_bytes(),
    );
}

#[test]
fn head_of_a_manifest_tells_digest_type_and_length() {
    // containerd and docker resolve a tag with HEAD before they pull.
    let rig = Rig::start();
    let digest = rig.origin.tag("test/image", "latest", OLD);
    let mut client = rig.transship.client();
    for target in [
        BY_TAG,
        "/v2/test/image/manifests/latest?ns=registry.example",
    ] {
        let reply = client.call("HEAD", target, &[]);
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.field("docker-content-digest"), Some(digest.as_str()));
        assert_eq!(reply.field("content-type"), Some(MANIFEST));
        assert_eq!(reply.head.length(), Some(OLD.len() as u64));
    }
}

#[test]
fn a_client_that_knows_the_manifest_gets_304() {
    // Clients that revalidate would download what they have.
    let rig = Rig::start();
    let digest = rig.origin.tag("test/image", "latest", OLD);
    let known = format!("\"{digest}\"");
    let mut client = rig.transship.client();
    for target in [BY_TAG.to_owned(), by_digest(&digest)] {
        let reply = client.call("GET", &target, &[("If-None-Match", &known)]);
        assert_eq!(reply.status(), 304, "{}", reply.text());
    }
}

#[test]
fn an_unknown_manifest_is_not_found_and_nothing_worse() {
    // Peers answer 500 here, and clients retry what will never exist.
    let rig = Rig::start();
    let unknown = Blob::seeded(1, 10).digest;
    for target in [BY_TAG.to_owned(), by_digest(&unknown)] {
        rig.transship
            .get(&target)
            .expect_error(404, "MANIFEST_UNKNOWN");
    }
    rig.origin.tag("test/image", "latest", OLD);
    assert_eq!(
        rig.transship.get(BY_TAG).status(),
        200,
        "the 404 is not remembered"
    );
}

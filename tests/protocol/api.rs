//! The registry API: what is answered, and how a refusal is worded.

use crate::support::{Blob, Rig, until};

#[test]
fn the_base_endpoints_answer() {
    // Clients and load balancers probe these before anything else.
    let rig = Rig::start();
    let mut client = rig.transship.client();
    assert_eq!(client.get("/").status(), 200);
    let base = client.get("/v2/");
    assert_eq!(base.status(), 200);
    assert_eq!(
        base.field("docker-distribution-api-version"),
        Some("registry/2.0")
    );
    assert_eq!(base.json(), serde_json::json!({}));
    let catalog = client.get("/v2/_catalog");
    assert_eq!(catalog.status(), 200, "{}", catalog.text());
    assert_eq!(catalog.json(), serde_json::json!({"repositories": []}));
}

#[test]
fn tags_come_from_the_origin() {
    // Tools that look for the newest tag would find none.
    let rig = Rig::start();
    rig.origin.tag("test/image", "v1", "{}");
    let reply = rig.transship.get("/v2/test/image/tags/list");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let wanted = serde_json::json!({"name": "test/image", "tags": ["v1"]});
    assert_eq!(reply.json(), wanted);
}

#[test]
fn a_malformed_digest_is_the_clients_fault() {
    // Peers answer 500 here, and monitoring pages somebody for a client's typo.
    let rig = Rig::start();
    for digest in [
        "sha256:xyz",
        "sha256:",
        "sha256:abcd",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
    ] {
        let reply = rig.transship.get(&format!("/v2/test/image/blobs/{digest}"));
        reply.expect_error(400, "DIGEST_INVALID");
    }
    let upper = Blob::seeded(1, 10).digest.to_uppercase();
    let reply = rig.transship.get(&format!("/v2/test/image/blobs/{upper}"));
    reply.expect_error(400, "DIGEST_INVALID");
    assert_eq!(
        rig.origin.seen().len(),
        0,
        "nothing malformed goes upstream"
    );
}

#[test]
fn a_malformed_name_is_the_clients_fault() {
    // Path tricks must end here, not at the origin or in the file system.
    let rig = Rig::start();
    let digest = Blob::seeded(2, 10).digest;
    for name in ["UPPER/case", "a..b", "-a", "a/_b"] {
        let reply = rig.transship.get(&format!("/v2/{name}/blobs/{digest}"));
        reply.expect_error(400, "NAME_INVALID");
    }
    assert_eq!(
        rig.origin.seen().len(),
        0,
        "nothing malformed goes upstream"
    );
}

#[test]
fn an_unknown_blob_is_not_found_and_not_remembered_for_long() {
    // An image pushed a minute after somebody asked for it would stay unknown.
    let rig = Rig::start();
    let blob = Blob::seeded(3, 10_000);
    rig.transship
        .get(&blob.path())
        .expect_error(404, "BLOB_UNKNOWN");
    rig.origin.hold(&blob);
    until("the blob is found", || {
        rig.transship.get(&blob.path()).status() == 200
    });
    rig.expect_blob(&blob);
}

#[test]
fn pushes_and_deletes_are_unsupported() {
    // A client configured to push to a cache must learn so, and the origin must not see it.
    let rig = Rig::start();
    let blob = rig.hit(4, 1000);
    let asked = rig.origin.seen().len();
    for (method, target) in [
        ("POST", "/v2/test/image/blobs/uploads/".to_owned()),
        ("PUT", "/v2/test/image/manifests/latest".to_owned()),
        ("DELETE", "/v2/test/image/manifests/latest".to_owned()),
        ("DELETE", blob.path()),
    ] {
        let fields = [("Content-Length", "0")];
        let reply = rig.transship.client().call(method, &target, &fields);
        reply.expect_error(405, "UNSUPPORTED");
    }
    assert_eq!(rig.origin.seen().len(), asked);
    assert_eq!(rig.expect_blob(&blob).cache(), "hit");
}

#[test]
fn an_origin_without_referrers_does_not_break_the_question() {
    // Signature tools ask for referrers; an answer of 500 stops the deployment.
    let rig = Rig::start();
    let digest = rig.origin.tag("test/image", "v1", "{}");
    let reply = rig
        .transship
        .get(&format!("/v2/test/image/referrers/{digest}"));
    assert!(matches!(reply.status(), 200 | 404), "{:?}", reply.head);
}

//! Fields of a blob reply, and what a request's fields do to it.

use crate::support::{Rig, assert_same};

#[test]
fn a_blob_reply_carries_what_clients_and_caches_read() {
    // Another transship, a proxy or a client could not verify or keep the blob.
    let rig = Rig::start();
    let blob = rig.origin.make(1, 100_000);
    let mut client = rig.transship.client();
    for (method, cache) in [("GET", "fwd=uri-miss"), ("GET", "hit"), ("HEAD", "hit")] {
        let reply = client.call(method, &blob.path(), &[]);
        assert_eq!(reply.status(), 200);
        assert_eq!(
            reply.field("docker-content-digest"),
            Some(blob.digest.as_str())
        );
        let etag = format!("\"{}\"", blob.digest);
        assert_eq!(reply.field("etag"), Some(etag.as_str()));
        assert_eq!(
            reply.field("docker-distribution-api-version"),
            Some("registry/2.0")
        );
        assert_eq!(reply.field("accept-ranges"), Some("bytes"));
        assert!(reply.field("cache-control").unwrap().contains("max-age="));
        assert_eq!(reply.head.length(), Some(blob.len() as u64));
        assert_eq!(reply.cache(), cache, "{method}");
        rig.expect_committed(1);
    }
}

#[test]
fn a_client_that_has_the_blob_gets_304() {
    // Revalidation would cost the whole layer.
    let rig = Rig::start();
    let blob = rig.hit(2, 100_000);
    let mut client = rig.transship.client();
    let etag = format!("\"{}\"", blob.digest);
    let list = format!("\"other\", W/{etag}");
    for (known, status) in [
        (etag.as_str(), 304),
        (&list, 304),
        ("*", 304),
        ("\"other\"", 200),
    ] {
        let reply = client.call("GET", &blob.path(), &[("If-None-Match", known)]);
        assert_eq!(reply.status(), status, "{known}");
        assert_eq!(reply.field("etag"), Some(etag.as_str()));
        let wanted = if status == 304 {
            &[][..]
        } else {
            &blob.bytes[..]
        };
        assert_same(&reply.body, wanted);
    }
}

#[test]
fn accept_encoding_never_changes_the_body() {
    // containerd 2 offers zstd and gzip for layers; a coded body would not match its digest.
    let rig = Rig::start();
    let blob = rig.origin.make(3, 100_000);
    let offer = [("Accept-Encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")];
    let mut client = rig.transship.client();
    for _ in 0..2 {
        let reply = client.call("GET", &blob.path(), &offer);
        assert_eq!(reply.field("content-encoding"), None);
        assert_same(&reply.body, &blob.bytes);
    }
    for request in rig.origin.seen() {
        let asked = request.field("accept-encoding").unwrap_or("identity");
        assert_eq!(asked, "identity", "the origin must not code it either");
    }
}

#[test]
fn a_namespace_in_the_query_changes_nothing() {
    // containerd adds ?ns= to whatever it asks a mirror.
    let rig = Rig::start();
    let blob = rig.hit(4, 100_000);
    let target = format!("{}?ns=registry.example", blob.path());
    let reply = rig.transship.get(&target);
    assert_eq!(reply.cache(), "hit");
    assert_same(&reply.body, &blob.bytes);
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
}

#[test]
fn the_same_blob_under_another_repository_is_still_one_blob() {
    // Base layers are shared by most images; each image would fetch and store them again.
    let rig = Rig::start();
    let blob = rig.hit(5, 100_000);
    let reply = rig
        .transship
        .get(&format!("/v2/other/name/blobs/{}", blob.digest));
    assert_same(&reply.body, &blob.bytes);
    let sent = rig
        .origin
        .sent(&format!("/v2/other/name/blobs/{}", blob.digest));
    assert_eq!(sent, 0);
}

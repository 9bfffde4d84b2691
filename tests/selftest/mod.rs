//! The scripted origin against the scripted client: a fault that is not made proves nothing.

mod disks;
mod proxy;

use crate::support::origin::Tls;
use crate::support::{Blob, Client, Gate, Origin, Plan, assert_same};

const SIZE: usize = 300_000;

#[test]
fn the_origin_breaks_bodies_exactly_as_planned() {
    // Every fault test would pass against an origin that behaves.
    let origin = Origin::start();
    let blob = origin.make(1, SIZE);
    origin.plan(&blob, Plan::whole().cut(1000));
    origin.plan(&blob, Plan::whole().reset(1000));
    origin.plan(&blob, Plan::whole().corrupt(5));
    origin.plan(&blob, Plan::whole().claim(SIZE + 10));
    origin.plan(&blob, Plan::whole().chunked());
    origin.plan(&blob, Plan::whole().chunked().cut(1000));
    origin.plan(&blob, Plan::status(500));
    let get = || Client::connect(origin.addr).get(&blob.path());
    let cut = get();
    assert_eq!(
        (cut.whole, cut.body.len(), cut.head.length()),
        (false, 1000, Some(SIZE as u64))
    );
    assert!(!get().whole);
    let corrupt = get();
    assert!(corrupt.whole);
    assert_eq!(corrupt.body[5], !blob.bytes[5]);
    assert_same(&corrupt.body[6..], &blob.bytes[6..]);
    let long = get();
    assert_eq!((long.whole, long.body.len()), (false, SIZE));
    let chunked = get();
    assert_eq!((chunked.whole, chunked.head.length()), (true, None));
    assert_same(&chunked.body, &blob.bytes);
    assert!(!get().whole);
    get().expect_error(500, "DENIED");
    assert_same(&get().body, &blob.bytes);
    assert_eq!(origin.count("GET", &blob.path()), 8);
}

#[test]
fn the_origin_waits_at_its_gate_and_counts_what_it_has_sent() {
    // Tests of followers and of the withheld tail stand on this.
    let origin = Origin::start();
    let blob = origin.make(2, SIZE);
    let gate = Gate::new();
    origin.plan(&blob, Plan::whole().wait_at(1000, &gate));
    let mut client = Client::connect(origin.addr);
    client.ask("GET", &blob.path(), &[]);
    client.head();
    gate.reached();
    assert_eq!(origin.sent(&blob.path()), 1000);
    assert_same(&client.exactly(1000), &blob.bytes[..1000]);
    assert!(client.arrived().is_empty());
    gate.open();
    assert_same(&client.exactly(SIZE - 1000), &blob.bytes[1000..]);
    let range = client.call("GET", &blob.path(), &[("Range", "bytes=5-9")]);
    assert_eq!(range.status(), 206);
    assert_same(&range.body, &blob.bytes[5..10]);
    assert_eq!(origin.connections(), 1);
    origin.stop();
    client.expect_close();
}

#[test]
fn the_origin_wants_tokens_and_answers_conditions_when_told() {
    // The token and manifest tests stand on this.
    let origin = Origin::start();
    let blob = origin.make(3, 10);
    let digest = origin.tag("test/image", "latest", "{}");
    let mut client = Client::connect(origin.addr);
    let known = format!("\"{digest}\"");
    let unchanged = client.call(
        "GET",
        "/v2/test/image/manifests/latest",
        &[("If-None-Match", &known)],
    );
    assert_eq!(unchanged.status(), 304);
    origin.require_token(&origin.realm());
    let refused = client.get(&blob.path());
    refused.expect_error(401, "UNAUTHORIZED");
    assert!(
        refused
            .field("www-authenticate")
            .unwrap()
            .contains("/token")
    );
    let token = client.get("/token?service=x").json()["token"].clone();
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    let reply = client.call("GET", &blob.path(), &[("Authorization", &bearer)]);
    assert_same(&reply.body, &blob.bytes);
}

#[test]
fn the_origin_speaks_tls_with_an_authority_of_its_own() {
    // The test of private authorities stands on this; curl is the judge.
    let tls = Tls::new();
    let origin = Origin::start_tls(&tls);
    let blob = origin.make(4, SIZE);
    let dir = tempfile::TempDir::new().unwrap();
    let authority = dir.path().join("ca.pem");
    std::fs::write(&authority, &tls.authority).unwrap();
    let got = crate::support::process::output(
        std::process::Command::new("curl")
            .args(["-sS", "--fail", "--cacert"])
            .arg(&authority)
            .arg(format!("{}{}", origin.url(), blob.path())),
    );
    assert!(
        got.status.success(),
        "{}",
        String::from_utf8_lossy(&got.stderr)
    );
    assert_same(&got.stdout, &blob.bytes);
}

#[test]
fn seeded_blobs_are_the_same_in_every_run_and_differ_page_by_page() {
    // Bytes of another blob or another place would go unnoticed.
    let blob = Blob::seeded(5, SIZE);
    assert_eq!(blob.digest, Blob::seeded(5, SIZE).digest);
    assert_ne!(blob.digest, Blob::seeded(6, SIZE).digest);
    let pages: std::collections::HashSet<&[u8]> = blob.bytes.chunks(4096).collect();
    assert_eq!(pages.len(), SIZE.div_ceil(4096));
}

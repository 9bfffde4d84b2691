//! What a hostile reading of the access rules found. Each test is named for what was wrong.

use serde_json::json;

use super::{ALICE, BOB, Stage, ask, get, under};
use crate::support::signer::{claims, key_set, now, signed};
use crate::support::token_server::{ISSUER, SERVICE, TokenServer};
use crate::support::{Origin, Signer, assert_same, until};

const GRACED: [(&str, &str); 1] = [("outcome", "graced")];

fn graced(stage: &Stage) -> u64 {
    let metrics = stage.transship.metrics();
    metrics.sum("transship_access_checks_total", &GRACED)
}

#[test]
fn one_failure_of_the_origin_does_not_stop_the_questions_for_the_whole_grace() {
    // Each request that was let through renewed the time in which nobody asks.
    let stage = Stage::set_with("    remember: 1s\n");
    let blob = stage.hit(1, 1000);
    stage.origin.overload(Some(500));
    until("a request is let through", || {
        stage.get(&blob.path(), ALICE);
        graced(&stage) > 0
    });
    stage.origin.overload(None);
    stage.origin.revoke("test/image", ALICE);
    until("the right has ended", || {
        stage.get(&blob.path(), ALICE).status() == 403
    });
}

#[test]
fn what_one_credential_is_told_opens_nothing_for_another() {
    // A stranger whom the origin answers 429 put everybody else under the grace.
    let stage = Stage::set_with("    remember: 1s\n");
    let blob = stage.hit(2, 1000);
    stage.origin.revoke("test/image", ALICE);
    stage.origin.overload(Some(429));
    stage.get(&blob.path(), BOB);
    stage.origin.overload(None);
    until("the remembered answer has ended", || {
        stage.get(&blob.path(), ALICE).status() == 403
    });
    assert_eq!(graced(&stage), 0);
}

#[test]
fn a_login_page_is_no_permission() {
    // Proxies before registries answer 200 with a page to those who are not logged in.
    let stage = Stage::set();
    let blob = stage.hit(3, 100_000);
    stage.origin.show_login_page(true);
    for who in [BOB, ""] {
        for path in [blob.path(), under("bob/own", &blob)] {
            let reply = stage.get(&path, who);
            assert_eq!(reply.status(), 502, "{who:?}");
            let head = ask(&mut stage.transship.client(), "HEAD", &path, who);
            assert_eq!(head.status(), 502, "{who:?}");
        }
    }
    // A miss is answered by the page's own bytes, which are not the blob's.
    let absent = crate::support::Blob::seeded(4, 100_000);
    let reply = stage.get(&absent.path(), BOB);
    assert!(!reply.whole || reply.status() == 502, "{:?}", reply.head);
    stage.origin.show_login_page(false);
    stage.origin.hold(&absent);
    assert_eq!(stage.get(&absent.path(), BOB).status(), 403);
    assert_same(&stage.get(&blob.path(), ALICE).body, &blob.bytes);
}

#[test]
fn a_refusal_of_anything_in_a_repository_ends_the_permission_for_it() {
    // After the origin had said no to a tag, a failing origin brought the old permission back.
    let stage = Stage::set_with("    remember: 1s\n");
    let blob = stage.hit(5, 1000);
    assert_eq!(stage.get(&blob.path(), ALICE).cache(), "hit");
    stage.origin.revoke("test/image", ALICE);
    let tag = stage.get("/v2/test/image/manifests/1", ALICE);
    assert_eq!(tag.status(), 403);
    stage.origin.overload(Some(503));
    until("what this core was permitted has ended", || {
        stage.get(&blob.path(), ALICE).status() == 502
    });
    assert_eq!(graced(&stage), 0);
}

#[test]
fn strangers_do_not_learn_what_is_here() {
    // Cache-Status was on the refusals of absent blobs only.
    let stage = Stage::set();
    let (here, absent) = (stage.hit(7, 1000), stage.origin.make(8, 1000));
    for who in [BOB, ""] {
        let told = [&here, &absent].map(|blob| {
            let reply = stage.get(&blob.path(), who);
            let mut fields = reply.head.fields.clone();
            fields.retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
            let body = reply.text().replace(&blob.digest, "");
            (reply.status(), fields, body)
        });
        assert_eq!(told[0], told[1], "{who:?}");
    }
}

#[test]
fn an_empty_authorization_is_nobodys_and_an_unknown_scheme_is_none() {
    let stage = Stage::set();
    let blob = stage.hit(9, 1000);
    let mut client = stage.transship.client();
    let reply = client.call("GET", &blob.path(), &[("Authorization", "")]);
    reply.expect_error(401, "UNAUTHORIZED");
    for scheme in ["NTLM TlRMTVNTUAAB", "Negotiate YII", "AWS4-HMAC-SHA256 x"] {
        let asked = stage.origin.seen().len();
        let reply = get(&mut client, &blob.path(), scheme);
        assert_eq!(reply.status(), 400, "{scheme}");
        assert_eq!(stage.origin.seen().len(), asked, "{scheme}");
    }
}

#[test]
fn a_key_that_was_taken_back_ends_the_tokens_that_it_signed() {
    // Tokens that a core had checked counted to their own end, a year if need be.
    let origin = Origin::start();
    let (old, new) = (Signer::ed25519("old"), Signer::ed25519("new"));
    let keys = "/.well-known/jwks.json";
    origin.hold_file(keys, &key_set(&[&old]));
    let transship = super::before(&origin, "    remember: 1s\n").start();
    let blob = origin.make(10, 1000);
    let mut lasting = claims("test/image", &blob.digest);
    lasting["exp"] = json!(now() + 365 * 24 * 3600);
    let url = signed(&blob, &old.sign(&lasting));
    for _ in 0..5 {
        assert_eq!(transship.get(&url).status(), 200);
    }
    origin.hold_file(keys, &key_set(&[&new]));
    assert_eq!(transship.get(&new.url(&blob)).status(), 200);
    until("the old key's tokens have ended", || {
        transship.get(&url).status() == 403
    });
    // An empty set takes back all of them, and is what the next cache is told.
    origin.hold_file(keys, &key_set(&[]));
    let unknown = Signer::ed25519("unknown").url(&blob);
    transship.get(&unknown).expect_error(403, "DENIED");
    until("no key is left", || {
        transship.get(&new.url(&blob)).status() == 403
    });
    assert_eq!(transship.get(keys).json(), json!({"keys": []}));
}

#[test]
fn a_key_that_is_taken_out_of_the_file_is_out_of_use() {
    let (origin, dir) = (Origin::start(), tempfile::TempDir::new().unwrap());
    let path = dir.path().join("keys.json");
    let (kept, dropped) = (Signer::ed25519("kept"), Signer::ed25519("dropped"));
    let write = |signers: &[&Signer]| std::fs::write(&path, &*key_set(signers).bytes).unwrap();
    write(&[&kept, &dropped]);
    let access = format!("    keys: {}\n    remember: 1s\n", path.display());
    let transship = super::before(&origin, &access).start();
    let blob = origin.make(11, 1000);
    assert_eq!(transship.get(&dropped.url(&blob)).status(), 200);
    write(&[&kept]);
    until("the dropped key is out of use", || {
        transship.get(&dropped.url(&blob)).status() == 403
    });
    assert_eq!(transship.get(&kept.url(&blob)).status(), 200);
}

#[test]
fn the_catalogue_wants_a_token_for_the_catalogue() {
    // Any token of the token server listed every repository, with the cache's own account.
    let (dir, tokens, origin) = (
        tempfile::TempDir::new().unwrap(),
        TokenServer::start(),
        Origin::start(),
    );
    tokens.grant("alice:secret", &["test/image"]);
    let bundle = dir.path().join("bundle.pem");
    std::fs::write(&bundle, &tokens.certificate).unwrap();
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /unused\n\
         http:\n  addr: 127.0.0.1:0\nproxy:\n  remoteurl: {}\nauth:\n  token:\n    realm: {}\n    \
         service: {SERVICE}\n    issuer: {ISSUER}\n    rootcertbundle: {}\n",
        origin.url(),
        tokens.realm,
        bundle.display()
    );
    let transship = crate::support::Transship::options().config(config).start();
    let bearer = format!("Bearer {}", tokens.token("alice:secret", "test/image"));
    let reply = get(&mut transship.client(), "/v2/_catalog", &bearer);
    reply.expect_error(401, "UNAUTHORIZED");
    let told = reply.field("www-authenticate").unwrap();
    assert!(told.contains("scope=\"registry:catalog:*\""), "{told}");
    assert_eq!(origin.count("GET", "/v2/_catalog"), 0);
}

#[test]
fn a_right_that_only_storage_could_confirm_is_asked_for_by_a_byte() {
    // Registries redirect blobs to storage whose addresses are signed for GET; HEAD gets 403 there.
    let stage = Stage::set();
    let blob = stage.hit(12, 100_000);
    let storage = Origin::start_elsewhere();
    storage.hold_file("/data", &blob);
    storage.refuse_heads();
    stage.origin.grant("test/image", "Basic Y2Fyb2w6eA==");
    stage
        .origin
        .redirect_blobs(&format!("{}/data", storage.url()));
    let reply = stage.get(&blob.path(), "Basic Y2Fyb2w6eA==");
    assert_eq!(reply.cache(), "hit");
    assert_same(&reply.body, &blob.bytes);
    assert!(storage.sent("/data") < 1000, "one byte, not the blob");
    stage.get(&blob.path(), BOB).expect_error(403, "DENIED");
}

#[test]
fn questions_to_an_origin_that_hangs_are_bounded() {
    // Each held a descriptor for as long as the origin is waited for, whether its client was there or not.
    let stage = Stage::set();
    let blob = stage.hit(13, 1000);
    let gate = stage.origin.hang();
    let addr = stage.transship.addr;
    let clients: Vec<_> = (0..1200)
        .map(|index| {
            let mut client = crate::support::Client::connect(addr);
            let who = format!("Basic {index:08}");
            client.ask("GET", &blob.path(), &[("Authorization", &who)]);
            client
        })
        .collect();
    let busy = [("reason", "busy")];
    stage
        .transship
        .until_metric("transship_access_refused_total", &busy, 100);
    // Whoever needs no question is served.
    assert_eq!(stage.get(&blob.path(), ALICE).cache(), "hit");
    drop(clients);
    gate.open();
}

//! Signed URLs: what an origin puts into its redirect is the right to one blob, and to nothing else.

use serde_json::json;

use super::{ALICE, BOB, before, get, under};
use crate::support::signer::{claims, key_set, now, signed};
use crate::support::{Blob, Gate, Origin, Plan, Signer, Transship, assert_same, until};

/// An origin that nobody may pull from without a signature, its key, and a transship before it.
struct Stage {
    origin: Origin,
    signer: Signer,
    transship: Transship,
}

const KEYS: &str = "/.well-known/jwks.json";

impl Stage {
    fn set() -> Self {
        Self::set_with("")
    }

    fn set_with(access: &str) -> Self {
        let origin = Origin::start();
        let signer = Signer::ed25519("first");
        origin.hold_file(KEYS, &key_set(&[&signer]));
        let transship = before(&origin, access).start();
        Self {
            origin,
            signer,
            transship,
        }
    }

    fn refusals(&self, reason: &str) -> u64 {
        let metrics = self.transship.metrics();
        metrics.sum("transship_access_refused_total", &[("reason", reason)])
    }

    /// Checks that this token opens nothing, for this reason, and that the next hop hears nothing of it.
    #[track_caller]
    fn expect_refused(&self, blob: &Blob, token: &str, reason: &str) {
        let before = self.refusals(reason);
        let asked = self.origin.count("GET", &blob.path());
        let reply = self.transship.get(&signed(blob, token));
        reply.expect_error(403, "DENIED");
        assert_eq!(reply.field("www-authenticate"), None);
        let text = reply.text();
        assert!(!text.contains("sign") && !text.contains("expire"), "{text}");
        assert_eq!(self.refusals(reason), before + 1, "{reason}");
        assert_eq!(self.origin.count("GET", &blob.path()), asked);
    }
}

#[test]
fn a_signed_url_is_the_right_to_its_blob_and_the_next_hop_is_shown_it() {
    let stage = Stage::set();
    let elliptic = Signer::es256("second");
    let keys = key_set(&[&stage.signer, &elliptic]);
    stage.origin.hold_file(KEYS, &keys);
    for (seed, signer) in [(1, &stage.signer), (2, &elliptic)] {
        let blob = stage.origin.make(seed, 200_000);
        let url = signer.url(&blob);
        // Clients keep their Authorization when they are redirected to a subdomain.
        let reply = get(&mut stage.transship.client(), &url, ALICE);
        assert_same(&reply.body, &blob.bytes);
        let seen = stage.origin.seen();
        let fill = seen.iter().find(|seen| seen.path() == blob.path()).unwrap();
        assert_eq!(fill.target, url, "the same token goes to the next hop");
        assert_eq!(fill.field("authorization"), None);
        for _ in 0..3 {
            let mut client = stage.transship.client();
            assert_eq!(client.get(&url).cache(), "hit");
            assert_eq!(client.call("HEAD", &url, &[]).cache(), "hit");
            let part = client.call("GET", &url, &[("Range", "bytes=5-9")]);
            assert_eq!((part.status(), &*part.body), (206, &blob.bytes[5..10]));
        }
        assert_eq!(stage.origin.count("GET", &blob.path()), 1);
        assert_eq!(stage.origin.count("HEAD", &blob.path()), 0);
    }
}

#[test]
fn a_token_for_something_else_opens_nothing() {
    let stage = Stage::set();
    let (blob, other) = (stage.origin.make(3, 1000), stage.origin.make(4, 1000));
    assert_eq!(stage.transship.get(&stage.signer.url(&blob)).status(), 200);
    let sign = |claims| stage.signer.sign(&claims);
    let right = claims("test/image", &blob.digest);
    let bent = |name: &str, value: serde_json::Value| {
        let mut claims = right.clone();
        claims[name] = value;
        stage.signer.sign(&claims)
    };
    // For one blob, used for another: on a hit and on a miss.
    stage.expect_refused(
        &blob,
        &sign(claims("test/image", &other.digest)),
        "token_claims",
    );
    stage.expect_refused(&other, &sign(right.clone()), "token_claims");
    // Of another repository, or of one whose name only begins like this one's.
    for name in [
        "test",
        "test/imag",
        "test/image2",
        "other/image",
        "test/image/",
    ] {
        stage.expect_refused(&blob, &sign(claims(name, &blob.digest)), "token_claims");
    }
    let push = json!([{"type": "repository", "name": "test/image", "actions": ["push"]}]);
    stage.expect_refused(&blob, &bent("access", push), "token_claims");
    stage.expect_refused(&blob, &bent("access", json!([])), "token_claims");
    stage.expect_refused(&blob, &bent("aud", json!("registry")), "token_claims");
    stage.expect_refused(&blob, &bent("digest", json!(null)), "token_claims");
    stage.expect_refused(&blob, &bent("exp", json!(now() - 31)), "token_expired");
    stage.expect_refused(
        &blob,
        &bent("nbf", json!(now() + 60)),
        "token_not_yet_valid",
    );
    stage.expect_refused(&blob, "", "token_malformed");
    stage.expect_refused(&blob, "a.b.c", "token_malformed");
    // Replayed on another path.
    let path = format!(
        "{}?token={}",
        under("other/image", &blob),
        sign(right.clone())
    );
    stage.transship.get(&path).expect_error(403, "DENIED");
    // What is within the leeway of clocks counts.
    for (name, value) in [
        ("exp", now() - 20),
        ("nbf", now() + 20),
        ("iat", now() + 20),
    ] {
        let url = signed(&blob, &bent(name, json!(value)));
        assert_eq!(stage.transship.get(&url).status(), 200, "{name}");
    }
}

#[test]
fn a_forged_signature_opens_nothing() {
    let stage = Stage::set();
    let blob = stage.origin.make(5, 1000);
    let claims = claims("test/image", &blob.digest);
    let token = stage.signer.sign(&claims);
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let (head, body) = rest.split_once('.').unwrap();
    let stranger = Signer::ed25519("first").sign(&claims);
    stage.expect_refused(&blob, &stranger, "token_signature");
    let (_, strangers) = stranger.rsplit_once('.').unwrap();
    stage.expect_refused(&blob, &format!("{rest}.{strangers}"), "token_signature");
    let unknown = Signer::ed25519("nobody knows").sign(&claims);
    stage.expect_refused(&blob, &unknown, "token_key");
    // The famous two: no algorithm at all, and the public key taken for a shared secret.
    let none = base64(r#"{"alg":"none","typ":"JWT","kid":"first"}"#);
    for token in [
        format!("{none}.{body}."),
        format!("{none}.{body}.{signature}"),
    ] {
        let reply = stage.transship.get(&signed(&blob, &token));
        reply.expect_error(403, "DENIED");
    }
    let public = stage.signer.public["x"].as_str().unwrap();
    let hmac = Signer::hs256(public.as_bytes()).sign(&claims);
    stage.expect_refused(&blob, &hmac, "token_algorithm");
    let key_set = key_set(&[&stage.signer]);
    let hmac = Signer::hs256(&key_set.bytes).sign(&claims);
    stage.expect_refused(&blob, &hmac, "token_algorithm");
    // One key's signature under another one's name.
    stage.expect_refused(&blob, &format!("{head}.{body}."), "token_signature");
    assert!(!stage.transship.stores(&blob.digest));
    assert_eq!(stage.transship.get(&signed(&blob, &token)).status(), 200);
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text)
}

#[test]
fn a_token_that_ends_in_the_middle_of_a_download_ends_no_download() {
    // Tokens live for minutes; a layer over a slow line takes longer.
    let stage = Stage::set_with("    leeway: 0s\n");
    let blob = stage.origin.make(6, 1_000_000);
    let gate = Gate::new();
    stage
        .origin
        .plan(&blob, Plan::whole().wait_at(500_000, &gate));
    let mut claims = claims("test/image", &blob.digest);
    claims["exp"] = json!(now() + 2);
    let url = signed(&blob, &stage.signer.sign(&claims));
    let mut client = stage.transship.client();
    client.ask("GET", &url, &[]);
    let head = client.head();
    assert_eq!(head.status, 200);
    until("the token has ended", || {
        stage.transship.client().call("HEAD", &url, &[]).status() == 403
    });
    gate.open();
    let mut body = Vec::new();
    assert!(client.body("GET", &head, |part| body.extend_from_slice(part)));
    assert_same(&body, &blob.bytes);
    // A resume needs a fresh signature, on the same connection too.
    let rest = client.call("GET", &url, &[("Range", "bytes=500000-")]);
    rest.expect_error(403, "DENIED");
    assert_eq!(stage.transship.get(&stage.signer.url(&blob)).cache(), "hit");
}

#[test]
fn keys_are_rotated_while_clients_pull() {
    // Whoever rotates keys must not have to restart every cache in the world.
    let stage = Stage::set();
    let blob = stage.origin.make(7, 1000);
    assert_eq!(stage.transship.get(&stage.signer.url(&blob)).status(), 200);
    let next = Signer::es256("next");
    let (old_url, new_url) = (stage.signer.url(&blob), next.url(&blob));
    stage.transship.get(&new_url).expect_error(403, "DENIED");
    stage
        .origin
        .hold_file(KEYS, &key_set(&[&stage.signer, &next]));
    for url in [&new_url, &old_url, &stage.signer.url(&blob)] {
        assert_eq!(stage.transship.get(url).status(), 200);
    }
    // The old key goes; a token that names an unknown one brings that about.
    stage.origin.hold_file(KEYS, &key_set(&[&next]));
    let unknown = Signer::ed25519("unknown").url(&blob);
    stage.transship.get(&unknown).expect_error(403, "DENIED");
    let other = stage.origin.make(8, 1000);
    stage
        .transship
        .get(&stage.signer.url(&other))
        .expect_error(403, "DENIED");
    assert_eq!(stage.transship.get(&next.url(&other)).status(), 200);
}

#[test]
fn keys_that_were_known_outlive_the_origin() {
    let stage = Stage::set();
    let blob = stage.origin.make(9, 1000);
    assert_eq!(stage.transship.get(&stage.signer.url(&blob)).status(), 200);
    stage
        .transship
        .until_metric("transship_fills_total", &[("outcome", "committed")], 1);
    stage.origin.stop();
    let unknown = Signer::ed25519("unknown").url(&blob);
    stage.transship.get(&unknown).expect_error(403, "DENIED");
    assert_eq!(stage.transship.get(&stage.signer.url(&blob)).cache(), "hit");
}

#[test]
fn followers_of_a_signed_fill_are_checked_each_by_itself() {
    let stage = Stage::set();
    stage.origin.grant("test/image", ALICE);
    stage.origin.challenge(super::CHALLENGE);
    let blob = stage.origin.make(10, 1_000_000);
    // The scripted origin knows no tokens: whoever comes with one is let in without.
    stage.origin.grant("test/image", "");
    let gate = Gate::new();
    stage
        .origin
        .plan(&blob, Plan::whole().wait_at(500_000, &gate));
    let mut leader = stage.transship.client();
    leader.ask("GET", &stage.signer.url(&blob), &[]);
    let leader_head = leader.head();
    assert_eq!(leader_head.status, 200);
    stage.origin.revoke("test/image", "");
    let stranger = Signer::ed25519("first").url(&blob);
    stage.transship.get(&stranger).expect_error(403, "DENIED");
    stage
        .transship
        .get(&blob.path())
        .expect_error(401, "UNAUTHORIZED");
    let bob = get(&mut stage.transship.client(), &blob.path(), BOB);
    bob.expect_error(403, "DENIED");
    let mut follower = stage.transship.client();
    let mut theirs = claims("test/image", &blob.digest);
    theirs["sub"] = json!("carol");
    follower.ask("GET", &signed(&blob, &stage.signer.sign(&theirs)), &[]);
    let follower_head = follower.head();
    assert_eq!(follower_head.cache(), "fwd=uri-miss; collapsed");
    gate.open();
    for (client, head) in [(&mut leader, leader_head), (&mut follower, follower_head)] {
        let mut body = Vec::new();
        assert!(client.body("GET", &head, |part| body.extend_from_slice(part)));
        assert_same(&body, &blob.bytes);
    }
    assert_eq!(stage.origin.count("GET", &blob.path()), 1);
}

#[test]
fn a_chain_hands_the_keys_down_and_the_token_up() {
    // The cache in the village knows nothing of the origin but its next hop.
    let stage = Stage::set();
    let near = Transship::before(format!("http://{}", stage.transship.addr));
    let blob = stage.origin.make(11, 100_000);
    let url = stage.signer.url(&blob);
    assert_same(&near.get(&url).body, &blob.bytes);
    let seen = stage.origin.seen();
    assert!(seen.iter().any(|seen| seen.target == url));
    assert_eq!(stage.origin.count("GET", KEYS), 1);
    let relayed = near.get(KEYS);
    assert_eq!(relayed.status(), 200);
    assert_eq!(relayed.json()["keys"][0]["kid"], "first");
    let stranger = Signer::ed25519("first").url(&blob);
    near.get(&stranger).expect_error(403, "DENIED");
    stage.transship.get(&stranger).expect_error(403, "DENIED");
}

#[test]
fn a_token_that_the_next_hop_refuses_gives_the_client_403_and_the_next_one_its_own_try() {
    let stage = Stage::set();
    let blob = stage.origin.make(12, 1000);
    stage.origin.plan(&blob, Plan::status(401));
    let reply = stage.transship.get(&stage.signer.url(&blob));
    reply.expect_error(403, "DENIED");
    assert_eq!(reply.field("www-authenticate"), None);
    assert_eq!(stage.transship.get(&stage.signer.url(&blob)).status(), 200);
}

#[test]
fn where_a_token_is_required_nothing_is_served_without() {
    let stage = Stage::set_with("    require_token: true\n");
    let blob = stage.origin.make(13, 1000);
    stage
        .origin
        .tag("test/image", "1", r#"{"schemaVersion":2}"#);
    for _ in 0..2 {
        assert_eq!(stage.transship.get(&stage.signer.url(&blob)).status(), 200);
        for path in [
            &*blob.path(),
            "/v2/test/image/manifests/1",
            "/v2/test/image/tags/list",
        ] {
            for who in ["", ALICE] {
                let reply = get(&mut stage.transship.client(), path, who);
                reply.expect_error(403, "DENIED");
            }
        }
    }
    // Probes and the documented reachability test need no signature.
    for path in ["/", "/v2/", "/v2/_catalog"] {
        assert_eq!(stage.transship.get(path).status(), 200, "{path}");
    }
    let paths: Vec<_> = stage
        .origin
        .seen()
        .into_iter()
        .map(|seen| seen.target)
        .collect();
    assert!(
        paths
            .iter()
            .all(|path| path == KEYS || path.contains("token=")),
        "{paths:?}"
    );
}

#[test]
fn a_shared_secret_and_a_file_of_keys_are_keys_too() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("keys.json");
    let signer = Signer::es256("filed");
    std::fs::write(&path, &*key_set(&[&signer]).bytes).unwrap();
    let secret = "thirty-two bytes of a shared secret";
    let stage = Stage::set_with(&format!(
        "    keys: {}\n    secret: {secret}\n",
        path.display()
    ));
    let blob = stage.origin.make(14, 1000);
    assert_eq!(stage.transship.get(&signer.url(&blob)).status(), 200);
    let shared = Signer::hs256(secret.as_bytes());
    assert_eq!(stage.transship.get(&shared.url(&blob)).status(), 200);
    // The origin's own keys are not asked for then, and the secret is nobody's public key.
    stage
        .transship
        .get(&stage.signer.url(&blob))
        .expect_error(403, "DENIED");
    assert_eq!(stage.origin.count("GET", KEYS), 0);
    let relayed = stage.transship.get(KEYS);
    assert!(!relayed.text().contains("oct"), "{}", relayed.text());
    // A new key in the file counts as soon as a token names it.
    let next = Signer::ed25519("next");
    std::fs::write(&path, &*key_set(&[&signer, &next]).bytes).unwrap();
    assert_eq!(stage.transship.get(&next.url(&blob)).status(), 200);
}

#[test]
fn tokens_are_in_no_log() {
    let stage = Stage::set();
    let blob = stage.origin.make(15, 1000);
    let good = stage.signer.sign(&claims("test/image", &blob.digest));
    let bad = Signer::ed25519("first").sign(&claims("test/image", &blob.digest));
    stage.transship.get(&signed(&blob, &good));
    stage
        .transship
        .get(&signed(&blob, &bad))
        .expect_error(403, "DENIED");
    stage.origin.stop();
    let other = stage.origin.make(16, 1000);
    let unreachable = stage.signer.sign(&claims("test/image", &other.digest));
    stage
        .transship
        .get(&signed(&other, &unreachable))
        .expect_error(502, "UNKNOWN");
    let log = stage.transship.process.log() + &stage.transship.metrics().text;
    assert!(log.contains("a signed URL was refused"), "{log}");
    for token in [&good, &bad, &unreachable] {
        for part in token.split('.') {
            assert!(!log.contains(part), "{part} in {log}");
        }
    }
}

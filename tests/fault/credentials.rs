//! Where credentials go, and where they must never go.

use tempfile::TempDir;

use crate::support::origin::Tls;
use crate::support::{Blob, Origin, Plan, Transship, assert_same};

/// `user:secret` as Basic credentials.
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

fn with_credentials(origin: &Origin) -> Transship {
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /unused\n\
         http:\n  addr: 127.0.0.1:0\n\
         proxy:\n  remoteurl: {}\n  username: user\n  password: secret\n",
        origin.url()
    );
    Transship::options().config(config).start()
}

#[test]
fn credentials_are_traded_for_one_token_at_the_origins_own_realm() {
    // Without the token flow no private upstream and no Docker Hub image can be pulled.
    let origin = Origin::start();
    origin.require_token(&origin.realm());
    let transship = with_credentials(&origin);
    let blobs = [origin.make(1, 50_000), origin.make(2, 50_000)];
    for blob in &blobs {
        assert_same(&transship.get(&blob.path()).body, &blob.bytes);
    }
    let seen = origin.seen();
    let tokens: Vec<_> = seen.iter().filter(|seen| seen.path() == "/token").collect();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    assert_eq!(tokens[0].field("authorization"), Some(BASIC));
    assert!(
        tokens[0].target.contains("service=origin.test"),
        "{tokens:?}"
    );
    assert!(tokens[0].target.contains("scope=repository"), "{tokens:?}");
    for request in seen.iter().filter(|seen| seen.path() != "/token") {
        let given = request.field("authorization").unwrap_or_default();
        assert!(
            !given.contains("dXNl"),
            "the password went to the API: {request:?}"
        );
    }
}

#[test]
fn an_anonymous_token_is_fetched_without_credentials() {
    // Public images of most registries want a token that anybody can have.
    let origin = Origin::start();
    origin.require_token(&origin.realm());
    let transship = Transship::before(origin.url());
    let blob = origin.make(3, 50_000);
    assert_same(&transship.get(&blob.path()).body, &blob.bytes);
    let seen = origin.seen();
    let token = seen.iter().find(|seen| seen.path() == "/token").unwrap();
    assert_eq!(token.field("authorization"), None);
}

#[test]
fn credentials_never_go_to_a_foreign_realm() {
    // CVE-2026-33540: a registry that names an attacker's realm is sent the password.
    let origin = Origin::start();
    let foreign = Origin::start_elsewhere();
    origin.require_token(&foreign.realm());
    let transship = with_credentials(&origin);
    let blob = origin.make(4, 50_000);
    let reply = transship.get(&blob.path());
    assert!(reply.status() >= 400, "{:?}", reply.head);
    for request in foreign.seen() {
        assert_eq!(request.field("authorization"), None, "{request:?}");
        assert!(!request.target.contains("secret"), "{request:?}");
    }
}

#[test]
fn a_redirect_to_another_host_is_followed_without_credentials() {
    // Registries keep blobs at content networks, which must not learn the registry's tokens.
    let origin = Origin::start();
    let elsewhere = Origin::start_elsewhere();
    origin.require_token(&origin.realm());
    let transship = with_credentials(&origin);
    let blob = origin.make(5, 500_000);
    elsewhere.hold_file("/cdn/data", &blob);
    let location = format!("{}/cdn/data?verify=abc", elsewhere.url());
    origin.plan(&blob, Plan::redirect(location));
    assert_same(&transship.get(&blob.path()).body, &blob.bytes);
    let seen = elsewhere.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].target, "/cdn/data?verify=abc");
    assert_eq!(seen[0].field("authorization"), None);
    let sent = origin.sent(&blob.path());
    assert!(
        sent < 1000,
        "only refusals and the redirect have bodies, not {sent} bytes"
    );
    let hit = transship.get(&blob.path());
    assert_eq!(hit.cache(), "hit");
    assert_eq!(elsewhere.seen().len(), 1);
}

#[test]
fn what_a_redirect_leads_to_is_verified_too() {
    // A login page or an expired-link page served with 200 would be stored as the layer.
    let origin = Origin::start();
    let elsewhere = Origin::start_elsewhere();
    let transship = Transship::before(origin.url());
    let blob = origin.make(6, 500_000);
    elsewhere.hold_file("/cdn/data", &Blob::seeded(7, 500_000));
    origin.plan(
        &blob,
        Plan::redirect(format!("{}/cdn/data", elsewhere.url())),
    );
    assert!(!transship.get(&blob.path()).whole);
    assert!(!transship.stores(&blob.digest));
    assert_same(&transship.get(&blob.path()).body, &blob.bytes);
}

#[test]
fn a_private_authority_is_trusted_only_when_the_configuration_names_it() {
    // Either no company registry works, or anybody between can pose as it.
    let tls = Tls::new();
    let origin = Origin::start_tls(&tls);
    let blob = origin.make(8, 500_000);
    let stranger = Transship::before(origin.url());
    let reply = stranger.get(&blob.path());
    assert!(matches!(reply.status(), 502 | 504), "{:?}", reply.head);
    assert_eq!(origin.seen().len(), 0);

    let dir = TempDir::new().unwrap();
    let authority = dir.path().join("ca.pem");
    std::fs::write(&authority, &tls.authority).unwrap();
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /unused\n\
         http:\n  addr: 127.0.0.1:0\n\
         middleware:\n  registry:\n    - name: downstream\n      options:\n        \
         upstreams: [{}]\n        cas: [{}]\n",
        origin.url(),
        authority.display()
    );
    let transship = Transship::options().config(config).start();
    assert_same(&transship.get(&blob.path()).body, &blob.bytes);
    assert_eq!(origin.count("GET", &blob.path()), 1);
}

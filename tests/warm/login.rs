//! Images that not everybody may pull.

use serde_json::json;
use tempfile::TempDir;

use super::{Image, call, path, warmed};
use crate::support::image::Image as RealImage;
use crate::support::token_server::{ISSUER, SERVICE, TokenServer};
use crate::support::{DockerRegistry, Rig, Transship};

/// `alice:s3cret-word`, as `Basic`.
const ALICE: &str = "Basic YWxpY2U6czNjcmV0LXdvcmQ=";
const PASSWORD: &str = "s3cret-word";

#[test]
fn a_private_image_wants_a_login_which_nobody_sees() {
    let rig = Rig::start();
    let image =
        Image::make(&rig.origin, 1, &[100, 200_000]).tag(&rig.origin, "test/image", "latest");
    rig.origin.grant("test/image", ALICE);
    rig.origin.challenge("Basic realm=\"origin.test\"");
    let order = |login: serde_json::Value| json!({"references": ["test/image"], "patience_seconds": 0, "login": login});
    let error = |told: &serde_json::Value| told["references"][0]["error"].clone();
    let told = warmed(
        &rig.transship,
        &json!({"references": ["test/image"], "patience_seconds": 0}),
    );
    assert_eq!(error(&told)["code"], "DENIED", "{told:#}");
    assert!(
        error(&told)["message"]
            .as_str()
            .unwrap()
            .contains("proxy.username")
    );
    let told = warmed(
        &rig.transship,
        &order(json!({"username": "alice", "password": "wrong-word"})),
    );
    assert_eq!(error(&told)["code"], "DENIED", "{told:#}");
    assert!(
        error(&told)["message"]
            .as_str()
            .unwrap()
            .contains("login of this job")
    );
    let told = warmed(
        &rig.transship,
        &order(json!({"username": "alice", "password": PASSWORD})),
    );
    assert_eq!(told["state"], "done", "{told:#}");
    image.assert_stored(&rig.transship);
    // What is here is hers all the same.
    let target = path("test/image", &image.blobs[1]);
    assert_eq!(rig.transship.get(&target).status(), 401);
    let hers = [("Authorization", ALICE)];
    let reply = rig.transship.client().call("GET", &target, &hers);
    assert_eq!((reply.status(), reply.cache()), (200, "hit".to_owned()));
    assert_eq!(rig.origin.count("GET", &target), 1);

    let shown = call(
        &rig.transship,
        "GET",
        &format!("/v1/warm/{}", told["id"]),
        "",
    )
    .text();
    let log = rig.transship.process.log();
    let bad = r#"{"references": ["a"], "login": {"username": 5, "password": "s3cret-word"}}"#;
    let refused = call(&rig.transship, "POST", "/v1/warm", bad).text();
    for text in [shown, log, refused] {
        for secret in [
            PASSWORD,
            "wrong-word",
            ALICE.strip_prefix("Basic ").unwrap(),
        ] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn a_login_is_good_at_a_token_server_too_and_for_itself_alone() {
    // A private image would be everybody's once it was warmed.
    let (tokens, dir) = (TokenServer::start(), TempDir::new().unwrap());
    tokens.grant("alice:secret", &["test/image"]);
    tokens.grant("", &[]);
    let bundle = dir.path().join("bundle.pem");
    std::fs::write(&bundle, &tokens.certificate).unwrap();
    let registry = DockerRegistry::start_with(&format!(
        "auth:\n  token:\n    realm: {}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    rootcertbundle: {}\n",
        tokens.realm,
        bundle.display()
    ));
    let image = RealImage::make(950, &[500_000, 1]);
    image.push_as(&registry.host, "alice:secret");
    // Its token server listens on another port, and credentials go to realms that the operator names.
    let realm = tokens
        .realm
        .trim_end_matches("/token")
        .trim_start_matches("http://");
    let config = format!("    realms: ['{realm}']\n  access: {{shared: true}}\n");
    let transship = Transship::behind(&[registry.url()], &config).start();
    let login = json!({"username": "alice", "password": "secret"});
    let told = warmed(
        &transship,
        &json!({"references": ["test/image"], "login": login, "patience_seconds": 0}),
    );
    assert_eq!(told["state"], "done", "{told:#}");
    let target = path("test/image", &image.layers[0]);
    assert!(
        matches!(transship.get(&target).status(), 401 | 403),
        "the cache itself may not pull it"
    );
    let told = warmed(
        &transship,
        &json!({"references": ["test/image"], "patience_seconds": 0}),
    );
    assert_eq!(told["references"][0]["error"]["code"], "DENIED", "{told:#}");
}

//! Registry tokens at the cache's own door.

use serde_json::{Value, json};

use crate::auth::testing::{NOW, Signer, key_set, registry_claims};
use crate::auth::{Algorithms, KeySet, Refusal, RegistryToken};
use crate::registry::Name;

fn check_with(token: &str, keys: &KeySet, now: u64) -> Result<RegistryToken, Refusal> {
    let allowed = Algorithms::REGISTRY_TOKEN;
    RegistryToken::check(
        token,
        keys,
        allowed,
        now,
        60,
        "auth.example",
        "registry.example",
    )
}

fn check(claims: &Value, now: u64) -> Result<RegistryToken, Refusal> {
    let signer = Signer::p256("k");
    let token = signer.token(claims);
    let keys = key_set(&[&signer]);
    check_with(&token, &keys, now)
}

#[test]
fn a_registry_token_permits_pulling_what_it_names() {
    let token = check(&registry_claims(), NOW).unwrap();
    assert_eq!(token.until, NOW + 360);
    assert_eq!(token.subject.as_deref(), Some("ana"));
    for (repository, expected) in [
        ("a/b", true),
        ("a/bc", false),
        ("a/b/c", false),
        ("a", false),
        ("all", true),
        ("a/plugin", true),
        ("b/plugin", true),
        ("c/push", false),
        ("d", false),
    ] {
        let name = Name::parse(repository).unwrap();
        assert_eq!(token.permits(name), expected, "{repository}");
    }
    assert!(!token.permits_catalog());
}

#[test]
fn only_the_whole_catalogue_is_the_catalogue() {
    for (access, expected) in [
        (
            json!([{"type": "registry", "name": "catalog", "actions": ["*"]}]),
            true,
        ),
        (
            json!([{"type": "registry", "name": "catalog", "actions": ["pull"]}]),
            false,
        ),
        (
            json!([{"type": "repository", "name": "catalog", "actions": ["*"]}]),
            false,
        ),
        (
            json!([{"type": "registry", "name": "other", "actions": ["*"]}]),
            false,
        ),
        (json!([]), false),
        (json!(null), false),
    ] {
        let mut claims = registry_claims();
        claims["access"] = access.clone();
        let token = check(&claims, NOW).unwrap();
        assert_eq!(token.permits_catalog(), expected, "{access}");
        assert!(!token.permits(Name::parse("a/b").unwrap()));
    }
}

#[test]
fn a_token_of_another_server_or_for_another_service_is_refused() {
    for (claim, value, expected) in [
        ("iss", json!("auth.example."), Refusal::Issuer),
        ("iss", json!(""), Refusal::Issuer),
        ("iss", json!(null), Refusal::Issuer),
        ("iss", json!(["auth.example"]), Refusal::Malformed),
        ("aud", json!("transship"), Refusal::Audience),
        ("aud", json!(null), Refusal::Audience),
        ("aud", json!(["a", "b"]), Refusal::Audience),
        ("exp", json!(NOW - 60), Refusal::Expired),
        ("nbf", json!(NOW + 61), Refusal::NotYetValid),
        ("exp", json!(null), Refusal::Malformed),
    ] {
        let mut claims = registry_claims();
        claims[claim] = value.clone();
        assert_eq!(check(&claims, NOW), Err(expected), "{claim} {value}");
    }
    let mut claims = registry_claims();
    claims["aud"] = json!(["other", "registry.example"]);
    claims["exp"] = json!(NOW - 59);
    assert!(check(&claims, NOW).is_ok());
}

#[test]
fn a_secret_never_signs_a_registry_token() {
    let text = "0123456789abcdef0123456789abcdef";
    let keys = key_set(&[&Signer::p256("k")]);
    let keys = keys.with_secret(&crate::auth::Secret::new(text)).unwrap();
    let token = Signer::secret(text.as_bytes()).token(&registry_claims());
    let check = check_with(&token, &keys, NOW);
    assert_eq!(check, Err(Refusal::Algorithm));
}

#[test]
fn every_algorithm_of_token_servers_is_taken() {
    let rsa = Signer::rsa("rsa");
    let signers = [
        Signer::ed25519("ed"),
        Signer::p256("p256"),
        Signer::p384("p384"),
    ];
    let keys = key_set(&[&rsa, &signers[0], &signers[1], &signers[2]]);
    let mut tokens: Vec<_> = signers
        .iter()
        .map(|signer| signer.token(&registry_claims()))
        .collect();
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        tokens.push(rsa.mint(&json!({"alg": algorithm, "kid": "rsa"}), &registry_claims()));
    }
    for token in tokens {
        let check = check_with(&token, &keys, NOW);
        assert!(check.is_ok());
    }
}

#[test]
fn a_list_of_algorithms_leaves_the_others_out() {
    let signer = Signer::p256("p256");
    let (token, keys) = (signer.token(&registry_claims()), key_set(&[&signer]));
    let check = |names: &[&str]| {
        let allowed = Algorithms::named(names.iter().copied());
        let (issuer, service) = ("auth.example", "registry.example");
        RegistryToken::check(&token, &keys, allowed, NOW, 60, issuer, service).err()
    };
    assert_eq!(check(&["RS256", "ES256"]), None);
    assert_eq!(check(&["RS256", "ES384"]), Some(Refusal::Algorithm));
    assert_eq!(check(&["none", ""]), Some(Refusal::Algorithm));
}

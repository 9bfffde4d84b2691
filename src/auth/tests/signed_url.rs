//! What signed URLs permit, and what they do not.

use serde_json::{Value, json};

use crate::auth::testing::{NOW, Signer, blob, key_set, signed_url_claims};
use crate::auth::{KeySet, Refusal, Secret, SignedUrl};
use crate::digest::{Algorithm, Digest};
use crate::registry::Name;

fn check_as(
    claims: &Value,
    now: u64,
    repository: &str,
    digest: &Digest,
) -> Result<SignedUrl, Refusal> {
    let signer = Signer::ed25519("k");
    let keys = key_set(&[&signer]);
    let name = Name::parse(repository).unwrap();
    SignedUrl::check(&signer.token(claims), &keys, now, 30, name, digest)
}

/// Checks the usual claims with one of them replaced, or removed where it is `null`.
fn check_with(claim: &str, value: Value) -> Result<SignedUrl, Refusal> {
    let mut claims = signed_url_claims();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(claim),
        value => claims
            .as_object_mut()
            .unwrap()
            .insert(claim.to_owned(), value),
    };
    check_as(&claims, NOW, "library/busybox", &blob())
}

#[test]
fn a_signed_url_permits_what_it_says() {
    let url = check_as(&signed_url_claims(), NOW, "library/busybox", &blob()).unwrap();
    let expected = SignedUrl {
        until: NOW + 330,
        subject: Some("ana".to_owned()),
        id: Some("1".to_owned()),
    };
    assert_eq!(url, expected);
    for (claim, value) in [
        ("aud", json!(["other", "transship"])),
        ("sub", Value::Null),
        ("nbf", Value::Null),
        ("iat", Value::Null),
        ("iss", Value::Null),
        ("exp", json!(NOW as f64 + 300.5)),
        (
            "access",
            json!([
                {"type": "registry", "name": "catalog", "actions": ["*"]},
                {"type": "repository", "name": "library/busybox", "actions": ["push"]},
                {"type": "repository", "name": "library/busybox", "actions": ["push", "pull"]},
            ]),
        ),
    ] {
        assert!(check_with(claim, value.clone()).is_ok(), "{claim} {value}");
    }
    assert_eq!(check_with("sub", json!("")).unwrap().subject, None);
}

#[test]
fn a_signed_url_is_for_one_blob() {
    let other = Digest::of(Algorithm::Sha256, b"other");
    let check = check_as(&signed_url_claims(), NOW, "library/busybox", &other);
    assert_eq!(check, Err(Refusal::Digest));
    let same_content = Digest::of(Algorithm::Sha512, b"blob");
    let check = check_as(&signed_url_claims(), NOW, "library/busybox", &same_content);
    assert_eq!(check, Err(Refusal::Digest));
    let text = blob().to_string();
    for digest in [
        Value::Null,
        json!(""),
        json!("sha256:"),
        json!("*"),
        json!(text.to_uppercase()),
        json!(text[7..]),
        json!(format!("{text} ")),
        json!(format!("{text},{other}")),
    ] {
        assert_eq!(
            check_with("digest", digest.clone()),
            Err(Refusal::Digest),
            "{digest}"
        );
    }
    assert_eq!(check_with("digest", json!([text])), Err(Refusal::Malformed));
}

#[test]
fn a_signed_url_is_for_one_repository() {
    for repository in [
        "library/busybox/more",
        "library/busybo",
        "library/busyboxx",
        "library",
        "busybox",
        "other/busybox",
    ] {
        let check = check_as(&signed_url_claims(), NOW, repository, &blob());
        assert_eq!(check, Err(Refusal::Repository), "{repository}");
    }
    for access in [
        Value::Null,
        json!([]),
        json!([{"type": "repository", "name": "*", "actions": ["pull"]}]),
        json!([{"type": "repository", "name": "library/*", "actions": ["pull"]}]),
        json!([{"type": "repository", "name": "library/", "actions": ["pull"]}]),
        json!([{"type": "repository", "name": "Library/Busybox", "actions": ["pull"]}]),
        json!([{"type": "registry", "name": "library/busybox", "actions": ["pull"]}]),
        json!([{"type": "", "name": "library/busybox", "actions": ["pull"]}]),
        // The action of one entry is not the action of another.
        json!([
            {"type": "repository", "name": "a", "actions": ["pull"]},
            {"type": "other", "name": "library/busybox", "actions": ["pull"]},
        ]),
    ] {
        assert_eq!(
            check_with("access", access.clone()),
            Err(Refusal::Repository),
            "{access}"
        );
    }
}

#[test]
fn a_signed_url_that_does_not_say_pull_does_not_permit_it() {
    for actions in [
        json!(null),
        json!([]),
        json!(["push"]),
        json!(["*"]),
        json!(["PULL", "pull "]),
    ] {
        let access = json!([
            {"type": "repository", "name": "library/busybox", "actions": actions},
            {"type": "repository", "name": "other", "actions": ["pull"]},
        ]);
        assert_eq!(
            check_with("access", access),
            Err(Refusal::Action),
            "{actions}"
        );
    }
    let access = json!([{"type": "repository", "name": "library/busybox", "actions": "pull"}]);
    assert_eq!(check_with("access", access), Err(Refusal::Malformed));
}

#[test]
fn a_token_for_somebody_else_is_no_signed_url() {
    for audience in [
        Value::Null,
        json!(""),
        json!("registry"),
        json!("transshipx"),
        json!("Transship"),
        json!([]),
        json!(["registry", "https://transship"]),
    ] {
        assert_eq!(
            check_with("aud", audience.clone()),
            Err(Refusal::Audience),
            "{audience}"
        );
    }
    assert_eq!(
        check_with("aud", json!({"transship": 1})),
        Err(Refusal::Malformed)
    );
}

#[test]
fn a_signed_url_ends_when_it_says_and_not_a_second_later() {
    let claims = signed_url_claims();
    for (now, expected) in [
        (NOW + 299, None),
        (NOW + 329, None),
        (NOW + 330, Some(Refusal::Expired)),
        (u64::MAX, Some(Refusal::Expired)),
        (NOW - 40, None),
        (NOW - 41, Some(Refusal::NotYetValid)),
        (0, Some(Refusal::NotYetValid)),
    ] {
        let check = check_as(&claims, now, "library/busybox", &blob());
        assert_eq!(check.err(), expected, "{now}");
    }
    for (claim, value, expected) in [
        ("exp", Value::Null, Refusal::Malformed),
        ("exp", json!(0), Refusal::Expired),
        ("exp", json!(-1), Refusal::Malformed),
        ("exp", json!(u64::MAX), Refusal::Malformed),
        ("exp", json!(1e30), Refusal::Malformed),
        ("exp", json!("2000000000"), Refusal::Malformed),
        ("nbf", json!(NOW + 31), Refusal::NotYetValid),
        ("iat", json!(NOW + 31), Refusal::NotYetValid),
        ("iat", json!(-1), Refusal::Malformed),
    ] {
        assert_eq!(
            check_with(claim, value.clone()),
            Err(expected),
            "{claim} {value}"
        );
    }
    assert!(check_with("nbf", json!(NOW + 30)).is_ok());
}

#[test]
fn claims_are_not_looked_at_before_the_signature() {
    let keys = key_set(&[&Signer::ed25519("k")]);
    let forger = Signer::ed25519("k");
    let name = Name::parse("a").unwrap();
    for claims in [json!({}), json!({"exp": 1}), signed_url_claims()] {
        let check = SignedUrl::check(&forger.token(&claims), &keys, NOW, 30, name, &blob());
        assert_eq!(check, Err(Refusal::Signature));
    }
}

#[test]
fn only_the_algorithms_of_signed_urls_sign_them() {
    let text = "0123456789abcdef0123456789abcdef";
    let signers = [
        (Signer::ed25519("ed"), true),
        (Signer::p256("p256"), true),
        (Signer::p384("p384"), false),
        (Signer::rsa("rsa"), false),
    ];
    let public: Vec<_> = signers.iter().map(|(signer, _)| signer).collect();
    let keys = key_set(&public);
    let check = |token: &str, keys: &KeySet| {
        let name = Name::parse("library/busybox").unwrap();
        SignedUrl::check(token, keys, NOW, 30, name, &blob()).err()
    };
    for (signer, taken) in &signers {
        let token = signer.token(&signed_url_claims());
        let expected = (!taken).then_some(Refusal::Algorithm);
        assert_eq!(check(&token, &keys), expected, "{}", signer.algorithm);
    }
    let hmac = Signer::secret(text.as_bytes()).token(&signed_url_claims());
    assert_eq!(check(&hmac, &keys), Some(Refusal::Algorithm));
    let keys = keys.with_secret(&Secret::new(text)).unwrap();
    assert_eq!(check(&hmac, &keys), None);
}

//! Key sets: what is taken, what is left out, what is relayed.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::auth::testing::{Signer, encode, key_set, signed_url_claims};
use crate::auth::{Algorithms, KeySet, KeySetError, Secret, Unusable, verify};
use crate::limits::{KEY_SET_BYTES_MAX, KEY_SET_KEYS_MAX};

/// The body of a fuzz target: what is read can be relayed and reads the same; private parameters do not
/// come out.
pub(crate) fn check_key_set(bytes: &[u8]) {
    let Ok(keys) = KeySet::parse(bytes) else {
        return;
    };
    let relayed = keys.to_json();
    assert!(has_no_private_member(&relayed));
    let again = KeySet::parse(relayed.as_bytes()).unwrap();
    assert_eq!(again.to_json(), relayed);
    assert_eq!((again.len(), again.skipped().len()), (keys.len(), 0));
}

fn has_no_private_member(json: &str) -> bool {
    let set: Value = serde_json::from_str(json).unwrap();
    let known = ["kid", "use", "alg", "kty", "crv", "n", "e", "x", "y"];
    let mut keys = set["keys"].as_array().unwrap().iter();
    keys.all(|key| {
        key.as_object()
            .unwrap()
            .keys()
            .all(|name| known.contains(&&**name))
    })
}

fn parse(keys: &[Value]) -> Result<KeySet, KeySetError> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

/// Returns `jwk` with other members; `null` removes one.
fn with(mut jwk: Value, members: Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        match value {
            Value::Null => jwk.as_object_mut().unwrap().remove(name),
            value => jwk
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
    jwk
}

#[test]
fn the_thumbprint_of_rfc_7638_names_a_key_without_a_name() {
    let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc\
                   _BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR\
                   0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTW\
                   hAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let keys = parse(&[json!({"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256"})]).unwrap();
    assert!(keys.contains("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
    // RFC 7638 §3.1 gives it the name of a date; with a name of its own it has no other.
    let named = json!({"kty": "RSA", "n": modulus, "e": "AQAB", "kid": "2011-04-29"});
    let keys = parse(&[named]).unwrap();
    assert!(keys.contains("2011-04-29"));
    assert!(!keys.contains("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
}

/// Says that `jwk` is left out of a set for `reason`, and that the others of the set are not.
fn is_left_out(jwk: &Value, reason: Unusable) {
    let [first, last] = [Signer::ed25519("first").jwk(), Signer::p256("last").jwk()];
    let keys = parse(&[first.clone(), jwk.clone(), last]).unwrap();
    assert!(
        keys.len() == 2 && keys.contains("first") && keys.contains("last"),
        "{jwk}"
    );
    let [skipped] = keys.skipped() else {
        panic!("{jwk}")
    };
    assert_eq!((skipped.index, skipped.reason), (1, reason), "{jwk}");
    check_key_set(json!({"keys": [first, jwk]}).to_string().as_bytes());
    let alone = parse(std::slice::from_ref(jwk)).unwrap_err();
    assert!(matches!(alone, KeySetError::NothingUsable(skipped) if skipped.len() == 1));
}

#[test]
fn a_key_that_cannot_be_used_is_left_out_and_the_others_stay() {
    use Unusable as U;
    let (ed, p256) = (Signer::ed25519("ed").jwk(), Signer::p256("ec").jwk());
    let off_curve = encode([1; 32]);
    for (jwk, reason) in [
        (
            json!({"kty": "oct", "k": encode([7; 32]), "kid": "x"}),
            U::Symmetric,
        ),
        (
            json!({"kty": "oct", "k": encode([7; 32]), "alg": "HS256"}),
            U::Symmetric,
        ),
        (with(ed.clone(), json!({"d": encode([7; 32])})), U::Private),
        (with(p256.clone(), json!({"k": "AQAB"})), U::Private),
        (with(ed.clone(), json!({"use": "enc"})), U::Use),
        (with(ed.clone(), json!({"key_ops": ["sign"]})), U::Use),
        (with(ed.clone(), json!({"key_ops": []})), U::Use),
        (with(ed.clone(), json!({"key_ops": "verify"})), U::Malformed),
        (with(ed.clone(), json!({"kty": "AKP"})), U::Kind),
        (with(ed.clone(), json!({"crv": "Ed448"})), U::Kind),
        (with(ed.clone(), json!({"crv": "X25519"})), U::Kind),
        (with(ed.clone(), json!({"crv": null})), U::Kind),
        (with(ed.clone(), json!({"kty": "EC"})), U::Kind),
        (with(p256.clone(), json!({"crv": "P-521"})), U::Kind),
        (with(p256.clone(), json!({"crv": "secp256k1"})), U::Kind),
        (with(p256.clone(), json!({"crv": "P-384"})), U::Malformed),
        (with(p256.clone(), json!({"y": null})), U::Malformed),
        (with(p256.clone(), json!({"y": off_curve})), U::Malformed),
        (with(ed.clone(), json!({"kty": null})), U::Malformed),
        (with(ed.clone(), json!({"kid": 1})), U::Malformed),
        (
            with(ed.clone(), json!({"x": encode([1; 31])})),
            U::Malformed,
        ),
        (
            with(ed.clone(), json!({"x": encode([1; 33])})),
            U::Malformed,
        ),
        (with(ed.clone(), json!({"x": "=="})), U::Malformed),
        (with(ed.clone(), json!({"alg": "ES256"})), U::Algorithm),
        (with(ed.clone(), json!({"alg": "HS256"})), U::Algorithm),
        (with(ed.clone(), json!({"alg": "none"})), U::Algorithm),
        (json!("x"), U::Malformed),
        (json!(null), U::Malformed),
        (json!([]), U::Malformed),
    ] {
        is_left_out(&jwk, reason);
    }
}

#[test]
fn an_rsa_key_that_is_weak_costly_or_private_is_left_out() {
    use Unusable as U;
    let rsa = Signer::rsa("rsa").jwk();
    let mut even = vec![0xff; 256];
    even[255] = 0xfe;
    for (jwk, reason) in [
        (with(rsa.clone(), json!({"p": "AQAB"})), U::Private),
        (with(rsa.clone(), json!({"alg": "RSA-OAEP"})), U::Algorithm),
        (with(rsa.clone(), json!({"alg": "HS256"})), U::Algorithm),
        (with(rsa.clone(), json!({"n": encode([255; 128])})), U::Size),
        (with(rsa.clone(), json!({"n": ""})), U::Size),
        (
            with(rsa.clone(), json!({"n": encode(vec![255; 1025])})),
            U::Size,
        ),
        (with(rsa.clone(), json!({"n": encode(even)})), U::Malformed),
        (with(rsa.clone(), json!({"e": "AQ"})), U::Malformed),
        (with(rsa.clone(), json!({"e": "AA"})), U::Malformed),
        (
            with(rsa.clone(), json!({"e": encode([1; 256])})),
            U::Malformed,
        ),
        (with(rsa.clone(), json!({"e": null})), U::Malformed),
    ] {
        is_left_out(&jwk, reason);
    }
}

#[test]
fn what_is_left_out_is_named_and_not_shown() {
    let secret = encode([7; 32]);
    let set = json!({"keys": [{"kty": "oct", "k": secret, "kid": "a\nb"}, {"kty": "X"}]});
    let error = KeySet::parse(set.to_string().as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no usable key in the set; key 0 (a?b): symmetric keys are not taken from a set; \
         key 1: its type or curve is not supported"
    );
    assert!(!format!("{error:?}").contains(&secret));
}

#[test]
fn keys_that_say_that_they_are_for_signatures_are_taken() {
    let ed = Signer::ed25519("ed").jwk();
    for members in [
        json!({"use": "sig"}),
        json!({"key_ops": ["verify"]}),
        json!({"key_ops": ["sign", "verify"], "use": "sig", "alg": "EdDSA"}),
        json!({"alg": "Ed25519"}),
        json!({"x5c": ["x"], "x5t": 1, "exp": {}, "iat": null}),
    ] {
        let keys = parse(&[with(ed.clone(), members.clone())]).unwrap();
        assert!(keys.contains("ed"), "{members}");
    }
    // Leading zeros of a modulus are no part of it.
    let rsa = Signer::rsa("rsa");
    let padded = [vec![0, 0], rsa.public()].concat();
    let padded = parse(&[with(rsa.jwk(), json!({"n": encode(padded)}))]).unwrap();
    assert_eq!(padded.to_json(), key_set(&[&rsa]).to_json());
}

#[test]
fn what_is_no_set_is_refused_whole() {
    let ed = Signer::ed25519("ed").jwk();
    for (text, expected) in [
        ("", KeySetError::Malformed),
        ("x", KeySetError::Malformed),
        ("[]", KeySetError::Malformed),
        ("[[]]", KeySetError::Malformed),
        ("{}", KeySetError::Malformed),
        (r#"{"keys":{}}"#, KeySetError::Malformed),
        (r#"{"keys":[],"keys":[]}"#, KeySetError::Malformed),
        (r#"{"keys":[]} {}"#, KeySetError::Malformed),
        (r#"{"keys":[]}"#, KeySetError::NothingUsable(vec![])),
    ] {
        assert_eq!(
            KeySet::parse(text.as_bytes()).unwrap_err(),
            expected,
            "{text}"
        );
    }
    assert_eq!(
        parse(&vec![ed.clone(); KEY_SET_KEYS_MAX]).unwrap().len(),
        KEY_SET_KEYS_MAX
    );
    let many = parse(&vec![ed.clone(); KEY_SET_KEYS_MAX + 1]);
    assert_eq!(many.unwrap_err(), KeySetError::TooMany);
    let text = json!({ "keys": [ed] }).to_string();
    let long = format!("{text}{}", " ".repeat(KEY_SET_BYTES_MAX - text.len()));
    assert!(KeySet::parse(long.as_bytes()).is_ok());
    let longer = format!("{long} ");
    assert_eq!(
        KeySet::parse(longer.as_bytes()).unwrap_err(),
        KeySetError::TooLong
    );
    let deep = "[".repeat(KEY_SET_BYTES_MAX);
    assert!(KeySet::parse(deep.as_bytes()).is_err());
    let deep = format!("{{\"keys\":{}", &deep[..1000]);
    assert!(KeySet::parse(deep.as_bytes()).is_err());
}

#[test]
fn a_relayed_set_checks_the_same_tokens_and_holds_no_secret() {
    let signers = [
        Signer::ed25519("ed"),
        Signer::p256("p256"),
        Signer::p384("p384"),
        Signer::rsa("rsa"),
        Signer::ed25519(""),
    ];
    let secret = "do not tell anybody what is written here";
    let keys = key_set(&signers.each_ref());
    let with_secret = keys.clone().with_secret(&Secret::new(secret)).unwrap();
    assert_eq!(with_secret.to_json(), keys.to_json());
    assert!(!format!("{with_secret:?}").contains("tell"));
    assert!(!format!("{with_secret:?}").contains(&format!("{:?}", &secret.as_bytes()[..8])[1..20]));
    let relayed = keys.to_json();
    assert!(has_no_private_member(&relayed));
    let next = KeySet::parse(relayed.as_bytes()).unwrap();
    for signer in &signers {
        let token = signer.token(&signed_url_claims());
        assert!(
            verify(
                &token,
                &next,
                Algorithms::SIGNED_URL.or(Algorithms::REGISTRY_TOKEN),
                0
            )
            .is_ok()
        );
    }
    assert_eq!(KeySet::default().to_json(), r#"{"keys":[]}"#);
}

#[test]
fn a_secret_that_can_be_guessed_is_refused() {
    for short in ["", "secret", &"x".repeat(31)] {
        let set = KeySet::default().with_secret(&Secret::new(short));
        assert_eq!(set.unwrap_err(), KeySetError::SecretTooShort);
    }
    assert!(
        KeySet::default()
            .with_secret(&Secret::new(&"x".repeat(32)))
            .is_ok()
    );
}

proptest! {
    #[test]
    fn no_set_makes_the_reader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        member in "kty|crv|x|y|n|e|d|k|kid|alg|use|key_ops",
        value in "\"[A-Za-z0-9_-]{0,44}\"|null|1|\\[\\]|\"(RSA|EC|OKP|oct|P-256|Ed25519|sig|verify)\"",
        which in 0..3_usize,
    ) {
        check_key_set(&bytes);
        let jwk = [Signer::ed25519("a"), Signer::p256("b"), Signer::rsa("c")][which].jwk();
        let value: Value = serde_json::from_str(&value).unwrap();
        let mut changed = jwk.clone();
        changed[&*member] = value;
        check_key_set(json!({"keys": [changed, jwk]}).to_string().as_bytes());
    }
}

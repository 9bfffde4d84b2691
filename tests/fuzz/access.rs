//! Tokens, key sets, password files: what decides who may have what.

use std::sync::OnceLock;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use transship::auth::{
    Algorithms, Authorization, Htpasswd, KeySet, RegistryToken, Scope, Secret, SignedUrl,
    claimed_key,
};
use transship::digest::Digest;
use transship::registry::Name;

const SECRET: &str = "a secret of thirty-two bytes, at least";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const NOW: u64 = 1_800_000_000;

fn good_token() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| {
        let access = json!([{"type": "repository", "name": "a/b", "actions": ["pull"]}]);
        let claims =
            json!({"aud": "transship", "exp": NOW + 60, "digest": DIGEST, "access": access});
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
    })
}

fn opens(token: &str) -> bool {
    let keys = KeySet::default().with_secret(&Secret::new(SECRET)).unwrap();
    let name = Name::parse("a/b").unwrap();
    let digest: Digest = DIGEST.parse().unwrap();
    SignedUrl::check(token, &keys, NOW, 0, name, &digest).is_ok()
}

/// Only the token that was signed opens anything: not these bytes, and not the token with these bytes
/// written over a part of it.
pub fn check_token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let good = good_token();
    assert!(opens(good));
    assert_eq!(opens(&text), text == good);
    let _ = claimed_key(&text);
    let at = bytes
        .first()
        .map_or(0, |&first| usize::from(first) * good.len() / 256);
    let mut spoilt = good.as_bytes().to_vec();
    for (place, byte) in spoilt.iter_mut().skip(at).zip(bytes.iter().skip(1)) {
        *place = *byte;
    }
    if let Ok(spoilt) = String::from_utf8(spoilt) {
        assert_eq!(opens(&spoilt), spoilt == good, "{spoilt}");
    }
}

/// A set that is read is relayed without anything private, and is read back as it was.
pub fn check_key_set(bytes: &[u8]) {
    let Ok(keys) = KeySet::parse(bytes) else {
        return;
    };
    let relayed = keys.to_json();
    let set: serde_json::Value = serde_json::from_str(&relayed).unwrap();
    for key in set["keys"].as_array().unwrap() {
        for private in ["d", "k", "p", "q", "dp", "dq", "qi"] {
            assert!(key.get(private).is_none(), "{relayed}");
        }
    }
    if !keys.is_empty() {
        assert_eq!(
            KeySet::parse(relayed.as_bytes()).unwrap().to_json(),
            relayed
        );
    }
    let token = good_token();
    let checked = RegistryToken::check(token, &keys, Algorithms::REGISTRY_TOKEN, NOW, 0, "i", "s");
    assert!(checked.is_err());
}

/// No password file that is made up knows a user by this name, and none shows a hash.
pub fn check_passwords(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Htpasswd::parse(&text) {
        Ok(file) => assert!(!format!("{file:?}").contains('$')),
        Err(error) => assert!(!error.to_string().contains('$')),
    }
}

/// What is read of `Authorization` can be written into a head again, and is not shown.
pub fn check_authorization(bytes: &[u8]) {
    let authorization = Authorization::parse(bytes);
    let shown = format!("{authorization:?}");
    match &authorization {
        Authorization::Basic { user, password } => {
            let both = format!("{user}{}", password.expose());
            assert!(!both.chars().any(char::is_control));
        }
        Authorization::Bearer(token) => {
            assert!(token.len() < 8 || !shown.contains(token), "{shown}");
        }
        Authorization::Other => {}
    }
}

/// What is read of a scope can be written again, and none of it could be misread in a token or a log.
pub fn check_scope(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some(scope) = Scope::parse(&text) else {
        return;
    };
    let class = scope
        .class
        .map_or(String::new(), |class| format!("({class})"));
    let actions: Vec<_> = scope.actions().collect();
    let again = format!("{}{class}:{}:{}", scope.kind, scope.name, actions.join(","));
    assert_eq!(again, text);
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!scope.name.is_empty() && actions.iter().all(|action| !action.is_empty()));
}

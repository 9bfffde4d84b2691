//! Reads one key of a JWK set.
//!
//! Refuses what is not a public key for signatures: private and symmetric keys, keys for encryption,
//! other types and curves. Names and chains that it does not need (`x5u`, `x5c`, `x5t`) are ignored: a key
//! is trusted because of the set that it is in.
//!
//! Source: RFC 7517 §4, RFC 7518 §6, RFC 8037 §2.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithms::named;
use super::key::{Key, Public, Unusable};

/// Parameters that only private and symmetric keys have (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Reads one member of `keys`. A key without a `kid` is called by its thumbprint.
///
/// # Errors
///
/// [`Unusable`].
pub(super) fn read(jwk: &Value) -> Result<Key, Unusable> {
    let members = jwk.as_object().ok_or(Unusable::Malformed)?;
    let kind = text(members, "kty")?.ok_or(Unusable::Malformed)?;
    if kind == "oct" {
        return Err(Unusable::Symmetric);
    }
    if PRIVATE.iter().any(|&name| members.contains_key(name)) {
        return Err(Unusable::Private);
    }
    check_use(members)?;
    let key = match (kind, text(members, "crv")?) {
        ("RSA", _) => {
            let [modulus, exponent] = [bytes(members, "n")?, bytes(members, "e")?];
            Key::new(Public::Rsa {
                modulus: &modulus,
                exponent: &exponent,
            })
        }
        ("EC", Some("P-256")) => {
            let [x, y] = [bytes(members, "x")?, bytes(members, "y")?];
            Key::new(Public::P256 { x: &x, y: &y })
        }
        ("EC", Some("P-384")) => {
            let [x, y] = [bytes(members, "x")?, bytes(members, "y")?];
            Key::new(Public::P384 { x: &x, y: &y })
        }
        ("OKP", Some("Ed25519")) => Key::new(Public::Ed25519(&bytes(members, "x")?)),
        _ => Err(Unusable::Kind),
    }?;
    let key = match text(members, "alg")? {
        Some(algorithm) => key.narrowed(named(algorithm))?,
        None => key,
    };
    Ok(match text(members, "kid")? {
        Some(kid) => key.called(kid),
        None => key,
    })
}

/// Refuses a key that says it is for something else (RFC 7517 §4.2, §4.3).
fn check_use(members: &Map<String, Value>) -> Result<(), Unusable> {
    if text(members, "use")?.is_some_and(|name| name != "sig") {
        return Err(Unusable::Use);
    }
    match members.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(names)) if names.iter().any(|name| name == "verify") => Ok(()),
        Some(Value::Array(_)) => Err(Unusable::Use),
        Some(_) => Err(Unusable::Malformed),
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Unusable> {
    let value = members.get(name);
    value
        .map(|value| value.as_str().ok_or(Unusable::Malformed))
        .transpose()
}

fn bytes(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Unusable> {
    let encoded = text(members, name)?.ok_or(Unusable::Malformed)?;
    URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| Unusable::Malformed)
}

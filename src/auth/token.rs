//! Reads a token (JWT) and proves its signature; what its claims permit is for those who call.
//!
//! Refuses long tokens before anything else, unknown extensions (`crit`), any `typ` but `JWT`, members
//! that come twice, base64 that is not canonical, and numbers that are no date. A public key never checks
//! an HMAC, since HS256 has one key and no name leads to another; `none` is not an algorithm here. Claims
//! are not read before the signature is good.
//!
//! Source: RFC 7515 §4.1 and §5.2, RFC 7519 §4.1 and §7.2, RFC 8725 §3.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::claims::Claims;
use super::key::Key;
use super::{Algorithms, KeySet, Refusal, algorithms, refusal};
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_KEYS_TRIED_MAX};

/// What of a header (RFC 7515 §4.1) is heeded. Other members are ignored, as the RFC says.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    x5c: Option<Vec<String>>,
    jwk: Option<Carried>,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

/// The key that a header carries. Only its names are heeded: the key itself proves nothing.
#[derive(Deserialize)]
struct Carried {
    kid: Option<String>,
    x5c: Option<Vec<String>>,
}

impl Header {
    fn kid(&self) -> Option<&str> {
        let carried = self.jwk.as_ref().and_then(|jwk| jwk.kid.as_deref());
        self.kid.as_deref().or(carried)
    }

    fn chain(&self) -> &[String] {
        let carried = self.jwk.as_ref().and_then(|jwk| jwk.x5c.as_deref());
        self.x5c.as_deref().or(carried).unwrap_or_default()
    }
}

/// Says that a member is there, be it `null`.
fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// The three parts of a token, the signature still encoded.
struct Parts<'a> {
    header: Header,
    payload: &'a str,
    /// What the signature is over.
    signed: &'a str,
    signature: &'a str,
}

/// Returns the claims of a token that is signed by a key of the set with an algorithm of `allowed`.
/// Dates, audience and issuer are not looked at. `now` is for the dates of a chain in its header.
///
/// With a `kid`, keys of that name are tried. Without one, all keys that fit the algorithm are, up to
/// [`TOKEN_KEYS_TRIED_MAX`] of them. A key in the header itself (`jwk`) is never used as one.
///
/// O(length), and the signature: 20 to 400 µs for each key tried, by its kind.
///
/// # Errors
///
/// [`Refusal::Malformed`], [`Refusal::Algorithm`], [`Refusal::KeyUnknown`], [`Refusal::Signature`].
pub fn verify(
    token: &str,
    keys: &KeySet,
    allowed: Algorithms,
    now: u64,
) -> Result<Claims, Refusal> {
    let parts = split(token)?;
    let algorithm = algorithms::named(&parts.header.alg)
        .filter(|&algorithm| allowed.contains(algorithm))
        .ok_or(Refusal::Algorithm)?;
    if algorithm == Algorithm::HS256 {
        match keys.secret_verifies(parts.signed, parts.signature) {
            Some(true) => {}
            Some(false) => return Err(Refusal::Signature),
            None => return Err(Refusal::Algorithm),
        }
    } else {
        check_public(&parts, keys, algorithm, now)?;
    }
    object(parts.payload)
}

/// Returns the name of the key that a token says it is signed with, cut and cleaned for the log.
///
/// Nothing is proved: this is for the line that says which key is missing.
#[must_use]
pub fn claimed_key(token: &str) -> Option<String> {
    let parts = split(token).ok()?;
    parts.header.kid().map(refusal::shown)
}

fn split(token: &str) -> Result<Parts<'_>, Refusal> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refusal::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed)?;
    if payload.contains('.') || URL_SAFE_NO_PAD.decode(signature).is_err() {
        return Err(Refusal::Malformed);
    }
    let header: Header = object(header)?;
    let is_jwt = |typ: &String| typ.eq_ignore_ascii_case("JWT");
    if header.crit || !header.typ.as_ref().is_none_or(is_jwt) {
        return Err(Refusal::Malformed);
    }
    Ok(Parts {
        header,
        payload,
        signed,
        signature,
    })
}

/// Reads a JSON object from its base64.
fn object<T: DeserializeOwned>(encoded: &str) -> Result<T, Refusal> {
    let json = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| Refusal::Malformed)?;
    // An array would fill the members by their order.
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(Refusal::Malformed);
    }
    serde_json::from_slice(&json).map_err(|_| Refusal::Malformed)
}

/// Checks the signature with the public keys that the header leads to.
fn check_public(
    parts: &Parts<'_>,
    keys: &KeySet,
    algorithm: Algorithm,
    now: u64,
) -> Result<(), Refusal> {
    let kid = parts.header.kid();
    let verifies = |key: &Key| key.verifies(algorithm, parts.signed, parts.signature);
    let good = |good: bool| good.then_some(()).ok_or(Refusal::Signature);
    let chain = parts.header.chain();
    if !kid.is_some_and(|kid| keys.contains(kid)) && !chain.is_empty() {
        let leaf = keys.leaf_key(chain, now).ok_or(Refusal::KeyUnknown)?;
        if !leaf.fits(algorithm) {
            return Err(Refusal::Algorithm);
        }
        return good(verifies(&leaf));
    }
    let mut named = keys
        .public()
        .filter(|key| kid.is_none_or(|kid| key.is_called(kid)))
        .peekable();
    if named.peek().is_none() {
        return Err(Refusal::KeyUnknown);
    }
    let mut fitting = named
        .filter(|key| key.fits(algorithm))
        .take(TOKEN_KEYS_TRIED_MAX)
        .peekable();
    if fitting.peek().is_none() {
        // Without a name, a key of this kind may have been added since the set was read.
        return Err(kid.map_or(Refusal::KeyUnknown, |_| Refusal::Algorithm));
    }
    good(fitting.any(verifies))
}

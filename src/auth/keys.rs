//! The keys that tokens are checked with: of a JWK set, of a certificate bundle, and a shared secret.
//!
//! Each key of a set is read on its own: one that cannot be used is left out and reported, so that a
//! publisher may add a new kind of key without stopping anybody. Refuses what is no set, what is too
//! large, and a set of which nothing can be used.
//!
//! Invariants
//! - The shared secret comes from [`KeySet::with_secret`] and from nowhere else, checks HS256 and nothing
//!   else, and never leaves: it is not among the keys that are relayed.
//!
//! Source: RFC 7517 §5.

use std::fmt;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::certificates::{self, Bundle};
use super::key::{Key, Unusable};
use super::{Secret, jwk, refusal};
use crate::limits::{KEY_SET_BYTES_MAX, KEY_SET_KEYS_MAX, TOKEN_SECRET_BYTES_MIN};

/// Why there is no key set. The publisher's fault, or the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySetError {
    /// Longer than [`KEY_SET_BYTES_MAX`].
    TooLong,
    /// More than [`KEY_SET_KEYS_MAX`] keys.
    TooMany,
    /// Not a JSON object with an array of `keys`.
    Malformed,
    /// Not PEM.
    Pem,
    /// No key of the set can be used; here is why, for each.
    NothingUsable(Vec<Skipped>),
    /// A secret shorter than [`TOKEN_SECRET_BYTES_MIN`].
    SecretTooShort,
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "key set longer than {KEY_SET_BYTES_MAX} bytes"),
            Self::TooMany => write!(f, "key set of more than {KEY_SET_KEYS_MAX} keys"),
            Self::Malformed => f.write_str("not a JWK set: want {\"keys\": [...]}"),
            Self::Pem => f.write_str("not a PEM file of certificates"),
            Self::NothingUsable(skipped) => {
                f.write_str("no usable key in the set")?;
                let mut skipped = skipped.iter();
                skipped.try_for_each(|skipped| write!(f, "; {skipped}"))
            }
            Self::SecretTooShort => {
                write!(f, "secret shorter than {TOKEN_SECRET_BYTES_MIN} bytes")
            }
        }
    }
}

impl std::error::Error for KeySetError {}

/// A key of a set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its place in the set, from 0.
    pub index: usize,
    /// Its name, cut and cleaned for the log.
    pub kid: Option<String>,
    /// Why it is not used.
    pub reason: Unusable,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.index)?;
        if let Some(kid) = &self.kid {
            write!(f, " ({kid})")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Keys that tokens are checked with. The default has none and refuses every token.
///
/// `Debug` hides the secret.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<Skipped>,
    bundle: Option<Bundle>,
    secret: Option<DecodingKey>,
}

impl KeySet {
    /// Reads a JWK set (RFC 7517 §5). O(length); allocates for each key.
    ///
    /// Several keys of one name are all kept, and tried in turn.
    ///
    /// # Errors
    ///
    /// [`KeySetError`], less `Pem` and `SecretTooShort`.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        if json.len() > KEY_SET_BYTES_MAX {
            return Err(KeySetError::TooLong);
        }
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(KeySetError::Malformed);
        }
        let set: Set = serde_json::from_slice(json).map_err(|_| KeySetError::Malformed)?;
        let read = |value: &Value| {
            let kid = value.get("kid").and_then(Value::as_str);
            jwk::read(value).map_err(|reason| (kid.map(refusal::shown), reason))
        };
        Self::of(set.keys.len(), set.keys.iter().map(read))
    }

    /// Reads a PEM file of certificates (`auth.token.rootcertbundle`). Their keys check tokens that name
    /// them by libtrust's identifier or by thumbprint, and tokens may bring chains that end there (`x5c`).
    /// Validity dates of the bundle's own certificates do not count.
    ///
    /// # Errors
    ///
    /// [`KeySetError`], less `Malformed` and `SecretTooShort`.
    pub fn from_certificates(pem: &[u8]) -> Result<Self, KeySetError> {
        if pem.len() > KEY_SET_BYTES_MAX {
            return Err(KeySetError::TooLong);
        }
        let certificates = certificates::read_pem(pem).ok_or(KeySetError::Pem)?;
        let read = |der| certificates::key(der).map_err(|reason| (None, reason));
        let mut set = Self::of(certificates.len(), certificates.iter().map(read))?;
        set.bundle = Some(Bundle::new(certificates));
        Ok(set)
    }

    fn of(
        count: usize,
        read: impl Iterator<Item = Result<Key, (Option<String>, Unusable)>>,
    ) -> Result<Self, KeySetError> {
        if count > KEY_SET_KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let mut set = Self::default();
        for (index, key) in read.enumerate() {
            match key {
                Ok(key) => set.keys.push(key),
                Err((kid, reason)) => set.skipped.push(Skipped { index, kid, reason }),
            }
        }
        if set.keys.is_empty() {
            return Err(KeySetError::NothingUsable(set.skipped));
        }
        Ok(set)
    }

    /// Adds the secret of HS256, which needs no name.
    ///
    /// # Errors
    ///
    /// [`KeySetError::SecretTooShort`].
    pub fn with_secret(mut self, secret: &Secret) -> Result<Self, KeySetError> {
        let bytes = secret.expose().as_bytes();
        if bytes.len() < TOKEN_SECRET_BYTES_MIN {
            return Err(KeySetError::SecretTooShort);
        }
        self.secret = Some(DecodingKey::from_secret(bytes));
        Ok(self)
    }

    /// Adds the keys of another set. A secret of the other one replaces this one's.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self.skipped.extend(other.skipped);
        match (&mut self.bundle, other.bundle) {
            (Some(own), Some(other)) => own.join(other),
            (own, other) => *own = own.take().or(other),
        }
        self.secret = other.secret.or(self.secret);
        self
    }

    /// Says whether a public key of that name is in the set.
    #[must_use]
    pub fn contains(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.is_called(kid))
    }

    /// Returns how many public keys there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Says whether there is no public key. A secret may still be there.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns what was left out, for the log.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Returns the public keys as a JWK set, to be relayed. Made from checked public parameters, not from
    /// what was read: nothing private and no secret can be in it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let keys = self.keys.iter().flat_map(Key::jwks).collect();
        serde_json::to_string(&JwkSet { keys }).unwrap_or_else(|_| r#"{"keys":[]}"#.to_owned())
    }

    /// Returns the public keys.
    pub(super) fn public(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// Returns the key of the leaf of a token's chain, if it leads to the bundle.
    pub(super) fn leaf_key(&self, chain: &[String], now: u64) -> Option<Key> {
        self.bundle.as_ref()?.leaf_key(chain, now)
    }

    /// Returns whether the secret made `signature`; `None` without a secret.
    pub(super) fn secret_verifies(&self, signed: &str, signature: &str) -> Option<bool> {
        let (signed, hs256) = (signed.as_bytes(), Algorithm::HS256);
        let secret = self.secret.as_ref()?;
        Some(jsonwebtoken::crypto::verify(signature, signed, secret, hs256).unwrap_or(false))
    }
}

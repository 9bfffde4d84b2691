//! The origin's side of signed URLs: keys, and tokens that are right until a test bends them.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::blob::Blob;

/// A private key with a name.
pub struct Signer {
    kid: String,
    algorithm: Algorithm,
    key: EncodingKey,
    /// Its public half as a JWK.
    pub public: Value,
}

impl Signer {
    pub fn ed25519(kid: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let public = json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig",
            "x": BASE64_URL_SAFE_NO_PAD.encode(pair.public_key())});
        Self {
            kid: kid.to_owned(),
            algorithm: Algorithm::EdDSA,
            key: EncodingKey::from_ed_der(document.as_ref()),
            public,
        }
    }

    pub fn es256(kid: &str) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).unwrap();
        let point = pair.public_key().as_ref();
        let half = |range: std::ops::Range<usize>| BASE64_URL_SAFE_NO_PAD.encode(&point[range]);
        let public = json!({"kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256",
            "x": half(1..33), "y": half(33..65)});
        Self {
            kid: kid.to_owned(),
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_der(document.as_ref()),
            public,
        }
    }

    pub fn hs256(secret: &[u8]) -> Self {
        Self {
            kid: String::new(),
            algorithm: Algorithm::HS256,
            key: EncodingKey::from_secret(secret),
            public: Value::Null,
        }
    }

    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        if !self.kid.is_empty() {
            header.kid = Some(self.kid.clone());
        }
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    /// The path of the blob in `test/image`, signed.
    pub fn url(&self, blob: &Blob) -> String {
        signed(blob, &self.sign(&claims("test/image", &blob.digest)))
    }
}

/// The path of the blob in `test/image` with this token.
pub fn signed(blob: &Blob, token: &str) -> String {
    format!("{}?token={token}", blob.path())
}

/// The public halves as a JWK set.
pub fn key_set(signers: &[&Signer]) -> Blob {
    let keys: Vec<_> = signers.iter().map(|signer| &signer.public).collect();
    Blob::new(json!({"keys": keys}).to_string().into_bytes())
}

/// What an origin signs: five minutes for one blob of one repository.
pub fn claims(repository: &str, digest: &str) -> Value {
    let now = now();
    json!({"iss": "origin.test", "sub": "alice", "aud": "transship",
        "iat": now, "nbf": now, "exp": now + 300, "jti": "1", "digest": digest,
        "access": [{"type": "repository", "name": repository, "actions": ["pull"]}]})
}

/// Seconds since the epoch.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

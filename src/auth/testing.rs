//! Signers and tokens for tests, made without the library that reads them.

use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};

use super::KeySet;
use crate::digest::{Algorithm, Digest};

/// What a test's clock shows.
pub(crate) const NOW: u64 = 1_800_000_000;

/// Encodes as tokens do.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

enum Private {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Secret(Vec<u8>),
}

/// Somebody who signs tokens.
pub(crate) struct Signer {
    /// What its headers say in `alg`.
    pub(crate) algorithm: &'static str,
    kid: Option<String>,
    private: Private,
    pkcs8: Vec<u8>,
}

impl Signer {
    pub(crate) fn ed25519(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let pkcs8 = pair.to_pkcs8().unwrap().as_ref().to_vec();
        Self::new("EdDSA", kid, Private::Ed25519(pair), pkcs8)
    }

    pub(crate) fn p256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap().as_ref().to_vec();
        Self::new("ES256", kid, Private::Ecdsa(pair), pkcs8)
    }

    pub(crate) fn p384(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap().as_ref().to_vec();
        Self::new("ES384", kid, Private::Ecdsa(pair), pkcs8)
    }

    /// Always the same key, since making one is slow.
    pub(crate) fn rsa(kid: &str) -> Self {
        static PKCS8: OnceLock<Vec<u8>> = OnceLock::new();
        let pkcs8 = PKCS8.get_or_init(|| {
            let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
            pair.as_der().unwrap().as_ref().to_vec()
        });
        let pair = RsaKeyPair::from_pkcs8(pkcs8).unwrap();
        Self::new("RS256", kid, Private::Rsa(pair), pkcs8.clone())
    }

    pub(crate) fn secret(secret: &[u8]) -> Self {
        Self::new("HS256", "", Private::Secret(secret.to_vec()), Vec::new())
    }

    fn new(algorithm: &'static str, kid: &str, private: Private, pkcs8: Vec<u8>) -> Self {
        Self {
            algorithm,
            kid: (!kid.is_empty()).then(|| kid.to_owned()),
            private,
            pkcs8,
        }
    }

    /// Returns the key for certificates.
    pub(crate) fn for_certificates(&self) -> rcgen::KeyPair {
        rcgen::KeyPair::try_from(&PrivatePkcs8KeyDer::from(&*self.pkcs8)).unwrap()
    }

    /// Returns the public key's bytes: a point, or a modulus.
    pub(crate) fn public(&self) -> Vec<u8> {
        match &self.private {
            Private::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Private::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Private::Rsa(pair) => RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key()).n,
            Private::Secret(_) => panic!("a secret has no public key"),
        }
    }

    /// Returns the public key as a JWK without `alg`.
    pub(crate) fn jwk(&self) -> Value {
        let public = self.public();
        let mut jwk = match (&self.private, self.algorithm) {
            (Private::Ed25519(_), _) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(public)})
            }
            (Private::Ecdsa(_), algorithm) => {
                let (x, y) = public[1..].split_at(public.len() / 2);
                let curve = if algorithm == "ES256" {
                    "P-256"
                } else {
                    "P-384"
                };
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            _ => json!({"kty": "RSA", "n": encode(public), "e": "AQAB"}),
        };
        if let Some(kid) = &self.kid {
            jwk["kid"] = kid.as_str().into();
        }
        jwk
    }

    /// Returns the header that this signer writes.
    pub(crate) fn header(&self) -> Value {
        let mut header = json!({"typ": "JWT", "alg": self.algorithm});
        if let Some(kid) = &self.kid {
            header["kid"] = kid.as_str().into();
        }
        header
    }

    /// Signs `message` as `algorithm` says, whatever a header says.
    pub(crate) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Private::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Private::Rsa(pair) => {
                let padding: &dyn RsaEncoding = match algorithm {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    _ => &RSA_PSS_SHA512,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Private::Secret(secret) => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
                aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
            }
        }
    }

    /// Returns a token of these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.mint(&self.header(), claims)
    }

    /// Returns a token of this header and these claims, signed as the header says.
    pub(crate) fn mint(&self, header: &Value, claims: &Value) -> String {
        let algorithm = header["alg"].as_str().unwrap_or_default();
        self.mint_text(algorithm, &header.to_string(), &claims.to_string())
    }

    /// Returns a token of these texts, be they JSON or not.
    pub(crate) fn mint_text(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(self.sign(algorithm, signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// Returns the set of these signers' public keys.
pub(crate) fn key_set(signers: &[&Signer]) -> KeySet {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// Returns the digest that the tests' signed URLs are for.
pub(crate) fn blob() -> Digest {
    Digest::of(Algorithm::Sha256, b"blob")
}

/// Returns the claims of a signed URL for [`blob`] in `library/busybox` that counts at [`NOW`].
pub(crate) fn signed_url_claims() -> Value {
    json!({
        "iss": "https://origin.example",
        "sub": "ana",
        "aud": "transship",
        "exp": NOW + 300,
        "nbf": NOW - 10,
        "iat": NOW - 10,
        "jti": "1",
        "digest": blob().to_string(),
        "access": [{"type": "repository", "name": "library/busybox", "actions": ["pull"]}],
    })
}

/// Returns the claims of a registry token of `auth.example` for `registry.example` that counts at [`NOW`].
pub(crate) fn registry_claims() -> Value {
    json!({
        "iss": "auth.example",
        "sub": "ana",
        "aud": "registry.example",
        "exp": NOW + 300,
        "nbf": NOW - 10,
        "iat": NOW - 10,
        "jti": "1",
        "access": [
            {"type": "repository", "name": "a/b", "actions": ["push", "pull"]},
            {"type": "repository", "name": "all", "actions": ["*"]},
            {"type": "repository(plugin)", "name": "a/plugin", "actions": ["pull"]},
            {"type": "repository", "class": "plugin", "name": "b/plugin", "actions": ["pull"]},
            {"type": "repository", "name": "c/push", "actions": ["push"]},
            {"type": "repositoryx", "name": "d", "actions": ["pull"]},
        ],
    })
}

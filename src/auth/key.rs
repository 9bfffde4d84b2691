//! One public key: what it is called, which algorithms it fits, how it checks a signature.
//!
//! A [`Key`] is built from public parameters alone, each checked here, so nothing private and nothing
//! symmetric can be in one. Refuses RSA below 2048 and above 8192 bits, and points off their curve.
//!
//! Source: RFC 7517 §4, RFC 7518 §6, RFC 7638, RFC 8037 §2.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters,
    EllipticCurveKeyType, Jwk, OctetKeyPairParameters, OctetKeyPairType, PublicKeyUse,
    RSAKeyParameters, RSAKeyType, ThumbprintHash,
};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::Algorithms;

/// Why a key of a set is not used. The publisher's choice or fault, never fatal to the other keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It holds private parameters; whoever published it has lost it.
    Private,
    /// A symmetric key (`oct`), which never comes from a public set.
    Symmetric,
    /// A key type or curve that is not supported.
    Kind,
    /// Meant for something else than checking signatures (`use`, `key_ops`).
    Use,
    /// Its `alg` is not one that the key fits.
    Algorithm,
    /// A parameter is missing, or not what it should be.
    Malformed,
    /// RSA of fewer than 2048 bits, or of more than 8192.
    Size,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "it holds private parameters",
            Self::Symmetric => "symmetric keys are not taken from a set",
            Self::Kind => "its type or curve is not supported",
            Self::Use => "it is not for checking signatures",
            Self::Algorithm => "its algorithm is not supported, or not one of its type",
            Self::Malformed => "it is malformed",
            Self::Size => "an RSA key must have 2048 to 8192 bits",
        })
    }
}

impl std::error::Error for Unusable {}

/// The parameters of a public key, not yet checked.
#[derive(Clone, Copy)]
pub(super) enum Public<'a> {
    /// Modulus and exponent, big-endian.
    Rsa {
        modulus: &'a [u8],
        exponent: &'a [u8],
    },
    /// Coordinates of a point.
    P256 { x: &'a [u8], y: &'a [u8] },
    /// Coordinates of a point.
    P384 { x: &'a [u8], y: &'a [u8] },
    /// The encoded point.
    Ed25519(&'a [u8]),
}

/// A public key that checks signatures.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// What tokens call it. Not empty.
    kids: Vec<String>,
    /// What it may check. Not empty, and never HS256.
    fits: Algorithms,
    /// Its public parameters, as they are relayed.
    public: AlgorithmParameters,
    verifier: DecodingKey,
}

impl Key {
    /// Checks parameters and makes a key of them that is called by its thumbprint (RFC 7638).
    ///
    /// # Errors
    ///
    /// [`Unusable::Malformed`], [`Unusable::Size`].
    pub(super) fn new(public: Public<'_>) -> Result<Self, Unusable> {
        let (fits, public, verifier) = match public {
            Public::Rsa { modulus, exponent } => rsa(modulus, exponent)?,
            Public::P256 { x, y } => curve(EllipticCurve::P256, x, y)?,
            Public::P384 { x, y } => curve(EllipticCurve::P384, x, y)?,
            Public::Ed25519(point) => ed25519(point)?,
        };
        let mut key = Self {
            kids: Vec::new(),
            fits,
            public,
            verifier,
        };
        let thumbprint = key.jwk(None).thumbprint(ThumbprintHash::SHA256);
        key.kids.push(thumbprint.map_err(|_| Unusable::Malformed)?);
        Ok(key)
    }

    /// Lets the key check `algorithm` alone.
    ///
    /// # Errors
    ///
    /// [`Unusable::Algorithm`]: the key does not fit it.
    pub(super) fn narrowed(mut self, algorithm: Option<Algorithm>) -> Result<Self, Unusable> {
        self.fits = self
            .fits
            .and(algorithm.map_or(Algorithms::NONE, Algorithms::of));
        if self.fits == Algorithms::NONE {
            return Err(Unusable::Algorithm);
        }
        Ok(self)
    }

    /// Calls the key `kid` and nothing else.
    pub(super) fn called(mut self, kid: &str) -> Self {
        self.kids = vec![kid.to_owned()];
        self
    }

    /// Calls the key `kid` as well.
    pub(super) fn also_called(mut self, kid: String) -> Self {
        self.kids.push(kid);
        self
    }

    /// Says whether tokens call the key `kid`.
    pub(super) fn is_called(&self, kid: &str) -> bool {
        self.kids.iter().any(|own| own == kid)
    }

    /// Returns the key as a JWK, once for each of its names.
    pub(super) fn jwks(&self) -> impl Iterator<Item = Jwk> {
        self.kids.iter().map(|kid| self.jwk(Some(kid.clone())))
    }

    fn jwk(&self, kid: Option<String>) -> Jwk {
        Jwk {
            common: CommonParameters {
                public_key_use: Some(PublicKeyUse::Signature),
                key_algorithm: self.fits.single().map(Into::into),
                key_id: kid,
                ..CommonParameters::default()
            },
            algorithm: self.public.clone(),
        }
    }

    /// Says whether the key fits `algorithm`.
    pub(super) const fn fits(&self, algorithm: Algorithm) -> bool {
        self.fits.contains(algorithm)
    }

    /// Says whether `signature` (base64url) over `signed` is good. Asks nothing of a key that does not fit.
    ///
    /// Costs 20 µs for RSA of 2048 bits, 40 to 120 µs for Ed25519 and P-256, up to 400 µs for P-384.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        self.fits(algorithm)
            && jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.verifier, algorithm)
                .unwrap_or(false)
    }
}

type Parts = (Algorithms, AlgorithmParameters, DecodingKey);

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Parts, Unusable> {
    let [n, e] = [modulus, exponent].map(without_leading_zeros);
    let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err(Unusable::Size);
    }
    // Exponents are odd, at least 3, and small; a large one would make every signature costly.
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    if !odd(n) || !odd(e) || e == [1] || e.len() > 4 {
        return Err(Unusable::Malformed);
    }
    let public = AlgorithmParameters::RSA(RSAKeyParameters {
        key_type: RSAKeyType::RSA,
        n: URL_SAFE_NO_PAD.encode(n),
        e: URL_SAFE_NO_PAD.encode(e),
    });
    Ok((
        Algorithms::RSA,
        public,
        DecodingKey::from_rsa_raw_components(n, e),
    ))
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

fn curve(curve: EllipticCurve, x: &[u8], y: &[u8]) -> Result<Parts, Unusable> {
    let (fits, rule, bytes) = match curve {
        EllipticCurve::P256 => (Algorithms::ES256, &ECDSA_P256_SHA256_FIXED, 32),
        _ => (Algorithms::ES384, &ECDSA_P384_SHA384_FIXED, 48),
    };
    // RFC 7518 §6.2.1.2: as long as the field, leading zeros and all.
    if x.len() != bytes || y.len() != bytes {
        return Err(Unusable::Malformed);
    }
    let point = [&[4], x, y].concat();
    ParsedPublicKey::new(rule, &point).map_err(|_| Unusable::Malformed)?;
    let public = AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
        key_type: EllipticCurveKeyType::EC,
        curve,
        x: URL_SAFE_NO_PAD.encode(x),
        y: URL_SAFE_NO_PAD.encode(y),
    });
    Ok((fits, public, DecodingKey::from_ec_der(&point)))
}

fn ed25519(point: &[u8]) -> Result<Parts, Unusable> {
    if point.len() != 32 {
        return Err(Unusable::Malformed);
    }
    let public = AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
        key_type: OctetKeyPairType::OctetKeyPair,
        curve: EllipticCurve::Ed25519,
        x: URL_SAFE_NO_PAD.encode(point),
    });
    Ok((Algorithms::EDDSA, public, DecodingKey::from_ed_der(point)))
}

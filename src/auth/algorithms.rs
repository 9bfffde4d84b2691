//! Sets of signature algorithms: what a key fits, what a kind of token may be signed with.
//!
//! `none`, HS384, HS512 and everything unknown have no place in a set, so no list can let them in.
//!
//! Source: RFC 7518 §3.1; RFC 8037 §3.1; RFC 9864 §2.2 (`Ed25519` is the newer name of EdDSA on that curve).

use jsonwebtoken::Algorithm;

/// Every algorithm that a token may be signed with, by its name in a header.
const NAMED: [(&str, Algorithm); 11] = [
    ("EdDSA", Algorithm::EdDSA),
    ("Ed25519", Algorithm::EdDSA),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("HS256", Algorithm::HS256),
];

/// Returns the algorithm of that name. Names are compared with case (RFC 7515 §4.1.1).
pub(super) fn named(name: &str) -> Option<Algorithm> {
    NAMED
        .iter()
        .find_map(|&(known, algorithm)| (known == name).then_some(algorithm))
}

/// A set of signature algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithms(u16);

impl Algorithms {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// HMAC with a shared secret and SHA-256.
    pub const HS256: Self = Self::of(Algorithm::HS256);
    /// ECDSA on P-256.
    pub const ES256: Self = Self::of(Algorithm::ES256);
    /// ECDSA on P-384.
    pub const ES384: Self = Self::of(Algorithm::ES384);
    /// Ed25519.
    pub const EDDSA: Self = Self::of(Algorithm::EdDSA);
    /// RSA, with the padding of PKCS #1 1.5 and PSS.
    pub const RSA: Self = Self::of(Algorithm::RS256)
        .or(Self::of(Algorithm::RS384))
        .or(Self::of(Algorithm::RS512))
        .or(Self::of(Algorithm::PS256))
        .or(Self::of(Algorithm::PS384))
        .or(Self::of(Algorithm::PS512));
    /// What signed URLs may be signed with; HS256 counts only where a secret is configured.
    pub const SIGNED_URL: Self = Self::EDDSA.or(Self::ES256).or(Self::HS256);
    /// What registry tokens may be signed with: the registry's default list, less ES512.
    pub const REGISTRY_TOKEN: Self = Self::EDDSA.or(Self::ES256).or(Self::ES384).or(Self::RSA);

    /// Returns the set of the algorithms of these names (RFC 7518 §3.1); names that no key here could
    /// verify add nothing.
    pub fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let known = names.into_iter().filter_map(named);
        known.fold(Self::NONE, |all, one| all.or(Self::of(one)))
    }

    /// Returns the set of one algorithm; empty for one that tokens may not use.
    #[must_use]
    pub const fn of(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::HS256 => 1,
            Algorithm::ES256 => 1 << 1,
            Algorithm::ES384 => 1 << 2,
            Algorithm::EdDSA => 1 << 3,
            Algorithm::RS256 => 1 << 4,
            Algorithm::RS384 => 1 << 5,
            Algorithm::RS512 => 1 << 6,
            Algorithm::PS256 => 1 << 7,
            Algorithm::PS384 => 1 << 8,
            Algorithm::PS512 => 1 << 9,
            _ => 0,
        })
    }

    /// Returns what is in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns what is in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Says whether `algorithm` is in the set.
    #[must_use]
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & Self::of(algorithm).0 != 0
    }

    /// Returns the algorithm if there is exactly one.
    #[must_use]
    pub fn single(self) -> Option<Algorithm> {
        let mut known = NAMED.iter().map(|&(_, algorithm)| algorithm);
        known.find(|&algorithm| Self::of(algorithm) == self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_set_holds_an_algorithm_without_a_name_here() {
        for name in [
            "none", "None", "NONE", "nOnE", "", "HS384", "HS512", "es256", "ES512",
        ] {
            assert_eq!(named(name), None, "{name}");
        }
        assert_eq!(Algorithms::of(Algorithm::HS384), Algorithms::NONE);
        assert!(!Algorithms::REGISTRY_TOKEN.contains(Algorithm::HS256));
        assert!(!Algorithms::SIGNED_URL.contains(Algorithm::RS256));
        assert!(!Algorithms::SIGNED_URL.contains(Algorithm::HS512));
        assert_eq!(Algorithms::ES256.single(), Some(Algorithm::ES256));
        assert_eq!(Algorithms::RSA.single(), None);
        assert_eq!(Algorithms::NONE.single(), None);
    }
}

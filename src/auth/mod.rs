//! Who somebody claims to be, and what a token permits: signed URLs, registry tokens, password files.
//!
//! Values only: time, keys and files' contents are arguments. It knows no connections and no next hops;
//! what is asked of the origin, and for how long an answer counts, is for `access`.
//!
//! Invariants
//! - Nothing of a secret, a token or a password is in any `Debug` or `Display`.
//! - A token is believed only after its signature was found good, and only under an algorithm that fits
//!   the key: a public key never verifies an HMAC.

mod algorithms;
mod authorization;
mod certificates;
mod claims;
mod htpasswd;
mod jwk;
mod key;
mod keys;
mod refusal;
mod registry_token;
mod scope;
mod secret;
mod signed_url;
mod token;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;

pub use algorithms::Algorithms;
pub use authorization::Authorization;
pub use claims::{Access, Audience, Claims, NumericDate};
pub use htpasswd::{Fault, Htpasswd, HtpasswdError};
pub use key::Unusable;
pub use keys::{KeySet, KeySetError, Skipped};
pub use refusal::Refusal;
pub use registry_token::RegistryToken;
pub use scope::Scope;
pub use secret::Secret;
pub use signed_url::{AUDIENCE, SignedUrl};
pub use token::{claimed_key, verify};

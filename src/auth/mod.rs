//! Who somebody claims to be, and what a token permits: signed URLs, registry tokens, password files.
//!
//! Values only: time, keys and files' contents are arguments. It knows no connections and no next hops;
//! what is asked of the origin, and for how long an answer counts, is for `access`.
//!
//! Invariants
//! - Nothing of a secret, a token or a password is in any `Debug` or `Display`.
//! - A token is believed only after its signature was found good, and only under an algorithm that fits
//!   the key: a public key never verifies an HMAC.

mod secret;

pub use secret::Secret;

//! Tokens and keys.

//! Tests of tokens and keys together.

pub(crate) mod certificates;
pub(crate) mod keys;
mod registry_token;
mod signed_url;
pub(crate) mod token;

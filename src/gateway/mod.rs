//! The gateway: the origin's side of the redirect. It stands before any registry, knows its users, and sends each to
//! the cache that is near them.
//!
//! ```text
//!  client ─▶ accounts, tokens    who is it, what may they do
//!         ─▶ proxy ─┬─ blob, and a cache is up ─▶ 307 to it, with a signed URL
//!                   ╰─ all else ─▶ backend
//!         ─▶ api    content caches, settings ─▶ state (SQL)
//!         ─▶ web    pages, sessions
//!  pushes ─▶ rules  warm caches, mirror to other registries
//! ```
//!
//! It is not the hot path: it runs on the field's libraries (axum, reqwest, sqlx) and uses nothing of the cache's
//! runtime.
//!
//! Invariants
//! - What somebody may not pull is not told apart from what is not there, and no redirect is given for it.
//! - A request that comes from a cache is never redirected: no loops.
//! - Nothing of a password, a token or a private key is in the log, a page or an answer, or, but for the tokens of
//!   caches' admin APIs, in the database: gateways that share it could not use them otherwise.

mod accounts;
mod answer;
mod api;
mod app;
mod caches;
mod identity;
mod options;
mod outbound;
mod proxy;
mod rules;
mod serve;
mod state;
mod tokens;
mod web;

use std::fmt;

pub use options::{
    Accounts, Algorithm, Images, Login, MirrorRule, Options, Probe, Tokens, WarmRule,
};
pub use rules::{is_glob, is_schedule};
pub use serve::run;

/// Why a gateway cannot start, or has ended. The operator's or the system's, in one line.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// Returns a failure about `what`.
    pub(crate) fn new(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

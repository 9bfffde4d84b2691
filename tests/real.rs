//! transship as its users meet it: the real binary between real clients, a real registry, and an
//! origin that misbehaves on cue.
//!
//! Each test starts what it needs on free ports and in directories of its own, so all can run at
//! once. They wait for barriers and counters, never for time. What they need is installed by
//! `tests/run.sh`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    unreachable_pub,
    missing_docs,
    reason = "a test fails by a panic, and its helpers are named for what they do"
)]

mod access;
mod admin;
mod away;
mod chains;
mod disk;
mod distance;
mod docs;
mod e2e;
mod fault;
mod gateway;
mod herd;
mod logs;
mod manifest;
mod operate;
mod packages;
mod passing;
mod protocol;
mod runtime;
mod selftest;
mod store_commands;
mod support;
mod tls;
mod upgrade;
mod warm;

//! transship: a cache appliance for container images.
//!
//! A table of contents; ARCHITECTURE.md says what each module is for and which way it may look.

pub mod access;
pub mod access_log;
pub mod admin;
pub mod auth;
pub mod cli;
pub mod config;
pub mod digest;
pub mod fill;
pub mod gateway;
pub mod health;
pub mod http;
pub mod limits;
pub mod live;
pub mod manifests;
pub mod metrics;
pub mod registry;
pub mod rt;
pub mod server;
pub mod store;
pub mod upstream;
pub mod warm;

//! The gateway before a real registry.

mod accounts;
mod api;
mod starts;

//! The gateway before a real registry.

mod accounts;
mod proxy;
mod rules;
mod starts;

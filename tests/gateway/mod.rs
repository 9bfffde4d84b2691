//! The gateway before a real registry.

mod starts;
mod web;

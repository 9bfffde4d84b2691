//! The gateway before a real registry.

mod accounts;
mod proxy;
mod starts;
mod story;
mod web;

//! The gateway before a real registry.

mod accounts;
mod api;
mod proxy;
mod rules;
mod rules_hostile;
mod starts;
mod story;
mod web;

//! What goes wrong between an origin, transship and its clients, and what nobody may notice of it.

mod clients;
mod credentials;
mod lifecycle;
mod origin;
mod regressions;
mod tls;

//! Several caches and several upstreams: who is asked, what passes, and what must not go round.

mod cycles;
mod hops;
mod passing;
mod site;

use crate::support::{Origin, Transship, transship};

/// A transship before these upstreams; `more` stands below `transship.upstream`, each line indented by four.
fn before(upstreams: &[String], more: &str) -> transship::Options {
    Transship::options().config(format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
         middleware:\n  registry:\n    - name: downstream\n      options:\n        upstreams: [{}]\n\
         transship:\n  upstream:\n    connect_timeout: 2s\n{more}",
        upstreams.join(", ")
    ))
}

/// How many requests of any kind an origin has seen.
fn asked(origin: &Origin) -> usize {
    origin.seen().len()
}

//! Several caches and several upstreams: who is asked, what passes, and what must not go round.

mod cycles;
mod far;
mod hops;
mod passing;
mod site;

use crate::support::Origin;

/// How many requests of any kind an origin has seen.
fn asked(origin: &Origin) -> usize {
    origin.seen().len()
}

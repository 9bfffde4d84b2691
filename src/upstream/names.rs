//! Addresses of next hops, looked up once for all cores and kept for a while.
//!
//! A name is looked up by one request at a time, however many wait for it: helper threads are few, and
//! a name server that does not answer would otherwise hold them all.
//!
//! ```text
//!           lookup           done
//! (absent) ────────▶ Asked ────────▶ Told ── NAME_TTL ──▶ (asked again)
//! ```

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::rt::{Notify, resolve, spawn};

/// How long addresses are believed. Short, since next hops move by changing their addresses.
const NAME_TTL: Duration = Duration::from_secs(30);
/// How long a failure is believed: long enough that a herd shares it.
const FAILURE_TTL: Duration = Duration::from_secs(1);
/// After this a lookup counts as lost, with the core that it ran on.
const LOOKUP_LOST_AFTER: Duration = Duration::from_secs(60);
/// Most names kept; redirects can name any number.
const NAMES_MAX: usize = 1024;

type Name = (String, u16);

#[derive(Clone, Debug)]
enum Entry {
    /// A lookup is under way since then.
    Asked(Instant),
    /// It came to this, then.
    Told(Instant, Result<Vec<SocketAddr>, Refusal>),
}

/// An error that can be told to many.
#[derive(Clone, Debug)]
struct Refusal {
    kind: io::ErrorKind,
    text: String,
}

impl Entry {
    fn is_fresh(&self, now: Instant) -> bool {
        let (since, ttl) = match self {
            Self::Asked(since) => (since, LOOKUP_LOST_AFTER),
            Self::Told(since, Ok(_)) => (since, NAME_TTL),
            Self::Told(since, Err(_)) => (since, FAILURE_TTL),
        };
        now.saturating_duration_since(*since) < ttl
    }
}

/// What is known of names.
#[derive(Debug, Default)]
pub(super) struct Names {
    entries: Mutex<HashMap<Name, Entry>>,
    changed: Notify,
}

impl Names {
    /// Returns every address of `host`, families taking turns so that a dead one costs one attempt.
    ///
    /// Waits as long as the resolver does; the caller bounds it.
    ///
    /// # Errors
    /// The resolver's.
    pub(super) async fn lookup(
        self: &Arc<Self>,
        host: &str,
        port: u16,
    ) -> io::Result<Vec<SocketAddr>> {
        if is_literal(host) {
            return resolve(host, port).await;
        }
        let name = (host.to_owned(), port);
        if self.is_to_be_asked(&name) {
            let (this, name) = (Arc::clone(self), name.clone());
            spawn(async move { this.ask(name).await });
        }
        let told = self.changed.wait(|| match self.entries.lock().get(&name) {
            Some(Entry::Asked(_)) => None,
            Some(Entry::Told(_, outcome)) => Some(outcome.clone()),
            None => Some(Err(Refusal {
                kind: io::ErrorKind::Other,
                text: "too many names at once".to_owned(),
            })),
        });
        told.await
            .map_err(|refusal| io::Error::new(refusal.kind, refusal.text))
    }

    /// Says whether the caller has to ask, and if so marks the name as asked.
    fn is_to_be_asked(&self, name: &Name) -> bool {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        if entries.get(name).is_some_and(|entry| entry.is_fresh(now)) {
            return false;
        }
        if entries.len() >= NAMES_MAX {
            entries.retain(|_, entry| matches!(entry, Entry::Asked(_)) && entry.is_fresh(now));
        }
        entries.insert(name.clone(), Entry::Asked(now));
        true
    }

    async fn ask(&self, name: Name) {
        let outcome = resolve(&name.0, name.1).await;
        let outcome = outcome.map(in_turns).map_err(|error| Refusal {
            kind: error.kind(),
            text: error.to_string(),
        });
        let told = Entry::Told(Instant::now(), outcome);
        self.entries.lock().insert(name, told);
        self.changed.wake_all();
    }
}

fn is_literal(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Orders addresses so that families take turns, the resolver's first one first (RFC 8305 §4).
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let [a, b, c] = ["[::1]:1", "[::2]:1", "[::3]:1"].map(parse);
        let [d, e] = ["10.0.0.1:1", "10.0.0.2:1"].map(parse);
        assert_eq!(in_turns(vec![a, b, c, d, e]), [a, d, b, e, c]);
        assert_eq!(in_turns(vec![d, a]), [d, a]);
        assert_eq!(in_turns(vec![]), []);
    }

    #[test]
    fn a_name_is_asked_once_until_it_is_stale() {
        let names = Names::default();
        let name = ("a.example".to_owned(), 443);
        assert!(names.is_to_be_asked(&name));
        assert!(!names.is_to_be_asked(&name));
        let now = Instant::now();
        let told = Entry::Told(now, Ok(vec![]));
        assert!(told.is_fresh(now + NAME_TTL / 2));
        assert!(!told.is_fresh(now + NAME_TTL));
        assert!(!Entry::Asked(now).is_fresh(now + LOOKUP_LOST_AFTER));
    }
}

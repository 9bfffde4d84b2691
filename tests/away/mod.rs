//! The origin is away, by any way of being away: what is here is served, what is not fails at once, and a tag is
//! served without its word only where the operator says so.

mod absent;
mod chained;
mod clients;
mod fast;
mod tags;

use crate::support::{Origin, Relay, Reply, Transship, transship};

const TEXT: &str = r#"{"schemaVersion":2,"layers":[],"annotations":{"version":"one"}}"#;
const BY_TAG: &str = "/v2/test/image/manifests/latest";
const ALICE: &str = "Basic YWxpY2U6c2VjcmV0";
const BOB: &str = "Basic Ym9iOnNlY3JldA==";
const CHALLENGE: &str = "Basic realm=\"origin.test\"";

/// How an origin is away.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Nobody listens.
    Refused,
    /// Connections are taken and never answered.
    Silent,
    /// It answers, and has nothing to say.
    Says(u16),
}

/// An origin that can be taken away, and a transship before it.
struct Stage {
    origin: Origin,
    relay: Relay,
    transship: Transship,
}

impl Stage {
    /// - `more`: keys below `transship`.
    fn set(more: &str) -> Self {
        let origin = Origin::start();
        let relay = Relay::held();
        relay.lead_to(origin.addr);
        let transship = before(&relay.url(), more).start();
        Self {
            origin,
            relay,
            transship,
        }
    }

    /// Takes the origin away.
    fn leave(&self, way: Way) {
        match way {
            Way::Refused => {
                self.origin.stop();
                self.relay.lead_to(self.origin.addr);
            }
            Way::Silent => self.relay.cut(),
            Way::Says(status) => self.origin.overload(Some(status)),
        }
    }

    fn by_tag(&self, who: &str) -> Reply {
        ask(&self.transship, "GET", BY_TAG, who)
    }

    /// Responses so far of this use of the cache.
    fn served(&self, cache: &str) -> u64 {
        let metrics = self.transship.metrics();
        metrics.sum("transship_requests_total", &[("cache", cache)])
    }
}

/// A transship before `url`; `more` are keys below `transship`, in YAML's flow style.
fn before(url: &str, more: &str) -> transship::Options {
    Transship::options().config(format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
         proxy: {{remoteurl: '{url}'}}\n\
         transship: {{upstream: {{connect_timeout: 1s, head_timeout: 1s}}{more}}}\n"
    ))
}

fn ask(transship: &Transship, method: &str, path: &str, who: &str) -> Reply {
    let fields = [("Authorization", who)];
    let fields = if who.is_empty() { &[] } else { &fields[..] };
    transship.client().call(method, path, fields)
}

fn cache_status(reply: &Reply) -> &str {
    reply.field("cache-status").unwrap_or_default()
}

fn age(reply: &Reply) -> Option<u64> {
    Some(reply.field("age")?.parse().unwrap())
}

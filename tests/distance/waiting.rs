//! A hop that says not now, or no longer.

use std::thread;

use super::{LOST_BYTES_MAX, MIB, Stage};
use crate::support::{Blob, FaultProxy, Gate, Harm, On, Origin, Transship, assert_same};

const SIZE: usize = 4 * MIB;
const SOON: &[(&str, &str)] = &[("Retry-After", "1")];

#[test]
fn a_storm_of_429_is_waited_out_and_no_client_hears_of_it() {
    // A client takes a mirror's 429 for its own, goes around the cache, and makes the storm worse.
    let stage = Stage::set();
    let blobs: Vec<Blob> = (0..4).map(|seed| stage.make(seed, 300_000)).collect();
    stage.hop().harm(&On::blobs(), 6, &Harm::status(429, SOON));
    thread::scope(|scope| {
        for blob in blobs.iter().chain(&blobs) {
            scope.spawn(|| {
                let reply = stage.cache.get(&blob.path());
                assert_eq!(reply.status(), 200, "{}", reply.text());
                assert_same(&reply.body, &blob.bytes);
            });
        }
    });
    for blob in &blobs {
        stage.expect_kept(blob);
        stage.expect_sent_once(blob, 0);
    }
}

#[test]
fn a_hop_that_is_busy_in_mid_fill_is_waited_for_under_the_same_response() {
    // A rate limit that strikes in mid-layer would cut the layer for every client of it.
    let stage = Stage::set();
    for (seed, status) in [(10, 429), (11, 503)] {
        let blob = stage.make(seed, SIZE);
        let on = On::blob(&blob);
        stage.hop().harm(&on, 1, &Harm::none().cut(MIB as u64));
        stage.hop().harm(&on, 1, &Harm::status(status, SOON));
        stage.expect_whole(&blob);
        stage.expect_sent_once(&blob, 1);
        assert_eq!(stage.asked(&blob), 3, "{status}: {:?}", stage.ranges(&blob));
    }
}

#[test]
fn a_hop_that_never_stops_saying_429_becomes_503_and_stores_nothing() {
    let stage = Stage::set_with("    head_timeout: 1s\n");
    let blob = stage.make(20, SIZE);
    let late: &[(&str, &str)] = &[("Retry-After", "3600")];
    stage
        .hop()
        .harm_always(&On::blobs(), &Harm::status(429, late));
    stage
        .cache
        .get(&blob.path())
        .expect_error(503, "UNAVAILABLE");
    stage.expect_not_kept(&blob);
}

#[test]
fn what_is_here_is_served_while_the_hop_says_429_or_nothing() {
    // Docker Hub's limit, or its outage, took down images that had been cached for weeks.
    let stage = Stage::set();
    let blob = stage.make(30, SIZE);
    stage.expect_whole(&blob);
    stage
        .hop()
        .harm_always(&On::target("/"), &Harm::status(429, SOON));
    stage.expect_kept(&blob);
    stage.hop().die();
    stage.expect_kept(&blob);
    assert_eq!(stage.asked(&blob), 1);
}

/// A registry that wants tokens, the way to it, and a cache.
struct Guarded {
    cache: Transship,
    hop: FaultProxy,
    origin: Origin,
}

impl Guarded {
    fn set() -> Self {
        let origin = Origin::start();
        origin.require_token(&origin.realm());
        let hop = FaultProxy::before(origin.addr);
        let cache = Transship::behind(&[hop.url()], "").start();
        Self { cache, hop, origin }
    }

    fn tokens(&self) -> usize {
        self.origin.count("GET", "/token")
    }

    /// Makes a blob whose fill breaks when little has come, so that it is soon given up.
    fn breaking(&self, seed: u64) -> Blob {
        // A small one first: from here on there is a token.
        let small = self.origin.make(seed + 1000, 1000);
        assert_eq!(self.cache.get(&small.path()).status(), 200);
        let blob = self.origin.make(seed, SIZE);
        let cut = Harm::none().cut(500_000);
        self.hop.harm(&On::blob(&blob).whole(), 1, &cut);
        blob
    }

    fn challenge(&self) -> String {
        format!(
            "Bearer realm=\"{}\",service=\"origin.test\",scope=\"repository:test/image:pull\"",
            self.origin.realm()
        )
    }
}

#[test]
fn a_token_that_ends_in_mid_fill_is_renewed_once_under_the_same_response() {
    // Tokens live for minutes and large layers take longer: caches answered 403 until they were restarted.
    for (seed, status) in [(40, 401), (41, 403)] {
        let stage = Guarded::set();
        let blob = stage.breaking(seed);
        let challenge = stage.challenge();
        let fields: &[(&str, &str)] = match status {
            401 => &[("WWW-Authenticate", &challenge)],
            _ => &[],
        };
        let refusal = Harm::status(status, fields);
        stage.hop.harm(&On::blob(&blob).ranged(), 1, &refusal);
        let before = stage.tokens();
        let reply = stage.cache.get(&blob.path());
        assert_eq!((reply.status(), reply.whole), (200, true), "{status}");
        assert_same(&reply.body, &blob.bytes);
        assert_eq!(stage.tokens(), before + 1, "{status}");
        let asked = stage.hop.asked(&blob);
        let token = |at: usize| asked[at].request.field("authorization");
        // In between it may have asked without any, to be told where to have one.
        assert!(token(0).is_some());
        assert_eq!(token(1), token(0));
        assert!(asked.len() <= 4, "{}", asked.len());
        let last = token(asked.len() - 1);
        assert!(last.is_some() && last != token(0), "{last:?}");
        assert!(stage.hop.sent(&blob) <= SIZE as u64 + LOST_BYTES_MAX);
    }
}

#[test]
fn a_refusal_that_stays_ends_the_response_short_and_asks_for_no_end_of_tokens() {
    // A right that was taken back must not make the cache hammer the token service.
    let stage = Guarded::set();
    let blob = stage.breaking(50);
    let gate = Gate::new();
    let harm = Harm::status(403, &[]).wait_before_head(&gate);
    stage.hop.harm_always(&On::blob(&blob).ranged(), &harm);
    let before = stage.tokens();
    let mut pull = super::Pull::begin(&stage.cache, &blob);
    gate.reached();
    gate.open();
    pull.expect_short();
    assert!(stage.tokens() <= before + 2, "{}", stage.tokens());
    assert!(stage.hop.asked(&blob).len() < 10);
    assert!(!crate::support::shelf::place(&stage.cache.storage, &blob.digest).exists());
    stage.hop.behave();
    let reply = stage.cache.get(&blob.path());
    assert_eq!(reply.status(), 200);
    assert_same(&reply.body, &blob.bytes);
}

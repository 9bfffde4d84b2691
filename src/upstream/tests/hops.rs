//! Several hops: who is asked, who is left alone, and what the next hop is told of the way.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::script::{Answer, Server, blob, fetch, hop, ok, on_core, options};
use crate::digest::{Algorithm, Digest};
use crate::limits::HOP_FAILURES_MAX;
use crate::upstream::{Error, Hop, Options, Policy, Request, Upstream};

/// Takes connections and never says a word.
struct Silent {
    hop: Hop,
    connections: Arc<AtomicUsize>,
}

impl Silent {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            let kept: Vec<_> = listener
                .incoming()
                .inspect(|_| {
                    counted.fetch_add(1, Ordering::SeqCst);
                })
                .collect();
            drop(kept);
        });
        Self {
            hop: hop(url.parse().unwrap()),
            connections,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn plain(server: &Server) -> Hop {
    hop(server.url("http", "127.0.0.1"))
}

/// A hop whose TLS handshake gets no answer: it cannot be reached in time.
fn mute(silent: &Silent) -> Hop {
    let mut url = silent.hop.url.clone();
    url.set_scheme("https").unwrap();
    hop(url)
}

fn impatient(hops: Vec<Hop>) -> Options {
    Options {
        connect_timeout: Duration::from_millis(1100),
        head_timeout: Duration::from_millis(1100),
        ..options(hops)
    }
}

/// The waits of every request add up to minutes while one of three caches is unplugged.
#[test]
fn a_hop_that_does_not_answer_costs_one_request_its_patience() {
    let silent = Silent::start();
    let [one, other] = ["one", "other"].map(|text| Server::start(move |_| Answer::Keep(ok(text))));
    let hops = vec![silent.hop.clone(), plain(&one), plain(&other)];
    for policy in [Policy::RoundRobin, Policy::Failover] {
        let options = Options {
            policy,
            ..impatient(hops.clone())
        };
        let before = silent.connections();
        on_core(move || async move {
            let upstream = Upstream::new(options).unwrap();
            for _ in 0..60 {
                assert_eq!(fetch(&upstream, &blob()).await.unwrap().status, 200);
            }
        });
        // One, and the probes of a machine that was held up.
        let asked = silent.connections() - before;
        assert!((1..5).contains(&asked), "{policy:?}: {asked}");
    }
}

/// Users wait for minutes for an image that cannot come.
#[test]
fn the_only_hop_that_cannot_be_reached_is_not_waited_for_by_everyone() {
    let silent = Silent::start();
    let options = impatient(vec![mute(&silent)]);
    let mut errors = on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let mut errors = Vec::new();
        for _ in 0..60 {
            errors.push(fetch(&upstream, &blob()).await.unwrap_err());
        }
        errors
    });
    let first = errors.remove(0);
    assert!(matches!(first, Error::TimedOut { .. }), "{first:?}");
    let (away, probes): (Vec<_>, Vec<_>) = errors.into_iter().partition(Error::is_known);
    assert!(away[0].is_timeout());
    let text = away[0].to_string();
    assert!(
        text.contains("did not take the connection in time"),
        "{text}"
    );
    assert!(probes.len() < 4, "{probes:?}");
    assert_eq!(silent.connections(), 1 + probes.len());
}

/// One image whose storage is cold must not make the registry unreachable for all others.
#[test]
fn the_only_hop_may_be_slow_now_and_then() {
    let silent = Silent::start();
    let options = impatient(vec![silent.hop.clone()]);
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        for _ in 0..HOP_FAILURES_MAX {
            let error = fetch(&upstream, &blob()).await.unwrap_err();
            assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
        }
    });
    assert_eq!(silent.connections(), HOP_FAILURES_MAX as usize);
}

/// A registry that answers 503 at once is asked all the same: its health costs nobody time.
#[test]
fn the_only_hop_is_asked_as_long_as_it_fails_quickly() {
    let is_ill = Arc::new(AtomicBool::new(true));
    let shared = Arc::clone(&is_ill);
    let server = Server::start(move |_| match shared.load(Ordering::SeqCst) {
        true => Answer::Keep("HTTP/1.1 503 Ill\r\nContent-Length: 0\r\n\r\n".to_owned()),
        false => Answer::Keep(ok("well")),
    });
    let options = options(vec![plain(&server)]);
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        for _ in 0..5 {
            assert_eq!(fetch(&upstream, &blob()).await.unwrap().status, 503);
        }
        is_ill.store(false, Ordering::SeqCst);
        assert_eq!(fetch(&upstream, &blob()).await.unwrap().body, "well");
    });
    assert_eq!(server.seen().len(), 6);
}

/// What one cache lacks the others lack too, while it has what is here: its neighbours must not take over.
#[test]
fn a_cache_that_tells_of_a_failure_behind_it_stays_up() {
    let cut_off = Server::start(|_| {
        let head = "HTTP/1.1 504 X\r\nCache-Status: transship; fwd=miss; detail=upstream-late\r\n";
        Answer::Keep(format!("{head}Content-Length: 0\r\n\r\n"))
    });
    let other = Server::start(|_| Answer::Keep(ok("other")));
    let options = Options {
        policy: Policy::Failover,
        ..options(vec![plain(&cut_off), plain(&other)])
    };
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        for _ in 0..5 {
            assert_eq!(fetch(&upstream, &blob()).await.unwrap().body, "other");
        }
    });
    assert_eq!(cut_off.seen().len(), 5);
}

/// The storage network behind a registry is not the registry.
#[test]
fn a_redirect_into_nowhere_is_not_the_hops_failure() {
    let nowhere = Silent::start();
    let url = nowhere.hop.url.clone();
    let registry = Server::start(move |seen| match seen.target() {
        "/well" => Answer::Keep(ok("well")),
        _ => Answer::Keep(format!(
            "HTTP/1.1 307 X\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n"
        )),
    });
    let options = Options {
        connect_timeout: Duration::from_millis(20),
        head_timeout: Duration::from_millis(20),
        ..options(vec![plain(&registry)])
    };
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        for _ in 0..5 {
            let error = fetch(&upstream, &blob()).await.unwrap_err();
            assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
        }
        let well = Request::get("/well".to_owned());
        assert_eq!(fetch(&upstream, &well).await.unwrap().body, "well");
    });
}

#[test]
fn each_digest_has_a_hop_of_its_own_and_falls_to_the_next() {
    let servers = [(); 3].map(|()| Server::start(|_| Answer::Keep(ok(""))));
    let mut hops: Vec<_> = servers.iter().map(plain).collect();
    let dead = super::dead();
    hops.insert(1, dead);
    let options = Options {
        policy: Policy::Rendezvous,
        ..options(hops)
    };
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        for round in 0..3 {
            for index in 0..20_u8 {
                let request = Request {
                    digest: Some(Digest::of(Algorithm::Sha256, &[index])),
                    ..Request::get(format!("/{index}?{round}"))
                };
                assert_eq!(fetch(&upstream, &request).await.unwrap().status, 200);
            }
        }
    });
    let mut homes = [0; 3];
    for index in 0..20 {
        let asked = servers.each_ref().map(|server| {
            let seen = server.seen();
            seen.iter()
                .filter(|seen| seen.target().starts_with(&format!("/{index}?")))
                .count()
        });
        let home = asked.iter().position(|&count| count == 3);
        homes[home.unwrap_or_else(|| panic!("{index}: {asked:?}"))] += 1;
    }
    assert!(homes.iter().all(|&count| count > 0), "{homes:?}");
}

/// The next cache could not tell a cycle.
#[test]
fn every_request_says_where_it_has_been() {
    let server = Server::start(|_| Answer::Keep(ok("")));
    let options = options(vec![plain(&server)]);
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let trail = upstream
            .trail([&b"1.0 fred"[..], b"1.1 nginx"].into_iter())
            .unwrap();
        let passed = Request { trail, ..blob() };
        for request in [blob(), passed] {
            fetch(&upstream, &request).await.unwrap();
        }
    });
    let via: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.field("Via").unwrap().to_owned())
        .collect();
    assert!(via[0].starts_with("1.1 transship-"), "{via:?}");
    assert_eq!(via[1], format!("1.0 fred, 1.1 nginx, {}", via[0]));
}

/// A fill that one upstream refuses in the middle would ask that one again and again, and its neighbour never.
#[test]
fn a_hop_that_is_avoided_is_asked_only_if_no_other_one_answers() {
    let refuses = Server::start(|_| Answer::Keep(ok("avoided")));
    let other = Server::start(|seen| {
        let head = match seen.target() {
            "/ill" => "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
            "/busy" => "HTTP/1.1 429 X\r\nRetry-After: 200\r\nContent-Length: 0\r\n\r\n",
            _ => return Answer::Keep(ok("other")),
        };
        Answer::Keep(head.to_owned())
    });
    let [first, second] = [&refuses, &other].map(|one| hop(one.url("http", "127.0.0.1")));
    let avoid = Some(refuses.address.to_string());
    on_core(move || async move {
        for policy in [Policy::Failover, Policy::RoundRobin] {
            let upstream = Upstream::new(Options {
                policy,
                ..options(vec![first.clone(), second.clone()])
            });
            let upstream = upstream.unwrap();
            let cases = [
                ("/blob", "other"),
                ("/blob", "other"),
                ("/ill", "avoided"),
                ("/busy", "avoided"),
                // It is left alone by everybody now.
                ("/blob", "avoided"),
            ];
            for (path, expected) in cases {
                let request = Request {
                    avoid: avoid.clone(),
                    ..Request::get(path.to_owned())
                };
                let whole = fetch(&upstream, &request).await.unwrap();
                assert_eq!(whole.body, expected, "{path} {policy:?}");
            }
        }
        let alone = Upstream::new(options(vec![first])).unwrap();
        let request = Request { avoid, ..blob() };
        assert_eq!(fetch(&alone, &request).await.unwrap().body, "avoided");
    });
}

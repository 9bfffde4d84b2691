//! Hops that ask to be left alone, and who is kept from asking them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::{Condvar, Mutex};

use super::script::{Answer, Server, blob, fetch, hop, ok, on_core, options};
use crate::auth::Secret;
use crate::rt::{Notify, spawn};
use crate::upstream::{Authority, Error, Hop, Options, Policy, Request, Upstream};

fn plain(server: &Server) -> Hop {
    hop(server.url("http", "127.0.0.1"))
}

fn slow(status: u16, fields: &str) -> Answer {
    let head = format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: 0\r\n\r\n");
    Answer::Keep(head)
}

/// A hop that gives `first` to the first request and `blob` to all others.
fn at_first(first: impl Fn() -> Answer + Send + Sync + 'static) -> Server {
    let asked = AtomicUsize::new(0);
    Server::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => first(),
        _ => Answer::Keep(ok("blob")),
    })
}

fn is_throttled(outcome: Result<super::script::Whole, Error>) -> Option<Duration> {
    match outcome {
        Err(Error::Throttled { retry_after, .. }) => Some(retry_after),
        _ => None,
    }
}

/// The whole site would fail to pull because one of its upstreams has a quota.
#[test]
fn a_hop_that_asks_to_slow_down_is_left_alone_while_another_answers() {
    for status in [429, 503] {
        let busy = at_first(move || slow(status, "Retry-After: 300\r\n"));
        let other = Server::start(|_| Answer::Keep(ok("other")));
        let options = Options {
            policy: Policy::Failover,
            ..options(vec![plain(&busy), plain(&other)])
        };
        on_core(move || async move {
            let upstream = Upstream::new(options).unwrap();
            for _ in 0..10 {
                assert_eq!(fetch(&upstream, &blob()).await.unwrap().body, "other");
            }
            let numbers: Vec<_> = upstream.numbers().collect();
            let metrics = crate::metrics::Metrics::new(1).with_hops(numbers.into_iter());
            let first = |name: &str| {
                let samples = metrics.samples().into_iter();
                samples
                    .map(|one| (one.name, one.value))
                    .find(|one| one.0 == name)
                    .unwrap()
                    .1
            };
            assert_eq!(first("transship_upstream_throttled"), 1);
            assert_eq!(first("transship_upstream_slow_downs_total"), 1);
            // It works, and is no case for the health.
            assert_eq!(first("transship_upstream_up"), 1);
        });
        assert_eq!(busy.seen().len(), 1);
    }
}

/// Clients would be told 503 for a pause of a second, and give up the whole image.
#[test]
fn the_only_hop_is_waited_for_and_its_word_is_no_answer() {
    let soon = || {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
        format!("Retry-After: {date}\r\n")
    };
    let seconds = || "Retry-After: 1\r\n".to_owned();
    type Fields = fn() -> String;
    let cases: [(u16, Fields); 4] = [
        (429, seconds),
        (503, seconds),
        (429, soon),
        (429, String::new),
    ];
    for (status, fields) in cases {
        let server = at_first(move || slow(status, &fields()));
        let options = options(vec![plain(&server)]);
        let whole = on_core(move || async move {
            let upstream = Upstream::new(options).unwrap();
            fetch(&upstream, &blob()).await.unwrap()
        });
        assert_eq!(whole.body, "blob");
        assert_eq!(server.seen().len(), 2);
    }
}

/// A client that waits in vain could have gone elsewhere.
#[test]
fn a_wait_that_does_not_fit_is_told_at_once_and_nobody_is_asked() {
    let server = at_first(|| slow(429, "Retry-After: 200\r\n"));
    let options = options(vec![plain(&server)]);
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        for _ in 0..5 {
            let left = is_throttled(fetch(&upstream, &blob()).await).unwrap();
            assert!(left > Duration::from_secs(100), "{left:?}");
        }
        assert!(!upstream.has_spare());
    });
    assert_eq!(server.seen().len(), 1);
}

/// A registry that has just asked for a pause would be met by everybody who has waited.
#[test]
fn one_of_those_who_waited_asks_before_all_others() {
    const HERD: usize = 30;
    // How many have asked, and a wake-up when one more does.
    let asked = Arc::new((Mutex::new(0), Condvar::new()));
    let counted = Arc::clone(&asked);
    let is_alone = Arc::new(AtomicBool::new(true));
    let seen_alone = Arc::clone(&is_alone);
    let server = Server::start(move |_| {
        let mut count = counted.0.lock();
        *count += 1;
        counted.1.notify_all();
        match *count {
            1 => return slow(429, "Retry-After: 1\r\n"),
            2 => {
                // Anybody who comes with the probe has time to show.
                let wait = Duration::from_millis(300);
                counted
                    .1
                    .wait_while_for(&mut count, |count| *count == 2, wait);
                seen_alone.store(*count == 2, Ordering::SeqCst);
            }
            _ => {}
        }
        Answer::Keep(ok("blob"))
    });
    let options = options(vec![plain(&server)]);
    on_core(move || async move {
        let upstream = Arc::new(Upstream::new(options).unwrap());
        let done = Arc::new((AtomicUsize::new(0), Notify::default()));
        let hurried = Request {
            patience: Some(Duration::from_millis(900)),
            ..blob()
        };
        assert!(is_throttled(fetch(&upstream, &hurried).await).is_some());
        for _ in 0..HERD {
            let (upstream, done) = (Arc::clone(&upstream), Arc::clone(&done));
            spawn(async move {
                assert_eq!(fetch(&upstream, &blob()).await.unwrap().body, "blob");
                done.0.fetch_add(1, Ordering::SeqCst);
                done.1.wake_all();
            });
        }
        let all = || (done.0.load(Ordering::SeqCst) == HERD).then_some(());
        done.1.wait(all).await;
    });
    assert!(is_alone.load(Ordering::SeqCst));
    assert_eq!(server.seen().len(), 1 + HERD);
}

/// One blob that only a throttled upstream has would keep everybody else from the idle one.
#[test]
fn who_waits_for_one_hop_keeps_nobody_from_another() {
    let busy = Server::start(|_| slow(429, "Retry-After: 30\r\n"));
    let idle = Server::start(|seen| match seen.target() {
        "/ill" => slow(500, ""),
        _ => Answer::Keep(ok("blob")),
    });
    let options = options(vec![plain(&busy), plain(&idle)]);
    on_core(move || async move {
        let upstream = Arc::new(Upstream::new(options).unwrap());
        let waiting = Arc::clone(&upstream);
        spawn(async move {
            let patient = Request {
                patience: Some(Duration::from_secs(60)),
                ..Request::get("/ill".to_owned())
            };
            drop(waiting.send(&patient).await);
        });
        // It is in line for the first.
        while upstream.has_spare() {
            crate::rt::sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..3 {
            let request = blob();
            let fetched = fetch(&upstream, &request);
            let whole = crate::rt::timeout(Duration::from_secs(5), fetched).await;
            assert_eq!(whole.unwrap().unwrap().body, "blob");
        }
    });
    assert_eq!(busy.seen().len(), 1);
}

/// A registry that counts anonymous pulls by address would be closed for all who log in, by somebody who
/// does not.
#[test]
fn who_has_no_login_closes_the_hop_only_for_those_without() {
    let server = Server::start(|seen| match seen.target() {
        "/used-up" => slow(429, "Retry-After: 200\r\n"),
        "/ill" => slow(503, "Retry-After: 200\r\n"),
        _ => Answer::Keep(ok("blob")),
    });
    let options = options(vec![plain(&server)]);
    let login = |user: &str| Authority::Client(Secret::new(user));
    let get = |path: &str, authority| Request {
        authority,
        ..Request::get(path.to_owned())
    };
    on_core(move || async move {
        for path in ["/used-up", "/ill"] {
            let upstream = Upstream::new(options.clone()).unwrap();
            let well = async |authority| {
                let whole = fetch(&upstream, &get("/blob", authority)).await;
                whole.is_ok_and(|whole| whole.body == "blob")
            };
            let asks = async |authority| fetch(&upstream, &get(path, authority)).await;
            assert!(is_throttled(asks(login("Basic dTpw")).await).is_some());
            assert!(well(login("Basic dTpw")).await, "that request alone");
            assert!(is_throttled(asks(Authority::Nobody).await).is_some());
            assert!(!well(Authority::Nobody).await);
            assert!(well(login("Basic dTpw")).await && well(Authority::Cache).await);
            assert!(is_throttled(asks(Authority::Cache).await).is_some());
            assert!(!well(Authority::Cache).await);
            assert!(!well(Authority::Signed(Secret::new("t"))).await);
            assert!(well(login("Basic dTpw")).await);
        }
    });
    assert_eq!(server.seen().len(), 14);
}

/// A fill in mid-body has time, and must not lose what it has.
#[test]
fn a_patient_request_waits_through_several_pauses() {
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => slow(429, ""),
        _ => Answer::Keep(ok("blob")),
    });
    let options = Options {
        connect_timeout: Duration::from_millis(400),
        head_timeout: Duration::from_millis(400),
        ..options(vec![plain(&server)])
    };
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let patient = Request {
            patience: Some(Duration::from_secs(60)),
            ..blob()
        };
        assert!(is_throttled(fetch(&upstream, &blob()).await).is_some());
        assert_eq!(fetch(&upstream, &patient).await.unwrap().body, "blob");
    });
    assert_eq!(server.seen().len(), 3);
}

/// The storage network behind a registry, what a near cache says of its upstream, and the quota of one
/// user: none of them keeps anybody else from what the hop has.
#[test]
fn what_is_not_the_hops_own_word_to_all_holds_up_one_request_alone() {
    let storage = Server::start(|_| slow(429, "Retry-After: 200\r\n"));
    let elsewhere = storage.url("http", "localhost");
    let server = Server::start(move |seen| match seen.target() {
        "/redirected" => slow(307, &format!("Location: {elsewhere}\r\n")),
        "/behind" => slow(
            503,
            "Retry-After: 200\r\nCache-Status: transship; fwd=miss; detail=upstream-throttled\r\n",
        ),
        _ if seen.field("Authorization").is_some() => slow(429, "Retry-After: 200\r\n"),
        _ => Answer::Keep(ok("blob")),
    });
    let options = options(vec![plain(&server)]);
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let of_user = Request {
            authority: Authority::Client(Secret::new("Basic dTpw")),
            ..blob()
        };
        let get = |path: &str| Request::get(path.to_owned());
        for request in [get("/redirected"), get("/behind"), of_user] {
            assert!(is_throttled(fetch(&upstream, &request).await).is_some());
            assert_eq!(fetch(&upstream, &blob()).await.unwrap().body, "blob");
        }
    });
}

/// One of several caches is told to wait by its own upstream; its neighbour may have what is asked for.
#[test]
fn another_hop_is_asked_in_the_stead_of_one_that_holds_up_this_request() {
    let behind = Server::start(|_| {
        slow(
            503,
            "Retry-After: 200\r\nCache-Status: transship; fwd=miss\r\n",
        )
    });
    let other = Server::start(|_| Answer::Keep(ok("other")));
    let options = Options {
        policy: Policy::Failover,
        ..options(vec![plain(&behind), plain(&other)])
    };
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        for _ in 0..3 {
            assert_eq!(fetch(&upstream, &blob()).await.unwrap().body, "other");
        }
    });
    assert_eq!(behind.seen().len(), 3);
}

//! Bounds on requests at once and on bytes a second, and bodies that break off.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::script::{Answer, Server, blob, fetch, hop, ok, on_core, options};
use crate::limits::HOP_FAILURES_MAX;
use crate::rt::{Notify, spawn};
use crate::upstream::{Error, Hop, Method, Options, Policy, Request, Upstream, Urgency};

fn plain(server: &Server) -> Hop {
    hop(server.url("http", "127.0.0.1"))
}

fn bounded(hops: Vec<Hop>, max: usize) -> Options {
    Options {
        connections_max: NonZeroUsize::new(max),
        ..options(hops)
    }
}

fn hurried() -> Request {
    Request {
        patience: Some(Duration::from_millis(50)),
        ..blob()
    }
}

/// A registry that allows a few connections would refuse whoever comes above them.
#[test]
fn a_request_has_its_room_until_its_body_has_ended_or_is_dropped() {
    let server = Server::start(|seen| match seen.head.starts_with("HEAD") {
        true => Answer::Keep("HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\n".to_owned()),
        false => Answer::Keep(ok("blob")),
    });
    let options = bounded(vec![plain(&server)], 2);
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        assert!(upstream.has_spare());
        let first = upstream.send(&blob()).await.unwrap();
        assert!(upstream.has_spare());
        let second = upstream.send(&blob()).await.unwrap();
        assert!(!upstream.has_spare());
        let full = upstream.send(&hurried()).await;
        assert!(matches!(full, Err(Error::Throttled { .. })), "{full:?}");
        drop(first);
        let third = upstream.send(&blob()).await.unwrap();
        assert_eq!(third.bytes(10).await.unwrap(), b"blob");
        assert!(upstream.has_spare());
        // A head alone takes none.
        let head = Request {
            method: Method::Head,
            ..blob()
        };
        let mut heads = Vec::new();
        for _ in 0..3 {
            heads.push(upstream.send(&head).await.unwrap());
        }
        drop(heads);
        drop(second);
    });
    assert_eq!(server.seen().len(), 6);
}

/// Whoever fills the cache for later would keep those waiting who pull now.
#[test]
fn clients_go_first_where_there_is_no_room_and_all_get_their_turn() {
    let server = Server::start(|_| Answer::Keep(ok("blob")));
    let options = bounded(vec![plain(&server)], 1);
    on_core(move || async move {
        let upstream = Arc::new(Upstream::new(options).unwrap());
        let room = upstream.send(&blob()).await.unwrap();
        let done = Arc::new((AtomicCount::default(), Notify::default()));
        use Urgency::{Background, Client};
        for (index, urgency) in [Background, Client, Background, Client]
            .into_iter()
            .enumerate()
        {
            let (upstream, done) = (Arc::clone(&upstream), Arc::clone(&done));
            let request = Request {
                urgency,
                ..Request::get(format!("/{index}"))
            };
            spawn(async move {
                fetch(&upstream, &request).await.unwrap();
                *done.0.lock() += 1;
                done.1.wake_all();
            });
        }
        // A task that comes later runs after those.
        let seated = Arc::new((Mutex::new(false), Notify::default()));
        let told = Arc::clone(&seated);
        spawn(async move {
            *told.0.lock() = true;
            told.1.wake_all();
        });
        seated.1.wait(|| seated.0.lock().then_some(())).await;
        drop(room);
        done.1.wait(|| (*done.0.lock() == 4).then_some(())).await;
    });
    let seen = server.seen();
    let order: Vec<_> = seen[1..].iter().map(|one| one.target()).collect();
    assert_eq!(order, ["/1", "/3", "/0", "/2"]);
}

type AtomicCount = Mutex<usize>;

/// A site that lists a near upstream before a far one would flood the far one.
#[test]
fn a_full_hop_is_waited_for_where_the_order_matters_and_else_passed_over() {
    for (policy, is_passed_over) in [(Policy::RoundRobin, true), (Policy::Failover, false)] {
        let servers = [(); 2].map(|()| Server::start(|_| Answer::Keep(ok("blob"))));
        let options = Options {
            policy,
            ..bounded(servers.iter().map(plain).collect(), 1)
        };
        on_core(move || async move {
            let upstream = Upstream::new(options).unwrap();
            let first = upstream.send(&blob()).await.unwrap();
            // With turns this one is the second's anyway, and the next one the first's.
            let second = upstream.send(&hurried()).await;
            assert_eq!(second.is_ok(), is_passed_over);
            if let Ok(second) = second {
                drop(first);
                drop(second);
                let kept = [
                    upstream.send(&blob()).await.unwrap(),
                    upstream.send(&blob()).await.unwrap(),
                ];
                assert_ne!(kept[0].hop(), kept[1].hop());
            }
        });
    }
}

/// Every request would hold a connection of its own that nobody may use.
#[test]
fn a_request_that_is_given_up_in_line_leaves_nothing_behind() {
    let server = Server::start(|_| Answer::Keep(ok("blob")));
    let options = bounded(vec![plain(&server)], 1);
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let room = upstream.send(&blob()).await.unwrap();
        let request = blob();
        for _ in 0..3 {
            let given_up = crate::rt::timeout(Duration::from_millis(20), upstream.send(&request));
            assert!(given_up.await.is_err());
        }
        drop(room);
        assert!(upstream.has_spare());
        assert_eq!(fetch(&upstream, &blob()).await.unwrap().body, "blob");
    });
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn nobody_waits_where_there_is_no_bound() {
    on_core(move || async move {
        let upstream = Upstream::new(options(vec![super::dead()])).unwrap();
        let share = upstream.share();
        for _ in 0..1000 {
            share.pay(usize::MAX, Urgency::Background).await;
        }
    });
}

/// A nightly fill of the cache would make those wait who pull by night.
#[test]
fn payments_wait_for_the_rate_and_those_of_clients_go_first() {
    let options = Options {
        bytes_per_second: NonZeroU64::new(10_000),
        ..options(vec![super::dead()])
    };
    let order = on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let done = Arc::new((Mutex::new(Vec::new()), Notify::default()));
        let (one, other) = (upstream.share(), upstream.share());
        // Takes the link for a while.
        one.pay(2000, Urgency::Client).await;
        let payments = [
            ("background", &other, Urgency::Background),
            ("one", &one, Urgency::Client),
            ("one again", &one.clone(), Urgency::Client),
            ("other", &other, Urgency::Client),
        ];
        for (name, share, urgency) in payments {
            let (share, done) = (share.clone(), Arc::clone(&done));
            spawn(async move {
                share.pay(1000, urgency).await;
                done.0.lock().push(name);
                done.1.wake_all();
            });
        }
        let all = || Some(done.0.lock().clone()).filter(|done| done.len() == 4);
        done.1.wait(all).await
    });
    // Two streams of one fill are one share.
    assert_eq!(order, ["other", "one", "one again", "background"]);
}

/// A stream that ends while it waits to pay would stop all behind it.
#[test]
fn a_payment_that_is_given_up_lets_the_next_one_go() {
    let options = Options {
        bytes_per_second: NonZeroU64::new(10_000),
        ..options(vec![super::dead()])
    };
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let share = upstream.share();
        share.pay(1500, Urgency::Client).await;
        let (behind, done) = (
            share.clone(),
            Arc::new((Mutex::new(false), Notify::default())),
        );
        let told = Arc::clone(&done);
        let first = share.pay(100, Urgency::Client);
        let given_up = crate::rt::timeout(Duration::from_millis(10), async {
            // Takes its place when the first one has its own.
            spawn(async move {
                behind.pay(100, Urgency::Client).await;
                *told.0.lock() = true;
                told.1.wake_all();
            });
            first.await;
        });
        assert!(given_up.await.is_err());
        let all = done.1.wait(|| done.0.lock().then_some(()));
        assert!(
            crate::rt::timeout(Duration::from_secs(10), all)
                .await
                .is_ok()
        );
    });
}

/// A far upstream behind a proxy that cuts every large body is as good as away.
#[test]
fn a_hop_whose_bodies_break_off_again_and_again_is_passed_over() {
    let broken = Server::start(|_| {
        Answer::Close("HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nabc".to_owned())
    });
    let other = Server::start(|_| Answer::Keep(ok("other")));
    let options = Options {
        policy: Policy::Failover,
        ..options(vec![plain(&broken), plain(&other)])
    };
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        for _ in 0..HOP_FAILURES_MAX {
            let error = fetch(&upstream, &blob()).await.unwrap_err();
            assert!(matches!(error, Error::Truncated { .. }), "{error:?}");
        }
        assert_eq!(fetch(&upstream, &blob()).await.unwrap().body, "other");
        let numbers = upstream.numbers();
        let metrics = crate::metrics::Metrics::new(1).with_hops(numbers);
        let values = |name: &str| {
            let samples = metrics.samples().into_iter();
            let found = samples.filter(|one| one.name == name);
            found.map(|one| one.value).collect::<Vec<_>>()
        };
        let cuts = u64::from(HOP_FAILURES_MAX);
        assert_eq!(values("transship_upstream_broken_bodies_total"), [cuts, 0]);
        assert_eq!(values("transship_upstream_hop_bytes_total"), [3 * cuts, 5]);
        assert_eq!(values("transship_upstream_up"), [0, 1]);
    });
}

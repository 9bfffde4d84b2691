//! Bounds on requests at once and on bytes a second, and bodies that break off.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::script::{Answer, Server, blob, fetch, hop, ok, on_core, options};
use crate::limits::HOP_FAILURES_MAX;
use crate::rt::{Notify, spawn};
use crate::upstream::authority::Quota;
use crate::upstream::budget::{Gate, Kind};
use crate::upstream::{Error, Hop, Method, Options, Policy, Request, Response, Upstream, Urgency};

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
        // The registry has asked for nothing, and is not to be blamed.
        let full = full.unwrap_err();
        assert!(matches!(full, Error::Full { .. }), "{full:?}");
        let full = full.to_string();
        assert!(full.contains("connections_max"), "{full}");
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

/// Requests that go on to another hop would each wait for the room that the other one holds.
#[test]
fn who_goes_on_to_another_hop_has_given_back_its_room() {
    let asked = Arc::new((Mutex::new(0), Condvar::new()));
    let servers = [(); 2].map(|()| {
        let asked = Arc::clone(&asked);
        Server::start(move |_| {
            // Both are asked before either answers.
            let mut count = asked.0.lock();
            *count += 1;
            asked.1.notify_all();
            asked
                .1
                .wait_while_for(&mut count, |count| *count < 2, Duration::from_secs(10));
            let text = "HTTP/1.1 500 Ill\r\nContent-Length: 5\r\nX-Why: ill\r\n\r\nsorry";
            Answer::Keep(text.to_owned())
        })
    });
    let options = bounded(servers.iter().map(plain).collect(), 1);
    on_core(move || async move {
        let upstream = Arc::new(Upstream::new(options).unwrap());
        let done = Arc::new((Mutex::new(Vec::new()), Notify::default()));
        for _ in 0..2 {
            let (upstream, done) = (Arc::clone(&upstream), Arc::clone(&done));
            spawn(async move {
                let request = Request {
                    patience: Some(Duration::from_secs(4)),
                    ..blob()
                };
                let outcome = upstream.send(&request).await;
                let outcome = outcome.map(|last| (last.status(), last.field("x-why").is_some()));
                done.0
                    .lock()
                    .push(outcome.map_err(|error| error.to_string()));
                done.1.wake_all();
            });
        }
        let all = || Some(done.0.lock().clone()).filter(|done| done.len() == 2);
        let outcomes = done.1.wait(all).await;
        assert_eq!(outcomes, [Ok((500, true)), Ok((500, true))]);
        assert!(upstream.has_spare());
    });
    assert_eq!(servers.map(|server| connections(&server)), [1, 1]);
}

fn connections(server: &Server) -> usize {
    let seen = server.seen();
    let last = seen.iter().map(|one| one.connection).max();
    last.map_or(0, |last| last + 1)
}

/// A client would wait until blobs of gigabytes have come that nobody wants any more.
#[test]
fn what_is_abandoned_gives_way_to_a_client_that_has_no_room() {
    let server =
        Server::start(|_| Answer::Hang("HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n".to_owned()));
    let options = bounded(vec![plain(&server)], 4);
    on_core(move || async move {
        let upstream = Arc::new(Upstream::new(options).unwrap());
        let mut running = Vec::new();
        for _ in 0..4 {
            running.push(upstream.send(&blob()).await.unwrap());
        }
        let giving = |running: &[Response]| {
            let all = running.iter().map(Response::should_give_way);
            all.filter(|gives| *gives).count()
        };
        for response in &running[..3] {
            response.set_urgency(Urgency::Background);
        }
        assert_eq!(giving(&running), 0, "nobody waits");
        let done = Arc::new((Mutex::new(0), Notify::default()));
        for _ in 0..2 {
            let (upstream, done) = (Arc::clone(&upstream), Arc::clone(&done));
            spawn(async move {
                let response = upstream.send(&blob()).await;
                *done.0.lock() += 1;
                done.1.wake_all();
                // Holds its room until the test is over.
                crate::rt::sleep(Duration::from_secs(60)).await;
                drop(response);
            });
        }
        while giving(&running) == 0 {
            crate::rt::sleep(Duration::from_millis(10)).await;
        }
        // As many as wait, and the same ones each time.
        while giving(&running) < 2 {
            crate::rt::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(giving(&running), 2);
        assert!(!running[3].should_give_way(), "a client's own");
        // Somebody waits for one of them again: another gives way in its stead.
        let wanted = running.iter().position(Response::should_give_way).unwrap();
        running[wanted].set_urgency(Urgency::Client);
        assert_eq!(giving(&running), 2);
        assert!(!running[wanted].should_give_way());
        running.retain(|response| !response.should_give_way());
        assert_eq!(running.len(), 2);
        done.1.wait(|| (*done.0.lock() == 2).then_some(())).await;
        running[0].set_urgency(Urgency::Background);
        assert_eq!(giving(&running), 0);
    });
}

/// A hop would count as silent that was given no time to answer.
#[test]
fn a_hop_is_not_asked_for_what_cannot_come_in_time() {
    let server = Server::start(|_| Answer::Keep(ok("blob")));
    let options = bounded(vec![plain(&server)], 1);
    on_core(move || async move {
        let upstream = Arc::new(Upstream::new(options).unwrap());
        let room = upstream.send(&blob()).await.unwrap();
        spawn(async move {
            crate::rt::sleep(Duration::from_millis(1950)).await;
            drop(room);
        });
        let request = Request {
            patience: Some(Duration::from_secs(2)),
            ..blob()
        };
        assert!(upstream.send(&request).await.is_err());
    });
    assert_eq!(server.seen().len(), 1);
}

/// A registry whose pause is over would stand idle until somebody else is done.
#[test]
fn a_hop_whose_time_is_over_is_asked_though_another_is_full() {
    on_core(move || async move {
        let end = || Instant::now() + Duration::from_secs(60);
        let gate = Arc::new(Gate::new(2, 1, false));
        let kind = Kind {
            urgency: Urgency::Client,
            quota: Quota::Cache,
        };
        let mut first = gate.enter(&[0], kind, end()).await.unwrap();
        let _full = gate.enter(&[1], kind, end()).await.unwrap();
        first.heard(|load, asked, now| {
            let wait = Some(Duration::from_secs(1));
            load.throttle(Quota::Cache)
                .refused(wait, asked.began, now, 0.0);
        });
        drop(first);
        let entered = gate.enter(&[0, 1], kind, end());
        let entered = crate::rt::timeout(Duration::from_secs(10), entered).await;
        assert_eq!(entered.unwrap().unwrap().hop(), 0);
    });
}

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

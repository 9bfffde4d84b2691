//! The client on a real core against scripted next hops.

mod budget;
mod framing;
mod hops;
mod script;
mod throttle;
mod tls;
mod token;

use std::net::TcpListener;
use std::time::Duration;

pub(in crate::upstream) use script::options;
use script::{Answer, Server, blob, fetch, fetch_one, fetch_times, hop, ok, on_core, on_tier};
use url::Url;

use super::{Error, Hop, Options, Phase, Request, Span, Upstream};
use crate::rt::Tier;

/// Options for one hop, by the name 127.0.0.1.
fn plain(server: &Server) -> Options {
    options(vec![hop(server.url("http", "127.0.0.1"))])
}

/// Returns a hop whose port nobody listens on.
fn dead() -> Hop {
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap();
    hop(Url::parse(&format!("http://{address}")).unwrap())
}

fn connections(server: &Server) -> Vec<usize> {
    let seen = server.seen();
    seen.iter().map(|request| request.connection).collect()
}

/// One handshake for each blob would double the time of a pull from far away.
fn requests_share_a_connection(tier: &Tier) {
    let server = Server::start(|_| Answer::Keep(ok("blob")));
    let options = plain(&server);
    on_tier(tier, move || async move {
        let upstream = Upstream::new(options).unwrap();
        for _ in 0..3 {
            assert_eq!(fetch(&upstream, &blob()).await.unwrap().body, "blob");
        }
    });
    assert_eq!(connections(&server), [0, 0, 0]);
    let head = &server.seen()[0];
    assert_eq!(head.target(), "/v2/a/b/blobs/x");
    assert_eq!(head.field("Accept-Encoding"), Some("identity"));
    assert_eq!(head.field("Host"), Some(&*server.address.to_string()));
}

#[test]
fn requests_share_a_connection_on_io_uring() {
    requests_share_a_connection(&Tier::probe(false));
}

#[test]
fn requests_share_a_connection_on_epoll() {
    requests_share_a_connection(&Tier::probe(true));
}

/// Two clients may trust different authorities; a connection of one is not the other's.
#[test]
fn clients_share_no_connections() {
    let server = Server::start(|_| Answer::Keep(ok("blob")));
    let options = plain(&server);
    on_core(move || async move {
        for _ in 0..2 {
            let upstream = Upstream::new(options.clone()).unwrap();
            fetch(&upstream, &blob()).await.unwrap();
        }
    });
    assert_eq!(connections(&server), [0, 1]);
}

/// Registries close idle connections; whoever pulls just then must not see it.
#[test]
fn a_stale_connection_is_replaced_once() {
    let server = Server::start(|seen| match seen.connection {
        // The second request is read and answered by closing.
        0 if seen.target().ends_with("/second") => Answer::Close(String::new()),
        _ => Answer::Keep(ok(seen.target())),
    });
    let options = plain(&server);
    let (first, second) = on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let first = fetch(&upstream, &Request::get("/first".to_owned())).await;
        let second = fetch(&upstream, &Request::get("/second".to_owned())).await;
        (first, second)
    });
    assert_eq!(first.unwrap().body, "/first");
    assert_eq!(second.unwrap().body, "/second");
    assert_eq!(connections(&server), [0, 0, 1]);
}

/// A request must not be repeated for ever at a hop that closes on it.
#[test]
fn a_new_connection_that_closes_is_an_error() {
    let server = Server::start(|_| Answer::Close(String::new()));
    let outcome = fetch_one(plain(&server));
    assert!(
        matches!(outcome, Err(Error::Unreachable { .. })),
        "{outcome:?}"
    );
    assert_eq!(server.seen().len(), 1);
}

/// The rest of an abandoned body must not be taken for the next answer.
#[test]
fn a_response_that_is_dropped_unread_closes_its_connection() {
    let server = Server::start(|_| Answer::Keep(ok(&"x".repeat(100_000))));
    let options = plain(&server);
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        drop(upstream.send(&blob()).await.unwrap());
        assert_eq!(fetch(&upstream, &blob()).await.unwrap().body.len(), 100_000);
    });
    assert_eq!(connections(&server), [0, 1]);
}

/// A hop that hangs must become a 504 while the client still waits.
#[test]
fn a_hop_that_does_not_answer_is_given_up() {
    let server = Server::start(|_| Answer::Hang(String::new()));
    let outcome = fetch_one(Options {
        head_timeout: Duration::from_millis(50),
        ..plain(&server)
    });
    let error = outcome.unwrap_err();
    let phase = Phase::Head;
    assert!(matches!(error, Error::TimedOut { phase: p, .. } if p == phase));
    assert!(error.is_timeout());
}

/// A fill that gets no more bytes must fail, not hold its followers for ever.
#[test]
fn a_body_that_stops_is_given_up() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    let server = Server::start(|_| Answer::Hang(text.to_owned()));
    let options = Options {
        progress_timeout: Duration::from_millis(50),
        ..plain(&server)
    };
    let (first, second) = on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let mut response = upstream.send(&blob()).await.unwrap();
        let (first, buf) = response.read(Vec::new()).await;
        assert_eq!(buf, b"abc");
        (first, response.read(buf).await.0)
    });
    assert_eq!(first.unwrap(), 3);
    let phase = Phase::Body;
    assert!(matches!(second, Err(Error::TimedOut { phase: p, .. }) if p == phase));
}

#[test]
fn a_tls_handshake_that_hangs_counts_as_connecting() {
    let server = Server::start(|_| Answer::Hang(String::new()));
    let outcome = fetch_one(Options {
        connect_timeout: Duration::from_millis(50),
        ..options(vec![hop(server.url("https", "127.0.0.1"))])
    });
    let phase = Phase::Connect;
    assert!(matches!(outcome, Err(Error::TimedOut { phase: p, .. }) if p == phase));
}

/// One cache of several that is down must not be noticed.
#[test]
fn hops_take_turns_and_a_dead_one_is_passed_over() {
    let one = Server::start(|_| Answer::Keep(ok("one")));
    let other = Server::start(|_| Answer::Keep(ok("other")));
    let ill = Server::start(|_| {
        let text = "HTTP/1.1 503 Ill\r\nContent-Length: 0\r\n\r\n";
        Answer::Keep(text.to_owned())
    });
    let [first, second, third] =
        [&one, &ill, &other].map(|server| hop(server.url("http", "127.0.0.1")));
    let outcomes = fetch_times(options(vec![first, dead(), second, third]), 5);
    let bodies: Vec<_> = outcomes.into_iter().map(|o| o.unwrap().body).collect();
    // The turns of the dead one are shared by the others from its first failure on.
    assert_eq!(bodies, ["one", "other", "other", "one", "other"]);
    assert_eq!(ill.seen().len(), 2);
}

#[test]
fn the_last_hops_word_is_passed_on() {
    let outcome = fetch_one(options(vec![dead(), dead()]));
    assert!(matches!(outcome, Err(Error::Unreachable { .. })));
    let ill = Server::start(|_| Answer::Close("HTTP/1.1 503 Ill\r\n\r\nill".to_owned()));
    let options = plain(&ill);
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let response = upstream.send(&blob()).await.unwrap();
        assert_eq!(response.status(), 503);
        // What it says besides is for nobody, and must not pass for nothing.
        assert!(response.bytes(9).await.is_err());
    });
}

/// A 404 is an answer: the blob is not there, and no other hop need be asked.
#[test]
fn an_answer_that_is_not_a_failure_ends_the_turn() {
    for status in [304, 403, 404, 416] {
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let server = Server::start(move |_| Answer::Keep(text.clone()));
        let own = hop(server.url("http", "127.0.0.1"));
        let outcome = fetch_one(options(vec![own.clone(), own]));
        assert_eq!(outcome.unwrap().status, status);
        assert_eq!(server.seen().len(), 1);
    }
}

/// A resumed fill must not take the middle of another blob for its own.
#[test]
fn a_206_says_what_it_holds_and_can_be_bound_to() {
    let server = Server::start(|seen| {
        let fields = match seen.target() {
            "/two" => "Content-Range: bytes 0-1/9\r\nContent-Range: bytes 2-3/9\r\nETag: W/\"x\"",
            _ => "Content-Range: bytes 5-8/9\r\nETag: \"x\"",
        };
        let head = format!("HTTP/1.1 206 X\r\n{fields}\r\nContent-Length: 4\r\n\r\n");
        Answer::Keep(head + "tail")
    });
    let options = plain(&server);
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let mut request = Request {
            range: Some(Span::From(5)),
            ..blob()
        };
        let first = upstream.send(&request).await.unwrap();
        let range = first.content_range().unwrap();
        assert_eq!((range.range, range.total), (5..9, Some(9)));
        let validator = first.validator().unwrap();
        assert_eq!(validator.hop, first.hop());
        first.bytes(4).await.unwrap();
        request.if_range = Some(validator);
        upstream.send(&request).await.unwrap();
        let two = Request::get("/two".to_owned());
        let two = upstream.send(&two).await.unwrap();
        assert!(two.content_range().is_none() && two.validator().is_none());
    });
    let seen = server.seen();
    let tags = seen.iter().map(|one| one.field("If-Range"));
    assert!(tags.eq([None, Some("\"x\""), None]));
}

fn redirect_to(url: &Url) -> String {
    format!("HTTP/1.1 307 X\r\nLocation: {url}blob?sig=1\r\nContent-Length: 4\r\n\r\nmove")
}

/// A registry's storage host must not be handed the registry's password (and would refuse the request,
/// as signed URLs do).
#[test]
fn credentials_do_not_follow_a_redirect_to_another_host() {
    let storage = Server::start(|_| Answer::Keep(ok("blob")));
    let elsewhere = storage.url("http", "localhost");
    let registry = Server::start(move |seen| match seen.field("Authorization") {
        Some("Basic dTpw") => Answer::Keep(redirect_to(&elsewhere)),
        _ => Answer::Keep(
            "HTTP/1.1 401 X\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
        ),
    });
    let own = script::hop_of_user(registry.url("http", "127.0.0.1"));
    let request = Request {
        range: Some(Span::Within(5, 10)),
        accept: Some("a/b".to_owned()),
        ..blob()
    };
    let wanted = request.clone();
    let outcomes = on_core(move || async move {
        let upstream = Upstream::new(options(vec![own])).unwrap();
        let first = fetch(&upstream, &wanted).await;
        [first, fetch(&upstream, &wanted).await]
    });
    for outcome in outcomes {
        assert_eq!(outcome.unwrap().body, "blob");
    }
    for seen in storage.seen() {
        assert_eq!(seen.target(), "/blob?sig=1");
        assert_eq!(seen.field("Authorization"), None);
        assert_eq!(seen.field("Range"), Some("bytes=5-9"));
        assert_eq!(seen.field("Accept"), Some("a/b"));
        assert_eq!(seen.connection, 0);
    }
    // Asked without, asked with, and from then on with at once, all on one connection.
    assert_eq!(connections(&registry), [0, 0, 0]);
}

/// Whoever is redirected to may ask for credentials, and gets none.
#[test]
fn a_challenge_from_elsewhere_is_an_answer() {
    let storage = Server::start(|_| {
        let text =
            "HTTP/1.1 401 X\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\n\r\n";
        Answer::Keep(text.to_owned())
    });
    let elsewhere = storage.url("http", "localhost");
    let registry = Server::start(move |_| Answer::Keep(redirect_to(&elsewhere)));
    let own = script::hop_of_user(registry.url("http", "127.0.0.1"));
    assert_eq!(fetch_one(options(vec![own])).unwrap().status, 401);
    assert_eq!(storage.seen().len(), 1);
}

#[test]
fn redirects_end() {
    let server = Server::start(|_| {
        Answer::Keep("HTTP/1.1 302 X\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n".to_owned())
    });
    let outcome = fetch_one(plain(&server));
    assert!(matches!(outcome, Err(Error::Redirect { .. })));
    assert_eq!(server.seen().len(), 1 + crate::limits::REDIRECTS_MAX);
}

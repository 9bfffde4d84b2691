//! Bodies as next hops frame them, and as they get it wrong.

use super::script::{Answer, Server, blob, fetch_one, fetch_times, ok, on_core};
use super::{connections, plain};
use crate::upstream::{Error, Method, Request, Upstream};

/// Answers every request with `text` on a connection that stays open.
fn always(text: &str) -> Server {
    let text = text.to_owned();
    Server::start(move |_| Answer::Keep(text.clone()))
}

/// A cut that passes for an end would be published as a whole blob where no digest is at hand.
#[test]
fn a_body_cut_short_is_never_an_end() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcdefghi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n",
    ] {
        let server = Server::start(|_| Answer::Close(text.to_owned()));
        let options = plain(&server);
        let (first, second) = on_core(move || async move {
            let upstream = Upstream::new(options).unwrap();
            let mut response = upstream.send(&blob()).await.unwrap();
            let first = loop {
                match response.read(Vec::with_capacity(4)).await.0 {
                    Ok(count) if count > 0 => {}
                    outcome => break outcome,
                }
            };
            (first, response.read(Vec::new()).await.0)
        });
        for outcome in [first, second] {
            assert!(matches!(outcome, Err(Error::Truncated { .. })), "{text:?}");
        }
    }
}

#[test]
fn chunks_are_joined_and_the_connection_is_kept() {
    let server = always(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\nDigest: x\r\n\r\n",
    );
    for outcome in fetch_times(plain(&server), 3) {
        assert_eq!(outcome.unwrap().body, "abcdefg");
    }
    assert_eq!(connections(&server), [0, 0, 0]);
}

#[test]
fn a_body_without_a_length_ends_with_its_connection() {
    let server = Server::start(|_| Answer::Close("HTTP/1.1 200 OK\r\n\r\nabc".to_owned()));
    for outcome in fetch_times(plain(&server), 2) {
        assert_eq!(outcome.unwrap().body, "abc");
    }
    assert_eq!(connections(&server), [0, 1]);
}

#[test]
fn heads_without_bodies_keep_the_connection() {
    let server = Server::start(|seen| {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        let status = if seen.head.starts_with("HEAD") {
            200
        } else {
            304
        };
        let fields = "ETag: \"x\"\r\nContent-Length: 10";
        Answer::Keep(format!("{interim}HTTP/1.1 {status} X\r\n{fields}\r\n\r\n"))
    });
    let options = plain(&server);
    on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let head = Request {
            method: Method::Head,
            ..blob()
        };
        for (request, status) in [(head.clone(), 200), (blob(), 304), (head, 200)] {
            let response = upstream.send(&request).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.content_length(), Some(10));
            assert_eq!(response.field("etag"), Some("\"x\""));
            assert_eq!(response.field("Link"), None);
            assert_eq!(response.bytes(5).await.unwrap(), b"");
        }
    });
    assert_eq!(connections(&server), [0, 0, 0]);
}

/// Bytes behind a body would be taken for the answer to the next request.
#[test]
fn what_was_not_asked_for_closes_the_connection() {
    let server = always(&format!("{}HTTP/1.1 200 OK\r\n", ok("abc")));
    for outcome in fetch_times(plain(&server), 2) {
        assert_eq!(outcome.unwrap().body, "abc");
    }
    assert_eq!(connections(&server), [0, 1]);
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3",
    ] {
        let server = Server::start(|_| Answer::Close(text.to_owned()));
        let outcome = fetch_one(plain(&server));
        assert!(matches!(outcome, Err(Error::Protocol { .. })), "{text:?}");
    }
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
    let outcome = fetch_one(plain(&always(chunk)));
    assert!(matches!(outcome, Err(Error::Protocol { .. })));
}

/// What lies behind broken framing is nothing that can be named.
#[test]
fn a_broken_body_gives_nothing_more() {
    let server = always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabcdef");
    let options = plain(&server);
    let outcomes = on_core(move || async move {
        let upstream = Upstream::new(options).unwrap();
        let mut response = upstream.send(&blob()).await.unwrap();
        let (first, buf) = response.read(Vec::with_capacity(4)).await;
        let (second, buf) = response.read(buf).await;
        (first, second, buf.len())
    });
    assert!(matches!(
        outcomes,
        (Err(Error::Protocol { .. }), Err(Error::Truncated { .. }), 0)
    ));
}

/// A head without end, or with interim heads without end, would hold memory and a core.
#[test]
fn heads_are_bounded() {
    let field = format!("X: {}\r\n", "y".repeat(1000));
    for text in [
        format!("HTTP/1.1 200 OK\r\n{}\r\n", field.repeat(70)),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101)),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(20),
    ] {
        let outcome = fetch_one(plain(&always(&text)));
        assert!(matches!(outcome, Err(Error::Protocol { .. })));
    }
}

#[test]
fn a_body_above_the_bound_is_refused() {
    for text in [
        ok(&"x".repeat((1 << 20) + 1)),
        format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat((1 << 20) + 1)),
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n".to_owned(),
    ] {
        let server = Server::start(move |_| Answer::Close(text.clone()));
        let outcome = fetch_one(plain(&server));
        assert!(matches!(outcome, Err(Error::TooLarge { .. })));
    }
}

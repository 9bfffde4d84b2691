//! Who is silent is given up: bounds that real backends would take a minute to show.

use axum::body::Body;
use futures_util::stream;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::gateway::proxy::backend::body::Progress;
use crate::gateway::proxy::refusal::Refusal;

/// Returns a backend that takes connections and all that is sent, and says nothing.
async fn silent() -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut taken = [0; 4096];
                while socket.read(&mut taken).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    // As `serve` does: the client finds no other.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let keys = Keys::new(None);
    keys.open();
    Backend {
        url: url.parse().unwrap(),
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        keys,
        silence: Duration::from_millis(50),
        commit_patience: Duration::from_millis(50),
    }
}

fn question(method: Method, body: Sent) -> Question {
    Question {
        method,
        path: "/v2/a/blobs/uploads/1".to_owned(),
        query: None,
        fields: HeaderMap::new(),
        body,
        scope: String::new(),
    }
}

#[tokio::test]
async fn a_backend_that_says_nothing_is_too_slow() {
    let backend = silent().await;
    for body in [
        Sent::Whole(Bytes::new()),
        Sent::Whole(Bytes::from_static(b"x")),
        Sent::Stream(Body::from("x")),
    ] {
        let asked = backend.ask(question(Method::PATCH, body)).await;
        assert_eq!(asked.err(), Some(Trouble::Slow));
    }
}

#[tokio::test]
async fn the_end_of_an_upload_may_take_longer_with_its_last_bytes_and_without_any() {
    for (method, body) in [
        (Method::PUT, Sent::Whole(Bytes::new())),
        (Method::PUT, Sent::Stream(Body::from("x"))),
        (Method::POST, Sent::Stream(Body::from("x"))),
    ] {
        let mut backend = silent().await;
        backend.commit_patience = Duration::from_secs(600);
        let mut commit = std::pin::pin!(backend.ask(question(method, body)));
        // One that began later is given up; the first one is not.
        let sooner = async {
            let asked = backend.ask(question(Method::PATCH, Sent::Whole(Bytes::new())));
            assert_eq!(asked.await.err(), Some(Trouble::Slow));
        };
        tokio::select! {
            biased;
            ended = &mut commit => panic!("{:?}", ended.err()),
            () = sooner => {}
        }
    }
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_its_body_has_broken_off() {
    let backend = silent().await;
    let body = || {
        let pieces = stream::unfold(Some(()), async |first| {
            if first.is_none() {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), None))
        });
        Body::from_stream(pieces)
    };
    let asked = backend.ask(question(Method::PATCH, Sent::Stream(body())));
    assert_eq!(asked.await.err(), Some(Trouble::Client));
    let taken = gathered(body(), 100, backend.silence).await;
    assert!(matches!(taken, Err(Refusal::Error(_))), "{taken:?}");
}

#[tokio::test]
async fn nobody_listening_is_away_and_the_reason_names_no_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut backend = silent().await;
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    backend.url = url.parse().unwrap();
    let asked = backend.ask(question(Method::GET, Sent::Whole(Bytes::new())));
    let Err(Trouble::Away(why)) = asked.await else {
        panic!("somebody was there");
    };
    assert!(!why.contains("http://"), "{why}");
}

#[test]
fn a_body_is_done_with_its_last_byte_if_its_length_is_known_and_else_with_its_end() {
    let known = Progress::of(Some(10));
    known.passed(Some(9));
    assert!(!known.is_done());
    known.passed(Some(1));
    assert!(known.is_done());
    let unknown = Progress::of(None);
    unknown.passed(Some(10));
    assert!(!unknown.is_done());
    unknown.passed(None);
    assert!(unknown.is_done());
}

//! Challenges, tokens, and who gets to see credentials.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::script::{
    Answer, Seen, Server, blob, fetch, fetch_one, fetch_times, hop, hop_of_user, ok, on_core,
    options,
};
use crate::rt::{Notify, spawn};
use crate::upstream::{Error, Options, Request, Upstream};

fn challenge(realm: &str) -> Answer {
    let challenge =
        format!("Bearer realm=\"{realm}\",service=\"reg & co\",scope=\"repository:a/b:pull,push\"");
    Answer::Keep(format!(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 2\r\n\r\n{{}}"
    ))
}

/// A registry that is its own realm and gives out the tokens `token-0`, `token-1` and so on, of which
/// `admits` says which are good. Returns it and the number of tokens given out.
fn registry(admits: impl Fn(&str) -> bool + Send + Sync + 'static) -> (Server, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let server = Server::start(move |seen| {
        if seen.target().starts_with("/token") {
            let number = count.fetch_add(1, Ordering::SeqCst);
            return Answer::Keep(ok(&format!(
                "{{\"access_token\":\"token-{number}\",\"expires_in\":300}}"
            )));
        }
        match seen.field("Authorization") {
            Some(value) if admits(value) => Answer::Keep(ok("blob")),
            _ => challenge(&format!("http://{}/token", seen.field("Host").unwrap())),
        }
    });
    (server, given)
}

fn authorizations(seen: &[Seen]) -> Vec<Option<&str>> {
    seen.iter().map(|one| one.field("Authorization")).collect()
}

#[test]
fn a_token_is_asked_for_and_used_again() {
    let (server, _) = registry(|value| value == "Bearer token-0");
    let own = hop(server.url("http", "127.0.0.1"));
    for outcome in fetch_times(options(vec![own]), 2) {
        assert_eq!(outcome.unwrap().body, "blob");
    }
    let seen = server.seen();
    let token = Some("Bearer token-0");
    assert_eq!(authorizations(&seen), [None, None, token, token]);
    let question = "/token?service=reg+%26+co&scope=repository%3Aa%2Fb%3Apull";
    assert_eq!(seen[1].target(), question);
}

#[test]
fn configured_credentials_go_to_the_hops_own_realm_alone() {
    let (server, _) = registry(|value| value == "Bearer token-0");
    let own = hop_of_user(server.url("http", "127.0.0.1"));
    assert_eq!(fetch_one(options(vec![own])).unwrap().body, "blob");
    let (basic, token) = (Some("Basic dTpw"), Some("Bearer token-0"));
    assert_eq!(authorizations(&server.seen()), [None, basic, token]);
}

/// CVE-2026-33540: who answers for the hop would be given its password.
#[test]
fn a_foreign_realm_is_given_no_credentials() {
    let foreign = Server::start(|_| Answer::Keep(ok("{\"token\":\"t\"}")));
    let realm = foreign.url("http", "localhost").to_string();
    let server = Server::start(move |seen| match seen.field("Authorization") {
        Some("Bearer t") => Answer::Keep(ok("blob")),
        _ => challenge(&realm),
    });
    let url = server.url("http", "127.0.0.1");
    let outcome = fetch_one(options(vec![hop_of_user(url.clone())]));
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Realm { .. }));
    assert!(error.to_string().contains("http://localhost:"), "{error}");
    assert!(error.to_string().contains("credentials were not sent"));
    assert_eq!(foreign.seen().len(), 0);

    // Who says nothing about himself may ask anybody.
    assert_eq!(fetch_one(options(vec![hop(url)])).unwrap().body, "blob");
    assert_eq!(authorizations(&foreign.seen()), [None]);
}

/// ECR's and Hub's tokens end while images are being pulled.
#[test]
fn a_token_that_is_refused_is_replaced_once() {
    let (server, given) = registry({
        let uses = AtomicUsize::new(0);
        move |value| value != "Bearer token-0" || uses.fetch_add(1, Ordering::SeqCst) == 0
    });
    let own = hop(server.url("http", "127.0.0.1"));
    for outcome in fetch_times(options(vec![own]), 3) {
        assert_eq!(outcome.unwrap().body, "blob");
    }
    assert_eq!(given.load(Ordering::SeqCst), 2);
    let (old, new) = (Some("Bearer token-0"), Some("Bearer token-1"));
    let expected = [None, None, old, old, None, new, new];
    assert_eq!(authorizations(&server.seen()), expected);
}

/// GHCR and ECR say 403 to a token that has expired: pulls would fail until the next start.
#[test]
fn a_token_that_gets_a_403_is_replaced_once() {
    let is_expired = Arc::new(AtomicBool::new(false));
    let expired = Arc::clone(&is_expired);
    let server = Server::start(move |seen| {
        if seen.target().starts_with("/token") {
            let number = u8::from(expired.load(Ordering::SeqCst));
            return Answer::Keep(ok(&format!("{{\"token\":\"token-{number}\"}}")));
        }
        match (seen.field("Authorization"), expired.load(Ordering::SeqCst)) {
            (None, _) => challenge(&format!("http://{}/token", seen.field("Host").unwrap())),
            (Some("Bearer token-0"), false) | (Some("Bearer token-1"), true)
                if !seen.target().ends_with("/forbidden") =>
            {
                Answer::Keep(ok("blob"))
            }
            _ => Answer::Keep("HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n".to_owned()),
        }
    });
    let own = hop(server.url("http", "127.0.0.1"));
    on_core(move || async move {
        let upstream = Upstream::new(options(vec![own])).unwrap();
        assert_eq!(fetch(&upstream, &blob()).await.unwrap().body, "blob");
        is_expired.store(true, Ordering::SeqCst);
        assert_eq!(fetch(&upstream, &blob()).await.unwrap().body, "blob");
        let forbidden = Request {
            path: "/v2/a/b/blobs/forbidden".to_owned(),
            ..blob()
        };
        for _ in 0..3 {
            assert_eq!(fetch(&upstream, &forbidden).await.unwrap().status, 403);
        }
    });
    let (old, new) = (Some("Bearer token-0"), Some("Bearer token-1"));
    let first = [None, None, old];
    let expired = [old, None, None, new];
    // The first 403 costs a token, which is not to blame for the others.
    let forbidden = [new, None, None, new, new, new];
    let expected = [&first[..], &expired, &forbidden].concat();
    assert_eq!(authorizations(&server.seen()), expected);
}

/// A realm that counts is asked by everybody of a pull at once.
#[test]
fn a_token_service_that_asks_to_slow_down_is_waited_for() {
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |seen| match seen.target() {
        "/v2/a/b/blobs/x" => match seen.field("Authorization") {
            Some("Bearer t") => Answer::Keep(ok("blob")),
            _ => challenge(&format!("http://{}/t", seen.field("Host").unwrap())),
        },
        _ if asked.fetch_add(1, Ordering::SeqCst) == 0 => {
            Answer::Keep("HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n".to_owned())
        }
        _ => Answer::Keep(ok("{\"token\":\"t\"}")),
    });
    let own = hop(server.url("http", "127.0.0.1"));
    on_core(move || async move {
        let upstream = Upstream::new(options(vec![own])).unwrap();
        let hurried = Request {
            patience: Some(Duration::from_millis(900)),
            ..blob()
        };
        for _ in 0..2 {
            let error = fetch(&upstream, &hurried).await.unwrap_err();
            assert!(matches!(error, Error::Throttled { .. }), "{error:?}");
        }
        assert_eq!(fetch(&upstream, &blob()).await.unwrap().body, "blob");
    });
    let seen = server.seen();
    let realm = seen.iter().filter(|one| one.target().starts_with("/t"));
    assert_eq!(realm.count(), 2);
}

#[test]
fn a_hop_that_refuses_every_token_is_not_asked_for_ever() {
    let (server, _) = registry(|_| false);
    let own = hop(server.url("http", "127.0.0.1"));
    assert_eq!(fetch_one(options(vec![own])).unwrap().status, 401);
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn a_realm_that_gives_no_token_is_told_apart() {
    let refusing = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n".to_owned();
    let broken = "HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n".to_owned();
    for (reply, is_refused) in [(refusing, true), (broken, false), (ok("s3cret"), false)] {
        let server = Server::start(move |seen| match seen.target() {
            "/v2/a/b/blobs/x" => challenge(&format!("http://{}/t", seen.field("Host").unwrap())),
            _ => Answer::Keep(reply.clone()),
        });
        // Who came without credentials may still log in by itself: the challenge is the answer.
        let nobodys = hop(server.url("http", "127.0.0.1"));
        assert_eq!(fetch_one(options(vec![nobodys])).unwrap().status, 401);
        let own = hop_of_user(server.url("http", "127.0.0.1"));
        match fetch_one(options(vec![own])) {
            Ok(answer) => assert!(is_refused && answer.status == 401),
            Err(error) => {
                assert!(!is_refused && matches!(error, Error::Token { .. }));
                assert!(!format!("{error} {error:?}").contains("s3cret"));
            }
        }
    }
}

#[test]
fn a_hop_that_wants_no_credentials_gets_none() {
    let server = Server::start(|_| Answer::Keep(ok("blob")));
    let own = hop_of_user(server.url("http", "127.0.0.1"));
    fetch_one(options(vec![own])).unwrap();
    assert_eq!(authorizations(&server.seen()), [None]);
}

#[test]
fn basic_is_answered_only_with_credentials_and_only_once() {
    let refuse = |_: &Seen| {
        let text =
            "HTTP/1.1 401 X\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\n\r\n";
        Answer::Keep(text.to_owned())
    };
    let server = Server::start(refuse);
    let own = hop(server.url("http", "127.0.0.1"));
    assert_eq!(fetch_one(options(vec![own])).unwrap().status, 401);
    assert_eq!(authorizations(&server.seen()), [None]);
    let server = Server::start(refuse);
    let own = hop_of_user(server.url("http", "127.0.0.1"));
    assert_eq!(fetch_one(options(vec![own])).unwrap().status, 401);
    assert_eq!(authorizations(&server.seen()), [None, Some("Basic dTpw")]);
}

/// A pull asks for many blobs at once; a realm that counts would refuse as many tokens.
#[test]
fn a_herd_shares_one_token() {
    const HERD: usize = 8;
    let (server, given) = registry(|value| value == "Bearer token-0");
    let options: Options = options(vec![hop(server.url("http", "127.0.0.1"))]);
    on_core(move || async move {
        let upstream = Arc::new(Upstream::new(options).unwrap());
        let done = Arc::new((AtomicUsize::new(0), Notify::default()));
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
    assert_eq!(given.load(Ordering::SeqCst), 1);
}

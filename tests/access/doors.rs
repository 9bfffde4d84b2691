//! The cache's own doors: a password file, or a token server of its own.

use tempfile::TempDir;

use super::{ALICE, BOB, get};
use crate::support::token_server::{ISSUER, SERVICE, TokenServer};
use crate::support::{Blob, Origin, Transship, assert_same, until};

/// A transship with this section `auth`, before an open origin.
fn behind(origin: &Origin, auth: &str) -> Transship {
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /unused\n\
         http:\n  addr: 127.0.0.1:0\nproxy:\n  remoteurl: {}\nauth:\n{auth}",
        origin.url()
    );
    Transship::options().config(config).start()
}

fn line(user: &str, password: &str) -> String {
    format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap())
}

/// A password file with Alice in it, a transship behind it, and an origin that knows nobody.
fn with_passwords() -> (TempDir, Origin, Transship) {
    let (dir, origin) = (TempDir::new().unwrap(), Origin::start());
    let path = dir.path().join("htpasswd");
    std::fs::write(&path, line("alice", "secret")).unwrap();
    let auth = format!(
        "  htpasswd:\n    realm: my cache\n    path: {}\n",
        path.display()
    );
    let transship = behind(&origin, &auth);
    (dir, origin, transship)
}

#[test]
fn a_password_opens_the_cache_and_goes_no_further() {
    let (_dir, origin, transship) = with_passwords();
    let blob = origin.make(1, 100_000);
    let mut client = transship.client();
    for path in [
        &*blob.path(),
        "/v2/",
        "/v2/_catalog",
        "/v2/test/image/tags/list",
    ] {
        for who in ["", BOB, "Basic YWxpY2U6d3Jvbmc=", "Bearer abc", "Basic !"] {
            let reply = get(&mut client, path, who);
            reply.expect_error(401, "UNAUTHORIZED");
            assert_eq!(
                reply.field("www-authenticate"),
                Some("Basic realm=\"my cache\"")
            );
        }
    }
    assert_eq!(origin.seen().len(), 0, "nobody was let in");
    for _ in 0..2 {
        assert_same(&get(&mut client, &blob.path(), ALICE).body, &blob.bytes);
    }
    get(&mut client, &blob.path(), BOB).expect_error(401, "UNAUTHORIZED");
    assert_eq!(get(&mut client, "/v2/", ALICE).status(), 200);
    // Liveness probes need no login.
    assert_eq!(get(&mut client, "/", "").status(), 200);
    for seen in origin.seen() {
        assert_eq!(
            seen.field("authorization"),
            None,
            "the password is the cache's"
        );
    }
}

#[test]
fn a_changed_password_file_counts_and_a_broken_one_does_not() {
    let (dir, origin, transship) = with_passwords();
    let blob = origin.make(2, 1000);
    let path = dir.path().join("htpasswd");
    get(&mut transship.client(), &blob.path(), BOB).expect_error(401, "UNAUTHORIZED");
    let both = line("alice", "secret") + &line("bob", "secret");
    std::fs::write(&path, both).unwrap();
    until("Bob is let in", || {
        get(&mut transship.client(), &blob.path(), BOB).status() == 200
    });
    std::fs::write(&path, "alice:plaintext\n").unwrap();
    until("the broken file is told of", || {
        get(&mut transship.client(), "/v2/", ALICE).status() == 200
            && transship.process.log().contains("of no use")
    });
    assert!(!transship.process.log().contains("plaintext"));
    assert_eq!(
        get(&mut transship.client(), &blob.path(), BOB).status(),
        200
    );
}

#[test]
fn a_flood_of_wrong_passwords_leaves_service_to_those_who_are_known() {
    // bcrypt is slow by design; whoever guesses passwords must not stop the pulls of others.
    let (dir, origin, transship) = with_passwords();
    let costly = format!("mallory:{}\n", bcrypt::hash("x", 10).unwrap());
    std::fs::write(
        dir.path().join("htpasswd"),
        line("alice", "secret") + &costly,
    )
    .unwrap();
    let blob = origin.make(3, 1000);
    until("the file is read", || {
        transship.process.log().contains("read again")
            || get(&mut transship.client(), &blob.path(), ALICE).status() != 200
    });
    assert_eq!(
        get(&mut transship.client(), &blob.path(), ALICE).status(),
        200
    );
    let addr = transship.addr;
    let flood: Vec<_> = (0..96)
        .map(|index| {
            std::thread::spawn(move || {
                use base64::Engine as _;
                let guess = format!("mallory:{index}");
                let guess = base64::prelude::BASE64_STANDARD.encode(guess);
                let mut client = crate::support::Client::connect(addr);
                get(&mut client, "/v2/", &format!("Basic {guess}")).status()
            })
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(
            get(&mut transship.client(), &blob.path(), ALICE).status(),
            200
        );
    }
    let told: Vec<_> = flood.into_iter().map(|one| one.join().unwrap()).collect();
    assert!(
        told.iter().all(|status| matches!(status, 401 | 503)),
        "{told:?}"
    );
    assert!(
        told.contains(&503),
        "there is a bound on those who wait: {told:?}"
    );
}

/// A token server, a transship that believes it, and an origin that knows nobody.
fn with_tokens() -> (TempDir, TokenServer, Origin, Transship) {
    let (dir, tokens, origin) = (
        TempDir::new().unwrap(),
        TokenServer::start(),
        Origin::start(),
    );
    tokens.grant("alice:secret", &["test/image"]);
    tokens.grant("bob:secret", &["bob/own"]);
    let bundle = dir.path().join("bundle.pem");
    std::fs::write(&bundle, &tokens.certificate).unwrap();
    let auth = format!(
        "  token:\n    realm: {}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    \
         rootcertbundle: {}\n",
        tokens.realm,
        bundle.display()
    );
    let transship = behind(&origin, &auth);
    (dir, tokens, origin, transship)
}

#[test]
fn a_token_of_the_caches_own_token_server_opens_its_repository_alone() {
    let (_dir, tokens, origin, transship) = with_tokens();
    let blob = origin.make(4, 100_000);
    origin.hold_in(&["test/image"], &blob);
    let challenge = format!(
        "Bearer realm=\"{}\",service=\"{SERVICE}\",scope=\"repository:test/image:pull\"",
        tokens.realm
    );
    let mut client = transship.client();
    let reply = get(&mut client, &blob.path(), "");
    reply.expect_error(401, "UNAUTHORIZED");
    assert_eq!(reply.field("www-authenticate"), Some(&*challenge));
    let bearer = |user, name| format!("Bearer {}", tokens.token(user, name));
    let (alice, bob) = (
        bearer("alice:secret", "test/image"),
        bearer("bob:secret", "test/image"),
    );
    for _ in 0..2 {
        assert_same(&get(&mut client, &blob.path(), &alice).body, &blob.bytes);
        let reply = get(&mut client, &blob.path(), &bob);
        reply.expect_error(401, "UNAUTHORIZED");
        let told = reply.field("www-authenticate").unwrap();
        assert!(told.ends_with("error=\"insufficient_scope\""), "{told}");
    }
    // The token vouches for Bob's repository; only the origin knows that the blob is not in it.
    let own = bearer("bob:secret", "bob/own");
    let theirs = super::under("bob/own", &blob);
    get(&mut client, &theirs, &own).expect_error(404, "BLOB_UNKNOWN");
    let reply = get(&mut client, &blob.path(), "Bearer a.b.c");
    let told = reply.field("www-authenticate").unwrap();
    assert!(told.ends_with("error=\"invalid_token\""), "{told}");
    let stranger = TokenServer::start();
    stranger.grant("alice:secret", &["test/image"]);
    let forged = format!("Bearer {}", stranger.token("alice:secret", "test/image"));
    get(&mut client, &blob.path(), &forged).expect_error(401, "UNAUTHORIZED");
    assert_eq!(get(&mut client, "/v2/", &alice).status(), 200);
    get(&mut client, "/v2/", "").expect_error(401, "UNAUTHORIZED");
}

#[test]
fn a_token_saves_the_question_at_the_origin() {
    // The token server has the last word on rights; the origin is asked for blobs alone.
    let (_dir, tokens, origin, transship) = with_tokens();
    let blobs: Vec<Blob> = (5..8).map(|seed| origin.make(seed, 1000)).collect();
    let mut answered = 0;
    for blob in &blobs {
        for _ in 0..3 {
            let bearer = format!("Bearer {}", tokens.token("alice:secret", "test/image"));
            let reply = get(&mut transship.client(), &blob.path(), &bearer);
            assert_same(&reply.body, &blob.bytes);
            // A client may have its last byte before it is noted that the origin gave it.
            answered += 1;
            transship.until_metric("transship_response_seconds_count", &[], answered);
        }
        assert_eq!(origin.count("HEAD", &blob.path()), 0);
        assert_eq!(origin.count("GET", &blob.path()), 1);
    }
}

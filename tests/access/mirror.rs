//! The origin decides, per user, also on a hit.

use std::sync::Arc;

use super::{ALICE, BOB, CHALLENGE, Stage, ask, get, under};
use crate::support::{Gate, Plan, assert_same};

#[test]
fn a_cached_private_blob_is_for_those_whom_the_origin_lets_have_it() {
    // The leak of every pull-through cache: what one user may pull, everybody gets from then on.
    let stage = Stage::set();
    let blob = stage.hit(1, 300_000);
    for size in ["a hit that this core has open", "once more"] {
        let reply = stage.get(&blob.path(), BOB);
        reply.expect_error(403, "DENIED");
        let reply = stage.get(&blob.path(), "");
        reply.expect_error(401, "UNAUTHORIZED");
        assert_eq!(reply.field("www-authenticate"), Some(CHALLENGE), "{size}");
        let reply = stage.get(&blob.path(), ALICE);
        assert_eq!(reply.cache(), "hit", "{size}");
        assert_same(&reply.body, &blob.bytes);
    }
    assert_eq!(stage.origin.count("GET", &blob.path()), 1);
}

#[test]
fn a_connection_of_one_user_opens_nothing_for_the_next_one() {
    // Behind a load balancer, two users' requests follow each other on one connection.
    let stage = Stage::set();
    let blob = stage.hit(2, 1000);
    let mut client = stage.transship.client();
    for _ in 0..3 {
        assert_same(&get(&mut client, &blob.path(), ALICE).body, &blob.bytes);
        get(&mut client, &blob.path(), BOB).expect_error(403, "DENIED");
        get(&mut client, &blob.path(), "").expect_error(401, "UNAUTHORIZED");
        for method in ["HEAD", "GET"] {
            let fields = [("Authorization", BOB), ("Range", "bytes=0-9")];
            let reply = client.call(method, &blob.path(), &fields);
            assert_eq!(reply.status(), 403, "{method}");
        }
        let known = format!("\"{}\"", blob.digest);
        let fields = [("Authorization", BOB), ("If-None-Match", &known)];
        // 304 would confirm that the blob exists.
        assert_eq!(client.call("GET", &blob.path(), &fields).status(), 403);
    }
}

#[test]
fn the_origin_is_asked_once_for_a_user_and_repository_and_not_for_each_blob() {
    // A HEAD for every hit would make a far origin as slow as no cache at all.
    let stage = Stage::set();
    let blobs = [stage.hit(3, 1000), stage.hit(4, 1000)];
    let mut client = stage.transship.client();
    for _ in 0..5 {
        for blob in &blobs {
            assert_eq!(get(&mut client, &blob.path(), ALICE).cache(), "hit");
        }
    }
    for blob in &blobs {
        assert_eq!(stage.checks(&blob.path()), 0, "the fill was the answer");
    }
}

#[test]
fn rights_to_one_repository_do_not_open_anothers_blob_by_its_digest() {
    // Whoever learns a digest (they stand in public manifests) would read private layers.
    let stage = Stage::set();
    let blob = stage.origin.make(5, 100_000);
    stage.origin.hold_in(&["test/image"], &blob);
    assert_eq!(stage.get(&blob.path(), ALICE).status(), 200);
    let theirs = under("bob/own", &blob);
    for _ in 0..2 {
        stage.get(&theirs, BOB).expect_error(404, "BLOB_UNKNOWN");
    }
    assert_eq!(stage.get(&blob.path(), BOB).status(), 403);
}

#[test]
fn nor_does_a_public_repositorys_name() {
    let stage = Stage::set();
    stage.origin.grant("public/base", "");
    let (private, public) = (stage.origin.make(6, 50_000), stage.origin.make(7, 50_000));
    stage.origin.hold_in(&["test/image"], &private);
    stage.origin.hold_in(&["public/base"], &public);
    assert_eq!(stage.get(&private.path(), ALICE).status(), 200);
    assert_eq!(stage.get(&under("public/base", &public), "").status(), 200);
    // Anybody has the right to the repository; it has not got the blob.
    let path = under("public/base", &private);
    for who in ["", BOB, ALICE] {
        stage.get(&path, who).expect_error(404, "BLOB_UNKNOWN");
    }
    assert_eq!(stage.get(&under("public/base", &public), "").cache(), "hit");
}

#[test]
fn a_blob_that_is_here_under_another_name_costs_a_head_and_no_transfer() {
    // Base layers are shared by every image; fetching them once per repository is most of the traffic.
    let stage = Stage::set();
    let blob = stage.hit(8, 200_000);
    let path = under("bob/own", &blob);
    for _ in 0..3 {
        let reply = stage.get(&path, BOB);
        assert_eq!(reply.cache(), "hit");
        assert_same(&reply.body, &blob.bytes);
    }
    assert_eq!(stage.checks(&path), 1);
    assert_eq!(stage.origin.count("GET", &path), 0);
    assert_eq!(stage.origin.sent(&blob.path()), blob.len() as u64);
}

#[test]
fn a_follower_is_checked_itself_and_the_fill_goes_on_for_the_others() {
    // Bob, who may not, would get Alice's layer by asking while she pulls it.
    let stage = Stage::set();
    let blob = stage.origin.make(9, 1_000_000);
    let gate = Gate::new();
    stage
        .origin
        .plan(&blob, Plan::whole().wait_at(500_000, &gate));
    let mut alice = stage.transship.client();
    alice.ask("GET", &blob.path(), &[("Authorization", ALICE)]);
    let head = alice.head();
    assert_eq!(head.status, 200);
    stage.get(&blob.path(), BOB).expect_error(403, "DENIED");
    stage
        .get(&blob.path(), "")
        .expect_error(401, "UNAUTHORIZED");
    assert_eq!(
        ask(&mut stage.transship.client(), "HEAD", &blob.path(), BOB).status(),
        403
    );
    // A second pull of Alice's is asked about, since nothing is proved yet, and a third one is not.
    let checks = stage.checks(&blob.path());
    let mut second = stage.transship.client();
    second.ask("GET", &blob.path(), &[("Authorization", ALICE)]);
    let second_head = second.head();
    assert_eq!(second_head.cache(), "fwd=uri-miss; collapsed");
    let mut third = stage.transship.client();
    third.ask("GET", &blob.path(), &[("Authorization", ALICE)]);
    let third_head = third.head();
    assert_eq!(stage.checks(&blob.path()), checks + 1);
    gate.open();
    for (client, head) in [
        (&mut alice, &head),
        (&mut second, &second_head),
        (&mut third, &third_head),
    ] {
        let mut body = Vec::new();
        assert!(client.body("GET", head, |part| body.extend_from_slice(part)));
        assert_same(&body, &blob.bytes);
    }
    assert_eq!(stage.origin.count("GET", &blob.path()), 1);
}

#[test]
fn a_follower_who_comes_before_the_origin_has_answered_the_first_is_checked_too() {
    let stage = Stage::set();
    let blob = stage.origin.make(10, 100_000);
    let gate = Gate::new();
    stage
        .origin
        .plan(&blob, Plan::whole().wait_before_head(&gate));
    let mut alice = stage.transship.client();
    alice.ask("GET", &blob.path(), &[("Authorization", ALICE)]);
    stage
        .transship
        .until_metric("transship_fills_running", &[], 1);
    stage.get(&blob.path(), BOB).expect_error(403, "DENIED");
    gate.open();
    assert_same(&alice.reply("GET").body, &blob.bytes);
}

#[test]
fn a_user_whom_the_origin_refuses_leaves_nothing_behind_for_others() {
    // The first one to ask is refused; the next one, who may, must not inherit that.
    let stage = Stage::set();
    let blob = stage.origin.make(11, 100_000);
    stage.get(&blob.path(), BOB).expect_error(403, "DENIED");
    assert!(!stage.transship.stores(&blob.digest));
    assert_same(&stage.get(&blob.path(), ALICE).body, &blob.bytes);
    stage.get(&blob.path(), BOB).expect_error(403, "DENIED");
}

#[test]
fn a_right_that_was_taken_back_ends_with_the_remembered_answer() {
    let stage = Stage::set_with("    remember: 1s\n    grace: 0s\n");
    let blob = stage.hit(12, 1000);
    assert_eq!(stage.get(&blob.path(), ALICE).cache(), "hit");
    stage.origin.revoke("test/image", ALICE);
    crate::support::until("the right has ended", || {
        stage.get(&blob.path(), ALICE).status() == 403
    });
    stage.origin.grant("test/image", ALICE);
    assert_eq!(stage.get(&blob.path(), ALICE).cache(), "hit");
}

#[test]
fn a_herd_that_the_origin_has_to_be_asked_about_asks_it_once() {
    // A thousand nodes with the same credentials would be a thousand HEADs every minute.
    let stage = Stage::set();
    let blob = stage.hit(13, 1000);
    let path = Arc::new(under("bob/own", &blob));
    let addr = stage.transship.addr;
    let herd: Vec<_> = (0..32)
        .map(|_| {
            let path = Arc::clone(&path);
            std::thread::spawn(move || {
                get(&mut crate::support::Client::connect(addr), &path, BOB).status()
            })
        })
        .collect();
    for one in herd {
        assert_eq!(one.join().unwrap(), 200);
    }
    let checks = stage.checks(&path);
    assert!(
        (1..=2).contains(&checks),
        "one question, or one more between two answers: {checks}"
    );
}

#[test]
fn links_survive_a_restart_and_permissions_do_not() {
    // A restart must not cost a HEAD for each blob and user, nor open what needs a fresh word.
    let stage = Stage::set();
    let blob = stage.hit(14, 1000);
    let other = stage.hit(15, 1000);
    let (origin, killed) = (stage.origin, stage.transship.stop());
    let transship = super::before(&origin, "").storage(&killed.storage).start();
    let stage = Stage { origin, transship };
    stage.get(&blob.path(), BOB).expect_error(403, "DENIED");
    assert_eq!(stage.get(&blob.path(), ALICE).cache(), "hit");
    let checks = stage.checks(&other.path());
    assert_eq!(stage.get(&other.path(), ALICE).cache(), "hit");
    assert_eq!(
        stage.checks(&other.path()),
        checks,
        "the repository is known to have it"
    );
}

#[test]
fn manifests_by_digest_are_for_those_who_may_have_them() {
    // A manifest names every layer and holds labels that companies take for private.
    let stage = Stage::set();
    let digest = stage
        .origin
        .tag("test/image", "1", r#"{"schemaVersion":2}"#);
    let by_digest = format!("/v2/test/image/manifests/{digest}");
    assert_eq!(stage.get("/v2/test/image/manifests/1", ALICE).status(), 200);
    assert_eq!(stage.get(&by_digest, ALICE).cache(), "hit");
    for path in [
        &*by_digest,
        "/v2/test/image/manifests/1",
        "/v2/test/image/tags/list",
    ] {
        stage.get(path, BOB).expect_error(403, "DENIED");
        let reply = stage.get(path, "");
        reply.expect_error(401, "UNAUTHORIZED");
        assert_eq!(reply.field("www-authenticate"), Some(CHALLENGE), "{path}");
    }
    let theirs = format!("/v2/bob/own/manifests/{digest}");
    stage
        .get(&theirs, BOB)
        .expect_error(404, "MANIFEST_UNKNOWN");
    assert_eq!(stage.get(&by_digest, ALICE).cache(), "hit");
}

#[test]
fn the_base_of_the_api_says_what_the_origin_says() {
    // docker, podman and skopeo look there how to log in; a 200 would make them never try.
    let stage = Stage::set();
    let reply = stage.get("/v2/", "");
    reply.expect_error(401, "UNAUTHORIZED");
    assert_eq!(reply.field("www-authenticate"), Some(CHALLENGE));
    assert_eq!(stage.get("/v2/", ALICE).status(), 200);
    assert_eq!(stage.get("/v2/", "Basic bm9ib2R5").status(), 403);
    let asked = stage.origin.count("GET", "/v2/");
    stage.get("/v2/", "").expect_error(401, "UNAUTHORIZED");
    assert_eq!(
        stage.origin.count("GET", "/v2/"),
        asked,
        "the answer is remembered"
    );
}

#[test]
fn a_users_credentials_reach_the_origin_and_no_one_it_redirects_to() {
    let stage = Stage::set();
    let elsewhere = crate::support::Origin::start_elsewhere();
    elsewhere.challenge("Basic realm=\"give it to me\"");
    elsewhere.grant("nothing", "nobody");
    let blob = stage.origin.make(16, 100_000);
    elsewhere.hold_file("/cdn/data", &blob);
    stage.origin.plan(
        &blob,
        Plan::redirect(format!("{}/cdn/data", elsewhere.url())),
    );
    assert_same(&stage.get(&blob.path(), ALICE).body, &blob.bytes);
    assert_eq!(elsewhere.seen()[0].field("authorization"), None);
    // A challenge of whoever a redirect leads to is not the client's to answer.
    let other = stage.origin.make(17, 1000);
    let denied = format!("{}/v2/a/blobs/{}", elsewhere.url(), other.digest);
    stage.origin.plan(&other, Plan::redirect(denied));
    let reply = stage.get(&other.path(), ALICE);
    assert_eq!(
        (reply.status(), reply.field("www-authenticate")),
        (403, None)
    );
}

#[test]
fn what_is_public_is_served_without_asking_anyone() {
    let stage = Stage::set_with("    public: true\n");
    stage.origin.grant("test/image", "");
    let blob = stage.origin.make(18, 1000);
    assert_eq!(stage.get(&blob.path(), "").status(), 200);
    stage
        .transship
        .until_metric("transship_fills_total", &[("outcome", "committed")], 1);
    let seen = stage.origin.seen().len();
    for path in [blob.path(), under("any/name", &blob)] {
        for who in ["", BOB] {
            assert_eq!(stage.get(&path, who).cache(), "hit");
        }
    }
    assert_eq!(stage.get("/v2/", "").status(), 200);
    assert_eq!(stage.origin.seen().len(), seen);
    let log = stage.transship.process.log();
    assert!(log.contains("transship.access.public"), "{log}");
}

#[test]
fn nothing_secret_is_in_the_log_or_in_the_metrics() {
    let config = "    remember: 1s\n";
    let stage = Stage::set_with(config);
    let blob = stage.hit(19, 1000);
    for who in [ALICE, BOB, "Bearer t0ken.of.mine"] {
        for path in [blob.path(), under("bob/own", &blob), "/v2/".to_owned()] {
            stage.get(&path, who);
        }
    }
    let said = stage.transship.process.log() + &stage.transship.metrics().text;
    for secret in ["YWxpY2U", "Ym9iOn", "t0ken", "alice", "bob:"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}

//! A tag without the origin's word: the operator's choice, for so long, for those who may, and marked.

use std::fs;

use super::{ALICE, BOB, BY_TAG, CHALLENGE, Stage, TEXT, Way, age, ask, before, cache_status};
use crate::support::{Origin, Transship, assert_same, until};

const PUBLIC: &str = ", stale: {manifests: 1h}, access: {public: true}";
const RIGHTS: &str = ", stale: {manifests: 1h}";

#[test]
fn a_tag_that_was_confirmed_is_served_while_no_upstream_answers() {
    // A registry's outage would stop every pull of a cluster that has all of it here.
    for (way, why) in [
        (Way::Says(503), "fwd-status=503"),
        (Way::Says(500), "fwd-status=500"),
        (Way::Says(429), "detail=upstream-throttled"),
        (Way::Silent, "detail=upstream-late"),
        (Way::Refused, "detail=upstream-failed"),
    ] {
        let stage = Stage::set(PUBLIC);
        let digest = stage.origin.tag("test/image", "latest", TEXT);
        assert_same(&stage.by_tag("").body, TEXT.as_bytes());
        assert_eq!(stage.served("stale"), 0);
        stage.leave(way);
        let reply = stage.by_tag("");
        assert_eq!(reply.status(), 200, "{way:?}: {}", reply.text());
        assert_same(&reply.body, TEXT.as_bytes());
        assert_eq!(reply.field("docker-content-digest"), Some(&*digest));
        let marked = format!("transship; hit; fwd=stale; {why}");
        assert_eq!(cache_status(&reply), marked, "{way:?}");
        assert!(age(&reply).is_some(), "{way:?}: {:?}", reply.head);
        let head = ask(&stage.transship, "HEAD", BY_TAG, "");
        assert_eq!(head.head.length(), Some(TEXT.len() as u64));
        let known = format!("\"{digest}\"");
        let fields = [("If-None-Match", known.as_str())];
        let unchanged = stage.transship.client().call("GET", BY_TAG, &fields);
        assert_eq!(unchanged.status(), 304, "{way:?}");
        assert_eq!(stage.served("stale"), 3);
    }
}

#[test]
fn by_default_no_image_is_ever_outdated() {
    let stage = Stage::set(", access: {public: true}");
    stage.origin.tag("test/image", "latest", TEXT);
    assert_eq!(stage.by_tag("").status(), 200);
    stage.leave(Way::Says(503));
    let reply = stage.by_tag("");
    reply.expect_error(502, "UNKNOWN");
    assert_eq!(stage.served("stale"), 0);
    stage.leave(Way::Refused);
    stage.by_tag("").expect_error(502, "UNKNOWN");
}

#[test]
fn after_its_time_a_tag_is_not_served_any_more() {
    // A cluster that nobody watches would run last year's image for ever.
    let stage = Stage::set(", stale: {manifests: 1s}, access: {public: true}");
    stage.origin.tag("test/image", "latest", TEXT);
    assert_eq!(stage.by_tag("").status(), 200);
    stage.leave(Way::Says(503));
    until("the tag is not served any more", || {
        let reply = stage.by_tag("");
        let is_over = reply.status() == 502;
        assert!(is_over || cache_status(&reply).contains("fwd=stale"));
        is_over
    });
    // Nor is it the one who came first that decides.
    stage.origin.overload(None);
    assert_eq!(cache_status(&stage.by_tag("")), REVALIDATED);
}

const REVALIDATED: &str = "transship; hit; fwd=stale; fwd-status=304";

#[test]
fn a_tag_that_the_origin_deleted_is_not_served_when_it_is_away() {
    // An image that was withdrawn, for a hole in it say, would come back with the next outage.
    let stage = Stage::set(PUBLIC);
    stage.origin.tag("test/image", "latest", TEXT);
    assert_eq!(stage.by_tag("").status(), 200);
    // Whoever accepts other types has it in memory too.
    let mut client = stage.transship.client();
    let other = [("Accept", "application/json")];
    assert_eq!(client.call("GET", BY_TAG, &other).status(), 200);
    stage.origin.overload(Some(404));
    assert_eq!(stage.by_tag("").status(), 404);
    stage.leave(Way::Says(503));
    assert_eq!(stage.by_tag("").status(), 502);
    assert_eq!(client.call("GET", BY_TAG, &other).status(), 502);
    assert_eq!(stage.served("stale"), 0);
}

#[test]
fn a_tag_that_the_cache_may_not_see_any_more_is_nobodys() {
    for status in [401, 403] {
        let stage = Stage::set(PUBLIC);
        stage.origin.tag("test/image", "latest", TEXT);
        assert_eq!(stage.by_tag("").status(), 200);
        stage.origin.overload(Some(status));
        assert_eq!(stage.by_tag("").status(), 403);
        stage.leave(Way::Says(503));
        assert_eq!(stage.by_tag("").status(), 502, "after {status}");
    }
}

#[test]
fn an_outage_gives_no_tag_to_whom_the_origin_did_not_give_it() {
    // Private images would be anybody's as soon as the registry is down.
    let stage = Stage::set(RIGHTS);
    stage.origin.challenge(CHALLENGE);
    stage.origin.grant("test/image", ALICE);
    stage.origin.grant("test/image", "Basic Y2Fyb2w6c2VjcmV0");
    stage.origin.tag("test/image", "latest", TEXT);
    assert_eq!(stage.by_tag(ALICE).status(), 200);
    // They ask, and take nothing away from her.
    assert_eq!(stage.by_tag(BOB).status(), 403);
    assert_eq!(stage.by_tag("").status(), 401);
    stage.leave(Way::Says(503));
    for who in [BOB, "", "Basic Y2Fyb2w6c2VjcmV0"] {
        assert_eq!(stage.by_tag(who).status(), 502, "{who:?}");
    }
    let reply = stage.by_tag(ALICE);
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert!(
        reply.cache().starts_with("hit; fwd=stale;"),
        "{:?}",
        reply.head
    );
    assert_eq!(stage.served("stale"), 1);
}

#[test]
fn whoever_was_refused_before_the_outage_stays_refused_in_it() {
    let stage = Stage::set(RIGHTS);
    stage.origin.challenge(CHALLENGE);
    stage.origin.grant("test/image", ALICE);
    stage.origin.grant("test/image", BOB);
    stage.origin.tag("test/image", "latest", TEXT);
    for who in [ALICE, BOB] {
        assert_eq!(stage.by_tag(who).status(), 200);
    }
    stage.origin.revoke("test/image", BOB);
    assert_eq!(stage.by_tag(BOB).status(), 403);
    stage.leave(Way::Refused);
    assert_eq!(stage.by_tag(BOB).status(), 502);
    assert_eq!(stage.by_tag(ALICE).status(), 200);
}

#[test]
fn a_permission_lasts_no_longer_for_a_tag_than_for_a_digest() {
    let stage = Stage::set(", stale: {manifests: 1h}, access: {remember: 1s, grace: 0s}");
    stage.origin.tag("test/image", "latest", TEXT);
    assert_eq!(stage.by_tag("").status(), 200);
    stage.leave(Way::Says(503));
    until("the origin's word on the client has ended", || {
        stage.by_tag("").status() == 502
    });
}

#[test]
fn a_restart_in_an_outage_forgets_no_tag() {
    // Whoever restarts what does not work makes it worse.
    let origin = Origin::start();
    origin.tag("test/image", "latest", TEXT);
    let start = |storage| before(&origin.url(), PUBLIC).storage(storage).start();
    let folder = tempfile::tempdir().unwrap();
    let first = start(folder.path());
    assert_eq!(first.get(BY_TAG).status(), 200);
    origin.overload(Some(503));
    let stopped = first.stop();
    let second = start(&stopped.storage);
    expect_stale(&second);
    // By its end, a process of before has said nothing new.
    drop(second.kill());
    expect_stale(&start(folder.path()));
}

#[test]
fn a_killed_process_forgets_no_tag_that_a_checkpoint_has_seen() {
    let origin = Origin::start();
    origin.tag("test/image", "latest", TEXT);
    let first = before(&origin.url(), PUBLIC).start();
    assert_eq!(first.get(BY_TAG).status(), 200);
    let file = first.storage.join("tags");
    until("the tag is written", || {
        fs::read_to_string(&file).is_ok_and(|text| text.contains(" test/image latest sha256:"))
    });
    origin.stop();
    let killed = first.kill();
    expect_stale(
        &before(&origin.url(), PUBLIC)
            .storage(&killed.storage)
            .start(),
    );
    // What is damaged is no tag, and stops nobody.
    let text = fs::read_to_string(killed.storage.join("tags")).unwrap();
    fs::write(
        killed.storage.join("tags"),
        text.replace("latest", "lasted"),
    )
    .unwrap();
    let after = before(&origin.url(), PUBLIC)
        .storage(&killed.storage)
        .start();
    assert_eq!(after.get(BY_TAG).status(), 502);
}

fn expect_stale(transship: &Transship) {
    let reply = transship.get(BY_TAG);
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_same(&reply.body, TEXT.as_bytes());
    assert!(
        reply.cache().starts_with("hit; fwd=stale;"),
        "{:?}",
        reply.head
    );
}

#[test]
fn an_unchanged_tag_costs_no_body_after_a_restart_either() {
    let origin = Origin::start();
    origin.tag("test/image", "latest", TEXT);
    let first = Transship::before(origin.url());
    assert_eq!(first.get(BY_TAG).status(), 200);
    let stopped = first.stop();
    let second = Transship::options().upstream(origin.url());
    let second = second.storage(&stopped.storage).start();
    assert_eq!(cache_status(&second.get(BY_TAG)), REVALIDATED);
    assert_eq!(origin.sent(BY_TAG), TEXT.len() as u64);
}

#[test]
fn the_log_tells_once_that_tags_are_served_without_the_origins_word_and_once_that_it_is_over() {
    // A line for each pull of a cluster in an outage would fill the disk.
    let stage = Stage::set(PUBLIC);
    stage.origin.tag("test/image", "latest", TEXT);
    assert_eq!(stage.by_tag("").status(), 200);
    for _ in 0..2 {
        stage.leave(Way::Says(503));
        for _ in 0..5 {
            assert_eq!(stage.by_tag("").status(), 200);
        }
        stage.origin.overload(None);
        for _ in 0..5 {
            assert_eq!(cache_status(&stage.by_tag("")), REVALIDATED);
        }
    }
    let lines = |text| {
        let log = stage.transship.process.log();
        log.lines().filter(|line| line.contains(text)).count()
    };
    until("its end is told", || {
        lines("an upstream answers again") == 1
    });
    assert_eq!(lines("no upstream answers"), 1);
}

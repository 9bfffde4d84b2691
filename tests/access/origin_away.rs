//! The origin is away: what it has confirmed lately counts, and nothing else does.

use super::{ALICE, BOB, Stage, get, under};
use crate::support::{Origin, assert_same};

#[test]
fn a_permission_of_before_outlives_the_origin_for_the_grace() {
    // An origin's outage must not stop those who were pulling a minute ago.
    let stage = Stage::set_with("    remember: 1s\n");
    let blob = stage.hit(1, 100_000);
    stage.origin.stop();
    let mut client = stage.transship.client();
    let graced = [("outcome", "graced")];
    crate::support::until("the remembered answer has ended", || {
        let reply = get(&mut client, &blob.path(), ALICE);
        assert_same(&reply.body, &blob.bytes);
        let metrics = stage.transship.metrics();
        metrics.sum("transship_access_checks_total", &graced) > 0
    });
    for who in [BOB, ""] {
        stage.get(&blob.path(), who).expect_error(502, "UNKNOWN");
    }
    // Nor does the permission reach another repository.
    let reply = stage.get(&under("bob/own", &blob), ALICE);
    reply.expect_error(502, "UNKNOWN");
}

#[test]
fn without_grace_nothing_is_served_that_the_origin_does_not_confirm() {
    let stage = Stage::set_with("    remember: 1s\n    grace: 0s\n");
    let blob = stage.hit(2, 1000);
    stage.origin.stop();
    crate::support::until("the remembered answer has ended", || {
        stage.get(&blob.path(), ALICE).status() == 502
    });
}

#[test]
fn an_origin_that_fails_takes_nobodys_right_away_and_gives_none() {
    // 500 and 429 are not a no: a registry that is overloaded must not lock users out of the cache.
    let stage = Stage::set_with("    remember: 1s\n");
    let blob = stage.hit(3, 1000);
    let graced = [("outcome", "graced")];
    for (status, told) in [(500, 502), (429, 503)] {
        stage.origin.overload(Some(status));
        let before = stage
            .transship
            .metrics()
            .sum("transship_access_checks_total", &graced);
        crate::support::until("the remembered answer has ended", || {
            assert_eq!(stage.get(&blob.path(), ALICE).cache(), "hit");
            let metrics = stage.transship.metrics();
            metrics.sum("transship_access_checks_total", &graced) > before
        });
        assert_eq!(stage.get(&blob.path(), BOB).status(), told);
        stage.origin.overload(None);
    }
}

#[test]
fn a_login_does_not_succeed_because_nobody_can_check_it() {
    let stage = Stage::set();
    stage.get("/v2/", "").expect_error(401, "UNAUTHORIZED");
    stage.origin.stop();
    assert_eq!(stage.get("/v2/", ALICE).status(), 502);
    stage.get("/v2/", "").expect_error(401, "UNAUTHORIZED");
}

#[test]
fn the_base_of_the_api_answers_even_if_the_origin_was_never_seen() {
    // Liveness probes ask there.
    let origin = Origin::start();
    origin.stop();
    let transship = super::before(&origin, "").start();
    assert_eq!(transship.get("/v2/").status(), 200);
}

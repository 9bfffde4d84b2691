//! What each path answers, and does.

use std::fs;

use super::{call, expect_error, get};
use crate::support::{Blob, Gate, Plan, Rig, Transship, assert_same, until};

const LARGE: usize = 3_000_000;

#[test]
fn the_status_counts_what_was_done() {
    // Who is called at night would be told of another server, or of yesterday.
    let rig = Rig::start();
    let blob = rig.hit(1, 100_000);
    rig.expect_blob(&blob);
    let status = || get(&rig.transship, "/v1/status");
    // A client may have its last byte before the counter has moved.
    until("the hit is counted", || status()["requests"]["hit"] == 1);
    let status = status();
    assert_eq!(status["listen"], rig.transship.addr.to_string());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["cores"], 2);
    assert_eq!(status["store"]["blobs"], 1);
    assert_eq!(status["store"]["bytes"], 100_000);
    assert_eq!(status["fills"]["ended"]["committed"], 1);
    assert_eq!(status["upstreams"]["up"], 1);
    assert_eq!(status["is_draining"], false);
    assert_eq!(status["reasons"], serde_json::json!([]));
}

#[test]
fn a_list_comes_in_pages_that_miss_nothing() {
    // Who purges by the list would leave what fell between two pages.
    let rig = Rig::start();
    let mut blobs: Vec<_> = (1..=7)
        .map(|n| rig.origin.make(n, 1000 * usize::try_from(n).unwrap()))
        .collect();
    blobs.iter().for_each(|blob| drop(rig.expect_blob(blob)));
    rig.expect_committed(7);
    for (sort, sorts) in [("digest", false), ("size", true)] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = get(
                &rig.transship,
                &format!("/v1/blobs?limit=3&sort={sort}{after}"),
            );
            let rows = page["blobs"].as_array().unwrap();
            assert!(rows.len() <= 3);
            seen.extend(
                rows.iter()
                    .map(|row| row["digest"].as_str().unwrap().to_owned()),
            );
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        match sorts {
            true => blobs.sort_by_key(|blob| std::cmp::Reverse(blob.len())),
            false => blobs.sort_by(|a, b| a.digest.cmp(&b.digest)),
        }
        let wanted: Vec<_> = blobs.iter().map(|blob| blob.digest.clone()).collect();
        assert_eq!(seen, wanted, "{sort}");
    }
    let count = |query: &str| {
        let page = get(&rig.transship, &format!("/v1/blobs?{query}"));
        page["blobs"].as_array().unwrap().len()
    };
    assert_eq!(count(&format!("prefix={}", &blobs[0].digest[..30])), 1);
    assert_eq!(count("repository=test/image"), 7);
    assert_eq!(count("repository=team/other"), 0);
}

#[test]
fn a_digest_is_explained_from_absent_to_purged() {
    let rig = Rig::start();
    let blob = rig.origin.make(1, LARGE);
    let path = format!("/v1/blobs/{}", blob.digest);
    expect_error(
        &call(rig.transship.admin, "GET", &path, ""),
        404,
        "NOT_FOUND",
    );

    let gate = Gate::new();
    let plan = Plan::whole().wait_at(LARGE / 2, &gate);
    rig.origin.plan_always(&blob, Some(plan));
    let mut client = rig.transship.client();
    client.ask("GET", &blob.path(), &[]);
    gate.reached();
    let filling = || get(&rig.transship, &path);
    until("half of it has come", || {
        filling()["fill"]["filled_bytes"]
            .as_u64()
            .is_some_and(|filled| filled > 1_000_000)
    });
    let told = filling();
    assert_eq!(told["state"], "filling");
    assert_eq!(told["fill"]["size_bytes"], LARGE);
    assert_eq!(told["fill"]["followers"], 1);
    assert_eq!(told["fill"]["upstream"], rig.origin.addr.to_string());
    let fills = get(&rig.transship, "/v1/fills");
    assert_eq!(fills["fills"][0]["digest"], blob.digest);
    gate.open();
    assert_same(&client.reply("GET").body, &blob.bytes);
    rig.expect_committed(1);

    until("no fill runs", || {
        get(&rig.transship, &path)["fill"].is_null()
    });
    let told = get(&rig.transship, &path);
    assert_eq!(told["state"], "stored");
    assert_eq!(told["stored"][0]["size_bytes"], LARGE);
    assert!(
        told["stored"][0]["stored_at"]
            .as_u64()
            .is_some_and(|at| at > 0)
    );
    assert_eq!(told["repositories"], serde_json::json!(["test/image"]));
    assert_eq!(told["last_fill"]["outcome"], "committed");
    assert_eq!(told["last_fill"]["received_bytes"], LARGE);
    assert_eq!(told["last_fill"]["upstream"], rig.origin.addr.to_string());

    assert_eq!(call(rig.transship.admin, "DELETE", &path, "").status(), 200);
    let told = get(&rig.transship, &path);
    assert_eq!(told["state"], "absent");
    assert_eq!(
        told["last_fill"]["outcome"], "committed",
        "who brought it is remembered"
    );
    expect_error(
        &call(rig.transship.admin, "DELETE", &path, ""),
        404,
        "NOT_FOUND",
    );
    assert_eq!(get(&rig.transship, "/v1/status")["store"]["bytes"], 0);
}

#[test]
fn a_purge_lets_who_is_being_sent_have_the_rest_and_nobody_else() {
    // A purge in the working hours would break every pull that runs.
    let rig = Rig::start();
    let blob = rig.hit(1, 40_000_000);
    let mut client = rig.transship.client();
    client.ask("GET", &blob.path(), &[]);
    let head = client.head();
    assert_eq!(head.cache(), "hit");
    let path = format!("/v1/blobs/{}", blob.digest);
    assert_eq!(call(rig.transship.admin, "DELETE", &path, "").status(), 200);
    assert!(!rig.transship.stores(&blob.digest));
    let mut body = Vec::new();
    assert!(client.body("GET", &head, |part| body.extend_from_slice(part)));
    assert_same(&body, &blob.bytes);
    // Each core has forgotten it.
    for _ in 0..4 {
        rig.expect_blob(&blob);
    }
    assert_eq!(
        rig.origin.count("GET", &blob.path()),
        2,
        "it was fetched anew, once"
    );
}

#[test]
fn what_is_pinned_is_explained_and_not_purged_without_force() {
    let rig = Rig::start();
    let blob = rig.hit(1, 1000);
    let path = format!("/v1/blobs/{}", blob.digest);
    let body = format!("{{\"reference\": \"{}\"}}", blob.digest);
    let admin = rig.transship.admin;
    assert_eq!(call(admin, "POST", "/v1/pins", &body).json()["changed"], 1);
    assert_eq!(call(admin, "POST", "/v1/pins", &body).json()["changed"], 0);
    assert_eq!(get(&rig.transship, "/v1/pins")["pins"][0], blob.digest);
    let told = get(&rig.transship, &path);
    assert_eq!(told["is_pinned"], true);
    assert_eq!(told["pinned_by"], serde_json::json!([blob.digest]));
    expect_error(&call(admin, "DELETE", &path, ""), 409, "PINNED");
    rig.expect_blob(&blob);
    assert_eq!(
        call(admin, "DELETE", &format!("{path}?force=true"), "").status(),
        200
    );
    let pin = format!("/v1/pins/{}", blob.digest);
    assert_eq!(call(admin, "DELETE", &pin, "").status(), 200);
    expect_error(&call(admin, "DELETE", &pin, ""), 404, "NOT_FOUND");
    expect_error(
        &call(admin, "POST", "/v1/pins", "{\"reference\": \"\"}"),
        400,
        "BAD_REQUEST",
    );
    expect_error(&call(admin, "POST", "/v1/pins", "{"), 400, "BAD_REQUEST");
    expect_error(&call(admin, "POST", "/v1/pins", ""), 400, "BAD_REQUEST");
}

#[test]
fn what_was_found_damaged_is_explained() {
    let rig = Rig::start();
    let blob = rig.hit(1, 1000);
    let (_, hex) = blob.digest.split_once(':').unwrap();
    let quarantine = rig.transship.storage.join("quarantine");
    fs::create_dir_all(&quarantine).unwrap();
    let file = rig
        .transship
        .storage
        .join("blobs/sha256")
        .join(&hex[..2])
        .join(hex);
    fs::rename(file, quarantine.join(format!("sha256-{hex}"))).unwrap();
    let path = format!("/v1/blobs/{}", blob.digest);
    until("the server has seen it", || {
        get(&rig.transship, &path)["state"] == "quarantined"
    });
    let told = get(&rig.transship, &path);
    assert_eq!(
        told["quarantined"],
        serde_json::json!([format!("sha256-{hex}")])
    );
}

#[test]
fn a_dead_upstream_is_shown_with_its_reason() {
    let rig = Rig::start();
    let alive = get(&rig.transship, "/v1/upstreams");
    assert_eq!(alive["upstreams"][0]["is_up"], true);
    assert_eq!(alive["upstreams"][0]["why"], serde_json::Value::Null);
    let missing = Blob::seeded(9, 1000);
    let dead = Transship::before("http://127.0.0.1:1");
    assert_eq!(dead.get(&missing.path()).status(), 502);
    let shown = get(&dead, "/v1/upstreams");
    assert_eq!(shown["upstreams"][0]["is_up"], false);
    assert!(shown["upstreams"][0]["why"].is_string(), "{shown}");
    assert_eq!(get(&dead, "/v1/status")["upstreams"]["down"], 1);
}

#[test]
fn a_drain_ends_the_server_in_order_and_a_reload_does_not() {
    // The second signal ends at once: two drains from a script must not cut what is in flight.
    let rig = Rig::start();
    let admin = rig.transship.admin;
    assert_eq!(call(admin, "POST", "/v1/reload", "").status(), 200);
    until("it has been told", || {
        rig.transship
            .process
            .log()
            .contains("reload: nothing has changed")
    });
    let blob = rig.origin.make(1, LARGE);
    let gate = Gate::new();
    rig.origin
        .plan_always(&blob, Some(Plan::whole().wait_at(LARGE / 2, &gate)));
    let mut client = rig.transship.client();
    client.ask("GET", &blob.path(), &[]);
    gate.reached();
    assert_eq!(call(admin, "POST", "/v1/drain", "").status(), 202);
    until("it drains", || {
        get(&rig.transship, "/v1/status")["is_draining"] == true
    });
    assert_eq!(call(admin, "POST", "/v1/drain", "").status(), 202);
    assert_eq!(call(admin, "GET", "/readyz", "").status(), 503);
    assert_eq!(call(admin, "GET", "/healthz", "").status(), 200);
    gate.open();
    assert_same(&client.reply("GET").body, &blob.bytes);
    drop(client);
    let Rig {
        mut transship,
        origin,
    } = rig;
    assert!(transship.process.exit().success());
    drop(origin);
}

#[test]
fn readiness_is_json_for_those_who_ask_for_it() {
    let rig = Rig::start();
    let mut client = crate::support::Client::connect(rig.transship.admin);
    let reply = client.call("GET", "/readyz", &[("Accept", "application/json")]);
    assert_eq!(reply.json(), serde_json::json!({}));
    let reply = crate::support::client::get(rig.transship.admin, "/readyz");
    assert_eq!(reply.text(), "ready\n");
}

//! Jobs beside clients, and beside each other.

use serde_json::json;

use super::{Image, call, ended, job, path, submit};
use crate::support::{Gate, Origin, Plan, Rig, Transship, assert_same, until};

/// A transship that asks its origin for so many things at once.
fn narrow(origin: &Origin, requests: usize) -> Transship {
    Transship::behind(
        &[origin.url()],
        &format!("    connections_max: {requests}\n"),
    )
    .start()
}

#[test]
fn a_client_that_comes_for_what_waits_in_the_background_goes_before_it() {
    // A pull would wait until a job has fetched gigabytes that nobody asked for.
    let origin = Origin::start();
    let image = Image::make(&origin, 1, &[300_000, 300_001]).tag(&origin, "test/image", "latest");
    let (first, second) = (&image.blobs[0], &image.blobs[1]);
    let gate = Gate::new();
    for blob in [first, second] {
        origin.plan(blob, Plan::whole().wait_at(1000, &gate));
    }
    let transship = narrow(&origin, 2);
    let id = submit(&transship, &json!({"references": ["test/image"]}));
    gate.reached();
    // One of the two has the place that the background may take, and the other one waits.
    transship.until_metric("transship_upstream_requests_waiting", &[], 1);
    let waiting = match origin.count("GET", &path("test/image", first)) {
        0 => first,
        _ => second,
    };
    assert_eq!(origin.count("GET", &path("test/image", waiting)), 0);
    let mut client = transship.client();
    client.ask("GET", &path("test/image", waiting), &[]);
    until("the client's blob is asked for", || {
        origin.count("GET", &path("test/image", waiting)) == 1
    });
    gate.open();
    assert_same(&client.reply("GET").body, &waiting.bytes);
    assert_eq!(ended(&transship, id)["state"], "done");
}

#[test]
fn clients_have_room_that_no_job_takes() {
    let origin = Origin::start();
    let image =
        Image::make(&origin, 20, &[300_000, 300_001, 300_002]).tag(&origin, "test/image", "latest");
    let gate = Gate::new();
    for blob in &image.blobs {
        origin.plan(blob, Plan::whole().wait_at(1000, &gate));
    }
    let other = origin.make(30, 200_000);
    let transship = narrow(&origin, 2);
    let id = submit(&transship, &json!({"references": ["test/image"]}));
    gate.reached();
    transship.until_metric("transship_upstream_requests_waiting", &[], 1);
    assert_same(&transship.get(&other.path()).body, &other.bytes);
    gate.open();
    assert_eq!(ended(&transship, id)["state"], "done");
}

#[test]
fn two_jobs_for_one_image_and_a_client_fetch_it_once() {
    let rig = Rig::start();
    let image =
        Image::make(&rig.origin, 1, &[100, 400_000]).tag(&rig.origin, "test/image", "latest");
    let slow = &image.blobs[1];
    let gate = Gate::new();
    rig.origin.plan(slow, Plan::whole().wait_at(200_000, &gate));
    let order = json!({"references": ["test/image"]});
    let ids = [
        submit(&rig.transship, &order),
        submit(&rig.transship, &order),
    ];
    gate.reached();
    let mut client = rig.transship.client();
    client.ask("GET", &path("test/image", slow), &[]);
    for id in ids {
        until("both watch it", || {
            job(&rig.transship, id)["blobs"]["done"] == 1
        });
    }
    gate.open();
    assert_same(&client.reply("GET").body, &slow.bytes);
    for id in ids {
        assert_eq!(ended(&rig.transship, id)["state"], "done");
    }
    assert_eq!(image.sent(&rig.origin), image.bytes());
}

#[test]
fn a_cancelled_job_ends_its_fills_and_keeps_no_hop_busy() {
    let rig = Rig::start();
    let image =
        Image::make(&rig.origin, 1, &[100, 400_000]).tag(&rig.origin, "test/image", "latest");
    let gate = Gate::new();
    rig.origin
        .plan(&image.blobs[1], Plan::whole().wait_at(200_000, &gate));
    let id = submit(
        &rig.transship,
        &json!({"references": ["test/image", "test/image:other"]}),
    );
    gate.reached();
    let reply = call(&rig.transship, "DELETE", &format!("/v1/warm/{id}"), "");
    assert_eq!(reply.json(), json!({"id": id, "cancelled": true}));
    let told = ended(&rig.transship, id);
    assert_eq!(told["state"], "cancelled", "{told:#}");
    assert_eq!(told["references"][1]["state"], "cancelled");
    // The gate is shut still: nothing but the cancel can have ended it.
    let fills = || call(&rig.transship, "GET", "/v1/fills", "").json();
    until("no fill runs", || fills()["fills"] == json!([]));
    let target = format!("/v1/blobs/{}", image.blobs[1].digest);
    let told = call(&rig.transship, "GET", &target, "").json();
    assert_eq!(told["last_fill"]["outcome"], "unwanted", "{told:#}");
    let again = call(&rig.transship, "DELETE", &format!("/v1/warm/{id}"), "");
    assert_eq!(again.json()["cancelled"], false);
    let unknown = call(&rig.transship, "DELETE", "/v1/warm/77", "");
    assert_eq!(unknown.status(), 404);
    let counted = [("outcome", "cancelled")];
    let metrics = rig.transship.metrics();
    assert_eq!(metrics.sum("transship_warm_jobs_total", &counted), 1);
    gate.open();
}

#[test]
fn a_client_that_has_come_keeps_a_fill_whose_job_was_cancelled() {
    let rig = Rig::start();
    let image =
        Image::make(&rig.origin, 1, &[100, 400_000]).tag(&rig.origin, "test/image", "latest");
    let slow = &image.blobs[1];
    let gate = Gate::new();
    rig.origin.plan(slow, Plan::whole().wait_at(200_000, &gate));
    let id = submit(&rig.transship, &json!({"references": ["test/image"]}));
    gate.reached();
    let mut client = rig.transship.client();
    client.ask("GET", &path("test/image", slow), &[]);
    let fills = || call(&rig.transship, "GET", "/v1/fills", "").json();
    until("the client follows", || {
        fills()["fills"][0]["followers"] == 1
    });
    call(&rig.transship, "DELETE", &format!("/v1/warm/{id}"), "");
    assert_eq!(ended(&rig.transship, id)["state"], "cancelled");
    gate.open();
    assert_same(&client.reply("GET").body, &slow.bytes);
    assert_eq!(rig.origin.count("GET", &path("test/image", slow)), 1);
}

#[test]
fn a_job_does_not_hold_up_the_end() {
    // Every restart would take as long as the largest image.
    let rig = Rig::start();
    let image = Image::make(&rig.origin, 1, &[400_000]).tag(&rig.origin, "test/image", "latest");
    let gate = Gate::new();
    rig.origin
        .plan(&image.blobs[0], Plan::whole().wait_at(200_000, &gate));
    submit(&rig.transship, &json!({"references": ["test/image"]}));
    gate.reached();
    assert_eq!(rig.transship.terminate().code(), Some(0));
    gate.open();
}

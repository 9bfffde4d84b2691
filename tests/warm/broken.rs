//! Jobs that are broken off, and origins that are away.

use serde_json::json;

use super::{Image, ended, failure, job, submit, warmed};
use crate::support::{Gate, Plan, Rig, Transship, until};

#[test]
fn a_job_of_a_killed_process_is_asked_again_and_goes_on_where_it_was() {
    // A night's worth of a slow line would be fetched again after a power cut.
    let rig = Rig::start();
    let mut sizes = vec![4_000_000; 8];
    sizes.push(1_000_000);
    let image = Image::make(&rig.origin, 1, &sizes).tag(&rig.origin, "test/image", "latest");
    let gate = Gate::new();
    let slow = image.blobs.last().unwrap();
    rig.origin.plan(slow, Plan::whole().wait_at(300_000, &gate));
    let order = json!({"references": ["test/image"]});
    let id = submit(&rig.transship, &order);
    gate.reached();
    until("all others are here", || {
        job(&rig.transship, id)["blobs"]["done"] == 8
    });
    let killed = rig.transship.kill();
    gate.open();
    let again = Transship::options()
        .upstream(rig.origin.url())
        .storage(&killed.storage)
        .start();
    let told = warmed(&again, &order);
    assert_eq!(told["state"], "done", "{told:#}");
    assert_eq!(told["blobs"], json!({"total": 9, "done": 9, "here": 8}));
    image.assert_stored(&again);
    // What was lost is a part of the one that was on its way.
    let (sent, bytes) = (image.sent(&rig.origin), image.bytes());
    assert!(sent <= bytes + slow.len() as u64, "{sent} of {bytes}");
    for blob in &image.blobs[..8] {
        let path = super::path("test/image", blob);
        assert_eq!(rig.origin.count("GET", &path), 1);
    }
}

#[test]
fn an_origin_that_is_away_is_waited_for() {
    let rig = Rig::start();
    let image =
        Image::make(&rig.origin, 1, &[100, 200_000]).tag(&rig.origin, "test/image", "latest");
    rig.origin.overload(Some(502));
    let id = submit(&rig.transship, &json!({"references": ["test/image"]}));
    until("it waits", || {
        let image = &job(&rig.transship, id)["references"][0];
        image["state"] == "waiting" && image["error"]["code"] == "UPSTREAM"
    });
    rig.origin.overload(None);
    let told = ended(&rig.transship, id);
    assert_eq!(told["state"], "done", "{told:#}");
    assert_eq!(told["references"][0]["error"], json!(null));
    assert_eq!(image.sent(&rig.origin), image.bytes());
}

#[test]
fn a_blob_that_cannot_be_had_just_now_is_tried_again() {
    let rig = Rig::start();
    let image =
        Image::make(&rig.origin, 1, &[100, 300_000]).tag(&rig.origin, "test/image", "latest");
    for _ in 0..2 {
        rig.origin.plan(&image.blobs[1], Plan::status(500));
    }
    let told = warmed(&rig.transship, &json!({"references": ["test/image"]}));
    assert_eq!(told["state"], "done", "{told:#}");
    image.assert_stored(&rig.transship);
}

#[test]
fn what_cannot_be_had_is_told_image_by_image() {
    let rig = Rig::start();
    let image = Image::make(&rig.origin, 1, &[100]).tag(&rig.origin, "test/image", "latest");
    let order = json!({"references": ["test/image:nope", "test/image"]});
    let told = warmed(&rig.transship, &order);
    assert_eq!(told["state"], "failed");
    assert_eq!(
        (&told["images_done"], &told["images_failed"]),
        (&json!(1), &json!(1))
    );
    let first = &told["references"][0];
    assert_eq!(first["error"]["code"], "NOT_FOUND", "{told:#}");
    assert_eq!(told["references"][1]["state"], "done");
    image.assert_stored(&rig.transship);
    let counted = [("outcome", "failed")];
    rig.transship
        .until_metric("transship_warm_jobs_total", &counted, 1);

    rig.origin.stop();
    let (code, message) = failure(&rig, "test/image");
    assert_eq!(code, "UPSTREAM", "{message}");
}

#[test]
fn a_job_without_sense_is_refused_at_once() {
    let rig = Rig::start();
    for body in [
        json!({"references": []}),
        json!({"references": ["Test/Image"]}),
        json!({"references": ["registry.example:5000/a"]}),
        json!({"references": ["a"], "platforms": ["amd64"]}),
        json!({"references": ["a"], "surprise": true}),
        json!([]),
    ] {
        let reply = super::call(&rig.transship, "POST", "/v1/warm", &body.to_string());
        assert_eq!(reply.status(), 400, "{body}: {}", reply.text());
    }
    assert_eq!(rig.origin.seen().len(), 0);
}

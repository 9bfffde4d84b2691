//! Manifests that are lies, or far too much.

use serde_json::{Value, json};

use super::{INDEX, Image, failure, index, warmed};
use crate::support::origin::MANIFEST;
use crate::support::{Blob, Plan, Rig};

fn named(text: &str) -> Value {
    super::descriptor(INDEX, &Blob::new(text.as_bytes().to_vec()))
}

#[test]
fn indexes_in_indexes_end_somewhere() {
    let rig = Rig::start();
    let image = Image::make(&rig.origin, 1, &[100]).tag(&rig.origin, "test/image", "leaf");
    let mut text = index(&[image.child("linux/amd64")]);
    for depth in 1..20 {
        rig.origin.tag("test/image", &format!("d{depth}"), &text);
        text = index(&[named(&text)]);
    }
    for depth in 1..=3 {
        let order = json!({"references": [format!("test/image:d{depth}")]});
        assert_eq!(warmed(&rig.transship, &order)["state"], "done", "{depth}");
    }
    let before = rig.origin.seen().len();
    let (code, message) = failure(&rig, "test/image:d19");
    assert_eq!(code, "INVALID", "{message}");
    assert!(rig.origin.seen().len() - before < 8, "it asks on and on");
}

#[test]
fn a_manifest_that_is_another_one_is_refused_and_asked_for_no_further() {
    // An index that leads back to itself can only be one whose digests are lies.
    let rig = Rig::start();
    let child = Blob::seeded(7, 10);
    let cycle = index(&[super::descriptor(INDEX, &child)]);
    rig.origin.tag("test/image", "cycle", &cycle);
    rig.origin
        .forge_manifest("test/image", &child.digest, &cycle);
    let (code, message) = failure(&rig, "test/image:cycle");
    assert_eq!(code, "CORRUPT", "{message}");
    assert!(!rig.transship.stores(&child.digest));
}

#[test]
fn one_child_many_times_is_one_child() {
    let rig = Rig::start();
    let image = Image::make(&rig.origin, 1, &[100, 100_000]).tag(&rig.origin, "test/image", "leaf");
    let children = vec![image.child("linux/amd64"); 1000];
    rig.origin.tag("test/image", "many", &index(&children));
    let told = warmed(&rig.transship, &json!({"references": ["test/image:many"]}));
    assert_eq!(told["state"], "done", "{told:#}");
    assert_eq!(told["references"][0]["manifests"]["total"], 2);
    assert_eq!(image.sent(&rig.origin), image.bytes());
}

#[test]
fn what_is_too_much_is_refused() {
    let rig = Rig::start();
    let blob = rig.origin.make(1, 10);
    let one = super::descriptor("a/b", &blob);
    let many = json!({"schemaVersion": 2, "layers": vec![&one; 5000]});
    rig.origin.tag("test/image", "many", &many.to_string());
    let wide = index(&vec![one.clone(); 2000]);
    rig.origin.tag("test/image", "wide", &wide);
    let huge = json!({"schemaVersion": 2, "layers": [], "annotations": {"a": "x".repeat(5 << 20)}});
    rig.origin.tag("test/image", "huge", &huge.to_string());
    let both = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [one], "manifests": []});
    rig.origin.tag("test/image", "both", &both.to_string());
    rig.origin.tag("test/image", "text", "no manifest");
    for tag in ["many", "wide", "huge", "both", "text"] {
        let (code, message) = failure(&rig, &format!("test/image:{tag}"));
        assert_eq!(code, "INVALID", "{tag}: {message}");
    }
    assert_eq!(rig.transship.metrics().sum("transship_fills_total", &[]), 0);
}

#[test]
fn a_blob_that_is_another_one_is_not_kept_and_the_job_says_so() {
    let rig = Rig::start();
    let image =
        Image::make(&rig.origin, 1, &[100, 200_000]).tag(&rig.origin, "test/image", "latest");
    let bad = &image.blobs[1];
    rig.origin
        .plan_always(bad, Some(Plan::whole().corrupt(1000)));
    let (code, message) = failure(&rig, "test/image");
    assert_eq!(code, "CORRUPT", "{message}");
    assert!(message.contains(&bad.digest), "{message}");
    assert!(!rig.transship.stores(&bad.digest));
}

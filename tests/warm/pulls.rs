//! After a job a pull costs the origin next to nothing, and a job costs no more than the pull would have.

use serde_json::json;
use tempfile::TempDir;

use super::{Image, descriptor, index, job, last, path, warmed};
use crate::support::image::Image as RealImage;
use crate::support::process::run;
use crate::support::pull::{skopeo, skopeo_copy};
use crate::support::{Blob, DockerRegistry, Rig, Transship};

/// What the registry's access log tells of requests for the image.
fn requests(registry: &DockerRegistry) -> Vec<String> {
    let log = registry.process.log();
    let lines = log.lines().filter(|line| line.contains("/v2/test/image/"));
    let of_access_log = lines.filter(|line| line.contains("HTTP/1.1\" "));
    of_access_log.map(str::to_owned).collect()
}

#[test]
fn after_a_job_a_pull_costs_the_origin_the_tags_question_alone() {
    // The first host of a rollout would wait for the registry all the same.
    let registry = DockerRegistry::start();
    let image = RealImage::make(900, &[3_000_000, 200_000, 1]);
    image.push(&registry.host);
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
         proxy: {{remoteurl: '{}'}}\ntransship: {{stale: {{manifests: 1h}}}}\n",
        registry.url()
    );
    let transship = Transship::options().config(config).start();
    let told = warmed(&transship, &json!({"references": ["test/image"]}));
    assert_eq!(told["state"], "done", "{told:#}");
    assert_eq!(
        told["references"][0]["digest"],
        image.manifest.digest.as_str()
    );
    assert_eq!(told["bytes"]["done"], image.blob_bytes());
    assert_eq!(told["bytes"]["here"], 0);
    let metrics = transship.metrics();
    let warmed_bytes = metrics.sum("transship_warm_bytes_total", &[]);
    assert_eq!(warmed_bytes, image.blob_bytes());
    assert_eq!(
        metrics.sum("transship_warm_jobs_total", &[("outcome", "done")]),
        1
    );

    let before = requests(&registry).len();
    let dir = TempDir::new().unwrap();
    skopeo_copy(&transship.addr.to_string(), dir.path());
    image.assert_is_in(dir.path());
    let after = requests(&registry).split_off(before);
    assert_eq!(after.len(), 1, "{after:#?}");
    assert!(
        after[0].contains("/manifests/latest") && after[0].contains("\" 304 "),
        "{after:#?}"
    );

    // Who runs it again pays as little.
    let again = warmed(&transship, &json!({"references": ["test/image"]}));
    assert_eq!(
        (&again["state"], &again["bytes"]["here"]),
        (&json!("done"), &json!(image.blob_bytes()))
    );
    assert_eq!(requests(&registry).len(), before + 2);

    drop(registry);
    let dir = TempDir::new().unwrap();
    skopeo_copy(&transship.addr.to_string(), dir.path());
    image.assert_is_in(dir.path());
}

#[test]
fn what_was_never_pulled_is_served_while_the_origin_is_away() {
    // A site that is warmed and then cut off: the tag was never asked for by a client, nor in its words.
    let registry = DockerRegistry::start();
    let image = RealImage::make(910, &[100_000]);
    image.push(&registry.host);
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
         proxy: {{remoteurl: '{}'}}\ntransship: {{stale: {{manifests: 1h}}}}\n",
        registry.url()
    );
    let transship = Transship::options().config(config).start();
    warmed(&transship, &json!({"references": ["test/image"]}));
    drop(registry);
    let dir = TempDir::new().unwrap();
    skopeo_copy(&transship.addr.to_string(), dir.path());
    image.assert_is_in(dir.path());
}

#[test]
fn a_real_index_is_fetched_for_one_platform_or_for_all() {
    let registry = DockerRegistry::start();
    let layout = TempDir::new().unwrap();
    let amd = layer(layout.path(), 1, "amd64");
    let arm = layer(layout.path(), 2, "arm64");
    write_index(layout.path(), &[&amd, &arm]);
    run(skopeo()
        .args([
            "copy",
            "--all",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ])
        .arg(format!("oci:{}:latest", layout.path().display()))
        .arg(format!("docker://{}/test/image:latest", registry.host)));
    let transship = Transship::before(registry.url());
    let told = warmed(
        &transship,
        &json!({"references": ["test/image"], "platforms": ["linux/arm64"]}),
    );
    assert_eq!(told["state"], "done", "{told:#}");
    assert!(transship.stores(&arm.layer.digest) && !transship.stores(&amd.layer.digest));
    let told = warmed(&transship, &json!({"references": ["test/image"]}));
    assert_eq!(told["blobs"], json!({"total": 4, "done": 4, "here": 2}));
    assert!(transship.stores(&amd.layer.digest));
}

/// One platform of an index in an OCI layout.
struct Platform {
    manifest: Blob,
    layer: Blob,
    architecture: &'static str,
}

fn put(layout: &std::path::Path, blob: &Blob) {
    let dir = layout.join("blobs/sha256");
    std::fs::create_dir_all(&dir).unwrap();
    let name = blob.digest.strip_prefix("sha256:").unwrap();
    std::fs::write(dir.join(name), &*blob.bytes).unwrap();
}

fn layer(layout: &std::path::Path, seed: u64, architecture: &'static str) -> Platform {
    let layer = Blob::seeded(seed, 100_000);
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
    });
    let config = Blob::new(config.to_string().into_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": crate::support::origin::MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = Blob::new(manifest.to_string().into_bytes());
    for blob in [&layer, &config, &manifest] {
        put(layout, blob);
    }
    Platform {
        manifest,
        layer,
        architecture,
    }
}

fn write_index(layout: &std::path::Path, platforms: &[&Platform]) {
    let child = |one: &&Platform| {
        let mut child = descriptor(crate::support::origin::MANIFEST, &one.manifest);
        child["platform"] = json!({"os": "linux", "architecture": one.architecture});
        child
    };
    let children: Vec<_> = platforms.iter().map(child).collect();
    let all = Blob::new(index(&children).into_bytes());
    put(layout, &all);
    let mut named = descriptor(super::INDEX, &all);
    named["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    let outer = json!({"schemaVersion": 2, "manifests": [named]});
    std::fs::write(layout.join("index.json"), outer.to_string()).unwrap();
    let version = json!({"imageLayoutVersion": "1.0.0"});
    std::fs::write(layout.join("oci-layout"), version.to_string()).unwrap();
}

#[test]
fn a_platform_is_all_that_is_fetched_and_attestations_come_with_all_of_them() {
    let rig = Rig::start();
    let origin = &rig.origin;
    let platforms = ["linux/amd64", "linux/arm64/v8", "unknown/unknown"];
    let images: Vec<_> = (0..3)
        .map(|n| {
            Image::make(origin, 10 * n, &[500, 70_000]).tag(origin, "test/image", &format!("p{n}"))
        })
        .collect();
    let children: Vec<_> = images
        .iter()
        .zip(platforms)
        .map(|(i, p)| i.child(p))
        .collect();
    origin.tag("test/image", "all", &index(&children));
    let order =
        json!({"references": ["test/image:all"], "platforms": ["linux/arm64", "linux/s390x"]});
    let told = warmed(&rig.transship, &order);
    assert_eq!(told["state"], "done", "{told:#}");
    assert_eq!(
        told["references"][0]["missing_platforms"],
        json!(["linux/s390x"])
    );
    assert_eq!(told["references"][0]["manifests"]["total"], 2);
    images[1].assert_stored(&rig.transship);
    for other in [&images[0], &images[2]] {
        assert_eq!(other.sent(origin), 0);
    }
    let told = warmed(&rig.transship, &json!({"references": ["test/image:all"]}));
    assert_eq!(told["blobs"], json!({"total": 6, "done": 6, "here": 2}));
    images
        .iter()
        .for_each(|image| image.assert_stored(&rig.transship));
    for blob in images.iter().flat_map(|image| &image.blobs) {
        assert_eq!(origin.count("GET", &path("test/image", blob)), 1);
    }
    let order = json!({"references": ["test/image:all"], "platforms": ["plan9/mips"]});
    let told = warmed(&rig.transship, &order);
    let error = &told["references"][0]["error"];
    assert_eq!(error["code"], "NO_PLATFORM", "{told:#}");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("linux/arm64/v8")
    );
}

#[test]
fn what_is_elsewhere_is_passed_over_and_told_and_an_image_can_be_pinned() {
    let rig = Rig::start();
    let layer = rig.origin.make(1, 1000);
    let far = Blob::seeded(2, 1000);
    let mut foreign = descriptor(
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        &far,
    );
    foreign["urls"] = json!(["http://elsewhere.example/far"]);
    let manifest = json!({
        "schemaVersion": 2, "config": descriptor("a/config", &layer), "layers": [foreign],
    });
    rig.origin.tag("test/image", "v1", &manifest.to_string());
    let order = json!({"references": ["test/image:v1"], "pin": true});
    let told = warmed(&rig.transship, &order);
    assert_eq!(told["state"], "done", "{told:#}");
    assert_eq!(told["references"][0]["foreign_layers"], 1);
    assert_eq!(told["blobs"]["total"], 1);
    let pins = super::call(&rig.transship, "GET", "/v1/pins", "").json();
    assert_eq!(pins["pins"], json!(["test/image:v1"]));
    let shown = super::call(
        &rig.transship,
        "GET",
        &format!("/v1/blobs/{}", layer.digest),
        "",
    )
    .json();
    assert_eq!(shown["is_pinned"], true);
    assert_eq!(shown["repositories"], json!(["test/image"]));
    let jobs = super::call(&rig.transship, "GET", "/v1/warm", "").json();
    assert_eq!(jobs["jobs"][0]["id"], told["id"]);
    assert_eq!(job(&rig.transship, last(&rig.transship))["pin"], true);
}

#[test]
fn what_another_repository_has_brought_is_confirmed_for_this_one() {
    // The first pull of each layer of a shared base would wait for a question to the origin.
    let rig = Rig::start();
    let base = Image::make(&rig.origin, 1, &[100, 200_000]);
    let text = String::from_utf8(base.manifest.bytes.to_vec()).unwrap();
    for repository in ["test/one", "test/two"] {
        rig.origin.tag(repository, "v1", &text);
        let order = json!({"references": [format!("{repository}:v1")]});
        assert_eq!(warmed(&rig.transship, &order)["state"], "done");
    }
    let before = rig.origin.seen().len();
    for blob in &base.blobs {
        assert_eq!(rig.origin.count("GET", &path("test/two", blob)), 0);
        assert_eq!(rig.transship.get(&path("test/two", blob)).cache(), "hit");
    }
    assert_eq!(rig.origin.seen().len(), before, "clients wait for answers");
}

//! What comes of a push, by rules: caches are warmed, other registries have the same.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::blob::Blob;
use crate::support::client::Client;
use crate::support::fault_proxy::{Harm, On};
use crate::support::gateway::{Gateway, Options};
use crate::support::image::Image;
use crate::support::process::{run, until};
use crate::support::pull::skopeo;
use crate::support::registry::free_host;
use crate::support::{DockerRegistry, FaultProxy, Gate, Relay, Transship};

pub(super) const ROOT: &str = "root:root-password";
const MIRROR: &str = "mirror:mirror-s3cret";

pub(super) fn gateway(backend: impl Into<String>) -> Options {
    Gateway::before(backend)
        .user("root", "root-password")
        .user("alice", "alice-password")
        .policy("admins: [root]\n")
}

/// Asks the API as an account.
pub(super) fn ask(
    gateway: &Gateway,
    user: &str,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, Value) {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        gateway.host(),
        STANDARD.encode(user),
        body.len(),
    );
    let mut client = Client::connect(gateway.addr);
    client.send(head.as_bytes());
    let reply = client.reply(method);
    (reply.status(), reply.json())
}

/// Returns the runs of a target, the newest first.
pub(super) fn runs(gateway: &Gateway, target: &str) -> Vec<Value> {
    let (status, all) = ask(gateway, ROOT, "GET", "/api/v0/rules?limit=1000", "");
    assert_eq!(status, 200, "{all}");
    let runs = all["runs"].as_array().unwrap().iter();
    runs.filter(|run| run["target"] == target)
        .cloned()
        .collect()
}

/// Waits until the newest run of a target is in this state, and returns it.
#[track_caller]
pub(super) fn reached(gateway: &Gateway, target: &str, state: &str) -> Value {
    let newest = || runs(gateway, target).first().cloned().unwrap_or_default();
    until(&format!("{target} is {state}"), || {
        let newest = newest();
        assert!(newest["state"] != "failed" || state == "failed", "{newest}");
        newest["state"] == state && newest["attempts"] != 0
    });
    newest()
}

pub(super) fn register(gateway: &Gateway, name: &str, cache: &Transship) {
    let form = json!({
        "name": name, "host": format!("http://{}", cache.addr),
        "adminURL": format!("http://{}", cache.admin),
    });
    let path = "/api/v0/content_caches";
    let (status, said) = ask(gateway, ROOT, "POST", path, &form.to_string());
    assert_eq!(status, 201, "{said}");
}

/// The bytes of a manifest.
pub(super) fn raw(host: &str, image: &str, user: &str) -> String {
    let mut command = skopeo();
    command.args(["inspect", "--raw", "--tls-verify=false", "--creds", user]);
    run(command.arg(format!("docker://{host}/{image}")))
}

/// Pushes an index of two images as `test/multi:v1`; returns its bytes.
pub(super) fn push_index(host: &str, images: [&Image; 2]) -> Vec<u8> {
    let layout = TempDir::new().unwrap();
    let blobs = layout.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |blob: &Blob| {
        let name = blob.digest.strip_prefix("sha256:").unwrap();
        fs::write(blobs.join(name), &*blob.bytes).unwrap();
    };
    let descriptor = |media_type: &str, blob: &Blob| json!({"mediaType": media_type, "digest": blob.digest, "size": blob.len()});
    let mut children = Vec::new();
    for (image, architecture) in images.into_iter().zip(["amd64", "arm64"]) {
        image.layers.iter().for_each(put);
        put(&image.config);
        put(&image.manifest);
        let mut child = descriptor(
            "application/vnd.oci.image.manifest.v1+json",
            &image.manifest,
        );
        child["platform"] = json!({"os": "linux", "architecture": architecture});
        children.push(child);
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": children});
    let index = Blob::new(index.to_string().into_bytes());
    put(&index);
    let outer = json!({"schemaVersion": 2, "manifests": [descriptor(media_type, &index)]});
    fs::write(layout.path().join("index.json"), outer.to_string()).unwrap();
    let version = json!({"imageLayoutVersion": "1.0.0"});
    fs::write(layout.path().join("oci-layout"), version.to_string()).unwrap();
    run(skopeo()
        .args([
            "copy",
            "--all",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ])
        .args(["--dest-creds", ROOT])
        .arg(format!("oci:{}", layout.path().display()))
        .arg(format!("docker://{host}/test/multi:v1")));
    index.bytes.to_vec()
}

#[test]
fn a_release_is_at_the_cache_before_anybody_pulls_it() {
    let backend = DockerRegistry::start();
    let gateway = gateway(backend.url())
        .more("  warm:\n  - {repository: 'test/*', tags: [latest], caches: [asia, africa]}\n")
        .start();
    let asia = Transship::before(gateway.url());
    register(&gateway, "asia", &asia);
    let image = Image::make(1, &[200_000, 10]);
    image.push_as(&gateway.host(), ROOT);
    // A cache that nobody knows yet is waited for.
    let waiting = reached(&gateway, "africa", "waiting");
    let message = waiting["message"].as_str().unwrap();
    assert!(message.contains("not registered"), "{message}");
    let done = runs(&gateway, "asia").pop().unwrap_or_default();
    let retry = |run: &Value| {
        let path = format!("/api/v0/rules/{}/retry", run["id"].as_str().unwrap());
        let (status, run) = ask(&gateway, ROOT, "POST", &path, "");
        assert_eq!(status, 200, "{run}");
    };
    if done["state"] == "waiting" {
        // It had not been looked at when the push came.
        retry(&done);
    }
    let done = reached(&gateway, "asia", "done");
    assert_eq!(
        (&done["kind"], &done["repository"], &done["reference"]),
        (&json!("warm"), &json!("test/image"), &json!("latest"))
    );
    let message = done["message"].as_str().unwrap();
    assert!(message.starts_with("3 blobs"), "{message}");
    for blob in image.layers.iter().chain([&image.config, &image.manifest]) {
        assert!(asia.stores(&blob.digest), "{}", blob.digest);
    }
    let africa = Transship::before(gateway.url());
    register(&gateway, "africa", &africa);
    retry(&waiting);
    reached(&gateway, "africa", "done");
    assert!(africa.stores(&image.layers[0].digest));
    // Tickets are nowhere to be seen: each of them begins like this.
    let (_, all) = ask(&gateway, ROOT, "GET", "/api/v0/rules", "");
    assert!(!all.to_string().contains("eyJ") && !gateway.process.log().contains("eyJ"));
}

#[test]
fn mirrors_have_the_same_bytes() {
    let (backend, behind) = (DockerRegistry::start(), DockerRegistry::start());
    let dir = TempDir::new().unwrap();
    let htpasswd = dir.path().join("htpasswd");
    let hash = bcrypt::hash("mirror-s3cret", 4).unwrap();
    fs::write(&htpasswd, format!("mirror:{hash}\n")).unwrap();
    // One asks for the password itself, the other for a token.
    let basic = DockerRegistry::start_with(&format!(
        "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
        htpasswd.display()
    ));
    let bearer = Gateway::before(behind.url())
        .user("mirror", "mirror-s3cret")
        .policy("admins: []\nrules:\n  - {repository: copies/**, users: [mirror], allow: [pull, push]}\n")
        .start();
    let login = "username: mirror, password: mirror-s3cret";
    let (one, other) = (
        format!("{}/", basic.url()),
        format!("{}/copies", bearer.url()),
    );
    let gateway = gateway(backend.url())
        .more(format!(
            "  mirror:\n  - {{repository: 'test/**', to: '{one}', {login}}}\n  \
             - {{repository: 'test/*', tags: [v*], to: '{other}', {login}}}\n"
        ))
        .start();
    let images = [Image::make(1, &[300_000, 10]), Image::make(3, &[400_000])];
    images[0].push_as(&gateway.host(), ROOT);
    let done = reached(&gateway, &one, "done");
    let message = done["message"].as_str().unwrap();
    assert!(message.starts_with(&images[0].manifest.digest), "{message}");
    assert!(message.contains("blobs: 3 copied"), "{message}");
    let copied = raw(&basic.host, "test/image:latest", MIRROR);
    assert_eq!(copied.as_bytes(), &*images[0].manifest.bytes);

    let index = push_index(&gateway.host(), [&images[0], &images[1]]);
    let done = reached(&gateway, &other, "done");
    let message = done["message"].as_str().unwrap();
    assert!(message.contains("blobs: 5 copied"), "{message}");
    assert_eq!(
        raw(&bearer.host(), "copies/test/multi:v1", MIRROR).as_bytes(),
        index
    );
    until("the index is at the first as well", || {
        let is_done = |run: &Value| run["reference"] == "v1" && run["state"] == "done";
        runs(&gateway, &one).iter().any(is_done)
    });
    assert_eq!(raw(&basic.host, "test/multi:v1", MIRROR).as_bytes(), index);
    // What another repository of the target had was mounted. A child by its digest may have come before its index.
    let (status, all) = ask(&gateway, ROOT, "GET", "/api/v0/rules?state=done", "");
    assert_eq!(status, 200);
    assert!(all.to_string().contains("3 mounted"), "{all}");
    assert_eq!(
        runs(&gateway, &other).len(),
        1,
        "a rule with tags copies no digest"
    );

    let (status, _) = ask(&gateway, "alice:alice-password", "GET", "/api/v0/rules", "");
    assert_eq!(status, 403);
    assert_eq!(
        ask(&gateway, ROOT, "GET", "/api/v0/rules?state=x", "").0,
        400
    );
    assert_eq!(
        ask(&gateway, ROOT, "POST", "/api/v0/rules/x/retry", "").0,
        404
    );
    assert_eq!(
        ask(&gateway, ROOT, "POST", "/api/v0/rules/x/cancel", "").0,
        404
    );
    let log = gateway.process.log();
    for told in [&all.to_string(), &log] {
        assert!(
            !told.contains("s3cret") && !told.contains("bWlycm9y"),
            "{told}"
        );
    }
}

/// A gateway that mirrors all to `to`, with a state that outlives it.
pub(super) fn mirroring(backend: impl Into<String>, to: &str, state: &Path) -> Gateway {
    let rule = format!("  mirror:\n  - {{repository: '**', tags: ['*'], to: '{to}'}}\n");
    gateway(backend).more(rule).state(state).start()
}

#[test]
fn a_copy_survives_a_target_that_is_down_and_a_gateway_that_is_killed() {
    let (backend, target) = (DockerRegistry::start(), DockerRegistry::start());
    let (state, way) = (TempDir::new().unwrap(), Relay::held());
    way.lead_to(free_host().parse().unwrap());
    let to = format!("{}/", way.url());
    let mut first = mirroring(backend.url(), &to, state.path());
    let image = Image::make(5, &[500_000, 10]);
    image.push_as(&first.host(), ROOT);
    let waiting = reached(&first, &to, "waiting");
    assert!(
        waiting["message"].as_str().unwrap().contains(&to),
        "{waiting}"
    );
    first.process.kill();

    way.lead_to(target.addr());
    let (slow, gate) = (FaultProxy::before(backend.addr()), Gate::new());
    let harm = Harm::none().wait_at(100_000, &gate);
    slow.harm_always(&On::blob(&image.layers[0]), &harm);
    let mut second = mirroring(slow.url(), &to, state.path());
    gate.reached();
    until("the rest of the image is there", || {
        let has = |blob: &Blob| {
            let path = format!("/v2/test/image/blobs/{}", blob.digest);
            let reply = Client::connect(target.addr()).call("HEAD", &path, &[]);
            reply.status() == 200
        };
        has(&image.layers[1]) && has(&image.config)
    });
    assert_eq!(runs(&second, &to)[0]["state"], "running");
    second.process.kill();
    gate.open();

    let third = mirroring(backend.url(), &to, state.path());
    let done = reached(&third, &to, "done");
    let message = done["message"].as_str().unwrap();
    assert!(
        message.contains("1 copied") && message.contains("2 skipped"),
        "{message}"
    );
    assert_eq!(done["id"], waiting["id"]);
    let copied = raw(&target.host, "test/image:latest", ROOT);
    assert_eq!(copied.as_bytes(), &*image.manifest.bytes);
}

#[test]
fn a_schedule_warms_what_there_is_and_a_run_can_be_cancelled() {
    let backend = DockerRegistry::start();
    let image = Image::make(7, &[1000]);
    image.push(&backend.host);
    let gateway = gateway(backend.url())
        .more("  warm:\n  - {repository: 'test/**', caches: [asia], schedule: '* * * * * *'}\n")
        .start();
    let of = |kind: &str, state: &str| {
        let is_it = |run: &Value| run["kind"] == kind && run["state"] == state;
        runs(&gateway, "asia").into_iter().find(is_it)
    };
    until("a time has come and is done", || {
        of("schedule", "done").is_some() && of("warm", "waiting").is_some()
    });
    let schedule = of("schedule", "done").unwrap();
    assert_eq!(schedule["message"], "images: 1, caches: 1");
    assert_eq!(schedule["repository"], "test/**");
    let mut waiting = Value::Null;
    // It is found while it waits, not while it is tried.
    until("the image waits for its cache", || {
        waiting = of("warm", "waiting").unwrap_or_default();
        waiting["attempts"].as_u64() >= Some(1)
    });
    assert_eq!(
        (&waiting["repository"], &waiting["reference"]),
        (&json!("test/image"), &json!("latest"))
    );
    // The times that come meanwhile do not begin it anew.
    until("it is tried again", || {
        runs(&gateway, "asia")
            .iter()
            .any(|run| run["id"] == waiting["id"] && run["attempts"].as_u64() >= Some(2))
    });
    let path = format!("/api/v0/rules/{}/cancel", waiting["id"].as_str().unwrap());
    let (status, cancelled) = ask(&gateway, ROOT, "POST", &path, "");
    assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")));
    assert_eq!(cancelled["message"], "cancelled by an admin");
}

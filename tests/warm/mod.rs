//! Images that are fetched before anybody asks for them: by the API, by the command, from real registries and from
//! ones that lie.

mod alongside;
mod broken;
mod commands;
mod hostile;
mod login;
mod pulls;

use serde_json::{Value, json};

use crate::support::client::call_admin;
use crate::support::origin::MANIFEST;
use crate::support::{Blob, Origin, Reply, Rig, Transship, until};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image that an origin holds.
struct Image {
    manifest: Blob,
    blobs: Vec<Blob>,
}

impl Image {
    /// Makes an image with a blob of each of these sizes, the configuration first, and holds it.
    fn make(origin: &Origin, seed: u64, sizes: &[usize]) -> Self {
        let blobs: Vec<_> = (seed..)
            .zip(sizes)
            .map(|(seed, &size)| origin.make(seed, size))
            .collect();
        let described: Vec<_> = blobs
            .iter()
            .map(|blob| descriptor("a/layer", blob))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described[0], "layers": described[1..],
        });
        Self {
            manifest: Blob::new(manifest.to_string().into_bytes()),
            blobs,
        }
    }

    /// Points a tag at it.
    fn tag(self, origin: &Origin, repository: &str, tag: &str) -> Self {
        let text = String::from_utf8(self.manifest.bytes.to_vec()).unwrap();
        origin.tag(repository, tag, &text);
        self
    }

    /// Its place in an index.
    fn child(&self, platform: &str) -> Value {
        let mut child = descriptor(MANIFEST, &self.manifest);
        let mut words = platform.split('/');
        child["platform"] = json!({"os": words.next(), "architecture": words.next()});
        if let Some(variant) = words.next() {
            child["platform"]["variant"] = variant.into();
        }
        child
    }

    fn bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.len() as u64).sum()
    }

    /// Bytes that the origin has sent of its blobs.
    fn sent(&self, origin: &Origin) -> u64 {
        let sent = |blob: &Blob| origin.sent(&path("test/image", blob));
        self.blobs.iter().map(sent).sum()
    }

    #[track_caller]
    fn assert_stored(&self, transship: &Transship) {
        for blob in &self.blobs {
            assert!(transship.stores(&blob.digest), "{}", blob.digest);
        }
    }
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest, "size": blob.len()})
}

/// An index of these manifests, as text.
fn index(children: &[Value]) -> String {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string()
}

fn path(repository: &str, blob: &Blob) -> String {
    format!("/v2/{repository}/blobs/{}", blob.digest)
}

fn call(transship: &Transship, method: &str, target: &str, body: &str) -> Reply {
    call_admin(transship.admin, method, target, body)
}

/// Has images fetched; returns the job's number.
#[track_caller]
fn submit(transship: &Transship, order: &Value) -> u64 {
    let reply = call(transship, "POST", "/v1/warm", &order.to_string());
    assert_eq!(reply.status(), 202, "{}", reply.text());
    reply.json()["id"].as_u64().unwrap()
}

/// How far a job is.
#[track_caller]
fn job(transship: &Transship, id: u64) -> Value {
    let reply = call(transship, "GET", &format!("/v1/warm/{id}"), "");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.json()
}

/// Returns the number of the job that was asked for last: where a process begins to count is its own affair.
fn last(transship: &Transship) -> u64 {
    let jobs = call(transship, "GET", "/v1/warm", "").json();
    let jobs = jobs["jobs"].as_array().unwrap().iter();
    jobs.filter_map(|job| job["id"].as_u64()).max().unwrap()
}

/// Waits for the end of a job.
fn ended(transship: &Transship, id: u64) -> Value {
    let mut seen = Value::Null;
    until("the job has ended", || {
        seen = job(transship, id);
        !seen["ended"].is_null()
    });
    seen
}

/// Fetches one image to the end.
fn warmed(transship: &Transship, order: &Value) -> Value {
    ended(transship, submit(transship, order))
}

/// What becomes of one image that is tried once.
fn failure(rig: &Rig, reference: &str) -> (String, String) {
    let order = json!({"references": [reference], "patience_seconds": 0});
    let told = warmed(&rig.transship, &order);
    assert_eq!(told["state"], "failed", "{told:#}");
    let error = &told["references"][0]["error"];
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    (text("code"), text("message"))
}

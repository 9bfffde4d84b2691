//! `/v2/` of the gateway before a real registry, and before ones that misbehave on cue.

mod backends;
mod caches;
mod clients;
mod listings;
mod pushes;
mod refusals;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::client::{Client, Reply};
use crate::support::gateway::{Gateway, Options};
use crate::support::{Blob, DockerRegistry};

const POLICY: &str = "\
admins: [root]
rules:
  - {repository: test/**, users: [alice], allow: [pull, push, delete]}
  - {repository: other/**, users: [alice], allow: [push]}
  - {repository: test/**, users: [bob], allow: [pull]}
  - {repository: other/**, users: [dan], allow: [pull, push]}
  - {repository: public/*, anonymous: true, allow: [pull]}
  - {repository: public/*, users: [alice], allow: [push]}
";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry, and a gateway before it.
struct Site {
    gateway: Gateway,
    registry: DockerRegistry,
}

/// Alice pushes, bob pulls, carol has no rights to anything, dan has some elsewhere, root is an admin. Each password is the name.
fn before(backend: impl Into<String>) -> Options {
    let users = ["root", "alice", "bob", "carol", "dan"];
    let options = Gateway::before(backend).policy(POLICY);
    users.iter().fold(options, |all, user| all.user(user, user))
}

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{user}")))
}

/// Asks as `user`, or as nobody.
fn call(gateway: &Gateway, user: &str, method: &str, target: &str, body: &[u8]) -> Reply {
    call_with(gateway, user, method, target, &[], body)
}

fn call_with(
    gateway: &Gateway,
    user: &str,
    method: &str,
    target: &str,
    more: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let (login, length) = (basic(user), body.len().to_string());
    let mut fields = more.to_vec();
    // Without it docker-registry has no OCI manifests.
    fields.push(("Accept", MANIFEST));
    if !user.is_empty() {
        fields.push(("Authorization", &login));
    }
    if method.starts_with('P') {
        fields.push(("Content-Length", &length));
    }
    let mut client = Client::connect(gateway.addr);
    client.ask(method, target, &fields);
    client.send_what_it_takes(body);
    client.reply(method)
}

/// Returns the code of an error in the registry's words.
#[track_caller]
fn code(reply: &Reply) -> String {
    let kind = reply.field("content-type").unwrap();
    assert!(kind.starts_with("application/json"), "{kind}");
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    body["errors"][0]["code"].as_str().unwrap().to_owned()
}

impl Site {
    fn start() -> Self {
        let registry = DockerRegistry::start();
        let gateway = before(registry.url()).start();
        Self { gateway, registry }
    }

    fn call(&self, user: &str, method: &str, target: &str, body: &[u8]) -> Reply {
        call(&self.gateway, user, method, target, body)
    }

    /// Begins an upload; returns where it goes on.
    #[track_caller]
    fn begin(&self, user: &str, repository: &str) -> String {
        let reply = self.call(
            user,
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            b"",
        );
        assert_eq!(reply.status(), 202, "{}", reply.text());
        let location = reply.field("location").unwrap().to_owned();
        let here = format!("/v2/{repository}/blobs/uploads/");
        assert!(location.starts_with(&here), "{location}");
        location
    }

    /// Uploads a blob in one piece.
    #[track_caller]
    fn upload(&self, user: &str, repository: &str, blob: &Blob) {
        let end = format!("{}&digest={}", self.begin(user, repository), blob.digest);
        let reply = self.call(user, "PUT", &end, &blob.bytes);
        assert_eq!(reply.status(), 201, "{}", reply.text());
        let there = format!("/v2/{repository}/blobs/{}", blob.digest);
        assert_eq!(reply.field("location"), Some(&*there));
    }

    /// Pushes a manifest that needs no more than one blob.
    #[track_caller]
    fn push(&self, user: &str, repository: &str, tag: &str) -> Blob {
        let config = Blob::new(b"{}".to_vec());
        self.upload(user, repository, &config);
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.digest, "size": 2},
            "layers": [],
        });
        let manifest = Blob::new(manifest.to_string().into_bytes());
        let target = format!("/v2/{repository}/manifests/{tag}");
        let kind = ("Content-Type", MANIFEST);
        let reply = call_with(
            &self.gateway,
            user,
            "PUT",
            &target,
            &[kind],
            &manifest.bytes,
        );
        assert_eq!(reply.status(), 201, "{}", reply.text());
        assert_eq!(
            reply.field("docker-content-digest"),
            Some(&*manifest.digest)
        );
        manifest
    }
}

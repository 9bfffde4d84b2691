//! Real clients pull a real image from a real registry, twice.

use std::path::Path;

use tempfile::TempDir;

use crate::support::image::Image;
use crate::support::pull::{Containerd, Podman, skopeo_copy};
use crate::support::{DockerRegistry, Transship, until};

/// A registry that holds one image, and a transship before it.
struct Stage {
    registry: DockerRegistry,
    image: Image,
    transship: Transship,
}

impl Stage {
    fn set(seed: u64) -> Self {
        let registry = DockerRegistry::start();
        let image = Image::make(seed, &[3_000_000, 70_000, 1, 12_000_000]);
        image.push(&registry.host);
        let transship = Transship::before(registry.url());
        Self {
            registry,
            image,
            transship,
        }
    }

    fn host(&self) -> String {
        self.transship.addr.to_string()
    }

    /// Checks that the origin has sent each blob once, and returns what came from it in all.
    fn sent_once(&self) -> u64 {
        let blobs = self.image.layers.len() + 1;
        until("the origin has logged the cold pull", || {
            self.registry.blob_gets().0 >= blobs
        });
        let wanted = (blobs, self.image.blob_bytes());
        assert_eq!(
            self.registry.blob_gets(),
            wanted,
            "{}",
            self.registry.process.log()
        );
        let outcome = [("outcome", "committed")];
        self.transship
            .until_metric("transship_fills_total", &outcome, blobs as u64);
        self.upstream_bytes()
    }

    /// Checks that since `sent_once` the origin has sent nothing but heads.
    fn sent_nothing_since(&self, upstream_bytes: u64) {
        let wanted = (self.image.layers.len() + 1, self.image.blob_bytes());
        assert_eq!(
            self.registry.blob_gets(),
            wanted,
            "{}",
            self.registry.process.log()
        );
        assert_eq!(self.upstream_bytes(), upstream_bytes);
        let hits = [("cache", "hit")];
        self.transship
            .until_metric("transship_requests_total", &hits, wanted.0 as u64);
    }

    fn upstream_bytes(&self) -> u64 {
        let metrics = self.transship.metrics();
        metrics.sum("transship_upstream_bytes_total", &[])
    }
}

#[test]
fn skopeo_copies_an_image_cold_and_warm_byte_for_byte() {
    // Every image would differ from the registry's, or cost the origin twice.
    let stage = Stage::set(100);
    let (cold, warm) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    skopeo_copy(&stage.host(), cold.path());
    stage.image.assert_is_in(cold.path());
    let upstream_bytes = stage.sent_once();
    skopeo_copy(&stage.host(), warm.path());
    stage.image.assert_is_in(warm.path());
    stage.sent_nothing_since(upstream_bytes);
    same_as_from_the_origin(&stage, warm.path());
}

/// The image as the origin itself gives it is the image as transship gives it.
fn same_as_from_the_origin(stage: &Stage, ours: &Path) {
    let theirs = TempDir::new().unwrap();
    skopeo_copy(&stage.registry.host, theirs.path());
    for entry in std::fs::read_dir(theirs.path()).unwrap() {
        let entry = entry.unwrap();
        let ours = std::fs::read(ours.join(entry.file_name())).unwrap();
        crate::support::assert_same(&ours, &std::fs::read(entry.path()).unwrap());
    }
}

#[test]
fn podman_pulls_through_a_mirror_and_the_second_host_pulls_locally() {
    // Hosts with registries.conf would bypass the cache or fail to unpack what it sends.
    let stage = Stage::set(200);
    let first = Podman::with_mirror(&stage.host());
    assert_eq!(first.pull(), stage.image.manifest.digest);
    let upstream_bytes = stage.sent_once();
    let second = Podman::with_mirror(&stage.host());
    assert_eq!(second.pull(), stage.image.manifest.digest);
    stage.sent_nothing_since(upstream_bytes);
}

#[test]
fn containerd_pulls_through_hosts_toml_and_the_second_node_pulls_locally() {
    // Kubernetes nodes send ?ns= with every request; refusing it would break them all.
    let stage = Stage::set(300);
    let url = format!("http://{}", stage.host());
    let first = Containerd::with_mirror(&url);
    assert_eq!(first.pull(), stage.image.manifest.digest);
    let upstream_bytes = stage.sent_once();
    let second = Containerd::with_mirror(&url);
    assert_eq!(second.pull(), stage.image.manifest.digest);
    stage.sent_nothing_since(upstream_bytes);
}

#[test]
fn warm_blobs_outlive_the_origin_and_a_tag_says_that_it_is_gone() {
    // An outage of the origin would take cached images with it, or an old tag would pass as new.
    let mut stage = Stage::set(400);
    let copy = TempDir::new().unwrap();
    skopeo_copy(&stage.host(), copy.path());
    stage.sent_once();
    stage.registry.process.kill();
    for blob in stage.image.layers.iter().chain([&stage.image.config]) {
        let reply = stage.transship.get(&blob.path());
        assert_eq!(reply.cache(), "hit");
        crate::support::assert_same(&reply.body, &blob.bytes);
    }
    let by_digest = format!("/v2/test/image/manifests/{}", stage.image.manifest.digest);
    let reply = stage.transship.get(&by_digest);
    crate::support::assert_same(&reply.body, &stage.image.manifest.bytes);
    let by_tag = stage.transship.get("/v2/test/image/manifests/latest");
    assert!(matches!(by_tag.status(), 502 | 504), "{:?}", by_tag.head);
    assert!(by_tag.json()["errors"][0]["code"].is_string());
}

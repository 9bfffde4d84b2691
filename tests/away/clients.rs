//! A real client pulls a real image while its registry is down.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use super::before;
use crate::support::image::Image;
use crate::support::process::output;
use crate::support::pull::{skopeo, skopeo_copy};
use crate::support::{DockerRegistry, Relay, Transship};

const STALE: &str = ", stale: {manifests: 1h}, access: {public: true}";

/// A registry with an image, behind a relay that can cut it off.
struct Stage {
    registry: DockerRegistry,
    relay: Relay,
    image: Image,
}

impl Stage {
    fn set(seed: u64) -> Self {
        let registry = DockerRegistry::start();
        let image = Image::make(seed, &[400_000, 70_000, 1]);
        image.push(&registry.host);
        let relay = Relay::held();
        relay.lead_to(registry.host.parse::<SocketAddr>().unwrap());
        Self {
            registry,
            relay,
            image,
        }
    }

    /// Pulls the image, and checks every byte of it.
    fn pull(&self, transship: &Transship) {
        let dir = TempDir::new().unwrap();
        skopeo_copy(&transship.addr.to_string(), dir.path());
        self.image.assert_is_in(dir.path());
    }

    /// Pulls the image once, and waits until all of it is here.
    fn fill(&self, transship: &Transship) {
        self.pull(transship);
        let fills = self.image.layers.len() as u64 + 1;
        let committed = [("outcome", "committed")];
        transship.until_metric("transship_fills_total", &committed, fills);
    }
}

/// Tries to pull; returns what skopeo said when it could not.
fn fail_to_pull(transship: &Transship, to: &Path) -> String {
    let outcome = output(
        skopeo()
            .args(["copy", "--src-tls-verify=false", "--retry-times=0"])
            .arg(format!("docker://{}/test/image:latest", transship.addr))
            .arg(format!("dir:{}", to.display())),
    );
    assert!(!outcome.status.success());
    String::from_utf8_lossy(&outcome.stderr).into_owned()
}

#[test]
fn an_image_by_tag_is_pulled_from_the_cache_alone_while_its_registry_is_down() {
    // Nodes that scale up during a registry's outage would not start.
    let mut stage = Stage::set(1);
    let transship = before(&stage.relay.url(), STALE).start();
    stage.fill(&transship);
    let gets = stage.registry.blob_gets();
    stage.registry.process.kill();
    stage.pull(&transship);
    // Cut off in any other way, it is the same.
    stage.relay.cut();
    stage.pull(&transship);
    let stale = [("cache", "stale")];
    assert!(transship.metrics().sum("transship_requests_total", &stale) >= 2);
    assert_eq!(stage.registry.blob_gets(), gets);
}

#[test]
fn a_restart_while_the_registry_is_down_changes_nothing() {
    let mut stage = Stage::set(2);
    let first = before(&stage.relay.url(), STALE).start();
    stage.fill(&first);
    stage.registry.process.kill();
    stage.pull(&first);
    let stopped = first.stop();
    let second = before(&stage.relay.url(), STALE).storage(&stopped.storage);
    stage.pull(&second.start());
}

#[test]
fn without_the_operators_word_the_pull_fails_and_says_why() {
    let mut stage = Stage::set(3);
    let transship = before(&stage.relay.url(), ", access: {public: true}").start();
    stage.fill(&transship);
    stage.registry.process.kill();
    let dir = TempDir::new().unwrap();
    let said = fail_to_pull(&transship, dir.path());
    assert!(said.contains("502") || said.contains("upstream"), "{said}");
    // Nothing of it came from anywhere but here, and nothing was waited for.
    let errors = [("cache", "bypass"), ("status", "502")];
    assert!(transship.metrics().sum("transship_requests_total", &errors) >= 1);
}

#[test]
fn a_tag_that_was_deleted_is_not_pulled_when_the_registry_goes_down_then() {
    let mut stage = Stage::set(4);
    let transship = before(&stage.relay.url(), STALE).start();
    stage.fill(&transship);
    // Debian's registry deletes manifests, and every tag of one with it.
    let mut registry = crate::support::Client::connect(stage.registry.host.parse().unwrap());
    let path = format!("/v2/test/image/manifests/{}", stage.image.manifest.digest);
    assert_eq!(registry.call("DELETE", &path, &[]).status(), 202);
    let dir = TempDir::new().unwrap();
    let said = fail_to_pull(&transship, dir.path());
    assert!(said.contains("manifest unknown"), "{said}");
    stage.registry.process.kill();
    let said = fail_to_pull(&transship, dir.path());
    assert!(!said.contains("manifest unknown"), "{said}");
    let stale = [("cache", "stale")];
    assert_eq!(
        transship.metrics().sum("transship_requests_total", &stale),
        0
    );
}

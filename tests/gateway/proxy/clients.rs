//! What real clients do: log in, push, pull.

use tempfile::TempDir;

use super::Site;
use crate::support::image::Image;
use crate::support::process::{output, run};
use crate::support::pull::{Containerd, Podman, skopeo};

#[test]
fn what_skopeo_and_podman_push_and_pull_is_the_same_image() {
    let site = Site::start();
    let image = Image::make(71, &[100_000, 3_000_000]);
    image.push_as(&site.gateway.host(), "alice:alice");
    let to = TempDir::new().unwrap();
    let name = format!("{}/test/image:latest", site.gateway.host());
    run(skopeo()
        .args(["copy", "--src-tls-verify=false", "--preserve-digests"])
        .args(["--src-creds", "bob:bob"])
        .arg(format!("docker://{name}"))
        .arg(format!("dir:{}", to.path().display())));
    image.assert_is_in(to.path());
    let podman = Podman::with_mirror("unused.example");
    let pulled = podman.pull_as(&name, "bob:bob").unwrap();
    assert_eq!(pulled, image.manifest.digest);
}

#[test]
fn containerd_pulls_and_pushes() {
    let site = Site::start();
    let image = Image::make(74, &[1_000_000, 1]);
    image.push_as(&site.gateway.host(), "alice:alice");
    let name = |tag: &str| format!("{}/test/image:{tag}", site.gateway.host());
    let containerd = Containerd::with_mirror("http://127.0.0.1:1");
    let options = ["--plain-http", "--user", "alice:alice"];
    let pulled = containerd.pull_with(&name("latest"), &options);
    assert_eq!(pulled, image.manifest.digest);
    containerd.push_with(&name("latest"), &name("pushed"), &options);
    let got = site.call("bob", "GET", "/v2/test/image/manifests/pushed", b"");
    let digest = got.field("docker-content-digest");
    assert_eq!(digest, Some(&*image.manifest.digest));
}

#[test]
fn who_may_not_pull_or_push_is_told_so_by_their_client() {
    let site = Site::start();
    let image = Image::make(72, &[1000]);
    image.push_as(&site.gateway.host(), "alice:alice");
    let name = format!("docker://{}/test/image:latest", site.gateway.host());
    for user in ["", "carol:carol", "bob:wrong"] {
        let mut inspect = skopeo();
        inspect.args(["inspect", "--tls-verify=false"]);
        if !user.is_empty() {
            inspect.args(["--creds", user]);
        }
        assert!(!output(inspect.arg(&name)).status.success(), "{user}");
    }
    let mut copy = skopeo();
    copy.args(["copy", "--dest-tls-verify=false", "--dest-creds", "bob:bob"]);
    copy.arg(format!("oci:{}:latest", image.path().display()));
    let copied = output(copy.arg(&name));
    assert!(!copied.status.success(), "bob may not push");
}

#[test]
fn skopeo_deletes_what_its_user_may_delete_and_lists_the_tags() {
    let site = Site::start();
    Image::make(73, &[1000]).push_as(&site.gateway.host(), "alice:alice");
    let name = format!("docker://{}/test/image", site.gateway.host());
    let listed = run(skopeo()
        .args(["list-tags", "--tls-verify=false", "--creds", "bob:bob"])
        .arg(&name));
    assert!(listed.contains("\"latest\""), "{listed}");
    let delete = |user: &str| {
        let mut delete = skopeo();
        delete.args(["delete", "--tls-verify=false", "--creds", user]);
        output(delete.arg(format!("{name}:latest")))
            .status
            .success()
    };
    assert!(!delete("bob:bob"));
    assert!(delete("alice:alice"));
    let gone = site.call("bob", "GET", "/v2/test/image/manifests/latest", b"");
    assert_eq!(gone.status(), 404);
}

#[test]
fn what_is_public_is_pulled_without_a_login() {
    let site = Site::start();
    let manifest = site.push("alice", "public/app", "v1");
    let name = format!("docker://{}/public/app:v1", site.gateway.host());
    let mut inspect = skopeo();
    inspect.args(["inspect", "--tls-verify=false", "--raw"]);
    let shown = run(inspect.arg(name));
    assert_eq!(shown.as_bytes(), &**manifest.bytes);
}

//! A Docker registry's storage is taken over, and served without the registry.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::TempDir;

use super::{command, data, place, transship};
use crate::support::image::Image;
use crate::support::process::{Process, run};
use crate::support::pull::skopeo;
use crate::support::{Blob, DockerRegistry, Rig, Transship, assert_same, until};

const PUBLIC: &str = "version: 0.1\ntransship: {access: {public: true}}\n";

/// A real registry that holds one image, and has ended.
fn registry(seed: u64) -> (DockerRegistry, Image) {
    let mut registry = DockerRegistry::start();
    let image = Image::make(seed, &[3_000_000, 70_000, 1]);
    image.push(&registry.host);
    registry.process.kill();
    (registry, image)
}

fn import(from: &Path, storage: &Path, more: &[&str]) -> super::Said {
    let from = from.to_str().unwrap();
    transship(storage, &[&["import", from], more].concat())
}

#[test]
fn an_imported_image_is_pulled_by_digest_with_the_registry_gone() {
    // Moving to this cache would mean to fetch everything once more, over the line that it is to spare.
    let (registry, image) = registry(1000);
    let storage = TempDir::new().unwrap();
    let said = import(&registry.storage(), storage.path(), &[]);
    said.expect(
        0,
        &["4 linked, 0 cloned, 1 copied, 0 here already, 0 damaged"],
    );
    let theirs = fs::metadata(data(&registry.storage(), &image.config.digest)).unwrap();
    let ours = fs::metadata(place(storage.path(), "blobs", &image.config.digest)).unwrap();
    assert_eq!((ours.dev(), ours.ino()), (theirs.dev(), theirs.ino()));

    let options = Transship::options().config(PUBLIC).upstream(registry.url());
    let server = options.storage(storage.path()).start();
    let copy = TempDir::new().unwrap();
    let digest = &image.manifest.digest;
    run(skopeo()
        .args(["copy", "--src-tls-verify=false", "--preserve-digests"])
        .arg(format!("docker://{}/test/image@{digest}", server.addr))
        .arg(format!("dir:{}", copy.path().display())));
    image.assert_is_in(copy.path());
    transship(storage.path(), &["verify"]).expect(0, &["5 sound"]);
}

#[test]
fn a_damaged_file_is_named_and_passed_over_and_a_second_run_imports_the_rest() {
    // One bad sector would end the move, or be served as good from then on.
    let (registry, image) = registry(2000);
    let storage = TempDir::new().unwrap();
    let bad = data(&registry.storage(), &image.layers[0].digest);
    let mut bytes = fs::read(&bad).unwrap();
    bytes[1_000_000] ^= 1;
    fs::write(&bad, &bytes).unwrap();
    let said = import(&registry.storage(), storage.path(), &["--copy"]);
    said.expect(
        1,
        &[
            bad.to_str().unwrap(),
            "0 linked, 0 cloned, 4 copied, 0 here already, 1 damaged",
        ],
    );
    assert!(!place(storage.path(), "blobs", &image.layers[0].digest).exists());
    let config = place(storage.path(), "blobs", &image.config.digest);
    assert_eq!(fs::metadata(config).unwrap().nlink(), 1, "a copy");

    bytes[1_000_000] ^= 1;
    fs::write(&bad, &bytes).unwrap();
    // Any folder on the way down will do.
    let blobs = registry.storage().join("docker/registry/v2/blobs");
    import(&blobs, storage.path(), &[])
        .expect(0, &["1 linked, 0 cloned, 0 copied, 4 here already"]);
    for way in ["docker", "docker/registry", "docker/registry/v2"] {
        let said = import(&registry.storage().join(way), storage.path(), &[]);
        said.expect(
            0,
            &["0 linked, 0 cloned, 0 copied, 5 here already, 0 damaged"],
        );
    }
    let repositories = registry.storage().join("docker/registry/v2/repositories");
    let said = import(&repositories, storage.path(), &[]);
    said.expect(1, &["neither the storage of a Docker registry"]);
    transship(storage.path(), &["verify"]).expect(0, &["5 sound"]);
}

/// A registry's storage of `count` blobs, without a registry.
fn heap(count: u64, size: usize) -> (TempDir, Vec<Blob>) {
    let root = TempDir::new().unwrap();
    let blobs: Vec<Blob> = (0..count).map(|seed| Blob::seeded(seed, size)).collect();
    for blob in &blobs {
        let path = data(root.path(), &blob.digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &*blob.bytes).unwrap();
    }
    fs::create_dir_all(root.path().join("docker/registry/v2/repositories")).unwrap();
    (root, blobs)
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_was() {
    // A day of copying would start over with each mishap, or half a blob would pass for a whole one.
    let (root, blobs) = heap(400, 1_000_000);
    let storage = TempDir::new().unwrap();
    let here = || {
        let stored = |blob: &&Blob| place(storage.path(), "blobs", &blob.digest).exists();
        blobs.iter().filter(stored).count()
    };
    let from = root.path().to_str().unwrap();
    let mut killed = 0;
    while killed < 3 {
        let before = here();
        let mut import = command(storage.path(), &["import", from, "--copy"]);
        let mut process = Process::start("import", &mut import);
        until("something is imported", || here() > before + 5);
        process.kill();
        killed += 1;
    }
    let before = here();
    assert!(
        before < blobs.len(),
        "all was imported before it could be killed"
    );
    let copied = format!(
        "0 cloned, {} copied, {before} here already, 0 damaged",
        blobs.len() - before
    );
    import(root.path(), storage.path(), &["--copy"]).expect(0, &[&copied]);
    transship(storage.path(), &["verify"]).expect(0, &["400 sound, 0 damaged"]);
    import(root.path(), storage.path(), &[]).expect(0, &["0 copied, 400 here already"]);
}

#[test]
fn what_the_service_could_not_read_is_copied_for_it() {
    // Every imported blob would be an error of permissions for a service that does not run as root.
    let (root, blobs) = heap(1, 10_000);
    fs::set_permissions(
        data(root.path(), &blobs[0].digest),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    let storage = TempDir::new().unwrap();
    std::os::unix::fs::chown(storage.path(), Some(4242), Some(4242)).unwrap();
    let said = import(root.path(), storage.path(), &[]);
    said.expect(0, &["may not read it", "0 linked"]);
    let ours = place(storage.path(), "blobs", &blobs[0].digest);
    for path in [
        &*ours,
        ours.parent().unwrap(),
        &storage.path().join("partial"),
    ] {
        assert_eq!(
            fs::metadata(path).unwrap().uid(),
            4242,
            "{}",
            path.display()
        );
    }
    assert_same(&fs::read(ours).unwrap(), &blobs[0].bytes);
}

#[test]
fn another_transship_is_imported_with_its_manifests() {
    let Rig {
        transship: old,
        origin,
    } = Rig::start();
    let blob = origin.make(1, 100_000);
    assert!(old.get(&blob.path()).whole);
    let text = r#"{"schemaVersion":2,"layers":[]}"#;
    let digest = origin.tag("test/image", "latest", text);
    assert_eq!(old.get("/v2/test/image/manifests/latest").status(), 200);
    until("both are stored", || {
        old.stores(&blob.digest) && old.stores(&digest)
    });
    let old = old.stop();
    let storage = TempDir::new().unwrap();
    import(&old.storage, storage.path(), &[]).expect(0, &["1 linked, 0 cloned, 1 copied"]);
    import(&old.storage, storage.path(), &[]).expect(0, &["0 copied, 2 here already"]);
    import(&old.storage, &old.storage, &[]).expect(1, &["into itself"]);
    let options = Transship::options()
        .config(PUBLIC)
        .upstream("http://127.0.0.1:1");
    let server = options.storage(storage.path()).start();
    assert_same(&server.get(&blob.path()).body, &blob.bytes);
    let manifest = server.get(&format!("/v2/test/image/manifests/{digest}"));
    assert_same(&manifest.body, text.as_bytes());
}

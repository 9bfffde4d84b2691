//! Real clients with credentials, through transship, at a real registry that checks them.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::image::Image;
use crate::support::process::output;
use crate::support::pull::{Podman, skopeo};
use crate::support::token_server::{ISSUER, SERVICE, TokenServer};
use crate::support::{DockerRegistry, Tls, Transship, until};

const ALICE: &str = "alice:secret";
const BOB: &str = "bob:secret";

/// A docker-registry that asks a token server, with one private image of Alice's.
struct Stage {
    registry: DockerRegistry,
    image: Image,
    transship: Transship,
    _tokens: TokenServer,
    _dir: TempDir,
}

impl Stage {
    fn set(seed: u64) -> Self {
        let (tokens, dir) = (TokenServer::start(), TempDir::new().unwrap());
        tokens.grant(ALICE, &["test/image"]);
        tokens.grant(BOB, &["bob/own"]);
        let bundle = dir.path().join("bundle.pem");
        std::fs::write(&bundle, &tokens.certificate).unwrap();
        let registry = DockerRegistry::start_with(&format!(
            "auth:\n  token:\n    realm: {}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    \
             rootcertbundle: {}\n",
            tokens.realm,
            bundle.display()
        ));
        let image = Image::make(seed, &[1_000_000, 1]);
        image.push_as(&registry.host, ALICE);
        let transship = Transship::before(registry.url());
        Self {
            registry,
            image,
            transship,
            _tokens: tokens,
            _dir: dir,
        }
    }

    /// Copies the image with skopeo as this user; returns what skopeo said if it failed.
    fn copy(&self, user: &str, to: &Path) -> Result<(), String> {
        let host = self.transship.addr.to_string();
        let mut command = skopeo();
        command.args(["copy", "--src-tls-verify=false", "--preserve-digests"]);
        match user {
            "" => command.arg("--src-no-creds"),
            user => command.args(["--src-creds", user]),
        };
        succeed(
            command
                .arg(format!("docker://{host}/test/image:latest"))
                .arg(format!("dir:{}", to.display())),
        )
    }

    fn blob_gets(&self) -> usize {
        self.registry.blob_gets().0
    }
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let output = output(command);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or(text)
}

#[test]
fn skopeo_logs_in_at_the_origins_token_server_and_pulls_what_its_user_may() {
    let stage = Stage::set(500);
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    stage.copy(ALICE, dirs[0].path()).unwrap();
    stage.image.assert_is_in(dirs[0].path());
    let blobs = stage.image.layers.len() + 1;
    until("the origin has logged the pull", || {
        stage.blob_gets() >= blobs
    });
    for user in [BOB, "", "alice:wrong"] {
        let refused = stage.copy(user, TempDir::new().unwrap().path());
        assert!(refused.is_err(), "{user:?} pulled a private image");
    }
    stage.copy(ALICE, dirs[1].path()).unwrap();
    stage.image.assert_is_in(dirs[1].path());
    assert_eq!(stage.blob_gets(), blobs, "the second pull was all hits");
}

#[test]
fn podman_does_too() {
    let stage = Stage::set(510);
    let host = stage.transship.addr.to_string();
    let podman = Podman::with_mirror(&host);
    let name = format!("{host}/test/image:latest");
    for user in [BOB, ""] {
        assert!(podman.pull_as(&name, user).is_err(), "{user:?}");
    }
    assert_eq!(
        podman.pull_as(&name, ALICE).unwrap(),
        stage.image.manifest.digest
    );
    let stranger = Podman::with_mirror(&host);
    for user in [BOB, "alice:wrong", ""] {
        assert!(stranger.pull_as(&name, user).is_err(), "{user:?}");
    }
    assert_eq!(
        stranger.pull_as(&name, ALICE).unwrap(),
        stage.image.manifest.digest
    );
}

#[test]
fn a_registry_with_a_password_file_works_as_well() {
    // The commonest private registry of all.
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("htpasswd");
    std::fs::write(
        &path,
        format!("alice:{}\n", bcrypt::hash("secret", 4).unwrap()),
    )
    .unwrap();
    let registry = DockerRegistry::start_with(&format!(
        "auth:\n  htpasswd:\n    realm: origin\n    path: {}\n",
        path.display()
    ));
    let image = Image::make(520, &[100_000]);
    image.push_as(&registry.host, ALICE);
    let stage = Stage {
        transship: Transship::before(registry.url()),
        registry,
        image,
        _tokens: TokenServer::start(),
        _dir: dir,
    };
    let to = TempDir::new().unwrap();
    stage.copy(ALICE, to.path()).unwrap();
    stage.image.assert_is_in(to.path());
    for user in ["alice:wrong", "nobody:secret", ""] {
        assert!(stage.copy(user, to.path()).is_err(), "{user:?}");
    }
}

#[test]
fn a_wrong_authority_stops_the_pull_and_the_right_one_lets_it_through() {
    // `certs.d` is where operators put the cache's authority; a client that pulled without it would
    // pull from anybody.
    let (tls, stranger, dir) = (Tls::new(), Tls::new(), TempDir::new().unwrap());
    let registry = DockerRegistry::start();
    let image = Image::make(530, &[100_000]);
    image.push(&registry.host);
    for (name, text) in [
        ("cert.pem", &tls.certificate),
        ("key.pem", &tls.key),
        ("right/ca.crt", &tls.authority),
        ("wrong/ca.crt", &stranger.authority),
    ] {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\n\
         http: {{addr: '127.0.0.1:0', tls: {{certificate: {0}/cert.pem, key: {0}/key.pem}}}}\n\
         proxy: {{remoteurl: '{1}'}}\n",
        dir.path().display(),
        registry.url()
    );
    let transship = Transship::options().config(config).start();
    let copy = |authority: &str| {
        let to = TempDir::new().unwrap();
        let mut command = skopeo();
        command.args(["copy", "--preserve-digests", "--src-cert-dir"]);
        command.arg(dir.path().join(authority));
        let from = format!("docker://{}/test/image:latest", transship.addr);
        succeed(
            command
                .arg(from)
                .arg(format!("dir:{}", to.path().display())),
        )
        .map(|()| image.assert_is_in(to.path()))
    };
    let refused = copy("wrong").unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    copy("right").unwrap();
    let podman = Podman::with_mirror("unused.test");
    let name = format!("{}/test/image:latest", transship.addr);
    let pull = |authority: &str| {
        podman.pull_with(
            &name,
            &[
                "--cert-dir",
                &format!("{}/{authority}", dir.path().display()),
            ],
        )
    };
    assert!(pull("wrong").is_err());
    assert_eq!(pull("right").unwrap(), image.manifest.digest);
}

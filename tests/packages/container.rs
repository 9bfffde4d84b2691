//! The container image: built on a base made here, and run by the documented line.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::machine::base;
use crate::support::process::{output, run, until};
use crate::support::registry::free_host;
use crate::support::transship::BINARY;
use crate::support::{Client, Origin, assert_same};

/// podman with images and containers of its own, below a folder; dropping it removes them.
struct Podman {
    folder: TempDir,
}

impl Podman {
    fn new() -> Self {
        let folder = TempDir::with_prefix("podman-").unwrap();
        Self { folder }
    }

    fn command(&self) -> Command {
        let at = |name: &str| self.folder.path().join(name);
        let mut command = Command::new("podman");
        command
            .arg("--root")
            .arg(at("root"))
            .arg("--runroot")
            .arg(at("run"))
            // Copies instead of an overlay on what may be one already; no systemd is asked for groups.
            .args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs"])
            // crun refuses machines that have both versions of cgroups.
            .arg("--runtime=runc");
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        run(self.command().args(arguments))
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = output(self.command().args(["logs", "cache"]));
            eprintln!(
                "--- log of the container ---\n{}",
                String::from_utf8_lossy(&log.stderr)
            );
        }
        let _ = output(
            self.command()
                .args(["rm", "--force", "--all", "--time", "0"]),
        );
        let _ = output(self.command().args(["rmi", "--force", "--all"]));
    }
}

/// Returns the Dockerfile's last stage, which takes the program from the folder instead of from the stage that builds
/// it: that one needs an hour's worth of network and processors.
fn last_stage() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/container/Dockerfile");
    let text = fs::read_to_string(path).unwrap();
    let (arguments, rest) = text.split_once("FROM ${BUILDER} AS build").unwrap();
    let (_, last) = rest.split_once("FROM ${BASE}").unwrap();
    assert_eq!(last.matches("--from=build ").count(), 2);
    format!(
        "{arguments}FROM ${{BASE}}{}",
        last.replace("--from=build ", "")
    )
}

/// Builds the image on a base made here, with the program under test, as `transship:test`.
fn build(podman: &Podman, context: &TempDir) {
    run(podman
        .command()
        .arg("import")
        .arg(base())
        .arg("localhost/base:test"));
    fs::write(context.path().join("Dockerfile"), last_stage()).unwrap();
    fs::create_dir_all(context.path().join("out/storage")).unwrap();
    run(Command::new("strip")
        .arg("-o")
        .arg(context.path().join("out/transship"))
        .arg(BINARY));
    run(podman
        .command()
        .args([
            "build",
            "--quiet",
            "--isolation=chroot",
            "--format=docker",
            "--layers=false",
        ])
        .args([
            "--build-arg",
            "BASE=localhost/base:test",
            "--tag",
            "transship:test",
        ])
        .arg(context.path()));
}

#[test]
fn the_image_runs_by_the_line_that_is_documented() {
    // Whoever replaces a content cache would have to write its command line anew, or run it as root.
    let podman = Podman::new();
    let context = TempDir::new().unwrap();
    build(&podman, &context);

    let origin = Origin::start();
    let addr = free_host();
    let (_, port) = addr.rsplit_once(':').unwrap();
    let admin = free_host();
    let config = context.path().join("config.yml");
    fs::write(
        &config,
        format!(
            "version: 0.1\nstorage:\n  delete: {{enabled: true}}\n  filesystem: {{rootdirectory: /var/lib/registry}}\n\
             http:\n  addr: :{port}\n  debug: {{addr: '{admin}'}}\nmiddleware:\n  registry:\n    - name: downstream\n      options:\n\
             \x20       blobttl: 24h\n        upstreams: ['{}']\n",
            origin.url()
        ),
    )
    .unwrap();
    // Of the documented line, `--publish 5000:5000` is missing: the container shares the network of the tests, whose
    // origin it has to reach.
    podman.run(&[
        "run",
        "--detach",
        "--restart=always",
        "--name=cache",
        "--network=host",
        // What a machine without systemd, or with lower limits than podman's own defaults, can give.
        "--ulimit=nofile=10000:10000",
        "--ulimit=nproc=10000:10000",
        "--no-healthcheck",
        &format!("--volume={}:/config.yml", config.display()),
        "transship:test",
        "/config.yml",
    ]);
    until("it listens", || {
        Client::try_connect(addr.parse().unwrap()).is_ok()
    });
    let blob = origin.make(1, 300_000);
    let reply = Client::connect(addr.parse().unwrap()).get(&blob.path());
    assert_same(&reply.body, &blob.bytes);
    let user = podman.run(&["inspect", "--format={{.Config.User}}", "cache"]);
    assert_eq!(user.trim(), "65532:65532");
    // What the image's health check runs, with the address of this test.
    let status = podman.run(&[
        "exec",
        "cache",
        "/usr/bin/transship",
        "status",
        "--admin",
        &format!("http://{admin}"),
    ]);
    assert!(status.contains("ready"), "{status}");
    let image = podman.run(&["inspect", "--type=image", "transship:test"]);
    let image: serde_json::Value = serde_json::from_str(&image).unwrap();
    let check = &image[0]["Healthcheck"]["Test"];
    assert_eq!(check[1], "/usr/bin/transship", "{image:#}");
    assert_eq!(check[2], "status");
}

//! The command line: what people are shown, what scripts get, how it ends.

use super::{transship, url};
use crate::support::{Rig, until};

const NOWHERE: &str = "http://127.0.0.1:1";

#[test]
fn people_get_tables_and_scripts_json() {
    let rig = Rig::start();
    let blob = rig.hit(1, 3 << 20);
    let admin = url(&rig.transship);
    transship(&admin, &["status"]).expect(0, &["ready", "1 blobs and manifests", "1 up, 0 down"]);
    let listed =
        transship(&admin, &["ls", "--sort", "size"]).expect(0, &["SIZE", "3.0 MiB", &blob.digest]);
    assert!(listed.out.lines().all(|line| !line.ends_with(' ')));
    let listed = transship(&admin, &["ls", "--json"]).expect(0, &[]);
    let rows: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(rows[0]["digest"], blob.digest);
    transship(&admin, &["show", &blob.digest])
        .expect(0, &["stored", "3.0 MiB", "test/image", "committed"]);
    let status = transship(&admin, &["status", "--json"]).expect(0, &[]);
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(status["store"]["bytes"], 3 << 20);
}

#[test]
fn the_exit_code_tells_what_happened() {
    // A script that purges would take "no server" for "gone".
    let rig = Rig::start();
    let blob = rig.hit(1, 1000);
    let admin = url(&rig.transship);
    let absent = format!("sha256:{}", "0".repeat(64));
    transship(&admin, &["pin", &blob.digest]).expect(0, &["1 pinned"]);
    transship(&admin, &["pins"]).expect(0, &[&blob.digest]);
    transship(&admin, &["purge", &blob.digest]).expect(1, &["it is pinned", &blob.digest]);
    transship(&admin, &["unpin", &blob.digest]).expect(0, &["1 released"]);
    transship(&admin, &["unpin", &blob.digest]).expect(0, &["0 released"]);
    transship(&admin, &["show", &absent]).expect(4, &[&absent]);
    // One that is not there keeps none of the others.
    transship(&admin, &["purge", &absent, &blob.digest]).expect(4, &["purged, 1000 B", &absent]);
    assert!(!rig.transship.stores(&blob.digest));
    transship(&admin, &["purge", "sha256:12"]).expect(2, &[]);
    transship(&admin, &["pin", "no reference"]).expect(2, &["not a reference"]);
    transship("ftp://a", &["status"]).expect(2, &["want http://HOST:PORT"]);
    for command in [
        &["status"][..],
        &["ls"],
        &["show", &absent],
        &["purge", &absent],
        &["drain"],
        &["pins", "--admin", NOWHERE],
    ] {
        transship(NOWHERE, command).expect(3, &["no server answers at http://127.0.0.1:1"]);
    }
    transship(&admin, &["reload"]).expect(0, &["nothing has changed"]);
    transship(&admin, &["drain"]).expect(0, &["accepted"]);
    let Rig {
        mut transship,
        origin,
    } = rig;
    until("it has drained", || {
        transship.process.log().contains("drained")
    });
    assert!(transship.process.exit().success());
    drop(origin);
}

#[test]
fn completions_and_the_manual_name_every_command() {
    for arguments in [
        &["completions", "bash"][..],
        &["completions", "zsh"],
        &["completions", "fish"],
        &["man"],
    ] {
        transship(NOWHERE, arguments).expect(
            0,
            &["serve", "status", "purge", "verify", "import", "reload"],
        );
    }
    transship(NOWHERE, &["completions", "cmd"]).expect(2, &[]);
}

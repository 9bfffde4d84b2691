//! Every way in which a blob or a manifest comes in, and goes.

use std::fs::{self, File};

use tempfile::TempDir;

use super::{Site, call_with, code};
use crate::support::blob::Blob;
use crate::support::process::run;
use crate::support::{Client, assert_same};

use std::process::Command;

const BIG: u64 = 300 << 20;

#[test]
fn a_blob_comes_in_pieces_and_is_the_same() {
    let site = Site::start();
    let blob = Blob::seeded(1, 300_000);
    let mut location = site.begin("alice", "test/a");
    for (from, to) in [(0, 100_000), (100_000, 300_000)] {
        let range = format!("{from}-{}", to - 1);
        let piece = &blob.bytes[from..to];
        let fields = [
            ("Content-Range", &*range),
            ("Content-Type", "application/octet-stream"),
        ];
        let reply = call_with(&site.gateway, "alice", "PATCH", &location, &fields, piece);
        assert_eq!(reply.status(), 202, "{}", reply.text());
        assert_eq!(reply.field("range"), Some(&*format!("0-{}", to - 1)));
        assert!(reply.field("docker-upload-uuid").is_some());
        location = reply.field("location").unwrap().to_owned();
    }
    let status = site.call("alice", "GET", &location, b"");
    assert_eq!(
        (status.status(), status.field("range")),
        (204, Some("0-299999"))
    );
    let refused = site.call("bob", "GET", &location, b"");
    assert_eq!(
        refused.status(),
        403,
        "an upload is the business of those who push"
    );
    let end = format!("{location}&digest={}", blob.digest);
    assert_eq!(site.call("alice", "PUT", &end, b"").status(), 201);
    let path = format!("/v2/test/a/blobs/{}", blob.digest);
    let got = site.call("bob", "GET", &path, b"");
    assert_same(&got.body, &blob.bytes);
    assert_eq!(got.field("docker-content-digest"), Some(&*blob.digest));
}

#[test]
fn a_body_of_unknown_length_and_one_in_a_single_post_come_in() {
    let site = Site::start();
    let blob = Blob::seeded(2, 50_000);
    let location = site.begin("alice", "test/a");
    let mut client = Client::connect(site.gateway.addr);
    let login = super::basic("alice");
    let fields = [("Authorization", &*login), ("Transfer-Encoding", "chunked")];
    client.ask("PATCH", &location, &fields);
    for piece in blob.bytes.chunks(7_000) {
        client.send(format!("{:x}\r\n", piece.len()).as_bytes());
        client.send(piece);
        client.send(b"\r\n");
    }
    client.send(b"0\r\n\r\n");
    let reply = client.reply("PATCH");
    assert_eq!(reply.status(), 202, "{}", reply.text());
    let end = format!(
        "{}&digest={}",
        reply.field("location").unwrap(),
        blob.digest
    );
    assert_eq!(site.call("alice", "PUT", &end, b"").status(), 201);
    // docker-registry begins an upload where others take it whole: either is the backend's word.
    let other = Blob::seeded(3, 50_000);
    let post = format!("/v2/test/a/blobs/uploads/?digest={}", other.digest);
    let reply = site.call("alice", "POST", &post, &other.bytes);
    assert!([201, 202].contains(&reply.status()), "{}", reply.text());
}

#[test]
fn a_wrong_digest_is_the_backends_to_refuse_and_an_upload_can_be_given_up() {
    let site = Site::start();
    let location = site.begin("alice", "test/a");
    let wrong = format!("{location}&digest={}", Blob::seeded(4, 10).digest);
    let reply = site.call("alice", "PUT", &wrong, b"something else");
    assert_eq!((reply.status(), &*code(&reply)), (400, "DIGEST_INVALID"));
    let location = site.begin("alice", "test/a");
    assert_eq!(site.call("alice", "DELETE", &location, b"").status(), 204);
    assert_eq!(site.call("alice", "GET", &location, b"").status(), 404);
}

/// The largest memory that the gateway has had, in KiB.
fn peak_kib(site: &Site) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", site.gateway.process.id()));
    let status = status.unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn a_large_blob_passes_both_ways_in_bounded_memory() {
    let site = Site::start();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("blob");
    File::create(&path).unwrap().set_len(BIG).unwrap();
    let sum = run(Command::new("sha256sum").arg(&path));
    let digest = format!("sha256:{}", sum.split(' ').next().unwrap());
    let url = format!(
        "{}{}&digest={digest}",
        site.gateway.url(),
        site.begin("alice", "test/a")
    );
    let before = peak_kib(&site);
    let curl = || {
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "-w", "%{http_code} %{size_download}", "-u"]);
        curl
    };
    let sent = run(curl().args(["alice:alice", "-T"]).arg(&path).arg(url));
    assert!(sent.starts_with("201"), "{sent}");
    let url = format!("{}/v2/test/a/blobs/{digest}", site.gateway.url());
    let got = dir.path().join("got");
    let said = run(curl().args(["bob:bob", "-o"]).arg(&got).arg(url));
    assert_eq!(said, format!("200 {BIG}"));
    let same = run(Command::new("sha256sum").arg(&got));
    assert_eq!(same.split(' ').next(), sum.split(' ').next());
    let grown = peak_kib(&site) - before;
    assert!(grown < 64 * 1024, "{grown} KiB more for a blob of 300 MiB");
}

#[test]
fn a_blob_is_mounted_only_from_where_the_caller_may_pull() {
    let site = Site::start();
    let blob = Blob::seeded(5, 1000);
    site.upload("alice", "test/a", &blob);
    site.upload("dan", "other/secret", &blob);
    let mount = |user: &str, to: &str, from: &str| {
        let target = format!("/v2/{to}/blobs/uploads/?mount={}&from={from}", blob.digest);
        site.call(user, "POST", &target, b"")
    };
    let mounted = mount("alice", "test/b", "test/a");
    assert_eq!(mounted.status(), 201, "{}", mounted.text());
    let there = format!("/v2/test/b/blobs/{}", blob.digest);
    assert_eq!(mounted.field("location"), Some(&*there));
    assert_eq!(site.call("bob", "HEAD", &there, b"").status(), 200);
    // She may push to other/secret, not pull from it: what is there she has to upload.
    let fallen_back = mount("alice", "test/c", "other/secret");
    assert_eq!(fallen_back.status(), 202);
    assert!(
        fallen_back
            .field("location")
            .unwrap()
            .contains("/v2/test/c/blobs/uploads/")
    );
    assert_eq!(mount("bob", "test/c", "test/a").status(), 403);
}

#[test]
fn an_upload_of_one_repository_does_not_go_on_in_another() {
    let site = Site::start();
    let location = site.begin("dan", "other/secret");
    let stolen = location.replace("other/secret", "test/a");
    for method in ["GET", "PATCH", "DELETE"] {
        assert_eq!(site.call("alice", method, &stolen, b"x").status(), 404);
        assert_eq!(site.call("bob", method, &location, b"x").status(), 403);
    }
    assert_eq!(site.call("dan", "GET", &location, b"").status(), 204);
}

#[test]
fn only_who_may_delete_does() {
    let site = Site::start();
    let manifest = site.push("alice", "test/a", "v1");
    let path = format!("/v2/test/a/manifests/{}", manifest.digest);
    assert_eq!(site.call("bob", "DELETE", &path, b"").status(), 403);
    assert_eq!(site.call("bob", "GET", &path, b"").status(), 200);
    assert_eq!(site.call("alice", "DELETE", &path, b"").status(), 202);
    assert_eq!(site.call("bob", "GET", &path, b"").status(), 404);
    let blob = Blob::new(b"{}".to_vec());
    let path = format!("/v2/test/a/blobs/{}", blob.digest);
    assert_eq!(site.call("bob", "DELETE", &path, b"").status(), 403);
    assert_eq!(site.call("alice", "DELETE", &path, b"").status(), 202);
}

#[test]
fn a_manifest_that_is_too_large_is_refused_by_its_length_and_by_its_bytes() {
    let site = Site::start();
    let big = vec![b' '; (4 << 20) + 1];
    let reply = site.call("alice", "PUT", "/v2/test/a/manifests/v1", &big);
    assert_eq!((reply.status(), &*code(&reply)), (413, "MANIFEST_INVALID"));
    let mut client = Client::connect(site.gateway.addr);
    let login = super::basic("alice");
    let fields = [("Authorization", &*login), ("Transfer-Encoding", "chunked")];
    client.ask("PUT", "/v2/test/a/manifests/v1", &fields);
    client.send_what_it_takes(format!("{:x}\r\n", big.len()).as_bytes());
    client.send_what_it_takes(&big);
    assert_eq!(client.reply("PUT").status(), 413);
}

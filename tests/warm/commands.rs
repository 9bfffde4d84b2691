//! `transship warm` as people and scripts meet it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use super::{Image, ended, last};
use crate::support::process::{Process, output};
use crate::support::transship::BINARY;
use crate::support::{Gate, Plan, Rig, until};

fn command(rig: &Rig, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .arg("warm")
        .args(arguments)
        .env("TRANSSHIP_ADMIN", format!("http://{}", rig.transship.admin))
        .env_remove("TRANSSHIP_ADMIN_TOKEN");
    command
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn said(command: &mut Command, input: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that reads nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn images_of_a_list_are_fetched_and_told_one_a_line() {
    let rig = Rig::start();
    let one = Image::make(&rig.origin, 1, &[100, 200_000]).tag(&rig.origin, "test/image", "one");
    let two = Image::make(&rig.origin, 9, &[100, 100_000]).tag(&rig.origin, "test/image", "two");
    let list = "# the release\ntest/image:two # and\n\n";
    let told = said(
        &mut command(&rig, &["test/image:one", "--file", "-", "--pin"]),
        list,
    );
    assert_eq!(told.code, Some(0), "{}", told.err);
    let lines: Vec<_> = told.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", told.out);
    assert!(
        lines[0].starts_with("test/image:one: 2 blobs, "),
        "{}",
        told.out
    );
    assert!(
        lines[1].starts_with("test/image:two: 2 blobs, "),
        "{}",
        told.out
    );
    assert!(
        !told.out.contains('\u{1b}') && told.err.is_empty(),
        "{}",
        told.err
    );
    one.assert_stored(&rig.transship);
    two.assert_stored(&rig.transship);
}

#[test]
fn programs_get_json_and_an_exit_code() {
    let rig = Rig::start();
    Image::make(&rig.origin, 1, &[100]).tag(&rig.origin, "test/image", "latest");
    let line = ["test/image", "test/image:nope", "--json", "--patience", "0"];
    let told = said(&mut command(&rig, &line), "");
    assert_eq!(told.code, Some(1), "{}", told.err);
    assert!(told.err.contains("1 of 2 images are here"), "{}", told.err);
    let jobs: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(jobs[0]["references"][1]["error"]["code"], "NOT_FOUND");
    let told = said(&mut command(&rig, &["test/image", "--detach"]), "");
    assert_eq!(told.code, Some(0), "{}", told.err);
    let id = last(&rig.transship);
    let begun = format!("job {id}: ");
    assert!(told.out.starts_with(&begun), "{}", told.out);
    assert_eq!(ended(&rig.transship, id)["state"], "done");

    for wrong in [
        &["Test/Image"][..],
        &[],
        &["a", "--platform", "amd64"],
        &["a", "--username", "u"],
        &["a", "--file", "/nonexistent/list"],
        &["--file", "-", "--username", "u", "--password-stdin"],
    ] {
        let told = said(&mut command(&rig, wrong), "");
        assert_eq!(told.code, Some(2), "{wrong:?}: {}", told.err);
    }
    let mut nobody = command(&rig, &["a"]);
    nobody.env("TRANSSHIP_ADMIN", "http://127.0.0.1:1");
    assert_eq!(output(&mut nobody).status.code(), Some(3));
}

#[test]
fn a_password_is_read_from_standard_input() {
    let rig = Rig::start();
    let image = Image::make(&rig.origin, 1, &[100]).tag(&rig.origin, "test/image", "latest");
    rig.origin
        .grant("test/image", "Basic YWxpY2U6czNjcmV0LXdvcmQ=");
    rig.origin.challenge("Basic realm=\"origin.test\"");
    let line = [
        "test/image",
        "--username",
        "alice",
        "--password-stdin",
        "--patience",
        "0",
    ];
    let told = said(&mut command(&rig, &line), "s3cret-word\n");
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    image.assert_stored(&rig.transship);
}

#[test]
fn an_interrupt_has_the_server_cancel_the_job() {
    // A laptop that is shut would leave a job behind that nobody watches.
    let rig = Rig::start();
    let image =
        Image::make(&rig.origin, 1, &[100, 400_000]).tag(&rig.origin, "test/image", "latest");
    let gate = Gate::new();
    rig.origin
        .plan(&image.blobs[1], Plan::whole().wait_at(200_000, &gate));
    let mut warming = Process::start("transship warm", &mut command(&rig, &["test/image"]));
    gate.reached();
    warming.signal(Signal::INT);
    assert_eq!(warming.exit().code(), Some(1), "{}", warming.log());
    assert_eq!(
        ended(&rig.transship, last(&rig.transship))["state"],
        "cancelled"
    );
    until("it says so", || warming.log().contains("cancelled"));
    gate.open();
}

//! The admin API and the commands that ask it, against a running server.

mod api;
mod commands;
mod described;
mod guard;
mod page;
mod top;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::Transship;
use crate::support::client::{Reply, call_admin as call};
use crate::support::process::output;
use crate::support::transship::BINARY;

/// What every change has to carry.
const OWN: (&str, &str) = ("X-Transship-Admin", "1");

#[track_caller]
fn get(server: &Transship, target: &str) -> Value {
    let reply = call(server.admin, "GET", target, "");
    assert_eq!(reply.status(), 200, "{target}: {}", reply.text());
    reply.json()
}

#[track_caller]
fn expect_error(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status(), status, "{}", reply.text());
    assert_eq!(reply.json()["error"]["code"], code, "{}", reply.text());
    assert!(reply.json()["error"]["message"].is_string());
}

/// What a command said and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn transship(admin: &str, arguments: &[&str]) -> Said {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .env("TRANSSHIP_ADMIN", admin)
        .env_remove("TRANSSHIP_ADMIN_TOKEN")
        .env_remove("REGISTRY_CONFIGURATION_PATH");
    said(&mut command)
}

fn said(command: &mut Command) -> Said {
    let output = output(command);
    Said {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Said {
    #[track_caller]
    fn expect(self, code: i32, words: &[&str]) -> Self {
        let (out, err) = (&self.out, &self.err);
        assert_eq!(self.code, Some(code), "{out}{err}");
        for word in words {
            assert!(
                out.contains(word) || err.contains(word),
                "no {word:?} in:\n{out}{err}"
            );
        }
        self
    }
}

fn url(server: &Transship) -> String {
    format!("http://{}", server.admin)
}

/// Whether somebody listens at a Unix socket.
fn listens(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

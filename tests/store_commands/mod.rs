//! `transship verify`, `import` and `pin`: what an operator does to a whole store.

mod import;
mod pin;
mod verify;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::output;
use crate::support::transship::BINARY;

/// What a command said on standard output, and how it ended.
struct Said {
    code: Option<i32>,
    text: String,
}

impl Said {
    #[track_caller]
    fn expect(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "no {word:?} in:\n{}", self.text);
        }
        self
    }
}

fn command(storage: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).arg("--storage").arg(storage);
    command.env_remove("REGISTRY_CONFIGURATION_PATH");
    command
}

fn transship(storage: &Path, arguments: &[&str]) -> Said {
    let output = output(&mut command(storage, arguments));
    let text = [output.stdout, output.stderr].concat();
    Said {
        code: output.status.code(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// Where a store has a blob or, as `manifests`, a manifest.
fn place(storage: &Path, tree: &str, digest: &str) -> PathBuf {
    let (algorithm, hex) = digest.split_once(':').unwrap();
    storage.join(tree).join(algorithm).join(&hex[..2]).join(hex)
}

/// Where a Docker registry has a blob.
fn data(root: &Path, digest: &str) -> PathBuf {
    place(&root.join("docker/registry/v2"), "blobs", digest).join("data")
}

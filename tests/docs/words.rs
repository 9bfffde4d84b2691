//! Words of programs that stand in running text and tables of docs/troubleshooting.md, where no stage says them.

use std::fs;
use std::path::Path;

use super::page::{self, Mark, root};
use super::{expect_none, stage};

/// First words of what is typed, not said.
const COMMANDS: [&str; 10] = [
    "ausearch",
    "curl",
    "docker",
    "journalctl",
    "last",
    "openssl",
    "podman",
    "systemctl",
    "restorecon",
    "transship",
];

/// What clients and kernels say, that no stage brings them to say.
const OTHERS: [&str; 7] = [
    "certificate has expired or is not yet valid",
    "connection reset by peer",
    "failed to copy: httpReadSeeker",
    "no basic auth credentials",
    "no such host",
    "tls: certificate required",
    "too many open files",
];

#[test]
fn messages_in_running_text_are_those_of_the_program() {
    // What was reworded in the program is looked for in vain on this page.
    let pages = page::all();
    let page = pages
        .iter()
        .find(|page| page.name == "docs/troubleshooting.md")
        .expect("docs/troubleshooting.md");
    let sources = sources(&root().join("src"));
    let is_said = |message: &str| {
        let says = page
            .blocks
            .iter()
            .filter(|block| matches!(block.mark(), Ok(Some(Mark::Says { .. }))));
        says.flat_map(|block| block.text.lines())
            .any(|line| stage::is_like(line, message))
    };
    let messages = page.codes.iter().filter(|(_, code)| is_message(code));
    let (mut count, mut wrong) = (0, Vec::new());
    for (line, message) in messages {
        count += 1;
        let is_ours = || message.split('…').all(|part| sources.contains(part.trim()));
        if !OTHERS.contains(&&**message) && !is_said(message) && !is_ours() {
            wrong.push(format!("{}:{line}: nobody says: {message}", page.name));
        }
    }
    assert!(count > 20, "only {count} messages were found");
    expect_none(&wrong);
}

/// Whether it reads like a sentence that a program says.
fn is_message(code: &str) -> bool {
    let mut words = code.split_whitespace();
    let first = words.next().unwrap_or_default();
    words.count() >= 2
        && !COMMANDS.contains(&first)
        && !code.contains(['/', '=', '"', '{', '$', '|'])
}

/// The program's sources, with texts that go over several lines as they are said.
fn sources(dir: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &sources(&path);
        } else if path.extension().is_some_and(|is| is == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut joined = text.split("\\\n");
            all += joined.next().unwrap_or_default();
            for part in joined {
                all += part.trim_start();
            }
        }
    }
    all
}

//! The configuration: any file and any environment is read or refused, and no secret is ever printed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use transship::config::{Sources, load};

/// Stands wherever a secret may; nothing that is printed may hold it.
const SECRET: &str = "hunter2-of-the-fuzzer";

/// Secrets, and places that are no secrets but take one along.
const SECRETS: [(&str, &str); 4] = [
    ("REGISTRY_PROXY_PASSWORD", "hunter2-of-the-fuzzer"),
    ("REGISTRY_HTTP_SECRET", "hunter2-of-the-fuzzer"),
    ("REGISTRY_REDIS_PASSWORD", "hunter2-of-the-fuzzer"),
    (
        "REGISTRY_PROXY_REMOTEURL",
        "https://user:hunter2-of-the-fuzzer@registry.example",
    ),
];

/// Loads, and looks through everything that is printed in the end.
fn load_and_look(sources: &Sources) {
    let printed = match load(sources) {
        Ok(effective) => {
            let values: Vec<_> = effective
                .values
                .iter()
                .map(|row| row.value.as_str())
                .collect();
            format!(
                "{:?} {values:?} {:?}",
                effective.warnings, effective.settings
            )
        }
        Err(failure) => {
            assert!(!failure.problems.is_empty(), "refused without a word");
            format!("{failure} {:?} {:?}", failure.problems, failure.warnings)
        }
    };
    assert!(!printed.contains(SECRET), "{printed}");
}

fn sources(text: &str) -> Sources {
    Sources {
        file: Some((PathBuf::from("config.yml"), text.to_owned())),
        is_root: true,
        ..Sources::default()
    }
}

pub fn check_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // What the file says by itself, then with secrets laid over it.
    let mut sources = sources(&text);
    drop(load(&sources));
    for secrets in [&SECRETS[..1], &SECRETS[..], &SECRETS[3..]] {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        sources.env = secrets.iter().map(owned).collect();
        load_and_look(&sources);
    }
}

/// Lines of `NAME=value`, over a file that has a bit of everything.
pub fn check_environment(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut env: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let file = "version: 0.1\nhttp: {addr: ':5000', headers: {X: [a]}}\nlog: {fields: {a: b}}\n\
                middleware: {registry: [{name: downstream, options: {upstreams: [https://a.example]}}]}\n";
    let mut sources = sources(file);
    env.entry("REGISTRY_PROXY_PASSWORD".to_owned())
        .or_insert_with(|| SECRET.to_owned());
    sources.env = env;
    load_and_look(&sources);
}

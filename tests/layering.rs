//! Holds the code against the drawing in ARCHITECTURE.md: which module may use which.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its sources has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Each module and what it may use; `crate::x` and `super::` within a module are always allowed.
const MAY_USE: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("live", &[]),
    ("health", &["limits"]),
    ("digest", &["limits"]),
    ("metrics", &["limits"]),
    ("http", &["digest", "limits"]),
    ("registry", &["digest", "http", "limits"]),
    ("auth", &["digest", "limits", "registry"]),
    ("rt", &["limits"]),
    (
        "access_log",
        &["digest", "http", "limits", "live", "metrics", "registry"],
    ),
    (
        "store",
        &["digest", "limits", "live", "metrics", "registry", "rt"],
    ),
    (
        "upstream",
        &[
            "auth", "digest", "http", "limits", "live", "metrics", "registry", "rt",
        ],
    ),
    (
        "fill",
        &[
            "auth", "digest", "limits", "live", "metrics", "rt", "store", "upstream",
        ],
    ),
    (
        "access",
        &[
            "auth", "digest", "limits", "live", "metrics", "registry", "rt", "store", "upstream",
        ],
    ),
    (
        "manifests",
        &[
            "access", "digest", "limits", "metrics", "registry", "rt", "store", "upstream",
        ],
    ),
    (
        "warm",
        &[
            "access",
            "digest",
            "fill",
            "limits",
            "manifests",
            "metrics",
            "registry",
            "rt",
            "store",
            "upstream",
        ],
    ),
    (
        "server",
        &[
            "access",
            "access_log",
            "auth",
            "digest",
            "fill",
            "http",
            "limits",
            "manifests",
            "live",
            "metrics",
            "registry",
            "rt",
            "store",
            "upstream",
        ],
    ),
    (
        "admin",
        &[
            "auth", "digest", "fill", "http", "limits", "live", "metrics", "rt", "store",
            "upstream", "warm",
        ],
    ),
    // Nothing of the cache's runtime, and no room of the cache itself.
    ("gateway", &["auth", "digest", "limits", "registry"]),
    // Types only: the Options of every module.
    (
        "config",
        &[
            "access",
            "access_log",
            "admin",
            "auth",
            "fill",
            "gateway",
            "health",
            "limits",
            "rt",
            "server",
            "store",
            "upstream",
        ],
    ),
    (
        "cli",
        &[
            "access",
            "access_log",
            "admin",
            "config",
            "digest",
            "fill",
            "gateway",
            "health",
            "limits",
            "metrics",
            "rt",
            "server",
            "store",
            "upstream",
            "warm",
        ],
    ),
    ("main", &["cli"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// Returns the modules that a line names as `crate::<module>`, outside of comments.
fn named(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    code.split("crate::")
        .skip(1)
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

#[test]
fn no_module_looks_up_or_sideways() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for (module, may_use) in MAY_USE {
        let folder = root.join(module);
        if !folder.is_dir() {
            continue;
        }
        for path in sources(&folder) {
            let text = fs::read_to_string(&path).unwrap();
            // Tests may borrow from anywhere: what they use does not ship.
            let shipped = text.split("#[cfg(test)]").next().unwrap();
            if path.file_name().is_some_and(|name| name == "tests.rs") {
                continue;
            }
            for used in shipped.lines().flat_map(named) {
                if used != *module && !used.is_empty() && !may_use.contains(&used.as_str()) {
                    wrong.push(format!(
                        "{} uses {used}",
                        path.strip_prefix(&root).unwrap().display()
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "against ARCHITECTURE.md:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_module_is_in_the_drawing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let drawing = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    for item in fs::read_dir(root.join("src")).unwrap() {
        let path = item.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            assert!(
                MAY_USE.iter().any(|(module, _)| *module == name),
                "{name} has no place"
            );
            assert!(drawing.contains(&name), "{name} is not in ARCHITECTURE.md");
        }
    }
}

#[test]
fn unsafe_code_and_the_runtime_crate_stay_in_rt() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root) {
        if path.starts_with(root.join("rt")) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            let at = format!("{}:{}", path.display(), number + 1);
            assert!(!code.contains("unsafe "), "unsafe code at {at}");
            assert!(!code.contains("monoio::"), "monoio at {at}");
        }
    }
}

//! The walk over a configuration that finds what is unknown, ignored, refused or out of place.
//!
//! It looks at keys; what their values say is for the readers. One remark per key: below a key that is
//! ignored or refused nothing more is said.

use super::keys::{self, Key, Kind, Treatment};
use super::read;
use super::report::{Report, near, quoted};
use super::tree::{Content, Entry, Node};

/// Remarks on every key of the tree.
pub(super) fn walk(root: &Node, report: &mut Report) {
    match &root.content {
        Content::Null => {}
        Content::Map(entries) => section("", "", entries, report),
        Content::Scalar(_) | Content::List(_) => report.problem(
            &root.origin,
            "",
            format!(
                "{} is no configuration: want a map that begins with version: 0.1",
                root.what()
            ),
        ),
    }
}

/// Remarks on the keys of one section. `prefix` is its path in the table, `shown` the path with indexes.
fn section(prefix: &str, shown: &str, entries: &[Entry], report: &mut Report) {
    for entry in entries {
        let shown = keys::join(shown, &entry.key);
        match keys::find(&keys::join(prefix, &entry.key)) {
            // A dot in a key of the file would name a key further down.
            Some(key) if !entry.key.contains('.') => known(key, &shown, entry, report),
            _ => unknown(prefix, &shown, entry, report),
        }
    }
}

fn unknown(prefix: &str, shown: &str, entry: &Entry, report: &mut Report) {
    let meant = near(&entry.key, keys::names_below(prefix))
        .map(|name| format!("; did you mean {}?", keys::join(prefix, name)))
        .unwrap_or_default();
    if prefix == "storage" {
        let text = format!("no such storage driver: use storage.filesystem{meant}");
        report.problem(&entry.origin, shown, text);
    } else if prefix == "auth" {
        let text = format!("no such authentication here: use auth.htpasswd or auth.token{meant}");
        report.problem(&entry.origin, shown, text);
    } else if matches!(prefix.split('.').next(), Some("transship" | "gateway")) {
        let known: Vec<_> = keys::names_below(prefix).collect();
        let text = format!("unknown key{meant} (known here: {})", known.join(", "));
        report.problem(&entry.origin, shown, text);
    } else {
        let text = format!("unknown key, ignored here as by the registry{meant}");
        report.warning(&entry.origin, shown, text);
    }
}

fn known(key: &'static Key, shown: &str, entry: &Entry, report: &mut Report) {
    let node = &entry.value;
    match key.treatment {
        Treatment::Used => descend(key, shown, node, report),
        Treatment::Ignored(reason) if !node.is_empty() => {
            report.warning(&entry.origin, shown, format!("ignored: {reason}"));
        }
        Treatment::Refused(advice) if !node.is_empty() || is_chosen_by_name(key) => {
            report.problem(&entry.origin, shown, format!("not supported: {advice}"));
        }
        Treatment::Ignored(_) | Treatment::Refused(_) => {}
        Treatment::Renamed(path) => {
            report.warning(&entry.origin, shown, format!("old name: write {path}"));
        }
        Treatment::Only(values, advice) => {
            if !has_one_of(node, values) {
                let text = format!("{} is not supported: {advice}", found(node));
                report.problem(&node.origin, shown, text);
            }
        }
        Treatment::Without(values, reason) => {
            if !has_one_of(node, values) {
                report.warning(&node.origin, shown, format!("ignored: {reason}"));
            }
        }
    }
}

/// Says whether the mere name of a key chooses it: drivers of storage and types of authentication.
fn is_chosen_by_name(key: &Key) -> bool {
    key.path.starts_with("storage.") || key.path.starts_with("auth.")
}

/// Returns what stands at `node`, for a remark.
fn found(node: &Node) -> String {
    match &node.content {
        Content::Scalar(text) => quoted(text),
        _ => node.what().to_owned(),
    }
}

/// Says whether `node` is empty or one of `values`.
fn has_one_of(node: &Node, values: &[&str]) -> bool {
    match &node.content {
        Content::Scalar(text) => values.iter().any(|value| text.eq_ignore_ascii_case(value)),
        _ => node.is_empty(),
    }
}

/// Goes on into what stands below a key that is used.
fn descend(key: &'static Key, shown: &str, node: &Node, report: &mut Report) {
    match (key.kind, &node.content) {
        (Kind::Section, Content::Map(entries)) => section(key.path, shown, entries, report),
        (Kind::Section, Content::Null) | (Kind::Entries, Content::Null) => {}
        (Kind::Section, _) => {
            let known: Vec<_> = keys::names_below(key.path).collect();
            let text = format!("{}: want a section with {}", node.what(), known.join(", "));
            report.problem(&node.origin, shown, text);
        }
        (Kind::Entries, Content::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                middleware(key, &format!("{shown}[{index}]"), item, report);
            }
        }
        (Kind::Entries, _) => {
            let text = format!("{}: want a list of - name: …", node.what());
            report.problem(&node.origin, shown, text);
        }
        (Kind::Sections, Content::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                let shown = format!("{shown}[{index}]");
                match &item.content {
                    Content::Map(entries) => section(key.path, &shown, entries, report),
                    _ => want_map(key.path, &shown, item, report),
                }
            }
        }
        (Kind::Sections, Content::Null) => {}
        (Kind::Sections, _) => {
            let text = format!("{}: want a list of maps", node.what());
            report.problem(&node.origin, shown, text);
        }
        (Kind::Upstreams, Content::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                section(
                    key.path,
                    &format!("{shown}[{index}]"),
                    item.entries(),
                    report,
                );
            }
        }
        _ => {}
    }
}

fn want_map(path: &str, shown: &str, item: &Node, report: &mut Report) {
    let known: Vec<_> = keys::names_below(path).collect();
    let text = format!("{}: want a map with {}", item.what(), known.join(", "));
    report.problem(&item.origin, shown, text);
}

/// The only registry middleware that there is.
pub(super) const DOWNSTREAM: &str = "downstream";

/// Remarks on one entry of a list of middleware.
fn middleware(key: &'static Key, shown: &str, item: &Node, report: &mut Report) {
    let Content::Map(entries) = &item.content else {
        let text = format!("{}: want a map with name and options", item.what());
        report.problem(&item.origin, shown, text);
        return;
    };
    if is_disabled(item) {
        return;
    }
    if key.path != "middleware.registry" {
        let text = "not supported: transship runs no middleware of this kind; remove it or set disabled: true";
        report.problem(&item.origin, shown, text);
        return;
    }
    match item.child("name").map(|name| &name.content) {
        Some(Content::Scalar(name)) if name == DOWNSTREAM => {
            section(key.path, shown, entries, report)
        }
        Some(_) => {
            let text = "no such middleware here: the one that transship has is called downstream; remove this \
                        one or set disabled: true";
            report.problem(&item.origin, shown, text);
        }
        None => report.problem(&item.origin, shown, "has no name: want name: downstream"),
    }
}

/// Says whether an entry of a list of middleware is switched off.
pub(super) fn is_disabled(item: &Node) -> bool {
    match item.child("disabled").map(|disabled| &disabled.content) {
        Some(Content::Scalar(text)) => read::boolean(text) == Some(true),
        _ => false,
    }
}

//! `REGISTRY_A_B_C`: overrides from the environment, laid over the tree of the file.
//!
//! As in the registry: variables apply in the order of their names, so that `REGISTRY_HTTP` comes before
//! `REGISTRY_HTTP_ADDR`; a value is YAML and replaces whatever stood there; maps and lists come into being
//! on demand; a list's elements are reached by number; what matches no key is a warning, because
//! Kubernetes sets `REGISTRY_PORT` and its like wherever a service is called "registry". Names are matched
//! against the table of keys, longest first, so that a key with an underscore in it can be reached.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::keys::{self, Kind, Treatment};
use super::report::{Origin, Report};
use super::tree::{self, Content, Entry, Node, Source};

/// The variable that names the configuration file, which is no override.
pub(super) const PATH_VARIABLE: &str = "REGISTRY_CONFIGURATION_PATH";

/// Lays every override of `environment` over `root`.
pub(super) fn apply(root: &mut Node, environment: &BTreeMap<String, String>, report: &mut Report) {
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix("REGISTRY_") else {
            continue;
        };
        if name == PATH_VARIABLE {
            continue;
        }
        override_one(root, name, rest, value, report);
    }
}

fn override_one(root: &mut Node, name: &str, rest: &str, value: &str, report: &mut Report) {
    let source: Arc<str> = name.into();
    let origin = Origin::Env(Arc::clone(&source));
    if rest.eq_ignore_ascii_case("version") {
        report.warning(
            &origin,
            "version",
            "the version cannot be overridden: ignored",
        );
        return;
    }
    let lower = rest.to_lowercase();
    let segments: Vec<&str> = lower.split('_').collect();
    let Some(steps) = resolve("", &segments) else {
        report.warning(&origin, "", "matches no key of the configuration: ignored");
        return;
    };
    let shown = shown(&steps);
    let kind = keys::find(&table_path(&steps)).map_or(Kind::Any, |key| key.kind);
    let parsed = tree::parse(value, &Source::Env(source));
    let node = match parsed {
        Ok(node) if !kind.is_text() || node.is_empty() => node,
        Ok(node) if matches!(node.content, Content::Scalar(_)) => node,
        // An address such as [::1]:5000 begins a YAML list, a password may begin anything.
        _ if kind.is_text() => Node::scalar(value.to_owned(), origin.clone()),
        Ok(node) => node,
        Err(remark) => {
            report.problem(&origin, &shown, remark.text);
            return;
        }
    };
    if let Err(text) = set(root, &steps, node, &origin) {
        report.problem(&origin, &shown, text);
    }
    if shown == "storage" || shown == "auth" {
        root.name_to_map(&shown);
    }
}

/// One step down from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To this key of a map.
    Key(String),
    /// To this element of a list.
    Index(usize),
}

/// Returns the steps that `segments` of a variable's name stand for below the table's `prefix`.
fn resolve(prefix: &str, segments: &[&str]) -> Option<Vec<Step>> {
    let Some(first) = segments.first() else {
        return Some(Vec::new());
    };
    if segments.iter().any(|segment| segment.is_empty()) {
        return None;
    }
    let key = keys::find(prefix);
    if key.is_some_and(|key| key.kind.is_list())
        && let Ok(index) = first.parse()
    {
        let below = match segments.len() {
            1 => Vec::new(),
            _ => resolve_name(prefix, &segments[1..])?,
        };
        return Some(prepend(Step::Index(index), below));
    }
    match key {
        Some(key) if matches!(key.kind, Kind::Map | Kind::Headers | Kind::SecretHeaders) => {
            Some(vec![Step::Key(segments.join("_"))])
        }
        Some(key) if matches!(key.treatment, Treatment::Ignored(_) | Treatment::Refused(_)) => {
            Some(
                segments
                    .iter()
                    .map(|segment| Step::Key((*segment).to_owned()))
                    .collect(),
            )
        }
        Some(key) if key.kind.is_list() => None,
        _ => resolve_name(prefix, segments),
    }
}

/// Returns the steps where the next one is a key's name, trying the longest name first.
fn resolve_name(prefix: &str, segments: &[&str]) -> Option<Vec<Step>> {
    (1..=segments.len()).rev().find_map(|taken| {
        let name = segments[..taken].join("_");
        let path = keys::join(prefix, &name);
        keys::find(&path)?;
        let below = resolve(&path, &segments[taken..])?;
        Some(prepend(Step::Key(name), below))
    })
}

fn prepend(step: Step, mut below: Vec<Step>) -> Vec<Step> {
    below.insert(0, step);
    below
}

/// Returns the steps as the table of keys writes them.
fn table_path(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Key(name) => keys::join(&path, name),
        Step::Index(_) => path,
    })
}

/// Returns the steps as a remark shows them.
fn shown(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Key(name) => keys::join(&path, name),
        Step::Index(index) => format!("{path}[{index}]"),
    })
}

/// Puts `value` where `steps` lead from `node`, making maps and lists on the way.
///
/// # Errors
///
/// A text for the operator when something else than a map or list is in the way, or an index leaves a gap.
pub(super) fn set(
    node: &mut Node,
    steps: &[Step],
    value: Node,
    origin: &Origin,
) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        *node = value;
        return Ok(());
    };
    match step {
        Step::Key(name) => {
            let entries = map_of(node, origin)?;
            let at = entries
                .iter()
                .position(|entry| entry.key.eq_ignore_ascii_case(name))
                .unwrap_or(entries.len());
            if at == entries.len() {
                entries.push(Entry {
                    key: name.clone(),
                    origin: origin.clone(),
                    value: Node::null(origin.clone()),
                });
            }
            if rest.is_empty() {
                entries[at].origin = origin.clone();
            }
            set(&mut entries[at].value, rest, value, origin)
        }
        Step::Index(index) => {
            let items = list_of(node, origin)?;
            if *index > items.len() {
                return Err(format!(
                    "index {index} leaves a gap: the list has {} elements",
                    items.len()
                ));
            }
            if *index == items.len() {
                items.push(Node::null(origin.clone()));
            }
            set(&mut items[*index], rest, value, origin)
        }
    }
}

/// Returns the entries of a map; an empty node becomes one.
fn map_of<'a>(node: &'a mut Node, origin: &Origin) -> Result<&'a mut Vec<Entry>, String> {
    if node.content == Content::Null {
        *node = Node {
            content: Content::Map(Vec::new()),
            origin: origin.clone(),
        };
    }
    let what = node.what();
    match &mut node.content {
        Content::Map(entries) => Ok(entries),
        _ => Err(format!("cannot be reached: above it stands {what}")),
    }
}

fn list_of<'a>(node: &'a mut Node, origin: &Origin) -> Result<&'a mut Vec<Node>, String> {
    if node.content == Content::Null {
        *node = Node {
            content: Content::List(Vec::new()),
            origin: origin.clone(),
        };
    }
    let what = node.what();
    match &mut node.content {
        Content::List(items) => Ok(items),
        _ => Err(format!(
            "cannot be reached: {what} stands there, not a list"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(name: &str) -> Option<String> {
        let lower = name.to_lowercase();
        let segments: Vec<&str> = lower.split('_').collect();
        resolve("", &segments).map(|steps| shown(&steps))
    }

    #[test]
    fn a_name_finds_its_key_even_with_underscores_in_it() {
        for (name, path) in [
            ("HTTP_ADDR", "http.addr"),
            ("http_Tls_ClientCAs_0", "http.tls.clientcas[0]"),
            (
                "TRANSSHIP_SERVER_IDLE_TIMEOUT",
                "transship.server.idle_timeout",
            ),
            (
                "TRANSSHIP_UPSTREAM_REALMS_2",
                "transship.upstream.realms[2]",
            ),
            (
                "MIDDLEWARE_REGISTRY_0_OPTIONS_BLOBTTL",
                "middleware.registry[0].options.blobttl",
            ),
            (
                "MIDDLEWARE_REGISTRY_0_OPTIONS_UPSTREAMS_1_UPSTREAMHOSTS_0",
                "middleware.registry[0].options.upstreams[1].upstreamhosts[0]",
            ),
            ("LOG_FIELDS_DATA_CENTRE", "log.fields.data_centre"),
            ("STORAGE_S3_BUCKET", "storage.s3.bucket"),
        ] {
            assert_eq!(steps(name).as_deref(), Some(path), "{name}");
        }
    }

    #[test]
    fn what_kubernetes_sets_matches_no_key() {
        for name in [
            "PORT",
            "SERVICE_HOST",
            "PORT_5000_TCP_ADDR",
            "HTTP__ADDR",
            "",
            "HTTP_ADDR_",
            "MIDDLEWARE_REGISTRY_NAME",
        ] {
            assert_eq!(steps(name), None, "{name}");
        }
    }
}

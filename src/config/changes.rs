//! What differs between the configuration that runs and one that was just read.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::{self, Applies, Treatment};
use super::read::Value;
use crate::auth::Secret;

/// What a key is compared by: its value as it is shown, and what is not shown of it.
type Content = (String, Option<Secret>);

/// The values that a running process goes by. Keys only are ever told of it.
#[derive(Clone, Debug)]
pub struct Running(BTreeMap<String, Content>);

/// Keys whose values differ, each once, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that count at once.
    pub applied: Vec<String>,
    /// Those that count with the next start.
    pub needs_restart: Vec<String>,
}

impl Running {
    /// Returns what a process goes by that starts with `values`.
    #[must_use]
    pub fn new(values: &[Value]) -> Self {
        Self(contents(values))
    }

    /// Compares what runs with `values`, and takes up those that count at once. The others stay different, and
    /// are told of again the next time.
    pub fn take_up(&mut self, values: &[Value]) -> Changes {
        let read = contents(values);
        let keys: BTreeSet<_> = self.0.keys().chain(read.keys()).cloned().collect();
        let mut changes = Changes::default();
        for key in keys {
            let new = read.get(&key);
            if self.0.get(&key) == new {
                continue;
            }
            if applies(&key) == Applies::Restart {
                changes.needs_restart.push(key);
                continue;
            }
            match new {
                Some(new) => drop(self.0.insert(key.clone(), new.clone())),
                None => drop(self.0.remove(&key)),
            }
            changes.applied.push(key);
        }
        changes
    }
}

fn contents(values: &[Value]) -> BTreeMap<String, Content> {
    // What nobody said has a row by its last name alone: a change is told by the name that it was said by.
    let is_said = |value: &&Value| value.key.contains('.') || keys::find(&value.key).is_some();
    let content = |value: &Value| (value.value.clone(), value.hidden.clone());
    let values = values.iter().filter(is_said);
    values
        .map(|value| (value.key.clone(), content(value)))
        .collect()
}

/// Says when a change of `shown`, a key with indexes, counts.
fn applies(shown: &str) -> Applies {
    let mut path = without_indexes(shown);
    loop {
        match keys::find(&path) {
            Some(key) => match key.treatment {
                Treatment::Renamed(to) => path = to.to_owned(),
                _ => return key.applies,
            },
            // Below a map stand names of the operator's choice.
            None => match path.rsplit_once('.') {
                Some((above, _)) => path = above.to_owned(),
                None => return Applies::Restart,
            },
        }
    }
}

fn without_indexes(shown: &str) -> String {
    let mut path = String::new();
    for part in shown.split('[') {
        path.push_str(part.split_once(']').map_or(part, |(_, rest)| rest));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn values(yaml: &str) -> Vec<Value> {
        let file = Some(("c.yml".into(), format!("version: 0.1\n{yaml}")));
        let sources = Sources {
            file,
            ..Sources::default()
        };
        load(&sources).unwrap_or_else(|e| panic!("{e}")).values
    }

    #[track_caller]
    fn expect(old: &str, new: &str, applied: &[&str], needs_restart: &[&str]) {
        let mut running = Running::new(&values(old));
        let changes = running.take_up(&values(new));
        assert_eq!(changes.applied, applied);
        assert_eq!(changes.needs_restart, needs_restart);
        // What was applied is what runs; what waits is told of as long as it does.
        let again = running.take_up(&values(new));
        assert_eq!(again.applied, [""; 0]);
        assert_eq!(again.needs_restart, needs_restart);
    }

    #[test]
    fn a_change_is_told_by_its_key_and_by_when_it_counts() {
        expect("", "", &[], &[]);
        expect(
            "log: {level: info}\nhttp: {addr: ':1'}",
            "loglevel: debug\nhttp: {addr: ':2'}",
            &["log.level", "loglevel"],
            &["http.addr"],
        );
        expect("", "log: {fields: {dc: east}}", &["log.fields.dc"], &[]);
        expect(
            "http: {headers: {X-A: [b]}}",
            "http: {headers: {X-A: [c]}}",
            &[],
            &["http.headers.X-A[0]"],
        );
        expect(
            "proxy: {remoteurl: 'https://a'}",
            "proxy: {remoteurl: 'https://b', ttl: 0}",
            &["proxy.ttl"],
            &["proxy.remoteurl"],
        );
        expect(
            "",
            "storage: {delete: {enabled: true}}\nmiddleware: {registry: [{name: downstream, options: \
             {blobttl: 1h, upstreams: ['https://a']}}]}",
            &[
                "middleware.registry[0].options.blobttl",
                "storage.delete.enabled",
            ],
            &["middleware.registry[0].options.upstreams[0]"],
        );
    }

    #[test]
    fn a_change_of_a_secret_is_seen_and_not_shown() {
        let with = |token: &str| format!("transship: {{admin: {{token: {token}}}}}");
        let (old, new) = (with("0123456789abcdef"), with("0123456789abcdeF"));
        expect(&old, &new, &["transship.admin.token"], &[]);
        expect(
            "http: {addr: 'localhost:1'}\nproxy: {remoteurl: 'https://a', username: u, password: one}",
            "http: {addr: 'localhost:1'}\nproxy: {remoteurl: 'https://a', username: u, password: two}",
            &[],
            &["proxy.password"],
        );
        assert!(!format!("{:?}", values(&new)).contains("abcdeF"));
    }
}

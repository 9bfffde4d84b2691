//! Readers of values: from a spot in the tree to a typed value, with a remark when it is not one.
//!
//! Every reader takes its default from the table of keys, leaves one row for `check`, and returns `None`
//! only after it has reported why; so a caller reads all of its values first and combines them afterwards,
//! and every independent error is reported at once.

use std::path::PathBuf;
use std::time::Duration;

use super::duration::{self, Form};
use super::keys::{self, Key, Kind};
use super::report::{Origin, Report, quoted};
use super::tree::{Content, Node};
use crate::auth::Secret;
use crate::rt::ListenAddr;

/// One effective value, as `check` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The key, with indexes.
    pub key: String,
    /// The value as the file would have it; `(hidden)` for a secret, empty when there is none.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What is hidden, to be compared and never shown.
    pub(super) hidden: Option<Secret>,
}

/// A place in the tree that may or may not be filled.
#[derive(Clone, Debug)]
pub(super) struct Spot<'a> {
    node: Option<&'a Node>,
    /// The path in the table of keys.
    path: String,
    /// The path with indexes, for remarks.
    pub(super) shown: String,
}

impl<'a> Spot<'a> {
    /// Returns the top of a tree.
    pub(super) const fn root(node: &'a Node) -> Self {
        Self {
            node: Some(node),
            path: String::new(),
            shown: String::new(),
        }
    }

    /// Returns `value` as a spot of its own, named `shown`, outside of any table.
    pub(super) const fn lone(value: &'a Node, shown: String) -> Self {
        Self {
            node: Some(value),
            path: String::new(),
            shown,
        }
    }

    /// Returns the spot that `path` (names joined by dots) leads to from here.
    pub(super) fn find(&self, path: &str) -> Self {
        path.split('.').fold(self.clone(), |spot, name| Self {
            node: spot.node.and_then(|node| node.child(name)),
            path: keys::join(&spot.path, name),
            shown: keys::join(&spot.shown, name),
        })
    }

    /// Returns `value`, which stands at the free name `name` below here.
    pub(super) fn at(&self, value: &'a Node, name: &str) -> Self {
        Self {
            node: Some(value),
            path: self.path.clone(),
            shown: keys::join(&self.shown, name),
        }
    }

    /// Returns this spot with what stands at `other`, an older name of it.
    pub(super) fn standing_at(self, other: &Self) -> Self {
        Self {
            node: other.node,
            shown: other.shown.clone(),
            path: self.path,
        }
    }

    /// Returns what stands here; `None` when nothing does, or something empty.
    pub(super) fn node(&self) -> Option<&'a Node> {
        self.node.filter(|node| node.content != Content::Null)
    }

    /// Returns the elements of the list here, as spots. What is no list has none.
    pub(super) fn items(&self) -> Vec<Self> {
        let Some(Content::List(items)) = self.node.map(|node| &node.content) else {
            return Vec::new();
        };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| Self {
                node: Some(item),
                path: self.path.clone(),
                shown: format!("{}[{index}]", self.shown),
            })
            .collect()
    }

    /// Returns the place of what stands here.
    pub(super) fn origin(&self) -> Origin {
        self.node
            .map_or(Origin::Default, |node| node.origin.clone())
    }

    fn key(&self) -> Option<&'static Key> {
        keys::find(&self.path)
    }
}

/// What reading has found so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) report: Report,
    pub(super) values: Vec<Value>,
}

impl Reader {
    /// Leaves a row for `check`.
    pub(super) fn row(&mut self, key: &str, value: impl Into<String>, origin: Origin) {
        self.values.push(Value {
            key: key.to_owned(),
            value: value.into(),
            origin,
            hidden: None,
        });
    }

    fn hidden_row(&mut self, key: &str, secret: &str, origin: Origin) {
        self.row(key, "(hidden)", origin);
        if let Some(row) = self.values.last_mut() {
            row.hidden = Some(Secret::new(secret));
        }
    }

    /// Reports what stands at `spot`, with `want`: what is accepted.
    pub(super) fn refuse(&mut self, spot: &Spot<'_>, want: &str) {
        let secret = spot.key().is_some_and(|key| key.kind.is_secret());
        let found = match spot.node.map(|node| &node.content) {
            Some(Content::Scalar(_)) if secret => "the value".to_owned(),
            Some(Content::Scalar(text)) => quoted(text),
            _ => spot.node.map_or("nothing", Node::what).to_owned(),
        };
        let text = format!("{found} is not accepted: want {want}");
        self.report.problem(&spot.origin(), &spot.shown, text);
    }

    /// Returns what `parse` makes of the text at `spot`, or of its default; the inner `None` where there is
    /// neither.
    pub(super) fn parsed<T>(
        &mut self,
        spot: &Spot<'_>,
        want: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Option<T>> {
        let (text, origin) = match spot.node().map(|node| &node.content) {
            Some(Content::Scalar(text)) => (text.as_str(), spot.origin()),
            Some(_) => {
                self.refuse(spot, want);
                return None;
            }
            None => (spot.key().map_or("", |key| key.default), Origin::Default),
        };
        if text.is_empty() && origin == Origin::Default {
            return Some(None);
        }
        let Some(value) = parse(text) else {
            self.refuse(spot, want);
            return None;
        };
        self.row_of(spot, text, origin);
        Some(Some(value))
    }

    /// Leaves a row for `check` of `text`, which stands at `spot` or is its default: hidden where the key is secret.
    pub(super) fn row_of(&mut self, spot: &Spot<'_>, text: &str, origin: Origin) {
        let is_secret = spot.key().is_some_and(|key| key.kind.is_secret());
        match is_secret {
            true => self.hidden_row(&spot.shown, text, origin),
            false => self.row(&spot.shown, text, origin),
        }
    }

    /// Returns a duration, or `None` in the inner option where neither file nor table give one.
    pub(super) fn duration(&mut self, spot: &Spot<'_>) -> Option<Option<Duration>> {
        let zero = spot
            .key()
            .is_none_or(|key| key.kind == Kind::Duration { zero: true });
        let ours = spot.path.starts_with("transship.");
        let want = match (zero, ours) {
            (true, _) => "a duration such as 30s, 10m or 24h, or 0",
            (false, true) => "a duration above zero with its unit, such as 30s or 10m",
            (false, false) => {
                "a positive integer and a unit of ns, us, ms, s, m or h, such as 24h (without a unit: ns)"
            }
        };
        let parsed = self.parsed(spot, want, |text| {
            duration::parse(text)
                .filter(|(duration, _)| zero || !duration.is_zero())
                .filter(|(duration, form)| !(ours && *form == Form::Bare && !duration.is_zero()))
                .map(|(duration, form)| (text.to_owned(), duration, form))
        })?;
        let Some((text, duration, form)) = parsed else {
            return Some(None);
        };
        if form == Form::Bare && !duration.is_zero() {
            let said = format!(
                "{text} has no unit and is {text} nanoseconds, which is hardly meant: write {text}s for seconds"
            );
            self.report.warning(&spot.origin(), &spot.shown, said);
        }
        if form == Form::Compound && spot.path.ends_with(".blobttl") {
            let said = format!(
                "{text} is read as Go does; the content cache's documents allow one integer and one unit"
            );
            self.report.warning(&spot.origin(), &spot.shown, said);
        }
        Some(Some(duration))
    }

    /// Returns a boolean; `false` where neither file nor table give one.
    pub(super) fn boolean(&mut self, spot: &Spot<'_>) -> Option<bool> {
        self.parsed(spot, "true or false", boolean)
            .map(Option::unwrap_or_default)
    }

    /// Returns a whole number within the bounds of the key.
    pub(super) fn integer(&mut self, spot: &Spot<'_>) -> Option<Option<u64>> {
        let (min, max) = match spot.key().map(|key| key.kind) {
            Some(Kind::Integer(min, max)) => (min, max),
            _ => (0, u64::MAX),
        };
        let want = format!("a whole number from {min} to {max}");
        self.parsed(spot, &want, |text| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse()
                .ok()
                .filter(|number| digits && (min..=max).contains(number))
        })
    }

    /// Returns one of the words of the key, in lower case.
    pub(super) fn choice(&mut self, spot: &Spot<'_>) -> Option<String> {
        let words = match spot.key().map(|key| key.kind) {
            Some(Kind::Choice(words)) => words,
            _ => &[],
        };
        let want = words.join(", ");
        self.parsed(spot, &want, |text| {
            words
                .iter()
                .find(|word| text.eq_ignore_ascii_case(word))
                .map(|word| (*word).to_owned())
        })
        .map(Option::unwrap_or_default)
    }

    /// Returns the words of a list, each one of the key's and spelt as there.
    pub(super) fn choices(&mut self, spot: &Spot<'_>) -> Option<Vec<String>> {
        let words = match spot.key().map(|key| key.kind) {
            Some(Kind::Choices(words)) => words,
            _ => &[],
        };
        let want = words.join(", ");
        let list = self.list(spot, &format!("a list of {want}"), |reader, item| {
            let known = |text: &str| words.contains(&text).then(|| text.to_owned());
            reader.parsed(item, &want, known).flatten()
        })?;
        Some(list.into_iter().map(|(_, word)| word).collect())
    }

    /// Returns an address to listen on.
    pub(super) fn listen(&mut self, spot: &Spot<'_>, also: &str) -> Option<Option<ListenAddr>> {
        let want = format!("{LISTEN_FORMS}{also}");
        self.parsed(spot, &want, |text| match text {
            "off" if !also.is_empty() => Some(None),
            _ => text.parse().ok().map(Some),
        })
        .map(Option::flatten)
    }

    /// Returns a path that is not empty.
    pub(super) fn path(&mut self, spot: &Spot<'_>) -> Option<Option<PathBuf>> {
        self.parsed(spot, "a path", path)
    }

    /// Returns the list of paths at `spot`, each with its own spot.
    pub(super) fn paths<'a>(&mut self, spot: &Spot<'a>) -> Option<Vec<(Spot<'a>, PathBuf)>> {
        self.list(spot, "a list of paths", |reader, item| {
            reader.parsed(item, "a path", path).flatten()
        })
    }

    /// Returns what `read` makes of each element of the list at `spot`, with the element's own spot; of
    /// nothing, an empty list.
    pub(super) fn list<'a, T>(
        &mut self,
        spot: &Spot<'a>,
        want: &str,
        mut read: impl FnMut(&mut Self, &Spot<'a>) -> Option<T>,
    ) -> Option<Vec<(Spot<'a>, T)>> {
        let Some(node) = spot.node() else {
            return Some(Vec::new());
        };
        if !matches!(node.content, Content::List(_)) {
            self.refuse(spot, want);
            return None;
        }
        let mut whole = true;
        let mut list = Vec::new();
        for item in spot.items() {
            // An element that is empty would fall back to the list's default.
            if item.node().is_none() {
                self.refuse(&item, want);
                whole = false;
                continue;
            }
            match read(self, &item) {
                Some(value) => list.push((item, value)),
                None => whole = false,
            }
        }
        whole.then_some(list)
    }
}

const LISTEN_FORMS: &str = ":PORT, IPv4:PORT, [IPv6]:PORT or localhost:PORT";

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
}

/// Returns what YAML 1.1 and Go's reader of it take for a boolean.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

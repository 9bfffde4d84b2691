//! A configuration as a tree of values, each with its place in the file, before anyone knows what it means.
//!
//! Scalars keep the text that was written: `0.1`, `0755` and `1e5` reach the reader of the key as such, who
//! alone knows whether he wants a number. YAML is read by serde-saphyr, whose budgets bound nesting, aliases
//! and nodes; size is bounded here.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::report::{Origin, Remark};
use crate::limits::CONFIG_BYTES_MAX;

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) origin: Origin,
}

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing: an empty value, `null` or `~`.
    Null,
    /// A text, number or boolean, as it was written, without quotes.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file. Keys are unique.
    Map(Vec<Entry>),
}

/// A key of a map, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// The key's own place, which is what a remark about the key points at.
    pub(super) origin: Origin,
    pub(super) value: Node,
}

impl Node {
    /// Returns a node that holds nothing.
    pub(super) const fn null(origin: Origin) -> Self {
        Self {
            content: Content::Null,
            origin,
        }
    }

    /// Returns a node that holds `text`.
    pub(super) const fn scalar(text: String, origin: Origin) -> Self {
        Self {
            content: Content::Scalar(text),
            origin,
        }
    }

    /// Returns the entries of a map; of anything else none.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            Content::Null | Content::Scalar(_) | Content::List(_) => &[],
        }
    }

    /// Returns the value of `key` in a map.
    pub(super) fn child(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }

    /// Turns the value of `key`, where it is a lone text, into a map with that text as its key: the registry's
    /// short form for a storage or authentication driver without parameters.
    pub(super) fn name_to_map(&mut self, key: &str) {
        let Content::Map(entries) = &mut self.content else {
            return;
        };
        for entry in entries.iter_mut().filter(|entry| entry.key == key) {
            let Content::Scalar(name) = &entry.value.content else {
                continue;
            };
            let driver = Entry {
                key: name.clone(),
                origin: entry.value.origin.clone(),
                value: Self::null(entry.value.origin.clone()),
            };
            entry.value.content = Content::Map(vec![driver]);
        }
    }

    /// Says whether there is nothing here that could mean anything.
    pub(super) fn is_empty(&self) -> bool {
        match &self.content {
            Content::Null => true,
            Content::Scalar(_) => false,
            Content::List(items) => items.is_empty(),
            Content::Map(entries) => entries.is_empty(),
        }
    }

    /// Returns what stands here, for a remark: never a value.
    pub(super) const fn what(&self) -> &'static str {
        match &self.content {
            Content::Null => "nothing",
            Content::Scalar(_) => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }
}

/// What a YAML text was found in, which becomes the origin of every value in it.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A file of this name.
    File(Arc<str>),
    /// An environment variable of this name.
    Env(Arc<str>),
}

impl Source {
    fn origin(&self, line: u64, column: u64) -> Origin {
        match self {
            Self::File(file) => Origin::File {
                file: Arc::clone(file),
                line,
                column,
            },
            Self::Env(name) => Origin::Env(Arc::clone(name)),
        }
    }
}

/// Returns the tree of a YAML document; of an empty one, a null node.
///
/// # Errors
///
/// One remark when `text` is not one YAML document, repeats a key, or is larger or deeper than any
/// configuration.
pub(super) fn parse(text: &str, source: &Source) -> Result<Node, Box<Remark>> {
    let refuse = |line, column, text| {
        Box::new(Remark {
            origin: source.origin(line, column),
            key: String::new(),
            text,
        })
    };
    if text.len() > CONFIG_BYTES_MAX {
        return Err(refuse(
            1,
            1,
            format!("{} bytes: want at most {CONFIG_BYTES_MAX}", text.len()),
        ));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000,
            max_nodes: 100_000,
            max_documents: 2,
            max_depth: 32,
        },
        with_snippet: false,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
    };
    if text.trim().is_empty() {
        return Ok(Node::null(source.origin(1, 1)));
    }
    serde_saphyr::from_str_with_options::<Spanned<Wire>>(text, options)
        .map(|wire| node(wire, text, source))
        .map_err(|error| {
            let (line, column) = error
                .location()
                .map_or((1, 1), |place| (place.line(), place.column()));
            let told = error.without_snippet().to_string();
            refuse(
                line,
                column,
                format!("not usable YAML: {}", one_line(&told)),
            )
        })
}

/// Returns what the parser said as one line: without the place, which the remark has, without its advice to
/// programmers, and without control characters, as it may repeat a key of the input.
fn one_line(told: &str) -> String {
    let line = told.lines().next().unwrap_or_default();
    let line = line.rfind(" at line ").map_or(line, |place| &line[..place]);
    let line = line.replace(", set DuplicateKeyPolicy in Options if acceptable", "");
    line.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect()
}

/// A value as serde hands it over, before numbers get their text back.
enum Wire {
    Null,
    Text(String),
    /// A boolean or number: its canonical form, used where the source does not show the written one.
    Typed(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

/// Turns what serde handed over into a tree. Recursion is bounded by the parser's depth budget.
fn node(wire: Spanned<Wire>, text: &str, source: &Source) -> Node {
    let place = wire.referenced;
    let content = match wire.value {
        Wire::Null => Content::Null,
        Wire::Text(value) => Content::Scalar(value),
        Wire::Typed(canonical) => {
            Content::Scalar(written(&wire.defined, text).unwrap_or(canonical))
        }
        Wire::List(items) => Content::List(
            items
                .into_iter()
                .map(|item| node(item, text, source))
                .collect(),
        ),
        Wire::Map(entries) => Content::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    origin: source.origin(key.referenced.line(), key.referenced.column()),
                    key: key.value,
                    value: node(value, text, source),
                })
                .collect(),
        ),
    };
    Node {
        content,
        origin: source.origin(place.line(), place.column()),
    }
}

/// Returns a plain scalar as it was written at `place`; `None` where the text there is not a plain scalar.
fn written(place: &serde_saphyr::Location, text: &str) -> Option<String> {
    let start = usize::try_from(place.span().byte_offset()?).ok()?;
    let length = usize::try_from(place.span().byte_len()?).ok()?;
    let slice = text.get(start..start.checked_add(length)?)?.trim();
    let plain = slice
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"+-._:".contains(&b));
    (plain && !slice.is_empty()).then(|| slice.to_owned())
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WireVisitor)
    }
}

struct WireVisitor;

impl<'de> Visitor<'de> for WireVisitor {
    type Value = Wire;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Wire, E> {
        Ok(Wire::Null)
    }

    fn visit_none<E>(self) -> Result<Wire, E> {
        Ok(Wire::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Wire, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Wire, E> {
        Ok(Wire::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Wire, E> {
        Ok(Wire::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Wire, E> {
        Ok(Wire::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Wire, E> {
        Ok(Wire::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Wire, E> {
        Ok(Wire::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Wire, E> {
        Ok(Wire::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Wire, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Wire::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Wire, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Wire::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        parse(text, &Source::File("f".into())).unwrap()
    }

    #[test]
    fn a_number_keeps_the_digits_that_were_written() {
        let root = tree(
            "a: 0.10\nb: 0755\nc: 1_000\nd: 1e5\ne: Yes\nf: '08'\ng: .inf\nh: 0x1F\ni: !!int '7'\n",
        );
        for (key, text) in [
            ("a", "0.10"),
            ("b", "0755"),
            ("c", "1_000"),
            ("d", "1e5"),
            ("e", "Yes"),
            ("f", "08"),
            ("g", ".inf"),
            ("h", "0x1F"),
            ("i", "7"),
        ] {
            assert_eq!(
                root.child(key).unwrap().content,
                Content::Scalar(text.into()),
                "{key}"
            );
        }
    }

    #[test]
    fn a_remark_points_at_the_line_and_column_of_key_and_value() {
        let root = tree("# comment\nhttp:\n  addr: :5000\n  list:\n    - é: x\n");
        let http = &root.entries()[0].value;
        assert_eq!(http.entries()[0].origin.to_string(), "f:3:3");
        assert_eq!(http.entries()[0].value.origin.to_string(), "f:3:9");
        let Content::List(items) = &http.entries()[1].value.content else {
            panic!("a list");
        };
        assert_eq!(items[0].entries()[0].value.origin.to_string(), "f:5:10");
    }

    #[test]
    fn anchors_and_merges_are_followed_and_point_at_their_use() {
        let root = tree("a: &a {x: 0.10}\nb: *a\nc:\n  <<: *a\n  y: 2\n");
        assert_eq!(
            root.child("b").unwrap().child("x").unwrap().content,
            Content::Scalar("0.10".into())
        );
        assert_eq!(
            root.child("c").unwrap().child("x").unwrap().content,
            Content::Scalar("0.10".into())
        );
    }

    #[test]
    fn what_is_no_configuration_is_refused_in_one_line() {
        let deep = "[".repeat(10_000);
        let wide = "a".repeat(CONFIG_BYTES_MAX + 1);
        let laughs: String = (0..30)
            .map(|i| {
                let uses = format!("*a{i}, ").repeat(9);
                format!("a{}: &a{} [{uses}]\n", i + 1, i + 1)
            })
            .collect();
        let laughs = format!("a0: &a0 [x, x]\n{laughs}");
        for text in [
            "a: [",
            "a: 1\na: 2",
            "\t:\n- x\n y",
            "a: 1\n---\nb: 2\n",
            &deep,
            &wide,
            &laughs,
        ] {
            let remark = parse(text, &Source::File("f".into())).unwrap_err();
            assert!(!remark.to_string().contains('\n'), "{remark}");
            assert!(remark.to_string().starts_with("f:"), "{remark}");
        }
    }

    #[test]
    fn an_empty_file_is_nothing() {
        for text in ["", " \n\n", "# only a comment\n", "~"] {
            assert_eq!(tree(text).content, Content::Null, "{text:?}");
        }
    }
}

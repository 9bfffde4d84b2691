//! Names of repositories, tags, and references to manifests.
//!
//! Source: OCI distribution-spec 1.1, "Pulling manifests"; the bound on names is distribution's.

use std::fmt;

use crate::digest::{Digest, DigestError};

/// Longest repository name, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 128;

/// Why a text is no name, tag or reference. The client's fault, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Not `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/…)*`, or longer than [`NAME_BYTES_MAX`].
    Name,
    /// Not `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    Tag,
    /// Meant as a digest, and none.
    Digest(DigestError),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("not a repository name"),
            Self::Tag => f.write_str("not a tag"),
            Self::Digest(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for NameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Digest(error) => Some(error),
            Self::Name | Self::Tag => None,
        }
    }
}

/// A well-formed repository name: `library/busybox`.
///
/// Holds no `..`, no empty component, no byte that a path, a query, a header or a log could misread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// Checks `text` against the grammar. One pass, no allocation.
    ///
    /// # Errors
    ///
    /// [`NameError::Name`].
    pub fn parse(text: &'a str) -> Result<Self, NameError> {
        let valid = text.len() <= NAME_BYTES_MAX
            && text.split('/').all(|part| is_component(part.as_bytes()));
        valid.then_some(Self(text)).ok_or(NameError::Name)
    }

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Says whether `part` is `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(part: &[u8]) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = part;
    loop {
        let word = rest.iter().take_while(|&&b| alphanumeric(b)).count();
        if word == 0 {
            return false;
        }
        rest = match &rest[word..] {
            [] => return true,
            [b'_', b'_', after @ ..] | [b'.' | b'_', after @ ..] => after,
            dashes @ [b'-', ..] => &dashes[dashes.iter().take_while(|&&b| b == b'-').count()..],
            _ => return false,
        };
    }
}

/// A well-formed tag: `latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag<'a>(&'a str);

impl<'a> Tag<'a> {
    /// Checks `text` against the grammar. One pass, no allocation.
    ///
    /// # Errors
    ///
    /// [`NameError::Tag`].
    pub fn parse(text: &'a str) -> Result<Self, NameError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let valid = text.len() <= TAG_BYTES_MAX
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        valid.then_some(Self(text)).ok_or(NameError::Tag)
    }

    /// Returns the tag.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Tag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a manifest is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reference<'a> {
    /// A tag, which the origin may move at any time.
    Tag(Tag<'a>),
    /// A digest, which never means anything else.
    Digest(Digest),
}

impl<'a> Reference<'a> {
    /// Reads a tag, or a digest if there is a colon, which no tag has.
    ///
    /// # Errors
    ///
    /// [`NameError::Tag`] or [`NameError::Digest`].
    pub fn parse(text: &'a str) -> Result<Self, NameError> {
        if text.contains(':') {
            return text.parse().map(Self::Digest).map_err(NameError::Digest);
        }
        Tag::parse(text).map(Self::Tag)
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => fmt::Display::fmt(tag, f),
            Self::Digest(digest) => fmt::Display::fmt(digest, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_taken_or_refused_by_the_grammar() {
        for good in [
            "a",
            "library/busybox",
            "a.b_c__d-e---f/0",
            "a/b/c/d",
            "blobs/tags/list",
            "0",
        ] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
        let longest = "a".repeat(NAME_BYTES_MAX);
        assert!(Name::parse(&longest).is_ok());
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            ".",
            "..",
            "a/..",
            "../a",
            "a/./b",
            "A",
            "a..b",
            "a___b",
            "a._b",
            "a-_b",
            "-a",
            "a-",
            "_a",
            "a_",
            "a.",
            "a%2fb",
            "a b",
            "a\n",
            "é",
            "a:b",
            "a@b",
            "a\\b",
            "a?b",
            &format!("{longest}a"),
        ] {
            assert_eq!(Name::parse(bad), Err(NameError::Name), "{bad:?}");
        }
    }

    #[test]
    fn tags_and_digests_are_told_apart() {
        for good in ["latest", "_", "v1.0-rc_1", "A", &"a".repeat(TAG_BYTES_MAX)] {
            assert!(
                matches!(Reference::parse(good), Ok(Reference::Tag(tag)) if tag.as_str() == good)
            );
        }
        for bad in [
            "",
            ".a",
            "-a",
            "a/b",
            "a b",
            "é",
            "a%",
            "a\n",
            "..",
            &"a".repeat(TAG_BYTES_MAX + 1),
        ] {
            assert_eq!(Reference::parse(bad), Err(NameError::Tag), "{bad:?}");
        }
        for bad in ["sha256:", "sha256:abc", ":", "a:b"] {
            assert!(
                matches!(Reference::parse(bad), Err(NameError::Digest(_))),
                "{bad:?}"
            );
        }
    }

    /// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` by splitting words from separators, one step per symbol.
    fn naive_component(part: &str) -> bool {
        let mut words = Vec::new();
        let mut separators = vec![String::new()];
        for c in part.chars() {
            if c.is_ascii_digit() || c.is_ascii_lowercase() {
                if words.len() < separators.len() {
                    words.push(String::new());
                }
                words.last_mut().unwrap().push(c);
            } else {
                if words.len() == separators.len() {
                    separators.push(String::new());
                }
                separators.last_mut().unwrap().push(c);
            }
        }
        let separator = |s: &String| {
            matches!(&**s, "." | "_" | "__") || (!s.is_empty() && s.chars().all(|c| c == '-'))
        };
        words.len() == separators.len()
            && separators[0].is_empty()
            && separators[1..].iter().all(separator)
    }

    proptest! {
        #[test]
        fn names_agree_with_a_naive_recogniser(
            text in "[a0._/-]{0,12}|[a0]([._-]{0,3}[a0]/?){0,6}|\\PC{0,6}",
        ) {
            let expected = text.split('/').all(naive_component);
            prop_assert_eq!(Name::parse(&text).is_ok(), expected, "{}", text);
        }
    }
}

//! What is said about a configuration: where each value comes from, what is wrong, what is odd.
//!
//! A remark is one line: place, key, what was found and what is accepted. It never holds the value of a
//! key that the table of keys calls secret, and no user part of a URL.

use std::fmt;
use std::sync::Arc;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave it: built in.
    Default,
    /// The configuration file.
    File {
        /// The file's name, as it was given.
        file: Arc<str>,
        /// Line, counted from 1.
        line: u64,
        /// Column in characters, counted from 1.
        column: u64,
    },
    /// The environment variable of this name.
    Env(Arc<str>),
    /// The command-line flag of this name, dashes included.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One line about one key; an error or a warning by the list that it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The value's place.
    pub origin: Origin,
    /// The key, as `http.tls.clientcas[0]`; empty for the file as a whole.
    pub key: String,
    /// What was found and what is accepted.
    pub text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.key.as_str()) {
            (Origin::Default, "") => f.write_str(&self.text),
            (Origin::Default, key) => write!(f, "{key}: {}", self.text),
            (origin, "") => write!(f, "{origin}: {}", self.text),
            (origin, key) => write!(f, "{origin}: {key}: {}", self.text),
        }
    }
}

/// Everything said about one configuration, in the order in which it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// What keeps transship from starting. The operator's fault, all of it.
    pub(super) problems: Vec<Remark>,
    /// What is accepted, but may not mean what its writer thinks.
    pub(super) warnings: Vec<Remark>,
}

impl Report {
    /// Adds an error.
    pub(super) fn problem(&mut self, origin: &Origin, key: &str, text: impl Into<String>) {
        self.problems.push(Remark {
            origin: origin.clone(),
            key: key.to_owned(),
            text: text.into(),
        });
    }

    /// Adds a warning.
    pub(super) fn warning(&mut self, origin: &Origin, key: &str, text: impl Into<String>) {
        self.warnings.push(Remark {
            origin: origin.clone(),
            key: key.to_owned(),
            text: text.into(),
        });
    }
}

/// Longest value that a remark repeats, in characters.
const QUOTED_CHARS_MAX: usize = 80;

/// Returns `text` in quotes for a remark: control characters escaped, cut when long, and without the user
/// part of a URL.
pub(super) fn quoted(text: &str) -> String {
    let hidden = match text.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.find("://").map_or("", |at| &before[..at + 3]);
            format!("{scheme}…@{after}")
        }
        None => text.to_owned(),
    };
    let cut = hidden.chars().count() > QUOTED_CHARS_MAX;
    let kept: String = hidden.chars().take(QUOTED_CHARS_MAX).collect();
    let escaped: String = kept.chars().flat_map(escape).collect();
    format!("\"{escaped}{}\"", if cut { "…" } else { "" })
}

/// Returns `character`, escaped if it could garble a terminal or the line.
fn escape(character: char) -> Vec<char> {
    if character.is_control() || character == '"' {
        character.escape_default().collect()
    } else {
        vec![character]
    }
}

/// Longest word that a spelling is suggested for, in bytes: bounds the quadratic comparison.
const SPELLING_BYTES_MAX: usize = 64;

/// Returns the candidate that `word` is most likely a misspelling of: at most two edits away, and fewer
/// than half of its letters.
pub(super) fn near<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > SPELLING_BYTES_MAX {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    candidates
        .map(|candidate| (edits(lower.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(edits, candidate)| *edits <= 2 && edits * 2 < candidate.len())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Returns the Levenshtein distance of `a` and `b`. O(a·b).
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_finds_the_key_that_was_meant() {
        let keys = ["addr", "prefix", "draintimeout", "tls"];
        assert_eq!(near("adr", keys.into_iter()), Some("addr"));
        assert_eq!(near("drainTimeOut", keys.into_iter()), Some("draintimeout"));
        assert_eq!(near("tsl", keys.into_iter()), None);
        assert_eq!(near("relativeurls", keys.into_iter()), None);
        assert_eq!(near(&"a".repeat(100_000), keys.into_iter()), None);
    }

    #[test]
    fn a_remark_shows_no_password_and_no_control_character() {
        assert_eq!(quoted("https://me:secret@host"), "\"https://…@host\"");
        assert_eq!(quoted("me:secret@host"), "\"…@host\"");
        assert_eq!(quoted("a\x1b[1m\"\n"), "\"a\\u{1b}[1m\\\"\\n\"");
        assert!(quoted(&"x".repeat(1000)).chars().count() < 100);
    }
}

//! References as operators write them, and the file that lists them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// Something that is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// One digest: a blob's, or a manifest's with all that it names. The repository is the operator's note.
    Digest {
        /// The repository, where it was given.
        repository: Option<String>,
        /// What is pinned.
        digest: Digest,
    },
    /// An image by tag: what the tag meant when it was last pulled.
    Tag {
        /// Name of the repository.
        repository: String,
        /// Name of the tag.
        tag: String,
    },
}

/// Why a text is no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceError;

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a reference: want sha256:…, name@sha256:… or name:tag")
    }
}

impl std::error::Error for ReferenceError {}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if let Ok(digest) = text.parse() {
            return Ok(Self::Digest {
                repository: None,
                digest,
            });
        }
        if let Some((name, digest)) = text.split_once('@') {
            let digest = digest.parse().map_err(|_| ReferenceError)?;
            return Ok(Self::Digest {
                repository: Some(repository(name)?),
                digest,
            });
        }
        let (name, tag) = text.rsplit_once(':').ok_or(ReferenceError)?;
        let is_tag = !tag.is_empty()
            && tag.len() <= 128
            && !tag.starts_with(['.', '-'])
            && tag
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        is_tag.then_some(()).ok_or(ReferenceError)?;
        Ok(Self::Tag {
            repository: repository(name)?,
            tag: tag.to_owned(),
        })
    }
}

/// Returns a repository's name (OCI distribution specification, "Pulling manifests"), which has no host: all
/// that is stored is one origin's.
fn repository(name: &str) -> Result<String, ReferenceError> {
    let is_clean = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
    };
    // A digest that was mistyped is none, and no image of that name is meant.
    let is_algorithm = ["sha256", "sha512"].contains(&name);
    if is_algorithm || name.len() > 255 || !name.split('/').all(is_clean) {
        return Err(ReferenceError);
    }
    Ok(name.to_owned())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest {
                repository: Some(name),
                digest,
            } => write!(f, "{name}@{digest}"),
            Self::Digest { digest, .. } => write!(f, "{digest}"),
            Self::Tag { repository, tag } => write!(f, "{repository}:{tag}"),
        }
    }
}

impl Reference {
    /// Returns the digest that is meant, if that is known.
    pub(super) fn digest(&self, resolved: &BTreeMap<String, Digest>) -> Option<Digest> {
        match self {
            Self::Digest { digest, .. } => Some(*digest),
            Self::Tag { .. } => resolved.get(&self.to_string()).copied(),
        }
    }
}

/// Returns the references of a file, and its lines that are none; `#` begins a comment.
pub(super) fn parse_lines(text: &str) -> (Vec<Reference>, Vec<(usize, ReferenceError)>) {
    let (mut references, mut wrong) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        match content(line).map(str::parse) {
            None => {}
            Some(Ok(reference)) if references.contains(&reference) => {}
            Some(Ok(reference)) => references.push(reference),
            Some(Err(error)) => wrong.push((index + 1, error)),
        }
    }
    (references, wrong)
}

/// Returns `text` with exactly `listed` in it. Comments and what makes no sense stay.
pub(super) fn rewrite_lines(text: &str, listed: &[Reference]) -> String {
    let mut missing = listed.to_vec();
    let mut kept = String::new();
    for line in text.lines() {
        let reference = content(line).and_then(|line| line.parse::<Reference>().ok());
        let is_kept = match reference {
            None => true,
            Some(reference) => {
                let before = missing.len();
                missing.retain(|other| *other != reference);
                missing.len() < before
            }
        };
        if is_kept {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    missing
        .iter()
        .for_each(|reference| kept.push_str(&format!("{reference}\n")));
    kept
}

fn content(line: &str) -> Option<&str> {
    let line = line.split('#').next().unwrap_or_default().trim();
    (!line.is_empty()).then_some(line)
}

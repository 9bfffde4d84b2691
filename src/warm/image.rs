//! Which image is meant: a name as clients say it, and a tag or a digest.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::registry::{self, Name};

/// The tag that is meant where none is said.
const TAG_DEFAULT: &str = "latest";

/// An image by reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Image {
    repository: String,
    meant: Meant,
}

/// What stands behind the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Meant {
    Tag(String),
    Digest(Digest),
}

/// Why a text names no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageError(&'static str);

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not an image: {}; want NAME, NAME:TAG or NAME@sha256:HEX, without a host",
            self.0
        )
    }
}

impl std::error::Error for ImageError {}

impl FromStr for Image {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let (repository, meant) = if let Some((name, digest)) = text.split_once('@') {
            let digest = digest.parse().map_err(|_| ImageError("a wrong digest"))?;
            (name, Meant::Digest(digest))
        } else {
            let (name, tag) = text.rsplit_once(':').unwrap_or((text, TAG_DEFAULT));
            // A digest alone says not where it is to be had.
            if name == "sha256" || name == "sha512" {
                return Err(ImageError("a digest without a name"));
            }
            let tag = registry::Tag::parse(tag).map_err(|_| ImageError("a wrong tag"))?;
            (name, Meant::Tag(tag.as_str().to_owned()))
        };
        Name::parse(repository).map_err(|_| ImageError("a wrong name"))?;
        Ok(Self {
            repository: repository.to_owned(),
            meant,
        })
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.repository;
        match &self.meant {
            Meant::Tag(tag) => write!(f, "{name}:{tag}"),
            Meant::Digest(digest) => write!(f, "{name}@{digest}"),
        }
    }
}

impl Image {
    /// Returns the repository's name; `None` never, as it was looked at when this was read.
    pub(super) fn name(&self) -> Option<Name<'_>> {
        Name::parse(&self.repository).ok()
    }

    pub(super) const fn meant(&self) -> &Meant {
        &self.meant
    }
}

/// Returns what stands in a list of images, one a line; `#` begins a comment.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let content = |line: &'_ str| line.split('#').next().unwrap_or_default().len();
    text.lines()
        .map(move |line| line[..content(line)].trim())
        .filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_read_as_people_write_it() {
        let hex = "a".repeat(64);
        for (text, meant) in [
            ("busybox", "busybox:latest"),
            ("library/busybox:1.36", "library/busybox:1.36"),
            ("a/b.c/d_e:V1.0-x", "a/b.c/d_e:V1.0-x"),
            (&format!("a/b@sha256:{hex}"), &format!("a/b@sha256:{hex}")),
        ] {
            assert_eq!(text.parse::<Image>().unwrap().to_string(), meant);
        }
        for wrong in [
            "",
            ":",
            "a:",
            ":a",
            "A",
            "a b",
            "a/../b",
            "host:5000/a",
            "https://a",
            "a@sha256:1",
            "a@b",
            &format!("sha256:{hex}"),
            &format!("@sha256:{hex}"),
            "a:b\n",
        ] {
            assert!(wrong.parse::<Image>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_list_has_comments_and_empty_lines() {
        let text = "# all of it\n\n a:1 \r\nb # the second\n#c\n";
        assert_eq!(lines(text).collect::<Vec<_>>(), ["a:1", "b"]);
        assert_eq!(lines("").count(), 0);
    }
}

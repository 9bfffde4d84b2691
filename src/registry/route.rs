//! From a request's path to what it asks for.
//!
//! Nothing is normalised or decoded on the way: `..`, `//`, `%2f` and their kin are no names, so there
//! is no second spelling by which a path could reach another blob. The one exception is `%3A` for the
//! colon of a digest, which some clients write and which can hide nothing.
//!
//! Names may hold components such as `blobs` or `tags`, so a path is read from its right end.

use std::fmt;

use super::{Code, Name, NameError, Reference};
use crate::digest::{Digest, DigestError};

/// What a path asks for; whether the method suits it, the server decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/`: alive.
    Root,
    /// `/v2/`: speaks the API.
    Base,
    /// `/v2/_catalog`.
    Catalog,
    /// `/v2/<name>/blobs/<digest>`.
    Blob {
        /// The repository.
        name: Name<'a>,
        /// The blob.
        digest: Digest,
    },
    /// `/v2/<name>/manifests/<reference>`.
    Manifest {
        /// The repository.
        name: Name<'a>,
        /// Tag or digest of the manifest.
        reference: Reference<'a>,
    },
    /// `/v2/<name>/tags/list`.
    Tags {
        /// The repository.
        name: Name<'a>,
    },
    /// `/v2/<name>/referrers/<digest>`.
    Referrers {
        /// The repository.
        name: Name<'a>,
        /// The manifest that is referred to.
        digest: Digest,
    },
    /// `/v2/<name>/blobs/uploads/…`: a push, which gets 405.
    Upload {
        /// The repository.
        name: Name<'a>,
    },
}

/// Why a path is no route. The client's fault, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// No route has this form.
    NotFound,
    /// Of a route's form, with something malformed in it.
    Malformed(NameError),
}

impl RouteError {
    /// Returns the code that says it to the client; `None` is a 404 outside the API.
    ///
    /// A malformed tag gets `MANIFEST_UNKNOWN` and 404, not 400: no such manifest can exist, and the
    /// conformance suite asks for a malformed tag to see a 404.
    #[must_use]
    pub const fn code(self) -> Option<Code> {
        match self {
            Self::NotFound => None,
            Self::Malformed(NameError::Name) => Some(Code::NameInvalid),
            Self::Malformed(NameError::Tag) => Some(Code::ManifestUnknown),
            Self::Malformed(NameError::Digest(_)) => Some(Code::DigestInvalid),
        }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such path"),
            Self::Malformed(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for RouteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotFound => None,
            Self::Malformed(error) => Some(error),
        }
    }
}

impl From<NameError> for RouteError {
    fn from(error: NameError) -> Self {
        Self::Malformed(error)
    }
}

impl<'a> Route<'a> {
    /// Reads `path`, undecoded and without its query.
    ///
    /// - `prefix`: what stands before `v2/`; begins and ends with `/` (`http.prefix`).
    ///
    /// No allocation, but for a digest with its colon encoded.
    ///
    /// # Errors
    ///
    /// [`RouteError`]; a malformed name is told before a malformed digest.
    pub fn parse(path: &'a str, prefix: &str) -> Result<Self, RouteError> {
        match path.strip_prefix(prefix).ok_or(RouteError::NotFound)? {
            "" => Ok(Self::Root),
            "v2" | "v2/" => Ok(Self::Base),
            "v2/_catalog" => Ok(Self::Catalog),
            inner => Self::parse_inner(inner.strip_prefix("v2/").ok_or(RouteError::NotFound)?),
        }
    }

    /// Reads what follows `v2/`: `<name>/<kind>/<last>`.
    fn parse_inner(inner: &'a str) -> Result<Self, RouteError> {
        let (before, last) = inner.rsplit_once('/').ok_or(RouteError::NotFound)?;
        // Without a name there is an empty one, which is malformed.
        let (repository, kind) = before.rsplit_once('/').unwrap_or(("", before));
        let name = |text| Name::parse(text).map_err(RouteError::Malformed);
        match (kind, last) {
            ("blobs", "uploads") => Ok(Self::Upload {
                name: name(repository)?,
            }),
            ("blobs", last) => Ok(Self::Blob {
                name: name(repository)?,
                digest: parse_digest(last)?,
            }),
            ("manifests", last) => Ok(Self::Manifest {
                name: name(repository)?,
                reference: parse_reference(last)?,
            }),
            ("referrers", last) => Ok(Self::Referrers {
                name: name(repository)?,
                digest: parse_digest(last)?,
            }),
            ("tags", "list") => Ok(Self::Tags {
                name: name(repository)?,
            }),
            ("uploads", _) if repository.ends_with("/blobs") => Ok(Self::Upload {
                name: name(repository.strip_suffix("/blobs").unwrap_or_default())?,
            }),
            _ => Err(RouteError::NotFound),
        }
    }
}

fn parse_reference(text: &str) -> Result<Reference<'_>, RouteError> {
    if text.contains('%') {
        return Ok(Reference::Digest(parse_digest(text)?));
    }
    Ok(Reference::parse(text)?)
}

/// Reads a digest whose colon may be written `%3A`; any other escape is malformed.
fn parse_digest(text: &str) -> Result<Digest, RouteError> {
    let parsed = match text.split_once('%') {
        None => text.parse(),
        Some((algorithm, rest)) => match rest.strip_prefix("3A").or(rest.strip_prefix("3a")) {
            Some(hex) => format!("{algorithm}:{hex}").parse(),
            None => Err(DigestError::Malformed),
        },
    };
    parsed.map_err(|error| RouteError::Malformed(NameError::Digest(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Tag;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn digest() -> Digest {
        format!("sha256:{HEX}").parse().unwrap()
    }

    fn name(text: &str) -> Name<'_> {
        Name::parse(text).unwrap()
    }

    #[test]
    fn paths_lead_where_the_specification_says() {
        let digest = digest();
        let tag = Reference::Tag(Tag::parse("list").unwrap());
        for (path, route) in [
            ("/", Route::Root),
            ("/v2", Route::Base),
            ("/v2/", Route::Base),
            ("/v2/_catalog", Route::Catalog),
            ("/v2/a/tags/list", Route::Tags { name: name("a") }),
            (
                "/v2/a/tags/tags/list",
                Route::Tags {
                    name: name("a/tags"),
                },
            ),
            (
                "/v2/tags/list/tags/list",
                Route::Tags {
                    name: name("tags/list"),
                },
            ),
            ("/v2/a/blobs/uploads", Route::Upload { name: name("a") }),
            ("/v2/a/blobs/uploads/", Route::Upload { name: name("a") }),
            (
                "/v2/a/b/blobs/uploads/0-1",
                Route::Upload { name: name("a/b") },
            ),
            (
                "/v2/a/tags/manifests/list",
                Route::Manifest {
                    name: name("a/tags"),
                    reference: tag,
                },
            ),
        ] {
            assert_eq!(Route::parse(path, "/"), Ok(route), "{path}");
        }
        for colon in [":", "%3A", "%3a"] {
            let (a, last) = (name("a/blobs"), format!("sha256{colon}{HEX}"));
            let route = |kind: &str| format!("/p/v2/a/blobs/{kind}/{last}");
            let reference = Reference::Digest(digest);
            assert_eq!(
                Route::parse(&route("blobs"), "/p/"),
                Ok(Route::Blob { name: a, digest })
            );
            assert_eq!(
                Route::parse(&route("referrers"), "/p/"),
                Ok(Route::Referrers { name: a, digest })
            );
            assert_eq!(
                Route::parse(&route("manifests"), "/p/"),
                Ok(Route::Manifest { name: a, reference })
            );
        }
    }

    #[test]
    fn what_is_malformed_gets_its_code() {
        let blob = |before: &str| format!("{before}/blobs/sha256:{HEX}");
        for (path, code) in [
            ("", None),
            ("*", None),
            ("/v1/", None),
            ("//v2/", None),
            ("/v2//", None),
            ("/v2/a", None),
            ("/v2/a/tags", None),
            ("/v2/a/tags/list/", None),
            ("/v2/a/x/y", None),
            ("/v2/_catalog/", None),
            ("/v2/tags/list", Some(Code::NameInvalid)),
            (&blob("/v2"), Some(Code::NameInvalid)),
            (&blob("/v2/"), Some(Code::NameInvalid)),
            (&blob("/v2/a/.."), Some(Code::NameInvalid)),
            (&blob("/v2/../a"), Some(Code::NameInvalid)),
            (&blob("/v2/a//b"), Some(Code::NameInvalid)),
            (&blob("/v2/a%2fb"), Some(Code::NameInvalid)),
            (&blob("/v2/a%2Fb"), Some(Code::NameInvalid)),
            (&blob("/v2/%61"), Some(Code::NameInvalid)),
            (&blob("/v2/A"), Some(Code::NameInvalid)),
            ("/v2/a/blobs/", Some(Code::DigestInvalid)),
            ("/v2/a/blobs/..", Some(Code::DigestInvalid)),
            ("/v2/a/blobs/sha256:x", Some(Code::DigestInvalid)),
            ("/v2/a/blobs/sha256%253Aab", Some(Code::DigestInvalid)),
            ("/v2/a/blobs/md5:00", Some(Code::DigestInvalid)),
            ("/v2/a/manifests/sha256:x", Some(Code::DigestInvalid)),
            ("/v2/a/manifests/a%2e", Some(Code::DigestInvalid)),
            ("/v2/a/manifests/.INVALID", Some(Code::ManifestUnknown)),
            ("/v2/a/manifests/", Some(Code::ManifestUnknown)),
        ] {
            assert_eq!(Route::parse(path, "/").unwrap_err().code(), code, "{path}");
        }
        let escaped = format!("/v2/a/blobs/sha256%3A{}%30", &HEX[..63]);
        assert!(Route::parse(&escaped, "/").is_err());
        assert_eq!(Route::parse("/v2/", "/p/"), Err(RouteError::NotFound));
    }

    proptest! {
        #[test]
        fn names_come_back_from_their_paths(
            text in "(blobs|tags|uploads|[a-z0-9]{1,4})(/(manifests|list|[a-z]{1,3})){0,3}",
        ) {
            let path = format!("/v2/{text}/blobs/sha256:{HEX}");
            let route = Route::Blob { name: name(&text), digest: digest() };
            prop_assert_eq!(Route::parse(&path, "/"), Ok(route));
        }
    }
}

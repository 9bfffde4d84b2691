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

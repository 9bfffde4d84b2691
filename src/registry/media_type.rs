//! Media types of manifests, and the check of media types that come from elsewhere.

use crate::http::grammar::is_token;

/// Image manifest of the OCI image specification.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Image index of the OCI image specification: several platforms; also what referrers come as.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's image manifest, version 2, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list: several platforms.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// What blobs are served as (distribution, `blobserver.go`).
pub const BLOB: &str = "application/octet-stream";

/// Manifest types that are known here, the most common first.
pub const MANIFESTS: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// The `Accept` of a manifest request on our own behalf: [`MANIFESTS`], in that order.
///
/// distribution answers `MANIFEST_UNKNOWN` for a type that is not listed.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Longest media type, in bytes: 127 each side (RFC 6838 §4.2) and the slash.
const BYTES_MAX: usize = 255;

/// Returns the `type/subtype` of a `Content-Type` value without its parameters, if it is one.
///
/// What is returned is two tokens and a slash, safe to write into a head. Parameters are dropped
/// unread: manifests have none (OCI distribution-spec, "Pulling manifests").
#[must_use]
pub fn essence(content_type: &str) -> Option<&str> {
    let essence = content_type
        .split_once(';')
        .map_or(content_type, |(essence, _)| essence)
        .trim_matches([' ', '\t']);
    let (kind, subtype) = essence.split_once('/')?;
    (essence.len() <= BYTES_MAX && is_token(kind.as_bytes()) && is_token(subtype.as_bytes()))
        .then_some(essence)
}

/// Says whether a list of types, as `Accept` has it, names `essence`, by itself or with all others. Weights are
/// not heeded: registries do not.
#[must_use]
pub fn accepts(accept: &str, essence: &str) -> bool {
    let mut types = accept
        .split(',')
        .map(|one| one.split(';').next().unwrap_or_default().trim());
    types.any(|one| one == "*/*" || one.eq_ignore_ascii_case(essence))
}

/// Says whether `essence` is one of [`MANIFESTS`]; types know no case (RFC 9110 §8.3.1).
#[must_use]
pub fn is_manifest(essence: &str) -> bool {
    MANIFESTS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(essence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_essence_is_two_tokens() {
        for (value, expected) in [
            (OCI_INDEX, Some(OCI_INDEX)),
            ("a/b; charset=utf-8", Some("a/b")),
            (" a/b\t", Some("a/b")),
            ("", None),
            ("a", None),
            ("/b", None),
            ("a/", None),
            ("a/b/c", None),
            ("a b/c", None),
            ("a/b\r\nX: y", None),
            ("a/é", None),
            ("a/b, c/d", None),
        ] {
            assert_eq!(essence(value), expected, "{value:?}");
        }
        assert_eq!(essence(&format!("a/{}", "b".repeat(BYTES_MAX))), None);
        assert!(is_manifest(&OCI_MANIFEST.to_uppercase()) && !is_manifest(BLOB));
        assert_eq!(ACCEPT, MANIFESTS.join(", "));
        assert!(accepts(ACCEPT, DOCKER_LIST) && accepts("a/b, */*", "c/d"));
        assert!(accepts("a/b;q=0.5,C/D", "c/d") && !accepts("a/b", "a/bc") && !accepts("", "a/b"));
    }
}

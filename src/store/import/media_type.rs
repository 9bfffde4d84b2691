//! The media type of a manifest that nobody has told: a registry's storage keeps bytes alone.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::registry::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, essence};

/// What tells manifests apart. All else is skipped.
#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "schemaVersion")]
    schema_version: u64,
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    manifests: Option<Vec<IgnoredAny>>,
    layers: Option<Vec<IgnoredAny>>,
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
}

/// Returns the type that a manifest says it has, else the one that it looks like; `None` if it is none, or
/// one of the old schema 1, whose digest is not that of its bytes.
///
/// Docker's types require the field, OCI's do not (image-spec, manifest.md, `mediaType`): without it, it is
/// OCI's, unless its configuration is Docker's.
pub(super) fn of_manifest(bytes: &[u8]) -> Option<String> {
    let shape: Shape = serde_json::from_slice(bytes).ok()?;
    if shape.schema_version != 2 {
        return None;
    }
    if let Some(said) = shape.media_type {
        return (essence(&said) == Some(said.as_str())).then_some(said);
    }
    let config = shape.config.and_then(|config| config.media_type);
    let is_docker = config.is_some_and(|said| said.starts_with("application/vnd.docker."));
    let looks = match (shape.manifests, shape.layers) {
        (Some(_), None) => OCI_INDEX,
        (None, Some(_)) if is_docker => DOCKER_MANIFEST,
        (None, Some(_)) => OCI_MANIFEST,
        _ => return None,
    };
    debug_assert_ne!(looks, DOCKER_LIST, "a list always says that it is one");
    Some(looks.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_manifest_is_what_it_says_or_looks_like() {
        let docker = r#""config":{"mediaType":"application/vnd.docker.container.image.v1+json"}"#;
        for (text, expected) in [
            (
                format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_LIST}","manifests":[]}}"#),
                Some(DOCKER_LIST),
            ),
            (
                format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}"}}"#),
                Some(OCI_INDEX),
            ),
            (
                r#"{"schemaVersion":2,"manifests":[{}]}"#.to_owned(),
                Some(OCI_INDEX),
            ),
            (
                r#"{"schemaVersion":2,"layers":[],"config":{}}"#.to_owned(),
                Some(OCI_MANIFEST),
            ),
            (
                format!(r#"{{"schemaVersion":2,"layers":[],{docker}}}"#),
                Some(DOCKER_MANIFEST),
            ),
            (
                r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#.to_owned(),
                None,
            ),
            (r#"{"schemaVersion":2}"#.to_owned(), None),
            (
                r#"{"schemaVersion":1,"fsLayers":[],"mediaType":"a/b"}"#.to_owned(),
                None,
            ),
            (
                r#"{"schemaVersion":2,"mediaType":"a/b\nX: y"}"#.to_owned(),
                None,
            ),
            (
                r#"{"schemaVersion":2,"mediaType":"a/b; c=d"}"#.to_owned(),
                None,
            ),
            (r#"{"architecture":"amd64"}"#.to_owned(), None),
            ("[2]".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(of_manifest(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = of_manifest(&bytes);
        }
    }
}

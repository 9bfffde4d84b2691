//! What a manifest names: the manifests of an index, or the blobs of an image.
//!
//! Source: OCI image specification 1.1, manifest.md and image-index.md; Docker's image manifest version 2,
//! schema 2. The bytes are a registry's, whoever that is.

use serde::Deserialize;

use super::platform::Platform;
use crate::digest::Digest;
use crate::limits::{WARM_BLOBS_MAX, WARM_MANIFESTS_MAX};
use crate::registry::media_type;
use crate::store::Manifest;

/// What a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    Index(Vec<Child>),
    Image {
        blobs: Vec<Blob>,
        /// Layers that are to be had elsewhere (`urls`), and that clients do not ask a registry for.
        foreign: usize,
    },
}

/// A manifest that an index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) digest: Digest,
    pub(super) media_type: Option<String>,
    pub(super) platform: Option<Platform>,
}

/// A blob that an image names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
}

#[derive(Deserialize)]
struct Read {
    #[serde(rename = "schemaVersion")]
    version: Option<u64>,
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    /// Of artefact manifests, which were in the specification for a while.
    blobs: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    digest: String,
    #[serde(default)]
    size: u64,
    urls: Option<Vec<String>>,
    platform: Option<Platform>,
}

/// Reads what a manifest names.
///
/// # Errors
/// What is wrong with it, for the operator.
pub(super) fn read(manifest: &Manifest) -> Result<Contents, String> {
    let read: Read = serde_json::from_slice(&manifest.bytes)
        .map_err(|error| format!("a manifest makes no sense: {error}"))?;
    if read.version == Some(1) {
        return Err("a manifest of Docker's schema 1, which nobody pulls any more".to_owned());
    }
    let said = read.media_type.as_deref().unwrap_or(&manifest.media_type);
    let is_index = [media_type::OCI_INDEX, media_type::DOCKER_LIST].contains(&said);
    match read.manifests {
        // Clients could take one that is both for either, so nobody serves it (CVE-2021-41190).
        Some(_) if read.layers.is_some() || read.config.is_some() => {
            Err("a manifest that is an index as well as an image".to_owned())
        }
        Some(manifests) => index(manifests),
        None if is_index => index(Vec::new()),
        None => image(read.config, read.layers.or(read.blobs).unwrap_or_default()),
    }
}

fn index(manifests: Vec<Descriptor>) -> Result<Contents, String> {
    bounded(manifests.len(), WARM_MANIFESTS_MAX, "manifests")?;
    let child = |one: Descriptor| {
        Ok(Child {
            digest: digest(&one)?,
            media_type: one.media_type,
            platform: one.platform,
        })
    };
    let children: Result<_, String> = manifests.into_iter().map(child).collect();
    Ok(Contents::Index(children?))
}

fn image(config: Option<Descriptor>, layers: Vec<Descriptor>) -> Result<Contents, String> {
    bounded(layers.len(), WARM_BLOBS_MAX, "layers")?;
    let (mut blobs, mut foreign) = (Vec::<Blob>::new(), 0);
    for one in config.into_iter().chain(layers) {
        if is_foreign(&one) {
            foreign += 1;
            continue;
        }
        let blob = Blob {
            digest: digest(&one)?,
            size_bytes: one.size,
        };
        if !blobs.iter().any(|known| known.digest == blob.digest) {
            blobs.push(blob);
        }
    }
    Ok(Contents::Image { blobs, foreign })
}

fn bounded(count: usize, most: usize, what: &str) -> Result<(), String> {
    match count > most {
        true => Err(format!(
            "a manifest with {count} {what}: more than {most} are not believed in"
        )),
        false => Ok(()),
    }
}

fn digest(descriptor: &Descriptor) -> Result<Digest, String> {
    let parsed = descriptor.digest.parse();
    parsed.map_err(|_| "a manifest names something by a digest that is none".to_owned())
}

/// Says whether a layer is to be had elsewhere.
fn is_foreign(descriptor: &Descriptor) -> bool {
    let media_type = descriptor.media_type.as_deref().unwrap_or_default();
    media_type.contains(".foreign.")
        || media_type.contains(".nondistributable.")
        || descriptor
            .urls
            .as_ref()
            .is_some_and(|urls| !urls.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::digest::Algorithm;

    fn contents(media_type: &str, value: &Value) -> Result<Contents, String> {
        read(&Manifest {
            media_type: media_type.to_owned(),
            bytes: value.to_string().into_bytes(),
        })
    }

    fn named(seed: &str) -> Digest {
        Digest::of(Algorithm::Sha256, seed.as_bytes())
    }

    fn descriptor(seed: &str, size: u64) -> Value {
        json!({"mediaType": "a/b", "digest": named(seed).to_string(), "size": size})
    }

    #[test]
    fn an_image_names_its_configuration_and_each_layer_once() {
        let mut foreign = descriptor("far", 3);
        foreign["urls"] = json!(["https://a.example/x"]);
        let mut windows = descriptor("base", 4);
        windows["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        let value = json!({
            "schemaVersion": 2, "config": descriptor("c", 1),
            "layers": [descriptor("l", 2), descriptor("l", 2), foreign, windows],
        });
        for media_type in [media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST] {
            let blob = |seed, size_bytes| Blob {
                digest: named(seed),
                size_bytes,
            };
            let expected = Contents::Image {
                blobs: vec![blob("c", 1), blob("l", 2)],
                foreign: 2,
            };
            assert_eq!(contents(media_type, &value), Ok(expected));
        }
        let artefact = json!({"mediaType": "x", "blobs": [descriptor("b", 9)]});
        let Ok(Contents::Image { blobs, .. }) = contents("a/json", &artefact) else {
            panic!("an artefact names its blobs");
        };
        assert_eq!(blobs.len(), 1);
    }

    #[test]
    fn an_index_names_manifests_with_their_platforms() {
        let mut one = descriptor("m", 1);
        one["platform"] =
            json!({"os": "linux", "architecture": "arm64", "variant": "v8", "os.version": "1"});
        let value = json!({"schemaVersion": 2, "manifests": [one, descriptor("n", 1)]});
        for media_type in [media_type::OCI_INDEX, media_type::DOCKER_LIST] {
            let Ok(Contents::Index(children)) = contents(media_type, &value) else {
                panic!("an index");
            };
            let platform = children[0].platform.as_ref().unwrap();
            assert_eq!(platform.to_string(), "linux/arm64/v8");
            assert_eq!(children[1].platform, None);
        }
        let empty = contents(media_type::OCI_INDEX, &json!({"schemaVersion": 2}));
        assert_eq!(empty, Ok(Contents::Index(Vec::new())));
    }

    #[test]
    fn what_makes_no_sense_is_told_and_not_guessed() {
        let many: Vec<_> = (0..=WARM_BLOBS_MAX)
            .map(|n| descriptor(&n.to_string(), 1))
            .collect();
        for (value, told) in [
            (json!({"schemaVersion": 1, "fsLayers": []}), "schema 1"),
            (json!({"layers": [{"digest": "sha256:1"}]}), "digest"),
            (json!({"layers": 5}), "no sense"),
            (json!([]), "no sense"),
            (json!({"manifests": [], "layers": []}), "as well as"),
            (json!({"layers": many}), "not believed in"),
        ] {
            let error = contents(media_type::OCI_MANIFEST, &value).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}

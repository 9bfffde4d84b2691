//! What a manifest names, for whoever copies it. Values only.
//!
//! Source: OCI image specification 1.1, manifest.md and image-index.md; Docker's image manifest version 2, schema 2.

use serde::Deserialize;

use crate::digest::Digest;

/// Most things that a manifest may name.
const NAMED_MAX: usize = 4096;

/// What a manifest names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) manifests: Vec<Digest>,
    pub(super) blobs: Vec<Blob>,
}

/// A blob that an image names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
}

#[derive(Deserialize)]
struct Read {
    #[serde(rename = "schemaVersion")]
    version: Option<u64>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    /// Of artefact manifests, which were in the specification for a while.
    blobs: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    size: u64,
    /// Where else it is to be had: registries do not hold such layers.
    #[serde(default)]
    urls: Option<Vec<String>>,
}

/// Reads what a manifest names, each once.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(manifest: &[u8]) -> Result<Contents, &'static str> {
    let read: Read = serde_json::from_slice(manifest).map_err(|_| "it makes no sense")?;
    if read.version == Some(1) {
        return Err("it is of Docker's schema 1, which nobody pulls any more");
    }
    let manifests = read.manifests.unwrap_or_default();
    let own = [read.layers, read.blobs].into_iter().flatten().flatten();
    let own: Vec<Descriptor> = read.config.into_iter().chain(own).collect();
    // Clients could take one that is both for either (CVE-2021-41190).
    if !manifests.is_empty() && !own.is_empty() {
        return Err("it is an index as well as an image");
    }
    if manifests.len() > NAMED_MAX || own.len() > NAMED_MAX {
        return Err("it names too much");
    }
    let mut contents = Contents::default();
    for one in &manifests {
        let digest = digest(one)?;
        if !contents.manifests.contains(&digest) {
            contents.manifests.push(digest);
        }
    }
    let is_here = |one: &&Descriptor| one.urls.as_ref().is_none_or(Vec::is_empty);
    for one in own.iter().filter(is_here) {
        let digest = digest(one)?;
        if !contents.blobs.iter().any(|known| known.digest == digest) {
            let bytes = one.size;
            contents.blobs.push(Blob { digest, bytes });
        }
    }
    Ok(contents)
}

fn digest(descriptor: &Descriptor) -> Result<Digest, &'static str> {
    let parsed = descriptor.digest.parse();
    parsed.map_err(|_| "it names something by a digest that is none")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::digest::Algorithm;

    fn contents(value: &Value) -> Result<Contents, &'static str> {
        read(value.to_string().as_bytes())
    }

    fn named(seed: &str) -> Digest {
        Digest::of(Algorithm::Sha256, seed.as_bytes())
    }

    fn descriptor(seed: &str, size: u64) -> Value {
        json!({"digest": named(seed).to_string(), "size": size})
    }

    #[test]
    fn each_blob_and_each_manifest_is_named_once() {
        let mut far = descriptor("far", 1);
        far["urls"] = json!(["https://a.example/x"]);
        let image = json!({"config": descriptor("c", 1),
            "layers": [descriptor("l", 2), far, descriptor("l", 2)]});
        let blob = |seed, bytes| Blob {
            digest: named(seed),
            bytes,
        };
        let expected = [blob("c", 1), blob("l", 2)];
        assert_eq!(contents(&image).unwrap().blobs, expected);
        let index =
            json!({"manifests": [descriptor("m", 1), descriptor("n", 1), descriptor("m", 1)]});
        let expected = [named("m"), named("n")];
        assert_eq!(contents(&index).unwrap().manifests, expected);
        let artefact = json!({"blobs": [descriptor("b", 9)]});
        assert_eq!(contents(&artefact).unwrap().blobs, [blob("b", 9)]);
        assert_eq!(contents(&json!({})), Ok(Contents::default()));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let many: Vec<_> = (0..=NAMED_MAX)
            .map(|n| descriptor(&n.to_string(), 1))
            .collect();
        for (value, told) in [
            (json!({"schemaVersion": 1}), "schema 1"),
            (json!({"layers": [{"digest": "sha256:1"}]}), "digest"),
            (json!([1]), "no sense"),
            (
                json!({"manifests": [descriptor("m", 1)], "layers": [descriptor("l", 1)]}),
                "as well as",
            ),
            (json!({"layers": many}), "too much"),
        ] {
            let error = contents(&value).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}

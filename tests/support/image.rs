//! A multi-layer OCI image written by hand: the same digests in every run.
//!
//! Each layer is a tar with one file of seeded bytes, in a gzip that stores without compressing:
//! no tool stamps a time into it, and no client compresses it once more.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::blob::{Blob, sha256};
use super::process::run;
use super::pull::skopeo;

/// An OCI layout in a directory of its own, tagged `latest`.
pub struct Image {
    pub manifest: Blob,
    pub config: Blob,
    pub layers: Vec<Blob>,
    dir: TempDir,
}

impl Image {
    /// Makes an image with one layer for each size, in bytes of the file in it.
    pub fn make(seed: u64, sizes: &[usize]) -> Self {
        let tars: Vec<Vec<u8>> = (seed..)
            .zip(sizes)
            .map(|(seed, &size)| {
                tar(
                    &format!("layer-{seed}.bin"),
                    &Blob::seeded(seed, size).bytes,
                )
            })
            .collect();
        let layers: Vec<Blob> = tars.iter().map(|tar| Blob::new(gzip_stored(tar))).collect();
        let diff_ids: Vec<String> = tars.iter().map(|tar| sha256(tar)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = Blob::new(config.to_string().into_bytes());
        let of_layers: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": super::origin::MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": of_layers,
        });
        let manifest = Blob::new(manifest.to_string().into_bytes());
        let image = Self {
            manifest,
            config,
            layers,
            dir: TempDir::new().unwrap(),
        };
        image.write();
        image
    }

    fn write(&self) {
        let blobs = self.dir.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        for blob in self.layers.iter().chain([&self.config, &self.manifest]) {
            let name = blob.digest.strip_prefix("sha256:").unwrap();
            fs::write(blobs.join(name), &*blob.bytes).unwrap();
        }
        let layout = json!({"imageLayoutVersion": "1.0.0"});
        fs::write(self.dir.path().join("oci-layout"), layout.to_string()).unwrap();
        let mut manifest = descriptor(super::origin::MANIFEST, &self.manifest);
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(self.dir.path().join("index.json"), index.to_string()).unwrap();
    }

    /// The layout's directory.
    #[allow(dead_code, reason = "the benches push it, and do no more")]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Pushes it with skopeo as `HOST/test/image:latest`.
    pub fn push(&self, host: &str) {
        self.push_as(host, "");
    }

    /// Pushes it as `user:password`, or as nobody.
    pub fn push_as(&self, host: &str, user: &str) {
        let mut command: Command = skopeo();
        command.args(["copy", "--dest-tls-verify=false"]);
        if !user.is_empty() {
            command.args(["--dest-creds", user]);
        }
        run(command
            .arg(format!("oci:{}:latest", self.dir.path().display()))
            .arg(format!("docker://{host}/test/image:latest")));
    }

    /// Bytes of its layers and its configuration: what a pull asks for as blobs.
    pub fn blob_bytes(&self) -> u64 {
        let blobs = self.layers.iter().chain([&self.config]);
        blobs.map(|blob| blob.len() as u64).sum()
    }

    /// Checks that a directory written by `skopeo copy … dir:` holds exactly this image.
    #[track_caller]
    pub fn assert_is_in(&self, dir: &Path) {
        let manifest = fs::read(dir.join("manifest.json")).unwrap();
        super::assert_same(&manifest, &self.manifest.bytes);
        for blob in self.layers.iter().chain([&self.config]) {
            let name = blob.digest.strip_prefix("sha256:").unwrap();
            super::assert_same(&fs::read(dir.join(name)).unwrap(), &blob.bytes);
        }
    }
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest, "size": blob.len()})
}

/// A ustar archive of one file.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\u{0}00");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

/// RFC 1952 around stored blocks (RFC 1951 §3.2.4).
fn gzip_stored(content: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 65_535;
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let last = content.len().div_ceil(BLOCK) - 1;
    for (index, block) in content.chunks(BLOCK).enumerate() {
        let length = u16::try_from(block.len()).unwrap();
        gzip.push(u8::from(index == last));
        gzip.extend_from_slice(&length.to_le_bytes());
        gzip.extend_from_slice(&(!length).to_le_bytes());
        gzip.extend_from_slice(block);
    }
    gzip.extend_from_slice(&crc32(content).to_le_bytes());
    gzip.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
    gzip
}

fn crc32(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256u32)
        .map(|byte| (0..8).fold(byte, |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))))
        .collect();
    !bytes.iter().fold(!0, |crc, &byte| {
        (crc >> 8) ^ table[((crc ^ u32::from(byte)) & 0xff) as usize]
    })
}

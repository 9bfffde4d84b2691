//! Numbered blobs whose bytes follow from their number and size, so that any byte that ever arrives can
//! be held against what it must be, as it comes and without keeping it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::blob::{Blob, hex};
use super::client::Client;
use super::origin::Origin;

/// What an origin holds, by number.
pub struct Shelf {
    blobs: Vec<Blob>,
}

/// A blob that came whole and right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// What `Cache-Status` says of it.
    pub cache: String,
}

impl Pulled {
    pub fn is_hit(&self) -> bool {
        self.cache == "hit"
    }
}

impl Shelf {
    /// Makes blobs of these sizes and lets the origin hold them. Shelves of different seeds share nothing.
    pub fn stock(origin: &Origin, seed: u64, sizes: impl IntoIterator<Item = usize>) -> Self {
        let blobs = sizes.into_iter().enumerate();
        let blobs = blobs.map(|(number, size)| origin.make(seed << 32 | number as u64, size));
        Self {
            blobs: blobs.collect(),
        }
    }

    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    pub fn blob(&self, number: usize) -> &Blob {
        &self.blobs[number]
    }

    pub fn bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.len() as u64).sum()
    }

    /// Pulls a blob that must come, whole and right.
    #[track_caller]
    pub fn pull(&self, addr: SocketAddr, number: usize) -> Pulled {
        self.pull_counting(addr, number, |_| {})
            .unwrap_or_else(|why| panic!("blob {number}: {why}"))
    }

    /// Pulls a blob; says why when it ends early. A byte that comes and is wrong is a panic.
    pub fn pull_counting(
        &self,
        addr: SocketAddr,
        number: usize,
        mut came: impl FnMut(usize),
    ) -> Result<Pulled, String> {
        let blob = &self.blobs[number];
        let told = |error: std::io::Error| error.to_string();
        let mut client = Client::try_connect(addr).map_err(told)?;
        client.send_what_it_takes(&super::client::request("GET", &blob.path(), &[]));
        let head = client.try_head().map_err(told)?;
        if head.status != 200 {
            return Err(format!("{head:?}"));
        }
        assert!(
            head.length()
                .is_none_or(|length| length == blob.len() as u64),
            "blob {number} of {} bytes: {head:?}",
            blob.len()
        );
        let mut at = 0;
        let whole = client.body("GET", &head, |part| {
            let wanted = blob.bytes.get(at..at + part.len());
            assert!(
                wanted == Some(part),
                "blob {number} of {} bytes has wrong bytes between {at} and {}",
                blob.len(),
                at + part.len()
            );
            at += part.len();
            came(part.len());
        });
        if !whole {
            return Err(format!("{at} of {} bytes came", blob.len()));
        }
        assert_eq!(at, blob.len(), "blob {number} ended cleanly and short");
        Ok(Pulled {
            cache: head.cache(),
        })
    }
}

/// The stored files of one kind (`blobs` or `manifests`), with their sizes.
pub fn files(root: &Path, kind: &str) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    walk(&root.join(kind), &mut |path, size| found.push((path, size)));
    found
}

/// Bytes of all stored files that count.
pub fn stored_bytes(root: &Path) -> u64 {
    let all = ["blobs", "manifests"].map(|kind| files(root, kind));
    all.iter().flatten().map(|(_, size)| size).sum()
}

/// Where a blob lies.
pub fn place(root: &Path, digest: &str) -> PathBuf {
    let (algorithm, hex) = digest.split_once(':').unwrap();
    root.join("blobs").join(algorithm).join(&hex[..2]).join(hex)
}

/// Whether something was put aside, or noted, of a blob that was found damaged.
pub fn is_quarantined(root: &Path, digest: &str) -> bool {
    let (_, hex) = digest.split_once(':').unwrap();
    let put_aside = files(root, "quarantine");
    put_aside
        .iter()
        .any(|(path, _)| path.to_string_lossy().contains(hex))
}

/// Hashes every stored blob: its name must be its digest. What is deleted meanwhile is no matter.
#[track_caller]
pub fn assert_sound(root: &Path) {
    for (path, size) in files(root, "blobs") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            bytes => bytes.unwrap(),
        };
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        assert_eq!(
            hex(digest.as_ref()),
            name,
            "a stored file of {size} bytes is not what its name says"
        );
    }
}

/// Files come and go while it walks.
/// Says whether it is what FUSE makes of a file that was deleted while somebody has it open.
fn is_deleted(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".fuse_hidden")
}

fn walk(dir: &Path, found: &mut impl FnMut(PathBuf, u64)) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_dir() {
            walk(&entry.path(), found);
        } else if !is_deleted(&entry.path()) {
            found(entry.path(), metadata.len());
        }
    }
}

//! Content made from a seed: no files, no network, the same bytes in every run.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA512, digest};

const PAGE: usize = 4096;
const PATTERN: usize = 256 * PAGE;

/// Bytes and their SHA-256 digest. Cloning shares the bytes.
#[derive(Clone)]
pub struct Blob {
    pub bytes: Arc<Vec<u8>>,
    pub digest: String,
}

impl Blob {
    /// Returns `size` bytes in which no two pages are equal, so that misplaced bytes show.
    ///
    /// A pseudo-random pattern, repeated, each page stamped with its index: cheap even unoptimised.
    pub fn seeded(seed: u64, size: usize) -> Self {
        let mut state = seed;
        let mut pattern = Vec::with_capacity(PATTERN);
        while pattern.len() < PATTERN.min(size.next_multiple_of(8)) {
            pattern.extend_from_slice(&splitmix(&mut state).to_le_bytes());
        }
        let mut bytes = Vec::with_capacity(size);
        while bytes.len() < size {
            let wanted = (size - bytes.len()).min(pattern.len());
            bytes.extend_from_slice(&pattern[..wanted]);
        }
        for (index, page) in bytes.chunks_exact_mut(PAGE).enumerate() {
            page[..8].copy_from_slice(&(index as u64).to_le_bytes());
        }
        Self::new(bytes)
    }

    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            digest: sha256(&bytes),
            bytes: Arc::new(bytes),
        }
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The same bytes under their SHA-512 name.
    pub fn as_sha512(&self) -> Self {
        Self {
            bytes: Arc::clone(&self.bytes),
            digest: format!("sha512:{}", hex(digest(&SHA512, &self.bytes).as_ref())),
        }
    }

    /// The path at which a registry serves this blob.
    pub fn path(&self) -> String {
        format!("/v2/test/image/blobs/{}", self.digest)
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(digest(&SHA256, bytes).as_ref()))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails with the first difference instead of printing megabytes.
#[track_caller]
pub fn assert_same(got: &[u8], wanted: &[u8]) {
    if got == wanted {
        return;
    }
    let common = got.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    panic!(
        "bytes differ at {common}: got {} bytes, wanted {}",
        got.len(),
        wanted.len()
    );
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

//! What lies beside a kept file and says how much of it is good: `<root>/partial/<name>.progress`.
//!
//! ```text
//! transship partial 1
//! 5f0c63a1 sha256:<of the blob> <its size> <prefix, in bytes> sha256:<of the prefix> <boot of its writer>
//! ```
//!
//! It is hostile until checked. The checksum, CRC-32 of the first line and of what follows it, finds a line that
//! was torn by a power cut; the prefix itself is hashed before it counts.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::Progress;
use crate::limits::KEPT_PREFIX_BYTES_MIN;

/// The first line, with the version of the format.
const HEADER: &str = "transship partial 1\n";
/// What the name of a sidecar ends with.
const SUFFIX: &str = ".progress";
/// As much of one as is read, in bytes: more than any is long.
const BYTES_MAX: u64 = 1024;
/// Longest name of an unfinished file, in bytes: see `publish::unused_name`.
const NAME_BYTES_MAX: usize = 40;
/// Longest name of a boot, in bytes: a UUID.
const BOOT_BYTES_MAX: usize = 36;

/// A sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sidecar {
    pub(super) progress: Progress,
    /// Boot of the kernel that its writer ran under; `-` where that is not known.
    pub(super) boot: String,
}

impl Sidecar {
    pub(super) fn new(progress: Progress, boot: &str) -> Self {
        let boot = boot.to_owned();
        Self { progress, boot }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let Progress {
            digest,
            size_bytes,
            prefix_bytes,
            prefix_digest,
        } = &self.progress;
        let boot = &self.boot;
        let line = format!("{digest} {size_bytes} {prefix_bytes} {prefix_digest} {boot}\n");
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(HEADER.as_bytes());
        checksum.update(line.as_bytes());
        format!("{HEADER}{:08x} {line}", checksum.finalize()).into_bytes()
    }

    /// Returns what `bytes` say; `None` unless they are, to the last one, what [`Sidecar::encode`] makes of it.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(bytes).ok()?.strip_prefix(HEADER)?;
        let mut words = line.split_ascii_whitespace().skip(1);
        let progress = Progress {
            digest: words.next()?.parse().ok()?,
            size_bytes: words.next()?.parse().ok()?,
            prefix_bytes: words.next()?.parse().ok()?,
            prefix_digest: words.next()?.parse().ok()?,
        };
        let sidecar = Self::new(progress, words.next()?);
        let is_sane = progress.is_sane() && is_boot(&sidecar.boot);
        (is_sane && sidecar.encode() == bytes).then_some(sidecar)
    }

    /// Puts it beside the unfinished file at `path`, in place of the one that is there, at once.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let (to, next) = (beside(path), with_suffix(path, ".next"));
        // Somebody's link in its place would be followed.
        drop(fs::remove_file(&next));
        let written = fs::write(&next, self.encode()).and_then(|()| fs::rename(&next, &to));
        written.inspect_err(|_| drop(fs::remove_file(&next)))
    }

    /// Reads the one beside the unfinished file at `path`; `None` if it is damaged.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = crate::store::open_regular(&beside(path))?;
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(Self::decode(&bytes))
    }
}

impl Progress {
    /// Says whether it is possible, and worth keeping.
    pub(super) fn is_sane(&self) -> bool {
        let prefix = KEPT_PREFIX_BYTES_MIN..=self.size_bytes;
        prefix.contains(&self.prefix_bytes)
            && self.prefix_digest.algorithm() == self.digest.algorithm()
    }
}

/// Returns where the sidecar of the unfinished file at `path` lies.
pub(in crate::store) fn beside(path: &Path) -> PathBuf {
    with_suffix(path, SUFFIX)
}

/// Returns the name of the file that `name` is the sidecar of, if it can be one's.
pub(super) fn subject(name: &str) -> Option<&str> {
    name.strip_suffix(SUFFIX).filter(|name| is_name(name))
}

/// Says whether `name` can be that of an unfinished file of ours.
pub(super) fn is_name(name: &str) -> bool {
    let is_ours = |c: char| c.is_ascii_hexdigit() || c == '-';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(is_ours)
}

/// Returns the boot of this kernel.
pub(super) fn boot() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot = boot.trim();
    if is_boot(boot) { boot } else { "-" }.to_owned()
}

fn is_boot(text: &str) -> bool {
    let is_ours = |c: char| c.is_ascii_hexdigit() || c == '-';
    !text.is_empty() && text.len() <= BOOT_BYTES_MAX && text.chars().all(is_ours)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

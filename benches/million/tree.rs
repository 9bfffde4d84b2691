//! A store of many blobs that take no room: sparse files under names of random digests.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::registry::Random;
use crate::support::blob::hex;

/// Folders of a store.
const FOLDERS: u64 = 256;
/// Threads that make and remove: more wait for the same journal of the file system.
const HANDS: u64 = 4;
/// One blob in so many is small, as a config is.
const DOCUMENT_EVERY: usize = 8;
/// One in so many was last used when it was made. The others are said to have been used in the future: a TTL
/// of seconds then walks over all of them and takes only these.
pub const STALE_EVERY: usize = 50;

/// The directory, removed when it is dropped.
pub struct Tree {
    dir: TempDir,
}

impl Tree {
    pub fn new(dir: &Path) -> Self {
        let dir = TempDir::with_prefix_in("million-", dir).unwrap();
        fs::create_dir(dir.path().join("storage")).unwrap();
        Self { dir }
    }

    /// Returns a place of its own beside the storage.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn storage(&self) -> PathBuf {
        self.beside("storage")
    }

    /// Makes `files` of them, and returns how many bytes they seem to have.
    pub fn fill(&self, files: usize) -> u64 {
        let bytes = AtomicU64::new(0);
        let storage = self.storage();
        each_folder(|folder| {
            let path = storage.join(format!("blobs/sha256/{folder:02x}"));
            let share = files as u64 / FOLDERS + u64::from(folder < files as u64 % FOLDERS);
            bytes.fetch_add(fill_folder(&path, folder, share), Ordering::Relaxed);
        });
        bytes.into_inner()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let blobs = self.storage().join("blobs/sha256");
        each_folder(|folder| {
            // What is left, the directory's own drop removes.
            let _ = fs::remove_dir_all(blobs.join(format!("{folder:02x}")));
        });
    }
}

fn each_folder(work: impl Fn(u64) + Sync) {
    thread::scope(|scope| {
        for hand in 0..HANDS {
            let work = &work;
            scope.spawn(move || (hand..FOLDERS).step_by(HANDS as usize).for_each(work));
        }
    });
}

fn fill_folder(path: &Path, folder: u64, files: u64) -> u64 {
    let mut random = Random(0x6d69_6c6c_696f_6e00 + folder);
    let now = SystemTime::now();
    let mut bytes = 0;
    fs::create_dir_all(path).unwrap();
    for _ in 0..files {
        let mut name = [folder as u8; 32];
        for part in name[1..].chunks_mut(8) {
            part.copy_from_slice(&random.next().to_le_bytes()[..part.len()]);
        }
        let size = match random.below(DOCUMENT_EVERY) {
            0 => random.document_bytes(),
            _ => random.layer_bytes(),
        };
        let used = match random.below(STALE_EVERY) {
            0 => now,
            _ => now + Duration::from_secs(86_400 + random.below(86_400) as u64),
        };
        let file = File::create_new(path.join(hex(&name))).unwrap();
        file.set_len(size).unwrap();
        file.set_times(FileTimes::new().set_modified(used).set_accessed(used))
            .unwrap();
        bytes += size;
    }
    bytes
}

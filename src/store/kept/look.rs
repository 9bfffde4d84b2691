//! The look through `partial/`: what can be gone on with is put on the shelf, what is nobody's is removed.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::FlockOperation;

use super::disk_bytes;
use super::found::{Found, PARTIAL_AGE_MAX, Unfinished, age};
use super::shelf::Lying;
use super::sidecar::{beside, is_name, subject};
use crate::limits::{KEPT_FOR, PARTIALS_LOOKED_AT_MAX};
use crate::store::Store;

/// File systems that one kernel has to itself, by the numbers of statfs(2): ext4, XFS, Btrfs, tmpfs, F2FS, ZFS,
/// overlay.
const LOCAL: [rustix::fs::FsWord; 7] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0x794c_7630,
];

/// Says whether no other host can write to the file system of `root`. What is not known may be one of a network.
pub(super) fn is_local(root: &Path) -> bool {
    rustix::fs::statfs(root).is_ok_and(|found| LOCAL.contains(&found.f_type))
}

/// What lies in `partial/`.
#[derive(Default)]
struct Listed {
    /// All names.
    names: HashSet<String>,
    /// Those that nobody has written to for [`PARTIAL_AGE_MAX`].
    old: Vec<OsString>,
    /// Not all of it was looked at.
    is_partly: bool,
}

impl Store {
    /// Looks at once for what processes on the same directory have left that have ended. May block.
    pub fn look_at_what_was_left(&self) {
        if let Err(error) = self.look_at_partials(SystemTime::now()) {
            tracing::warn!(%error, "unfinished files could not be looked at");
        }
    }

    /// Looks through `partial/`. Costs a `readdir` and a `stat` of each file, and the opening of those that are
    /// not known yet; at most [`PARTIALS_LOOKED_AT_MAX`] of them.
    ///
    /// # Errors
    /// The disk's.
    pub(in crate::store) fn look_at_partials(&self, wall: SystemTime) -> io::Result<()> {
        // Before the look: what is kept from now on may not be on the list.
        let known = self.shelf.names();
        let listed = self.list_partials(wall)?;
        for (name, digest) in &known {
            // Another process has taken it, or somebody tidied.
            if !listed.is_partly && !listed.names.contains(name) {
                drop(self.shelf.take(digest));
            }
        }
        let expired = |one: &Lying| {
            wall.duration_since(one.since)
                .is_ok_and(|age| age > KEPT_FOR)
        };
        for digest in self.shelf.select(expired) {
            tracing::debug!(%digest, "an unfinished blob was kept in vain: removed");
            self.drop_kept(&digest);
        }
        for name in listed.names.iter().filter_map(|name| subject(name)) {
            if listed.names.contains(name) && !known.contains_key(name) && !self.shelf.is_full() {
                self.adopt(name, wall)?;
            }
        }
        for name in listed.old {
            // Those that are kept grow older.
            if name.to_str().is_some_and(|name| self.is_one_of_two(name)) {
                continue;
            }
            let path = self.layout.partials().join(&name);
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "not cleared away");
            }
        }
        Ok(())
    }

    /// Says whether there are both a file and its sidecar, `name` being one of them.
    fn is_one_of_two(&self, name: &str) -> bool {
        let file = subject(name).unwrap_or(name);
        let path = self.layout.partials().join(file);
        let has = |path: &Path| path.symlink_metadata().is_ok();
        is_name(file) && has(&path) && has(&beside(&path))
    }

    fn list_partials(&self, wall: SystemTime) -> io::Result<Listed> {
        let mut listed = Listed::default();
        for (number, item) in fs::read_dir(self.layout.partials())?.enumerate() {
            if number == PARTIALS_LOOKED_AT_MAX {
                listed.is_partly = true;
                break;
            }
            let item = item?;
            let name = item.file_name();
            let metadata = match item.metadata() {
                Ok(metadata) => metadata,
                Err(error) if crate::store::is_vanished(&error) => continue,
                Err(error) => return Err(error),
            };
            if age(&metadata, wall) > PARTIAL_AGE_MAX {
                listed.old.push(name.clone());
            }
            listed.names.extend(name.into_string());
        }
        Ok(listed)
    }

    /// Puts a file on the shelf that a process has left which is no more, or removes it if it is of no use.
    fn adopt(&self, name: &str, wall: SystemTime) -> io::Result<()> {
        let begun = self.checkpoint.failures();
        let found = {
            let _asking = self.shelf.asking.lock();
            let found = self.examine(name, wall)?;
            if let Found::Free(one) | Found::Abandoned(one) = &found {
                // Whoever takes it locks it again; not left to the close, which a forked child could delay.
                let _ = rustix::fs::flock(&one.file, FlockOperation::Unlock);
            }
            found
        };
        match found {
            Found::Free(one) | Found::Abandoned(one) => {
                let Unfinished {
                    metadata, sidecar, ..
                } = one;
                let progress = sidecar.progress;
                if self.lookup(&progress.digest).is_some() {
                    self.discard(name);
                    return Ok(());
                }
                let written = metadata.modified().unwrap_or(wall);
                let lying = Lying {
                    name: name.to_owned(),
                    prefix_bytes: progress.prefix_bytes,
                    disk_bytes: disk_bytes(&metadata, &progress),
                    // A clock that was ahead keeps nothing for ever.
                    since: written.min(wall),
                    begun,
                };
                tracing::info!(digest = %progress.digest, prefix_bytes = progress.prefix_bytes, size_bytes = progress.size_bytes, "an unfinished blob was found that can be gone on with");
                self.put_on_shelf(&progress.digest, lying);
            }
            Found::Bad(why) => self.reject(name, &why),
            Found::Busy | Found::Gone => {}
        }
        Ok(())
    }
}

//! What an operator is shown of the store, and takes out of it by name.
//!
//! Nothing here is on the way of a client: a page of a million entries costs time of a helper thread,
//! which holds the lock of one part of the index at a time, and counts as no use of anything.

use std::collections::BinaryHeap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::entry::Entry;
use super::index::SHARDS;
use super::layout::Kind;
use super::{Store, quarantine};
use crate::digest::Digest;
use crate::metrics::Removal;

/// One blob or manifest, as memory knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its digest.
    pub digest: Digest,
    /// Whether it is a blob or a manifest.
    pub kind: Kind,
    /// Length of its file.
    pub size_bytes: u64,
    /// Second of its last use, since the epoch.
    pub last_use: u32,
    /// How often it was sent since it was stored.
    pub hits: u32,
    /// It is never evicted.
    pub is_pinned: bool,
}

/// One blob or manifest, and what its file tells.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// What memory knows.
    pub row: Row,
    /// When its file was made.
    pub stored_at: Option<SystemTime>,
    /// When it goes if nobody pulls it.
    pub expires_at: Option<SystemTime>,
}

/// What a page is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The digest itself.
    #[default]
    Digest,
    /// The largest first.
    Size,
    /// The last used first.
    Used,
    /// The most used first.
    Hits,
}

/// Where in the order a row stands: what is sorted by, counted down, then the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// 0 where digests alone count.
    pub rank: u64,
    /// The row's digest.
    pub digest: Digest,
    /// A digest may be stored as both.
    pub kind: Kind,
}

/// Which page is wanted.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// How the digest begins, with or without its algorithm.
    pub prefix: String,
    /// Only what this repository has.
    pub repository: Option<String>,
    /// The order.
    pub sort: Sort,
    /// Only what comes behind this place.
    pub after: Option<Place>,
    /// Most rows of the page.
    pub most: usize,
}

/// What came of taking something out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// It is gone, and gave back this many bytes.
    Gone {
        /// Of all its files.
        bytes: u64,
    },
    /// It is pinned, and stays.
    Pinned,
    /// It is not here.
    Absent,
}

impl Sort {
    /// Returns where a row stands.
    #[must_use]
    pub fn place(self, row: &Row) -> Place {
        let rank = match self {
            Self::Digest => 0,
            Self::Size => u64::MAX - row.size_bytes,
            Self::Used => u64::MAX - u64::from(row.last_use),
            Self::Hits => u64::MAX - u64::from(row.hits),
        };
        Place {
            rank,
            digest: row.digest,
            kind: row.kind,
        }
    }
}

impl Row {
    fn of(entry: &Entry) -> Self {
        Self {
            digest: entry.digest(),
            kind: entry.kind(),
            size_bytes: entry.size_bytes,
            last_use: entry.last_use(),
            hits: entry.hits(),
            is_pinned: entry.is_pinned(),
        }
    }
}

impl Listing {
    /// Says whether a digest begins as is wanted.
    fn begins(&self, digest: &Digest) -> bool {
        if self.prefix.is_empty() {
            return true;
        }
        let text = digest.text();
        let text = text.as_ref();
        let prefix = self.prefix.as_bytes();
        match prefix.contains(&b':') {
            true => text.starts_with(prefix),
            false => text[digest.algorithm().name().len() + 1..].starts_with(prefix),
        }
    }
}

impl Store {
    /// Returns one page, in order.
    #[must_use]
    pub fn list(&self, listing: &Listing) -> Vec<Row> {
        let mut page: BinaryHeap<(Place, SortedRow)> = BinaryHeap::new();
        for shard in 0..SHARDS {
            let last = (page.len() >= listing.most)
                .then(|| page.peek().map(|(place, _)| *place))
                .flatten();
            let is_wanted = |entry: &Entry| {
                let row = Row::of(entry);
                let place = listing.sort.place(&row);
                listing.after.is_none_or(|after| place > after)
                    && last.is_none_or(|last| place < last)
                    && listing.begins(&row.digest)
            };
            let folder = u8::try_from(shard).unwrap_or(u8::MAX);
            for entry in self.inventory.select_in(folder, is_wanted) {
                let row = Row::of(&entry);
                let repository = listing.repository.as_deref();
                if repository.is_some_and(|name| !self.is_linked(name, &row.digest)) {
                    continue;
                }
                page.push((listing.sort.place(&row), SortedRow(row)));
                if page.len() > listing.most {
                    page.pop();
                }
            }
        }
        let sorted = page.into_sorted_vec().into_iter();
        sorted.map(|(_, SortedRow(row))| row).collect()
    }

    /// Returns what is stored under a digest: nothing, a blob, a manifest, or both. What memory does not know
    /// is looked for on disk.
    #[must_use]
    pub fn show(&self, digest: &Digest) -> Vec<Shown> {
        let kinds = Kind::ALL.into_iter();
        kinds
            .filter_map(|kind| self.show_one(kind, digest))
            .collect()
    }

    fn show_one(&self, kind: Kind, digest: &Digest) -> Option<Shown> {
        let file = fs::symlink_metadata(self.layout.path(kind, digest)).ok();
        let file = file.filter(fs::Metadata::is_file);
        let known = self.inventory.lookup(kind, digest);
        let mut row = match (&known, &file) {
            (Some(entry), _) => Row::of(entry),
            (None, Some(file)) => Row::of(&Entry::found(kind, digest, file)),
            (None, None) => return None,
        };
        row.is_pinned |= self.pins.holds(digest);
        let used = UNIX_EPOCH + Duration::from_secs(row.last_use.into());
        Some(Shown {
            row,
            stored_at: file.and_then(|file| file.created().or_else(|_| file.modified()).ok()),
            expires_at: self
                .tuned
                .blob_ttl
                .get()
                .filter(|_| !row.is_pinned)
                .and_then(|ttl| used.checked_add(ttl)),
        })
    }

    /// Says whether a digest is pinned, stored or not.
    #[must_use]
    pub fn is_pinned(&self, digest: &Digest) -> bool {
        self.pins.holds(digest)
    }

    /// Returns the repositories that are known to have a digest, at most `most`.
    #[must_use]
    pub fn repositories(&self, digest: &Digest, most: usize) -> Vec<String> {
        self.links.repositories(digest, most)
    }

    /// Returns the repositories whose blobs among `rows` have most hits, the busiest first, at most `most`. What
    /// several have counts for each.
    #[must_use]
    pub fn busiest_repositories(&self, rows: &[Row], most: usize) -> Vec<(String, u64)> {
        let weights: Vec<_> = rows
            .iter()
            .filter(|row| row.kind == Kind::Blob)
            .map(|row| (row.digest, u64::from(row.hits)))
            .collect();
        self.links.rank(&weights, most)
    }

    /// Returns the pins that keep a digest. Reads the manifests that are pinned.
    #[must_use]
    pub fn pinned_by(&self, digest: &Digest) -> Vec<String> {
        if !self.pins.holds(digest) {
            return Vec::new();
        }
        self.pins.holders(digest, |one| self.manifest(one))
    }

    /// Reads the list of pins now, where it would be noticed within seconds.
    pub fn heed_pins(&self) {
        self.look_at_pins();
    }

    /// Returns the names of the files of a digest that lie in quarantine.
    #[must_use]
    pub fn quarantined(&self, digest: &Digest) -> Vec<String> {
        quarantine::named(&self.layout, digest)
    }

    /// Takes a blob or manifest out of the store, with what is kept of it unfinished. Responses that are
    /// sending it go on; who asks from here on has it fetched anew.
    ///
    /// - `is_forced`: also if it is pinned.
    ///
    /// # Errors
    /// A file could not be deleted, and counts as before.
    pub fn purge(&self, digest: &Digest, is_forced: bool) -> io::Result<Purge> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            let known = self.inventory.lookup(kind, digest);
            found.extend(known.or_else(|| self.find_file(kind, digest)));
        }
        if found.is_empty() && !self.has_kept(digest) {
            return Ok(Purge::Absent);
        }
        if !is_forced && self.pins.holds(digest) {
            return Ok(Purge::Pinned);
        }
        let mut bytes = 0;
        for entry in found {
            if !self.delete(&entry, Removal::Purged) {
                return Err(io::Error::other("its file could not be deleted"));
            }
            bytes += entry.size_bytes;
        }
        bytes += self.drop_kept(digest).unwrap_or(0);
        Ok(Purge::Gone { bytes })
    }

    /// Adds what is on disk and not known.
    fn find_file(&self, kind: Kind, digest: &Digest) -> Option<Arc<Entry>> {
        let file = fs::symlink_metadata(self.layout.path(kind, digest)).ok()?;
        file.is_file()
            .then(|| self.add(Entry::found(kind, digest, &file), None))
    }
}

/// A row that leaves its order to the place beside it.
struct SortedRow(Row);

impl PartialEq for SortedRow {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SortedRow {}

impl PartialOrd for SortedRow {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SortedRow {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use crate::metrics::StoreNumbers;
    use crate::store::Options;

    fn stocked(root: &std::path::Path, count: u32) -> Arc<Store> {
        let options = Options::new(root.to_owned());
        let (store, _house) = Store::open(&options, Arc::new(StoreNumbers::default())).unwrap();
        for seed in 0..count {
            let bytes = vec![7; usize::try_from(seed).unwrap() + 1];
            let digest = Digest::of(Algorithm::Sha256, &bytes);
            let mut partial = store.begin(Some(bytes.len() as u64)).unwrap();
            store.write(&mut partial, &bytes, 0).unwrap();
            drop(store.commit(&digest, partial, bytes.len() as u64).unwrap());
            if seed % 2 == 0 {
                store.link("team/even", &digest);
            }
        }
        store
    }

    #[test]
    fn pages_follow_each_other_without_a_gap_or_a_repeat_in_every_order() {
        let root = tempfile::tempdir().unwrap();
        let store = stocked(root.path(), 25);
        for sort in [Sort::Digest, Sort::Size, Sort::Used, Sort::Hits] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let listing = Listing {
                    sort,
                    after,
                    most: 4,
                    ..Listing::default()
                };
                let page = store.list(&listing);
                let Some(last) = page.last() else { break };
                after = Some(sort.place(last));
                assert!(page.len() <= 4);
                seen.extend(page.iter().map(|row| sort.place(row)));
            }
            assert_eq!(seen.len(), 25, "{sort:?}");
            assert!(seen.windows(2).all(|two| two[0] < two[1]), "{sort:?}");
        }
        let of = |prefix: &str, repository: Option<&str>| {
            let listing = Listing {
                prefix: prefix.to_owned(),
                repository: repository.map(ToOwned::to_owned),
                most: 100,
                ..Listing::default()
            };
            store.list(&listing).len()
        };
        assert_eq!(of("", Some("team/even")), 13);
        assert_eq!(of("", Some("team/odd")), 0);
        let one = Digest::of(Algorithm::Sha256, &[7]);
        assert_eq!(of(&one.to_string(), None), 1);
        assert_eq!(of(&one.hex()[..20], None), 1);
        assert_eq!(of("sha512:", None), 0);
        assert_eq!(store.repositories(&one, 9), ["team/even"]);
    }

    #[test]
    fn what_is_purged_is_gone_from_disk_and_memory_and_what_is_pinned_stays() {
        let root = tempfile::tempdir().unwrap();
        let store = stocked(root.path(), 2);
        let one = Digest::of(Algorithm::Sha256, &[7]);
        assert_eq!(store.show(&one)[0].row.size_bytes, 1);
        crate::store::pin(root.path(), &[one.to_string().parse().unwrap()]).unwrap();
        store.heed_pins();
        assert_eq!(store.pinned_by(&one), [one.to_string()]);
        assert_eq!(store.purge(&one, false).unwrap(), Purge::Pinned);
        assert!(store.lookup(&one).is_some());
        assert_eq!(store.purge(&one, true).unwrap(), Purge::Gone { bytes: 1 });
        assert!(store.lookup(&one).is_none() && !store.has_file(&one));
        assert!(store.show(&one).is_empty() && store.repositories(&one, 9).is_empty());
        assert_eq!(store.purge(&one, true).unwrap(), Purge::Absent);
    }

    #[test]
    fn the_busiest_repositories_are_those_whose_blobs_are_hit_most() {
        let root = tempfile::tempdir().unwrap();
        let store = stocked(root.path(), 3);
        let busy = |digest: Digest, hits| Row {
            digest,
            kind: Kind::Blob,
            size_bytes: 1,
            last_use: 1,
            hits,
            is_pinned: false,
        };
        let digests = [b"a", b"b", b"c"].map(|bytes| Digest::of(Algorithm::Sha256, bytes));
        store.links.link("busy", &digests[0]);
        store.links.link("shared", &digests[0]);
        store.links.link("shared", &digests[1]);
        store.links.link("idle", &digests[2]);
        let rows = [(0, 5), (1, 2), (2, 1)].map(|(one, hits)| busy(digests[one], hits));
        let named = |name: &str, hits| (name.to_owned(), hits);
        assert_eq!(
            store.busiest_repositories(&rows, 2),
            [named("shared", 7), named("busy", 5)]
        );
    }

    #[test]
    fn what_memory_does_not_know_is_shown_and_purged_from_disk() {
        let root = tempfile::tempdir().unwrap();
        let store = stocked(root.path(), 1);
        let digest = Digest::of(Algorithm::Sha256, b"foreign");
        fs::write(store.layout.path(Kind::Blob, &digest), b"foreign").unwrap();
        assert_eq!(store.show(&digest)[0].row.size_bytes, 7);
        assert_eq!(
            store.purge(&digest, false).unwrap(),
            Purge::Gone { bytes: 7 }
        );
        assert!(!store.has_file(&digest));
    }
}

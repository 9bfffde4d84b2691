//! Links in memory: at most 48 bytes each at a million.
//!
//! A repository's name is kept once and has a number. A digest is known by its first 16 bytes: to reach a
//! blob by way of another's link takes content whose digest agrees with a given one in 128 bits. Most
//! digests have one repository, so the first one stands in the map itself, without a list.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::digest::Digest;

/// Parts of each map, each with a lock of its own.
const SHARDS: usize = 64;

/// What a digest is known by.
type Key = [u8; 16];

/// Number of a repository's name. Never used twice while the process lives.
type Repository = u32;

type Names = RwLock<HashMap<Box<str>, Repository>>;

/// Which repositories have which digests.
#[derive(Debug)]
pub(super) struct Table {
    names: Box<[Names]>,
    next: AtomicU64,
    shards: Box<[RwLock<Shard>]>,
}

/// The links of some digests.
#[derive(Debug, Default)]
struct Shard {
    /// The repository that had each digest first.
    first: HashMap<Key, Repository>,
    /// Those that came after it, sorted.
    further: HashMap<Key, Vec<Repository>>,
    links: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            names: (0..SHARDS).map(|_| Names::default()).collect(),
            next: AtomicU64::new(0),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
        }
    }
}

impl Table {
    /// Says whether `repository` has `digest`. Costs two read locks, each of one shard, and no system call.
    pub(super) fn holds(&self, repository: &str, digest: &Digest) -> bool {
        let Some(repository) = self.names(repository).read().get(repository).copied() else {
            return false;
        };
        let key = key(digest);
        self.shard(&key).read().holds(&key, repository)
    }

    /// Adds a link; `then` runs under the shard's lock if it is a new one. Says whether it is.
    pub(super) fn insert(&self, repository: &str, digest: &Digest, then: impl FnOnce()) -> bool {
        let Some(repository) = self.number(repository) else {
            return false;
        };
        let key = key(digest);
        let mut shard = self.shard(&key).write();
        let is_new = !shard.holds(&key, repository);
        if is_new {
            shard.insert(key, repository);
            then();
        }
        is_new
    }

    /// Removes every link of a digest; `then` runs under the shard's lock if there was one.
    pub(super) fn remove(&self, digest: &Digest, then: impl FnOnce()) {
        let key = key(digest);
        let mut shard = self.shard(&key).write();
        if shard.remove(&key) {
            then();
        }
    }

    /// Returns the names of the repositories that have a digest, at most `most`, sorted. Costs a look at every
    /// name, each shard's lock in turn.
    pub(super) fn repositories(&self, digest: &Digest, most: usize) -> Vec<String> {
        let key = key(digest);
        let mut numbers = {
            let shard = self.shard(&key).read();
            shard.numbers(&key).collect::<Vec<_>>()
        };
        numbers.sort_unstable();
        let mut found = Vec::new();
        for names in &self.names {
            let names = names.read();
            let of_digest = |number: &Repository| numbers.binary_search(number).is_ok();
            let names = names.iter().filter(|(_, number)| of_digest(number));
            found.extend(names.map(|(name, _)| name.to_string()));
        }
        found.sort_unstable();
        found.truncate(most);
        found
    }

    /// Returns the repositories that have most of `weights`, the heaviest first, at most `most`. Costs a look at
    /// every name, each shard's lock in turn.
    pub(super) fn rank(&self, weights: &[(Digest, u64)], most: usize) -> Vec<(String, u64)> {
        let mut sums: HashMap<Repository, u64> = HashMap::new();
        for (digest, weight) in weights {
            let key = key(digest);
            for number in self.shard(&key).read().numbers(&key) {
                *sums.entry(number).or_default() += weight;
            }
        }
        let mut ranked: Vec<_> = sums.into_iter().collect();
        ranked.sort_unstable_by_key(|(number, sum)| (std::cmp::Reverse(*sum), *number));
        ranked.truncate(most);
        let sums: HashMap<_, _> = ranked.into_iter().collect();
        let mut found = Vec::new();
        for names in &self.names {
            for (name, number) in names.read().iter() {
                found.extend(sums.get(number).map(|sum| (name.to_string(), *sum)));
            }
        }
        found.sort_unstable_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
        found
    }

    /// Returns how many links there are.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().links).sum()
    }

    /// Returns the number of a name, which it gets now if it has none; `None` when there are no more.
    fn number(&self, name: &str) -> Option<Repository> {
        let known = self.names(name).read().get(name).copied();
        if known.is_some() {
            return known;
        }
        let mut names = self.names(name).write();
        if let Some(number) = names.get(name) {
            return Some(*number);
        }
        let number = Repository::try_from(self.next.fetch_add(1, Ordering::Relaxed)).ok()?;
        names.insert(name.into(), number);
        Some(number)
    }

    fn names(&self, name: &str) -> &Names {
        &self.names[crc32fast::hash(name.as_bytes()) as usize % SHARDS]
    }

    fn shard(&self, key: &Key) -> &RwLock<Shard> {
        &self.shards[usize::from(key[1]) % SHARDS]
    }
}

impl Shard {
    /// Returns the repositories that have a digest.
    fn numbers(&self, key: &Key) -> impl Iterator<Item = Repository> {
        let first = self.first.get(key).copied();
        let further = self.further.get(key).map_or(&[][..], Vec::as_slice);
        first.into_iter().chain(further.iter().copied())
    }

    fn holds(&self, key: &Key, repository: Repository) -> bool {
        match self.first.get(key) {
            None => false,
            Some(first) if *first == repository => true,
            Some(_) => self
                .further
                .get(key)
                .is_some_and(|further| further.binary_search(&repository).is_ok()),
        }
    }

    /// Adds a link that is not there.
    fn insert(&mut self, key: Key, repository: Repository) {
        self.links += 1;
        if let Entry::Vacant(first) = self.first.entry(key) {
            first.insert(repository);
            return;
        }
        let further = self.further.entry(key).or_default();
        let at = further.partition_point(|other| *other < repository);
        further.insert(at, repository);
    }

    /// Removes every link of a digest; says whether there was one.
    fn remove(&mut self, key: &Key) -> bool {
        if self.first.remove(key).is_none() {
            return false;
        }
        let further = self.further.remove(key).map_or(0, |further| further.len());
        self.links -= 1 + further;
        true
    }
}

fn key(digest: &Digest) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(&digest.raw()[..16]);
    key
}

//! The site of three machines of `docs/chains.md`, with the very configuration that stands there.

use std::fs;

use crate::support::process::until;
use crate::support::{Blob, Origin, Transship, assert_same};

const COUNT: u64 = 30;

/// Returns the block of YAML in the document that begins with this comment.
fn documented(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/chains.md");
    let document = fs::read_to_string(path).unwrap();
    let blocks = document.split("```yaml\n").skip(1);
    let mut blocks = blocks.map(|rest| rest.split("```").next().unwrap());
    let begin = format!("# {name}, ");
    let block = blocks.find(|block| block.starts_with(&begin));
    block
        .unwrap_or_else(|| panic!("no {name} in {path}"))
        .to_owned()
}

/// Three stores before one registry.
struct Site {
    origin: Origin,
    stores: Vec<Option<Transship>>,
    /// Where each store was, also when it is lost.
    urls: Vec<String>,
    blobs: Vec<Blob>,
}

impl Site {
    fn set() -> Self {
        let origin = Origin::start();
        let config = documented("store.yml").replace("https://registry.example", &origin.url());
        let stores: Vec<_> = (0..3)
            .map(|_| Transship::options().config(config.as_str()).start())
            .collect();
        let urls = stores.iter().map(|store| format!("http://{}", store.addr));
        let urls = urls.collect();
        let blobs = (0..COUNT).map(|seed| origin.make(seed, 20_000)).collect();
        let stores = stores.into_iter().map(Some).collect();
        Self {
            origin,
            stores,
            urls,
            blobs,
        }
    }

    fn front(&self) -> Transship {
        let mut config = documented("front.yml");
        for (index, url) in self.urls.iter().enumerate() {
            let name = format!("http://node-{}.example:5100", index + 1);
            assert!(config.contains(&name));
            config = config.replace(&name, url);
        }
        Transship::options().config(config).start()
    }

    fn pull_all(&self, front: &Transship) {
        let mut client = front.client();
        for blob in &self.blobs {
            let reply = client.get(&blob.path());
            assert_eq!(reply.status(), 200, "{}", reply.text());
            assert_same(&reply.body, &blob.bytes);
        }
    }

    /// The store that holds each blob; each must be at one that is left, and at no other.
    fn homes(&self) -> Vec<usize> {
        let home = |blob: &Blob| {
            let holds = |store: &Option<Transship>| {
                store
                    .as_ref()
                    .is_some_and(|store| store.stores(&blob.digest))
            };
            let holders: Vec<_> = (0..3).filter(|&index| holds(&self.stores[index])).collect();
            assert_eq!(holders.len(), 1, "{}: {holders:?}", blob.digest);
            holders[0]
        };
        self.blobs.iter().map(home).collect()
    }

    /// How often the registry was asked for each blob's bytes.
    fn fetched(&self) -> Vec<usize> {
        let count = |blob: &Blob| self.origin.count("GET", &blob.path());
        self.blobs.iter().map(count).collect()
    }

    /// Waits until all that was fetched is stored.
    fn settle(&self, fills: usize) {
        until("every fill is committed", || {
            let stores = self.stores.iter().flatten();
            let committed = [("outcome", "committed")];
            let sum = |store: &Transship| store.metrics().sum("transship_fills_total", &committed);
            stores.map(sum).sum::<u64>() >= fills as u64
        });
    }
}

#[test]
fn three_stores_hold_three_shares_and_losing_one_moves_only_its_own() {
    // Three caches that each hold everything are as small as one; three that forget on a failure are worse.
    let mut site = Site::set();
    site.pull_all(&site.front());
    site.pull_all(&site.front());
    site.settle(site.blobs.len());
    assert_eq!(site.fetched(), vec![1; site.blobs.len()]);
    let homes = site.homes();
    for store in 0..3 {
        let share = homes.iter().filter(|&&home| home == store).count();
        assert!(share > 0, "{homes:?}");
    }

    let lost = 1;
    let share = homes.iter().filter(|&&home| home == lost).count();
    drop(site.stores[lost].take());
    // Empty, so that it asks for everything.
    let front = site.front();
    site.pull_all(&front);
    site.settle(site.blobs.len());
    let moved = site.homes();
    for (index, (before, after)) in homes.iter().zip(&moved).enumerate() {
        let fetched = site.origin.count("GET", &site.blobs[index].path());
        if *before == lost {
            assert_eq!(fetched, 2);
        } else {
            assert_eq!((fetched, after), (1, before));
        }
    }
    let metrics = front.metrics();
    assert_eq!(metrics.sum("transship_upstream_up", &[]), 2);
    let unreachable = [("outcome", "unreachable")];
    let asked = metrics.sum("transship_upstream_requests_total", &unreachable);
    assert!(asked >= 1 && asked <= share as u64, "{asked} of {share}");
}

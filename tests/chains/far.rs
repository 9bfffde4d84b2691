//! Three caches in a row, each with TLS and an authority of its own, before a real registry.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::image::Image;
use crate::support::process::run;
use crate::support::pull::{Podman, skopeo};
use crate::support::{Blob, DockerRegistry, FaultProxy, Gate, Harm, On, Tls, Transship, until};

/// What each cache may not show of what it has while the one behind it stands still: a chunk that waits for
/// more.
const UNSEEN: u64 = 256 * 1024;

/// A registry behind TLS, and caches each of which knows the one before it. The last is nearest to clients.
struct Chain {
    registry: DockerRegistry,
    hop: FaultProxy,
    caches: Vec<Transship>,
    dir: TempDir,
}

impl Chain {
    fn of(length: usize) -> Self {
        let registry = DockerRegistry::start();
        let dir = TempDir::new().unwrap();
        let tls = Tls::new();
        let hop = FaultProxy::before_with_tls(registry.addr(), &tls);
        put(dir.path(), 0, &tls);
        let mut chain = Self {
            registry,
            hop,
            caches: Vec::new(),
            dir,
        };
        for number in 1..=length {
            let tls = Tls::new();
            put(chain.dir.path(), number, &tls);
            let cache = Transship::options().config(chain.config(number)).start();
            chain.caches.push(cache);
        }
        chain
    }

    /// The configuration of the content cache's own documentation: the first of a list of URLs, those behind
    /// it of an origin and the caches in its stead, by turns.
    fn config(&self, number: usize) -> String {
        let next = self.url(number - 1);
        let upstreams = match number % 2 {
            1 => format!("[{next}]"),
            _ => format!(
                "[{{originhost: '{}', upstreamhosts: ['{next}']}}]",
                self.hop.url()
            ),
        };
        // The one in the other form believes the registry as well as the cache before it.
        let cas: Vec<_> = (0..number)
            .map(|number| file(self.dir.path(), number, "ca"))
            .collect();
        let cas: Vec<_> = cas.iter().map(|path| path.display().to_string()).collect();
        format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\n\
             http: {{addr: '127.0.0.1:0', tls: {{certificate: {}, key: {}}}}}\n\
             middleware:\n  registry:\n    - name: downstream\n      options:\n        \
             upstreams: {upstreams}\n        cas: [{}]\n",
            file(self.dir.path(), number, "cert").display(),
            file(self.dir.path(), number, "key").display(),
            cas.join(", ")
        )
    }

    /// The address of a cache, counted from 1, or of the registry.
    fn url(&self, number: usize) -> String {
        match number.checked_sub(1) {
            None => self.hop.url(),
            Some(index) => format!("https://{}", self.caches[index].addr),
        }
    }

    /// `HOST:PORT` of the cache that clients talk to.
    fn front(&self) -> String {
        self.caches.last().unwrap().addr.to_string()
    }

    /// A directory with the authority of that cache alone, as clients want it.
    fn certificates(&self) -> PathBuf {
        let dir = self.dir.path().join("clients");
        fs::create_dir_all(&dir).unwrap();
        let authority = file(self.dir.path(), self.caches.len(), "ca");
        fs::copy(authority, dir.join("ca.crt")).unwrap();
        dir
    }

    /// Each cache has committed so many blobs, and the registry has sent each of these once.
    #[track_caller]
    fn expect_fetched_once(&self, blobs: &[&Blob]) {
        for cache in &self.caches {
            let committed = [("outcome", "committed")];
            cache.until_metric("transship_fills_total", &committed, blobs.len() as u64);
            for blob in blobs {
                assert!(cache.stores(&blob.digest));
            }
        }
        for blob in blobs {
            assert_eq!(self.hop.asked(blob).len(), 1);
            assert_eq!(self.hop.sent(blob), blob.len() as u64);
        }
    }
}

fn file(dir: &Path, number: usize, kind: &str) -> PathBuf {
    dir.join(format!("{kind}-{number}.pem"))
}

fn put(dir: &Path, number: usize, tls: &Tls) {
    for (kind, text) in [
        ("ca", &tls.authority),
        ("cert", &tls.certificate),
        ("key", &tls.key),
    ] {
        fs::write(file(dir, number, kind), text).unwrap();
    }
}

#[test]
fn skopeo_and_podman_pull_through_three_caches_that_trust_only_each_other() {
    // Branch, country, continent: a chain that needs one authority for all, or plain HTTP inside, is no chain.
    let chain = Chain::of(3);
    let image = Image::make(500, &[3_000_000, 70_000, 1, 12_000_000]);
    image.push(&chain.registry.host);
    let copy = TempDir::new().unwrap();
    run(skopeo()
        .args(["copy", "--preserve-digests", "--src-cert-dir"])
        .arg(chain.certificates())
        .arg(format!("docker://{}/test/image:latest", chain.front()))
        .arg(format!("dir:{}", copy.path().display())));
    image.assert_is_in(copy.path());
    let blobs: Vec<&Blob> = image.layers.iter().chain([&image.config]).collect();
    chain.expect_fetched_once(&blobs);

    let name = format!("{}/test/image:latest", chain.front());
    let certificates = chain.certificates();
    let options = ["--cert-dir", certificates.to_str().unwrap()];
    let digest = Podman::with_mirror("127.0.0.1:1").pull_with(&name, &options);
    assert_eq!(digest.as_deref(), Ok(&*image.manifest.digest));
    chain.expect_fetched_once(&blobs);
    // Who does not know the authority gets nothing.
    let stranger = Podman::with_mirror("127.0.0.1:1").pull_with(&name, &[]);
    assert!(stranger.is_err_and(|said| said.contains("certificate")));
}

#[test]
fn podman_is_the_first_to_pull_through_three_caches() {
    let chain = Chain::of(3);
    let image = Image::make(600, &[1_000_000, 500_000]);
    image.push(&chain.registry.host);
    let name = format!("{}/test/image:latest", chain.front());
    let certificates = chain.certificates();
    let options = ["--cert-dir", certificates.to_str().unwrap()];
    let digest = Podman::with_mirror("127.0.0.1:1").pull_with(&name, &options);
    assert_eq!(digest.as_deref(), Ok(&*image.manifest.digest));
    let blobs: Vec<&Blob> = image.layers.iter().chain([&image.config]).collect();
    chain.expect_fetched_once(&blobs);
}

/// Plain caches in a row, for clients that count bytes.
fn plain(registry: &DockerRegistry, length: usize) -> (FaultProxy, Vec<Transship>) {
    let hop = FaultProxy::before(registry.addr());
    let mut caches: Vec<Transship> = Vec::new();
    for _ in 0..length {
        let next = caches
            .last()
            .map_or(hop.url(), |cache| format!("http://{}", cache.addr));
        caches.push(Transship::behind(&[next], "").start());
    }
    (hop, caches)
}

#[test]
fn the_last_client_of_three_caches_reads_while_the_first_fill_stands_still() {
    // A chain that hands on whole blobs only triples the wait, and clients time out before the first byte.
    let registry = DockerRegistry::start();
    let (hop, caches) = plain(&registry, 3);
    let blob = Blob::seeded(1, 4 << 20);
    registry.hold(&blob);
    let gate = Gate::new();
    let came = 2 << 20;
    hop.harm(&On::blob(&blob), 1, &Harm::none().wait_at(came, &gate));
    let mut client = caches[2].client();
    client.ask("GET", &blob.path(), &[]);
    let head = client.head();
    assert_eq!((head.status, head.length()), (200, Some(blob.len() as u64)));
    let mut got = client.exactly(usize::try_from(came - 3 * UNSEEN).unwrap());
    gate.reached();
    assert_eq!(hop.sent(&blob), came, "the gate was shut all the time");
    gate.open();
    got.extend(client.exactly(blob.len() - got.len()));
    crate::support::assert_same(&got, &blob.bytes);
    for cache in &caches {
        cache.until_metric("transship_fills_total", &[("outcome", "committed")], 1);
        assert!(cache.stores(&blob.digest));
    }
    assert_eq!(hop.sent(&blob), blob.len() as u64);
}

#[test]
fn a_break_behind_the_first_of_three_caches_is_made_good_there_and_seen_by_nobody() {
    // If each cache resumed by itself, one break would be three, and the client would see one of them.
    let registry = DockerRegistry::start();
    let (hop, caches) = plain(&registry, 3);
    let blob = Blob::seeded(2, 4 << 20);
    registry.hold(&blob);
    hop.harm(&On::blob(&blob), 3, &Harm::none().cut(1 << 20));
    let reply = caches[2].get(&blob.path());
    assert_eq!((reply.status(), reply.whole), (200, true));
    crate::support::assert_same(&reply.body, &blob.bytes);
    assert_eq!(hop.asked(&blob).len(), 4);
    assert!(hop.sent(&blob) <= (4 << 20) + 3 * (1 << 20));
    for cache in &caches {
        until("every cache has it", || cache.stores(&blob.digest));
    }
    let asked = [("outcome", "answered")];
    let metrics = caches[2].metrics();
    let asked = metrics.sum("transship_upstream_requests_total", &asked);
    assert!(asked <= 2, "{}", metrics.text);
}

#[test]
fn a_cache_in_the_middle_that_dies_for_good_does_not_fail_the_pull_if_another_is_listed() {
    let registry = DockerRegistry::start();
    let (hop, behind) = plain(&registry, 1);
    let second = Transship::behind(&[hop.url()], "").start();
    let blob = Blob::seeded(3, 8 << 20);
    registry.hold(&blob);
    let way = FaultProxy::before(behind[0].addr);
    let gate = Gate::new();
    way.harm(&On::blob(&blob), 1, &Harm::none().wait_at(6 << 20, &gate));
    let urls = [way.url(), format!("http://{}", second.addr)];
    let front = Transship::behind(&urls, "    policy: failover\n").start();
    let mut client = front.client();
    client.ask("GET", &blob.path(), &[]);
    assert_eq!(client.head().status, 200);
    gate.reached();
    way.die();
    crate::support::assert_same(&client.exactly(blob.len()), &blob.bytes);
    until("the front has it", || front.stores(&blob.digest));
}

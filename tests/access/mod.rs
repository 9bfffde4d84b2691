//! Who may have what: the origin decides, per user, repository and blob, on a hit as on a miss.

mod clients;
mod doors;
mod mirror;
mod origin_away;
mod regressions;
mod signed;

use crate::support::{Blob, Client, Origin, Reply, Transship, transship};

/// Two users, as they show themselves.
const ALICE: &str = "Basic YWxpY2U6c2VjcmV0";
const BOB: &str = "Basic Ym9iOnNlY3JldA==";

const CHALLENGE: &str = "Basic realm=\"origin.test\"";

/// An origin where Alice may pull from `test/image` and Bob from `bob/own`, and a transship before it.
struct Stage {
    origin: Origin,
    transship: Transship,
}

impl Stage {
    fn set() -> Self {
        Self::set_with("")
    }

    /// - `access`: what stands below `transship.access`, indented by four.
    fn set_with(access: &str) -> Self {
        let origin = Origin::start();
        origin.challenge(CHALLENGE);
        origin.grant("test/image", ALICE);
        origin.grant("bob/own", BOB);
        let transship = before(&origin, access).start();
        Self { origin, transship }
    }

    fn get(&self, path: &str, who: &str) -> Reply {
        get(&mut self.transship.client(), path, who)
    }

    /// Pulls the blob as Alice, so that it is here.
    fn hit(&self, seed: u64, size: usize) -> Blob {
        let blob = self.origin.make(seed, size);
        let committed = [("outcome", "committed")];
        let before = self
            .transship
            .metrics()
            .sum("transship_fills_total", &committed);
        let reply = self.get(&blob.path(), ALICE);
        assert_eq!(
            (reply.status(), reply.whole),
            (200, true),
            "{:?}",
            reply.head
        );
        self.transship
            .until_metric("transship_fills_total", &committed, before + 1);
        blob
    }

    /// HEADs that the origin was asked about the blob in this repository.
    fn checks(&self, path: &str) -> usize {
        self.origin.count("HEAD", path)
    }
}

/// A transship before the origin, with these lines below `transship.access`.
fn before(origin: &Origin, access: &str) -> transship::Options {
    let options = Transship::options();
    if access.is_empty() {
        return options.upstream(origin.url());
    }
    options.config(format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /unused\n\
         http:\n  addr: 127.0.0.1:0\nproxy:\n  remoteurl: {}\n\
         transship:\n  access:\n{access}",
        origin.url()
    ))
}

fn get(client: &mut Client, path: &str, who: &str) -> Reply {
    ask(client, "GET", path, who)
}

fn ask(client: &mut Client, method: &str, path: &str, who: &str) -> Reply {
    match who {
        "" => client.call(method, path, &[]),
        who => client.call(method, path, &[("Authorization", who)]),
    }
}

/// The blob's path under another repository's name.
fn under(repository: &str, blob: &Blob) -> String {
    format!("/v2/{repository}/blobs/{}", blob.digest)
}

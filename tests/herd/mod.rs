//! Many clients want the same absent blob at the same time.

use aws_lc_rs::digest::{Context, SHA256};

use crate::support::blob::hex;
use crate::support::{Blob, Client, Gate, Plan, Rig, Transship, assert_same};

const CLIENTS: usize = 64;

#[test]
fn sixty_four_clients_of_a_cold_256_mib_blob_cost_the_origin_one() {
    // A rollout on many nodes would fetch the same layer once a node and saturate the uplink.
    // One stream: what more of them fetch of a blob is the same, but for what is on its way when one is cut.
    let options = Transship::options()
        .cores(2)
        .env("REGISTRY_TRANSSHIP_UPSTREAM_STREAMS_MAX", "1");
    let rig = Rig::with(options);
    let blob = rig.origin.make(1, 256 << 20);
    let gate = Gate::new();
    rig.origin.plan(&blob, Plan::whole().wait_at(1, &gate));
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| rig.transship.client()).collect();
    for client in &mut clients {
        client.ask("GET", &blob.path(), &[]);
    }
    // The origin stands at its first byte until every client has a head: none of them is a hit.
    let heads: Vec<_> = clients.iter_mut().map(Client::head).collect();
    let leaders = heads.iter().filter(|head| head.cache() == "fwd=uri-miss");
    assert_eq!(leaders.count(), 1);
    let followers = heads
        .iter()
        .filter(|head| head.cache() == "fwd=uri-miss; collapsed");
    assert_eq!(followers.count(), CLIENTS - 1);
    gate.open();
    std::thread::scope(|scope| {
        for (index, mut client) in clients.into_iter().enumerate() {
            let blob = &blob;
            scope.spawn(move || {
                if index == 0 {
                    digest_of_body(&mut client, blob);
                } else {
                    compare_body(&mut client, blob);
                }
            });
        }
    });
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
    assert_eq!(rig.origin.sent(&blob.path()), blob.len() as u64);
    let metrics = rig.transship.metrics();
    let upstream_bytes = metrics.sum("transship_upstream_bytes_total", &[]);
    assert_eq!(upstream_bytes, blob.len() as u64);
    let client_bytes = (CLIENTS * blob.len()) as u64;
    rig.transship
        .until_metric("transship_client_bytes_total", &[], client_bytes);
    rig.expect_committed(1);
}

#[test]
fn different_cold_blobs_at_once_never_mix() {
    // A buffer handed to the wrong connection would send one tenant's bytes to another.
    let rig = Rig::start();
    let blobs: Vec<Blob> = (0..32).map(|seed| rig.origin.make(seed, 300_000)).collect();
    std::thread::scope(|scope| {
        for turn in 0..4 {
            for blob in &blobs {
                let rig = &rig;
                scope.spawn(move || {
                    if turn == 0 {
                        // Leaves in the middle: its descriptors and buffers are used again.
                        let mut client = rig.transship.client();
                        client.ask("GET", &blob.path(), &[]);
                        client.head();
                        let part = client.exactly(10_000);
                        assert_same(&part, &blob.bytes[..10_000]);
                    } else {
                        rig.expect_blob(blob);
                    }
                });
            }
        }
    });
    for blob in &blobs {
        assert_eq!(rig.origin.count("GET", &blob.path()), 1);
    }
}

fn digest_of_body(client: &mut Client, blob: &Blob) {
    let mut context = Context::new(&SHA256);
    let size = blob.len() as u64;
    assert_eq!(
        client.read_up_to(size, &mut |part: &[u8]| context.update(part)),
        size
    );
    let digest = format!("sha256:{}", hex(context.finish().as_ref()));
    assert_eq!(digest, blob.digest);
}

/// Compares with the known bytes as they come: cheaper than a hash, and as sure.
fn compare_body(client: &mut Client, blob: &Blob) {
    let mut at = 0;
    let size = blob.len() as u64;
    let got = client.read_up_to(size, &mut |part: &[u8]| {
        assert_same(part, &blob.bytes[at..at + part.len()]);
        at += part.len();
    });
    assert_eq!(got, size);
}

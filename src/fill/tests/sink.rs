//! Bytes that come out of their order, through the store and the hash.

use std::sync::Arc;
use std::time::Duration;

use super::spill::fill_of;
use crate::digest::{Algorithm, Digest};
use crate::fill::progress::Done;
use crate::fill::sink::Sink;
use crate::fill::{Failure, Fills, Options};
use crate::metrics::StoreNumbers;
use crate::rt::{Cores, Tier, timeout};
use crate::store::{self, Store};
use crate::upstream::{self, Hop, Policy, Upstream};

const CHUNK: usize = 64 * 1024;

fn fills(root: &std::path::Path) -> Arc<Fills> {
    let options = store::Options::new(root.to_owned());
    let (store, _house) = Store::open(&options, Arc::new(StoreNumbers::default())).unwrap();
    let hop = Hop {
        url: "http://127.0.0.1:1/".parse().unwrap(),
        origin: None,
        credentials: None,
    };
    let second = Duration::from_secs(1);
    let upstream = Upstream::new(upstream::Options {
        hops: vec![hop],
        policy: Policy::RoundRobin,
        cas: Vec::new(),
        client_certificate: None,
        connect_timeout: second,
        head_timeout: second,
        progress_timeout: second,
        bytes_per_second: None,
        connections_max: None,
        realms: Vec::new(),
    });
    let (store, upstream) = (store, Arc::new(upstream.unwrap()));
    Arc::new(Fills::new(store, upstream, Options::default(), 1).unwrap())
}

/// Gives a sink the chunks of `bytes` in this order, and returns what `then` makes of it.
fn run<T, F>(bytes: &[u8], order: &[usize], then: impl FnOnce(Arc<Sink>) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let root = tempfile::tempdir().unwrap();
    let digest = Digest::of(Algorithm::Sha256, bytes);
    let (fills, fill) = (fills(root.path()), fill_of(digest));
    let size = Some(bytes.len() as u64);
    let sink = Sink::begin(fills, fill, size, size, false).unwrap();
    let chunks: Vec<_> = order
        .iter()
        .map(|&index| {
            (
                index * CHUNK,
                bytes[index * CHUNK..(index + 1) * CHUNK].to_vec(),
            )
        })
        .collect();
    let (sender, receiver) = std::sync::mpsc::channel();
    let cores = Cores::start_unpinned("test-core", &Tier::probe(true), move |_| async move {
        for (offset, chunk) in chunks {
            let mut buffer = sink.buffer().await.unwrap();
            let mut bytes = buffer.take();
            bytes.extend_from_slice(&chunk);
            buffer.hand_over(offset as u64, bytes);
        }
        let outcome = timeout(Duration::from_secs(60), then(sink)).await;
        sender.send(outcome.ok()).unwrap();
    });
    let outcome = receiver.recv().unwrap();
    cores.unwrap().join().unwrap();
    outcome.expect("the sink comes to rest")
}

fn blob() -> Vec<u8> {
    (0..8 * CHUNK)
        .map(|at| (at / 251).to_le_bytes()[0])
        .collect()
}

/// Bytes that came ahead are hashed from the file: left out, every large layer would be corrupt.
#[test]
fn chunks_in_any_order_make_the_blob() {
    for order in [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [7, 6, 5, 4, 3, 2, 1, 0],
        [4, 0, 5, 1, 6, 2, 7, 3],
        [1, 2, 3, 0, 7, 4, 6, 5],
    ] {
        let done = run(&blob(), &order, |sink| async move { sink.finish().await });
        assert!(
            matches!(done, Ok(Done::Stored { .. })),
            "{order:?}: {done:?}"
        );
    }
}

/// A hole reads as zeros, which is a wrong byte.
#[test]
fn a_chunk_that_never_came_is_no_blob() {
    let order = [0, 1, 2, 4, 5, 6, 7];
    let done = run(&blob(), &order, |sink| async move { sink.finish().await });
    assert!(matches!(done, Err(Failure::Corrupt(_))), "{done:?}");
}

/// A helper thread that has nothing to hash with would try for ever, and the fill's room stay promised.
#[test]
fn a_spoilt_sink_comes_to_rest_though_bytes_came_ahead() {
    let written = run(&blob(), &[1, 2, 3], |sink| async move {
        sink.drain().await;
        sink.spoil();
        let mut buffer = sink.buffer().await.unwrap();
        let mut bytes = buffer.take();
        bytes.resize(CHUNK, 0);
        buffer.hand_over(0, bytes);
        sink.drain().await
    });
    assert_eq!(written, 4 * CHUNK as u64);
}

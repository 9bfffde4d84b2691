//! Two things at once that each by itself are well.

use rustix::process::Signal;

use super::{MIB, Pull, Stage};
use crate::support::transship::{Killed, Options};
use crate::support::{Blob, Gate, Harm, On, Plan, Rig, Transship, assert_same, shelf, until};

const ONLY: (&str, &str) = ("REGISTRY_TRANSSHIP_FILL_ON_RANGE", "only");

fn only_parts() -> Options {
    Transship::options().env(ONLY.0, ONLY.1)
}

fn get_range(rig: &Rig, blob: &Blob, from: usize, to: usize) {
    let range = format!("bytes={from}-{}", to - 1);
    let fields = [("Range", range.as_str())];
    let reply = rig.transship.client().call("GET", &blob.path(), &fields);
    assert_eq!(reply.status(), 206, "{}", reply.text());
    assert!(reply.whole);
    assert_same(&reply.body, &blob.bytes[from..to]);
}

/// A process that was stopped when 24 of 40 MiB of a blob had come.
fn stopped_in_mid_fill(stage: &mut Stage, seed: u64) -> (Blob, Killed) {
    let (blob, shut) = (stage.make(seed, 40 * MIB), Gate::new());
    let far = 24 * MIB as u64;
    let harm = Harm::none().wait_at(far, &shut);
    stage.hop().harm(&On::blob(&blob).whole(), 1, &harm);
    let urls = [stage.hop().url()];
    let options = Transship::behind(&urls, "").env("REGISTRY_HTTP_DRAINTIMEOUT", "100ms");
    stage.cache = options.start();
    let mut client = stage.cache.client();
    client.ask("GET", &blob.path(), &[]);
    assert_eq!(client.head().status, 200);
    shut.reached();
    stage
        .cache
        .until_metric("transship_upstream_bytes_total", &[], far);
    let other = Transship::behind(&urls, "").start();
    let stopped = std::mem::replace(&mut stage.cache, other);
    stopped.process.signal(Signal::TERM);
    (blob, stopped.stop())
}

/// Pulls until the blob comes whole, which it must in the end, and never with a wrong byte in it.
fn expect_sound(stage: &Stage, stopped: &Killed, blob: &Blob, first: impl Fn(&Transship)) {
    let urls = [stage.hop().url()];
    let again = Transship::behind(&urls, "")
        .storage(&stopped.storage)
        .start();
    first(&again);
    until("a pull comes whole", || {
        let reply = again.get(&blob.path());
        if reply.whole && reply.status() == 200 {
            assert_same(&reply.body, &blob.bytes);
        }
        reply.whole && reply.status() == 200
    });
    let kept = shelf::place(&stopped.storage, &blob.digest);
    until("it is stored", || kept.exists());
    assert_same(&std::fs::read(kept).unwrap(), &blob.bytes);
}

#[test]
fn an_answer_that_overlaps_what_was_kept_overwrites_nothing() {
    // Bytes that were hashed and then overwritten are wrong bytes under a right digest.
    let mut stage = Stage::set();
    let (blob, stopped) = stopped_in_mid_fill(&mut stage, 1);
    let lie = Harm::none().begin_earlier(MIB as u64).flip(0);
    stage.hop().harm(&On::blob(&blob).ranged(), 1, &lie);
    expect_sound(&stage, &stopped, &blob, |_| ());
}

#[test]
fn a_part_of_what_was_kept_that_comes_wrong_spoils_nothing_for_good() {
    let mut stage = Stage::set();
    let (blob, stopped) = stopped_in_mid_fill(&mut stage, 2);
    let lie = Harm::none().flip(5);
    stage.hop().harm(&On::blob(&blob).ranged(), 1, &lie);
    expect_sound(&stage, &stopped, &blob, |again| {
        let range = [("Range", "bytes=5242880-5242979")];
        let reply = again.client().call("GET", &blob.path(), &range);
        assert_eq!(reply.status(), 206);
    });
}

#[test]
fn parts_of_a_blob_without_a_size_come_after_a_break_too() {
    // Nobody wants all of it, and without a size no part can be asked for: the client would wait for ever.
    let rig = Rig::with(only_parts());
    let blob = rig.origin.make(3, 400_000);
    rig.origin.plan(&blob, Plan::whole().chunked().cut(100_000));
    get_range(&rig, &blob, 10, 110);
    let blob = rig.origin.make(4, 2 * MIB);
    rig.origin.plan(&blob, Plan::whole().chunked().cut(100_000));
    rig.origin.plan(&blob, Plan::whole().chunked());
    get_range(&rig, &blob, MIB, MIB + 10);
}

#[test]
fn parts_come_after_a_break_from_a_hop_that_ignores_ranges() {
    let stage = Stage::set_with("  fill:\n    on_range: only\n");
    let blob = stage.make(5, 4 * MIB);
    let cut = Harm::none().ignore_range().cut(100_000);
    stage.hop().harm(&On::blob(&blob), 1, &cut);
    stage
        .hop()
        .harm_always(&On::blob(&blob), &Harm::none().ignore_range());
    let (at, end) = (MIB, 2 * MIB);
    let range = format!("bytes={at}-{}", end - 1);
    Pull::of_range(&stage.cache, &blob, &range, at, end).rest();
}

#[test]
fn a_byte_of_a_large_blob_evicts_nothing_where_only_parts_are_fetched() {
    // A lazy puller that looks into every image would empty the cache.
    let options = only_parts().env("REGISTRY_TRANSSHIP_STORE_BYTES_MAX", "40MiB");
    let rig = Rig::with(options);
    let hits: Vec<_> = (10..30).map(|seed| rig.origin.make(seed, MIB)).collect();
    hits.iter().for_each(|blob| drop(rig.expect_blob(blob)));
    rig.expect_committed(hits.len() as u64);
    let blob = rig.origin.make(6, 36 * MIB);
    get_range(&rig, &blob, 30 * MIB, 30 * MIB + 1);
    for hit in &hits {
        assert_eq!(rig.expect_blob(hit).cache(), "hit");
    }
}

#[test]
fn a_part_of_what_the_store_has_no_room_for_costs_that_part() {
    // Each small range would cost all that lies before it, each time.
    let options = Transship::options().env("REGISTRY_TRANSSHIP_STORE_BYTES_MAX", "8MiB");
    let rig = Rig::with(options);
    let blob = rig.origin.make(7, 32 * MIB);
    let size = blob.len();
    for (from, to) in [
        (size - 100, size),
        (20 * MIB, 20 * MIB + 7),
        (30 * MIB, 31 * MIB),
    ] {
        let before = rig.origin.sent(&blob.path());
        get_range(&rig, &blob, from, to);
        let sent = rig.origin.sent(&blob.path()) - before;
        assert!(sent <= 3 * MIB as u64, "{from}: {sent} bytes");
    }
    let corrupt = [("outcome", "corrupt")];
    let metrics = rig.transship.metrics();
    assert_eq!(metrics.sum("transship_fills_total", &corrupt), 0);
    rig.expect_blob(&blob);
    until("no fill runs", || {
        rig.transship.metrics().sum("transship_fills_running", &[]) == 0
    });
}

#[test]
fn a_part_that_nobody_waits_for_any_more_keeps_nobody_waiting() {
    // A lazy puller that gives up would hold up whoever pulls the whole layer.
    let stage = Stage::set();
    let (blob, shut) = (stage.make(8, 32 * MIB), Gate::new());
    let harm = Harm::none().wait_at(1000, &shut);
    stage.hop().harm(&On::blob(&blob).ranged(), 1, &harm);
    let (at, end) = (20 * MIB, 21 * MIB);
    let range = format!("bytes={at}-{}", end - 1);
    let lazy = Pull::of_range(&stage.cache, &blob, &range, at, end);
    shut.reached();
    drop(lazy);
    let mut whole = stage.ask(&blob);
    whole.read(10 * MIB);
    shut.open();
    whole.rest();
    stage.expect_kept(&blob);
}

#[test]
fn a_fill_that_waits_for_lazy_pullers_holds_up_no_drain() {
    let options = only_parts().env("REGISTRY_HTTP_DRAINTIMEOUT", "1h");
    let rig = Rig::with(options);
    let blob = rig.origin.make(9, 4 * MIB);
    get_range(&rig, &blob, 2 * MIB, 2 * MIB + 10);
    assert!(rig.transship.terminate().success());
}

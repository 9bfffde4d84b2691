//! What users of other caches have lived through, as far as no other test of this room tells of it.

use super::{MIB, Stage};
use crate::support::{Gate, Harm, On, assert_same, until};

const SIZE: usize = 4 * MIB;

#[test]
fn a_client_that_gives_up_each_time_finds_more_of_its_layer_each_time() {
    // A cache that answers when all is there, and forgets all when the client hangs up, fetched one layer 56
    // times in four days and never delivered it.
    let stage = Stage::set();
    let blob = stage.make(1, SIZE);
    let gates: Vec<Gate> = (0..3).map(|_| Gate::new()).collect();
    for gate in &gates {
        let harm = Harm::none().wait_at(MIB as u64, gate).cut(MIB as u64);
        stage.hop().harm(&On::blob(&blob), 1, &harm);
    }
    for (turn, gate) in gates.iter().enumerate() {
        for _ in 0..3 {
            // The head and the first bytes come long before the last; then the client has had enough.
            let mut pull = stage.ask(&blob);
            gate.reached();
            pull.read(turn * MIB + MIB / 2);
        }
        until("they have been missed", || {
            stage.cache.metrics().sum("transship_connections", &[]) == 0
        });
        gate.open();
    }
    stage.expect_whole(&blob);
    stage.expect_sent_once(&blob, 3);
    assert_eq!(stage.outcomes("committed"), 1);
}

#[test]
fn every_fault_in_turn_leaves_the_process_as_well_as_before() {
    // A fill that hangs for good, a lock that is never let go, a seat that is never free: all need a restart.
    let more = "    head_timeout: 1s\n    progress_timeout: 300ms\n";
    let stage = Stage::set_with(more);
    let shut = Gate::new();
    let none = Harm::none;
    let faults = [
        none().wait_before_head(&shut),
        none().wait_at(0, &shut),
        none().wait_at(MIB as u64, &shut),
        none().cut(0),
        none().cut(1),
        none().reset(MIB as u64),
        none().flip(0),
        none().flip(SIZE as u64 - 1),
        none().claim_length(1),
        none().claim_length(-1),
        none().without("content-length"),
        none().ignore_range().cut(MIB as u64),
        Harm::status(401, &[("WWW-Authenticate", "Bearer realm=\"")]),
        Harm::status(403, &[]),
        Harm::status(404, &[]),
        Harm::status(416, &[]),
        Harm::status(500, &[]),
        Harm::status(503, &[("Retry-After", "soon")]),
        Harm::redirect("http://127.0.0.1:1", ""),
        Harm::redirect("no url", ""),
    ];
    for (seed, harm) in (10..).zip(&faults) {
        let blob = stage.make(seed, SIZE);
        stage.hop().harm(&On::blob(&blob), 2, harm);
        // Whatever came of it: it is told, it is short, or it is right.
        let reply = stage.cache.get(&blob.path());
        if reply.status() == 200 && reply.whole {
            assert_same(&reply.body, &blob.bytes);
        }
        stage.hop().behave();
        until("the same blob comes whole", || {
            let reply = stage.cache.get(&blob.path());
            let is_whole = reply.status() == 200 && reply.whole;
            if is_whole {
                assert_same(&reply.body, &blob.bytes);
            }
            is_whole
        });
        stage.expect_kept(&blob);
    }
    until("nothing is held", || {
        let metrics = stage.cache.metrics();
        let held = ["transship_fills_running", "transship_connections"];
        held.iter().all(|name| metrics.sum(name, &[]) == 0)
    });
    let ready = crate::support::client::get(stage.cache.admin, "/readyz");
    assert_eq!(ready.status(), 200, "{}", ready.text());
    stage.expect_whole(&stage.make(1, SIZE));
}

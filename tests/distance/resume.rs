//! A fill that breaks in mid-blob goes on where it was, under the same responses.

use super::{IMPATIENT, LOST_BYTES_MAX, MIB, Pull, Stage, UNSEEN};
use crate::support::{FaultProxy, Gate, Harm, On, Tls, Transship, assert_same, until};

const SIZE: usize = 8 * MIB;

/// A piece of [`SIZE`], after which the way breaks.
const PIECE: u64 = MIB as u64;

#[test]
fn a_fill_that_is_cut_five_times_is_one_whole_response_to_each_of_its_followers() {
    // On a bad line no large layer ever comes whole: each break starts from the first byte, for everybody.
    let stage = Stage::set();
    let blob = stage.make(1, SIZE);
    let gates: Vec<Gate> = (0..5).map(|_| Gate::new()).collect();
    for gate in &gates {
        let harm = Harm::none().wait_at(PIECE, gate).cut(PIECE);
        stage.hop().harm(&On::blob(&blob), 1, &harm);
    }
    let mut pulls = Vec::new();
    for (turn, gate) in gates.iter().enumerate() {
        if turn < 4 {
            let mut pull = stage.ask(&blob);
            // What has come by now is there for whoever joins now.
            gate.reached();
            pull.read((turn + 1) * MIB - UNSEEN);
            pulls.push(pull);
        }
        gate.reached();
        gate.open();
    }
    for pull in &mut pulls {
        pull.rest();
    }
    stage.expect_kept(&blob);
    stage.expect_sent_once(&blob, 5);
    let asked = stage.hop().asked(&blob);
    assert_eq!(asked.len(), 6, "{:?}", stage.ranges(&blob));
    for (turn, asked) in asked.iter().enumerate() {
        let reached = turn as u64 * PIECE;
        let from = asked.from();
        assert!(
            from <= reached && from + LOST_BYTES_MAX >= reached,
            "{:?}",
            stage.ranges(&blob)
        );
    }
    assert_eq!(
        (
            stage.outcomes("committed"),
            stage.outcomes("upstream_failed")
        ),
        (1, 0)
    );
}

#[test]
fn a_fill_whose_connection_is_reset_goes_on() {
    // A firewall that forgets a connection, or a registry that is restarted, looks like this.
    let stage = Stage::set();
    let blob = stage.make(2, SIZE);
    stage
        .hop()
        .harm(&On::blob(&blob), 2, &Harm::none().reset(3 * PIECE));
    stage.expect_whole(&blob);
    stage.expect_sent_once(&blob, 2);
}

#[test]
fn a_break_in_mid_record_of_tls_goes_on_and_is_never_taken_for_the_end() {
    // A cut without close_notify that passes for the end of a body truncates layers.
    let tls = Tls::new();
    let dir = tempfile::TempDir::new().unwrap();
    let authority = dir.path().join("ca.pem");
    std::fs::write(&authority, &tls.authority).unwrap();
    let registry = crate::support::DockerRegistry::start();
    let hop = FaultProxy::before_with_tls(registry.addr(), &tls);
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\n\
         middleware: {{registry: [{{name: downstream, options: {{upstreams: ['{}'], cas: [{}]}}}}]}}\n",
        hop.url(),
        authority.display()
    );
    let cache = Transship::options().config(config).start();
    let stage = Stage {
        cache,
        hops: vec![hop],
        registry,
    };
    let blob = stage.make(3, SIZE);
    stage
        .hop()
        .harm(&On::blob(&blob), 2, &Harm::none().tear(3 * PIECE + 17));
    stage.expect_whole(&blob);
    stage.expect_sent_once(&blob, 2);
}

#[test]
fn what_breaks_at_one_upstream_goes_on_at_the_other() {
    // With two mirrors listed, the death of one in mid-layer would fail the pull or fetch the layer twice.
    let stage = Stage::of_hops(2, "    policy: failover\n");
    let blob = stage.make(4, SIZE);
    let gate = Gate::new();
    let [near, far] = &stage.hops[..] else {
        unreachable!()
    };
    near.harm(&On::blob(&blob), 1, &Harm::none().wait_at(5 * PIECE, &gate));
    let mut pull = stage.ask(&blob);
    gate.reached();
    pull.read(5 * MIB - UNSEEN);
    near.die();
    pull.rest();
    stage.expect_kept(&blob);
    stage.expect_sent_once(&blob, 1);
    assert_eq!(near.sent(&blob), 5 * PIECE);
    assert!(far.asked(&blob).iter().all(|asked| asked.from() > 0));
}

#[test]
fn a_body_that_stands_still_is_given_up_and_fetched_on() {
    // A connection that a NAT has dropped in silence would hold the pull until a client gives up.
    let stage = Stage::set_with(IMPATIENT);
    let blob = stage.make(5, SIZE);
    let shut = Gate::new();
    let on = On::blob(&blob);
    stage
        .hop()
        .harm(&on, 1, &Harm::none().wait_at(2 * PIECE, &shut));
    stage
        .hop()
        .harm(&on, 1, &Harm::none().wait_at(3 * PIECE, &shut));
    stage.expect_whole(&blob);
    stage.expect_sent_once(&blob, 2);
}

#[test]
fn a_body_that_comes_at_a_crawl_is_streamed_and_not_given_up() {
    // Slow is not dead: to ask again and again would make a bad line worse.
    let stage = Stage::set_with("    progress_timeout: 5s\n");
    let blob = stage.make(6, SIZE);
    let harm = Harm::none().slow_from(PIECE, 1000);
    stage.hop().harm(&On::blob(&blob), 1, &harm);
    let mut pull = stage.ask(&blob);
    // More than had come at full speed: so it passes on what trickles.
    pull.read(MIB + 500);
    stage.hop().hurry();
    pull.rest();
    stage.expect_kept(&blob);
    assert_eq!(stage.ranges(&blob), [(None, SIZE as u64)]);
}

#[test]
fn an_upstream_that_dies_for_good_ends_every_response_short_and_the_next_pull_is_well() {
    // A clean end would make half a layer a whole one; a response that hangs would hold its client for ever.
    let stage = Stage::set();
    let blob = stage.make(7, SIZE);
    let gate = Gate::new();
    // Of little that has come little is lost: it is given up sooner.
    let came = MIB - 1;
    let harm = Harm::none().wait_at(came as u64, &gate);
    stage.hop().harm(&On::blob(&blob), 1, &harm);
    let mut pulls: Vec<Pull<'_>> = (0..3).map(|_| stage.ask(&blob)).collect();
    gate.reached();
    for pull in &mut pulls {
        pull.read(came - UNSEEN);
    }
    stage.hop().die();
    for pull in &mut pulls {
        pull.expect_short();
        assert!(pull.at <= came);
    }
    stage.expect_not_kept(&blob);
    let reply = stage.cache.get(&blob.path());
    assert!(
        matches!(reply.status(), 502 | 504) || !reply.whole,
        "{:?}",
        reply.head
    );
    stage.hop().revive();
    until("a pull succeeds", || {
        let reply = stage.cache.get(&blob.path());
        if reply.status() == 200 {
            assert!(reply.whole);
            assert_same(&reply.body, &blob.bytes);
        }
        reply.status() == 200
    });
    stage.expect_kept(&blob);
}

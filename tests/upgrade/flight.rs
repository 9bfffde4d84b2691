//! What is in flight when another process takes over.

use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use super::{Line, listens_on, patient};
use crate::support::blob::assert_same;
use crate::support::client::call_admin;
use crate::support::origin::{Gate, MANIFEST, Plan};
use crate::support::process::{Process, until};
use crate::support::transship::BINARY;
use crate::support::{Blob, Client, Origin, Rig, Transship};

const SIZE: usize = 8 * 1024 * 1024;
/// Of which a part is worth keeping.
const FAR: usize = 64 * 1024 * 1024;

/// The new process is asked for what is on its way to the old one: both clients get it as it comes, and it comes once.
fn one_blob_of_two_processes(epoll: bool) {
    let mut rig = patient(epoll);
    let blob = rig.origin.make(1, SIZE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(SIZE / 2, &gate));
    let mut before = rig.transship.client();
    before.ask("GET", &blob.path(), &[]);
    let head_before = before.head();
    let mut got_before = Vec::new();
    before.read_up_to(1024 * 1024, &mut |part| got_before.extend_from_slice(part));

    let mut line = Line::new(&mut rig.transship);
    line.upgrade();
    let mut after = line.transship.client();
    after.ask("GET", &blob.path(), &[]);
    let head_after = after.head();
    // Before the origin goes on: it is sent what the other process has.
    let mut got_after = Vec::new();
    let early = after.read_up_to(1024 * 1024, &mut |part| got_after.extend_from_slice(part));
    assert_eq!(early, 1024 * 1024);
    gate.open();
    for (client, head, got) in [
        (&mut before, &head_before, &mut got_before),
        (&mut after, &head_after, &mut got_after),
    ] {
        assert_eq!((head.status, head.length()), (200, Some(SIZE as u64)));
        let left = SIZE as u64 - got.len() as u64;
        client.read_up_to(left, &mut |part| got.extend_from_slice(part));
        assert_same(got, &blob.bytes);
    }
    line.until_alone();
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
    assert_eq!(rig.origin.sent(&blob.path()), SIZE as u64);
    assert_eq!(rig.transship.get(&blob.path()).cache(), "hit");
}

#[test]
fn a_blob_on_its_way_is_streamed_by_both_processes_and_fetched_once_on_io_uring() {
    one_blob_of_two_processes(false);
}

#[test]
fn a_blob_on_its_way_is_streamed_by_both_processes_and_fetched_once_on_epoll() {
    one_blob_of_two_processes(true);
}

#[test]
fn a_blob_is_fetched_once_even_if_two_upgrades_follow_each_other() {
    let mut rig = patient(false);
    let blob = rig.origin.make(2, SIZE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(SIZE / 2, &gate));
    let mut clients = vec![ask(&rig.transship, &blob.path())];
    let mut line = Line::new(&mut rig.transship);
    for _ in 0..2 {
        line.upgrade();
        // Of the second, only the first process has anything: the one between was not asked.
        if line.ids.len() == 3 {
            clients.push(ask(line.transship, &blob.path()));
        }
    }
    gate.open();
    for client in &mut clients {
        let reply = client.reply("GET");
        assert!(reply.whole);
        assert_same(&reply.body, &blob.bytes);
    }
    line.until_alone();
    assert_eq!(rig.origin.sent(&blob.path()), SIZE as u64);
}

/// Asks, and waits until the first byte of the answer is here.
fn ask(transship: &Transship, target: &str) -> Client {
    let mut client = transship.client();
    client.ask("GET", target, &[]);
    client.wait_for_byte();
    client
}

#[test]
fn a_connection_that_waits_is_closed_with_the_answer_to_its_next_request() {
    let mut rig = patient(false);
    let blob = rig.hit(3, 1000);
    let mut client = rig.transship.client();
    assert_eq!(client.get(&blob.path()).field("connection"), None);
    let mut line = Line::new(&mut rig.transship);
    line.upgrade();
    // The old process has let go of its sockets, and of no connection.
    let old = line.ids[0];
    let addr = line.transship.addr;
    until("the old process takes no connections", || {
        !listens_on(old).contains(&addr)
    });
    let reply = client.get(&blob.path());
    assert_eq!(
        (reply.status(), reply.field("connection")),
        (200, Some("close"))
    );
    assert_same(&reply.body, &blob.bytes);
    client.expect_close();
    line.until_alone();
}

#[test]
fn what_the_old_process_leaves_unfinished_the_new_one_goes_on_with() {
    let origin = Origin::start();
    let blob = origin.make(4, FAR);
    let gate = Gate::new();
    origin.plan(&blob, Plan::whole().wait_at(FAR / 2, &gate));
    let options = Transship::behind(&[origin.url()], "");
    let options = options.env("REGISTRY_HTTP_DRAINTIMEOUT", "1s");
    let mut rig = Rig {
        transship: options.start(),
        origin,
    };
    let mut before = rig.transship.client();
    before.ask("GET", &blob.path(), &[]);
    let head = before.head();
    before.read_up_to(FAR as u64 / 4, &mut |_| {});
    let mut line = Line::new(&mut rig.transship);
    line.upgrade();
    // Nobody asks the new one meanwhile. The drain is over before the origin goes on.
    line.until_alone();
    assert!(!before.discard(&head), "it was cut");
    let left = line
        .transship
        .process
        .line(|text| text.contains("the process before this one has ended"));
    left.unwrap();
    let reply = rig.transship.get(&blob.path());
    assert!(reply.whole);
    assert_same(&reply.body, &blob.bytes);
    gate.open();
    let seen = rig.origin.seen().into_iter();
    let again = seen.filter(|seen| seen.path() == blob.path()).skip(1);
    let from: Vec<usize> = again
        .map(|seen| {
            let range = seen.field("range").unwrap_or("bytes=0-").to_owned();
            let first = range.trim_start_matches("bytes=").split('-').next();
            first.unwrap().parse().unwrap()
        })
        .collect();
    // A part of it by each of several connections, perhaps.
    assert!(
        !from.is_empty() && from.iter().all(|first| *first > FAR / 4),
        "{from:?}"
    );
    rig.transship.process.signal_last(Signal::TERM);
}

#[test]
fn a_stranger_gets_nothing_of_what_is_on_its_way_to_the_old_process() {
    let mut rig = patient(false);
    let blob = rig.origin.make(5, SIZE);
    let alice = ("Authorization", "Basic YWxpY2U6c2VjcmV0");
    rig.origin.grant("test/image", alice.1);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(SIZE / 2, &gate));
    let mut before = rig.transship.client();
    before.ask("GET", &blob.path(), &[alice]);
    before.wait_for_byte();
    let mut line = Line::new(&mut rig.transship);
    line.upgrade();
    let stranger = line.transship.get(&blob.path());
    assert_eq!(stranger.status(), 401, "{}", stranger.text());
    // Alice herself gets it from there.
    let mut after = line.transship.client();
    after.ask("GET", &blob.path(), &[alice]);
    after.wait_for_byte();
    assert_eq!(line.transship.get(&blob.path()).status(), 401);

    // There is no address at which the old process could be asked by somebody else.
    let addr = line.transship.addr;
    let old = line.ids[0];
    until("the old process listens nowhere", || {
        listens_on(old).is_empty()
    });
    assert!(!listens_on(line.ids[1]).is_empty() && listens_on(line.ids[1]).contains(&addr));
    gate.open();
    assert_same(&after.reply("GET").body, &blob.bytes);
    assert_same(&before.reply("GET").body, &blob.bytes);
    line.until_alone();
}

#[test]
fn a_job_that_warms_is_seen_through_by_the_process_that_takes_over() {
    let mut rig = patient(false);
    let blob = rig.origin.make(6, SIZE);
    let config = rig.origin.make(7, 100);
    let described =
        |blob: &Blob| json!({"mediaType": "a/layer", "digest": blob.digest, "size": blob.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": described(&config), "layers": [described(&blob)],
    });
    rig.origin.tag("test/image", "1", &manifest.to_string());
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(SIZE / 2, &gate));
    let admin = format!("http://{}", rig.transship.admin);
    let mut command = Command::new(BINARY);
    command.args(["warm", "test/image:1", "--admin", &admin]);
    let mut warm = Process::start("warm", &mut command);
    gate.reached();
    let mut line = Line::new(&mut rig.transship);
    line.upgrade();
    // It asks the new process, which asks the old one.
    let jobs = || call_admin(line.transship.admin, "GET", "/v1/warm", "").json();
    until("the new process has the job", || {
        jobs()["jobs"]
            .as_array()
            .is_some_and(|jobs| jobs.len() == 1)
    });
    gate.open();
    assert!(warm.exit().success(), "{}", warm.log());
    line.until_alone();
    assert_eq!(rig.origin.sent(&blob.path()), SIZE as u64);
    assert_eq!(rig.transship.get(&blob.path()).cache(), "hit");
}

/// Who has no right has none to what the old process sends, nor to anything else for having been sent it.
#[test]
fn what_the_old_process_sends_is_nobody_s_word_on_rights() {
    let mut rig = patient(false);
    let (blob, other) = (rig.origin.make(8, SIZE), rig.origin.make(9, 1000));
    let alice = ("Authorization", "Basic YWxpY2U6c2VjcmV0");
    let mallory = ("Authorization", "Basic bWFsbG9yeTp4");
    rig.origin.grant("test/image", alice.1);
    let whole = rig.transship.client().call("GET", &other.path(), &[alice]);
    assert_eq!(whole.status(), 200);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(SIZE / 2, &gate));
    let mut before = rig.transship.client();
    before.ask("GET", &blob.path(), &[alice]);
    before.wait_for_byte();
    let mut line = Line::new(&mut rig.transship);
    line.upgrade();
    // The first to ask the new process: the fill is made for her, and the old process gives it.
    let refused = line
        .transship
        .client()
        .call("GET", &blob.path(), &[mallory]);
    assert_eq!(refused.status(), 403, "{}", refused.text());
    let refused = line
        .transship
        .client()
        .call("GET", &other.path(), &[mallory]);
    assert_eq!(refused.status(), 403, "{}", refused.text());
    gate.open();
    assert!(before.reply("GET").whole);
    line.until_alone();
    let refused = rig.transship.client().call("GET", &blob.path(), &[mallory]);
    assert_eq!(refused.status(), 403);
    assert_eq!(rig.origin.sent(&blob.path()), SIZE as u64);
}

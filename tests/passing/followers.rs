//! Several clients of one blob that the disk does not take.

use std::process::Command;

use super::{
    FILE_BYTES_MAX, SIZE, ask, cramped, expect_gone, expect_passed, expect_rest, memory_bytes,
};
use crate::support::process::run;
use crate::support::{Gate, Plan, Rig, Tls, assert_same, until};

/// More than socket buffers and a window take together.
const LARGE: usize = 48 << 20;

#[test]
fn slow_and_fast_clients_of_one_blob_get_all_of_it() {
    // Memory has no room for what the fastest has had and the slowest has not.
    let rig = Rig::with(cramped());
    let blob = rig.origin.make(1, LARGE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(100_000, &gate));
    let mut clients: Vec<_> = (0..4).map(|_| ask(&rig, &blob)).collect();
    let leaving = ask(&rig, &blob);
    gate.open();
    let mut slow = clients.pop().unwrap();
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| expect_rest(client, &blob, 0));
        }
        scope.spawn(|| {
            for part in blob.bytes.chunks(300_000) {
                assert_same(&slow.exactly(part.len()), part);
                std::thread::yield_now();
            }
        });
        // All wait for this one until it hangs up.
        scope.spawn(move || {
            let mut leaving = leaving;
            leaving.exactly(FILE_BYTES_MAX);
        });
    });
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
    expect_passed(&rig, 1);
    expect_gone(&rig, &blob);
}

#[test]
fn whoever_comes_after_the_first_bytes_are_gone_gets_them_anew() {
    // The late one would get a blob with a hole, or wait for ever.
    let rig = Rig::with(cramped());
    let blob = rig.origin.make(2, LARGE);
    let mut first = ask(&rig, &blob);
    assert_same(&first.exactly(LARGE / 2), &blob.bytes[..LARGE / 2]);
    rig.expect_blob(&blob);
    expect_rest(&mut first, &blob, LARGE / 2);
    assert_eq!(rig.origin.count("GET", &blob.path()), 2);
    expect_passed(&rig, 2);
    expect_gone(&rig, &blob);
}

#[test]
fn a_herd_before_a_full_disk_costs_the_origin_one_transfer() {
    // A rollout would multiply the origin's load by its nodes just when the cache is in trouble.
    let rig = Rig::start();
    std::fs::remove_dir_all(rig.transship.storage.join("partial")).unwrap();
    let blob = rig.origin.make(3, SIZE);
    let gate = Gate::new();
    rig.origin.plan(&blob, Plan::whole().wait_at(1, &gate));
    let mut herd: Vec<_> = (0..32).map(|_| ask(&rig, &blob)).collect();
    gate.open();
    std::thread::scope(|scope| {
        for client in &mut herd {
            scope.spawn(|| expect_rest(client, &blob, 0));
        }
    });
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
    expect_passed(&rig, 1);
    expect_gone(&rig, &blob);
}

#[test]
fn many_blobs_pass_through_at_once() {
    // A node that starts pulls all layers of its images at once.
    let rig = Rig::with(cramped());
    let blobs: Vec<_> = (10..42).map(|seed| rig.origin.make(seed, SIZE)).collect();
    std::thread::scope(|scope| {
        for blob in &blobs {
            scope.spawn(|| rig.expect_blob(blob));
        }
    });
    expect_passed(&rig, 32);
    blobs.iter().for_each(|blob| expect_gone(&rig, blob));
}

#[test]
fn a_transfer_that_nobody_wants_and_the_disk_does_not_take_ends() {
    // Clients that give up would leave the origin sending whole images to nobody.
    let rig = Rig::with(cramped());
    let blob = rig.origin.make(4, LARGE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(2 << 20, &gate));
    let mut client = ask(&rig, &blob);
    client.exactly(1 << 20);
    gate.reached();
    until("the fill spills", || memory_bytes(&rig) > 0);
    drop(client);
    until("the fill ends", || {
        rig.transship.metrics().sum("transship_fills_running", &[]) == 0
    });
    gate.open();
    expect_passed(&rig, 1);
    expect_gone(&rig, &blob);
}

#[test]
fn a_client_that_takes_nothing_holds_the_others_up_for_its_send_timeout_alone() {
    // One that hangs would hang every pull of the blob.
    let config = "version: 0.1\ntransship: {server: {send_timeout: 2s}}\n";
    let rig = Rig::with(cramped().config(config));
    let blob = rig.origin.make(9, LARGE);
    let gate = Gate::new();
    rig.origin
        .plan(&blob, Plan::whole().wait_at(100_000, &gate));
    let mut hanging = ask(&rig, &blob);
    let mut client = ask(&rig, &blob);
    gate.open();
    expect_rest(&mut client, &blob, 0);
    assert_eq!(rig.origin.count("GET", &blob.path()), 1);
    let given_up = [("kind", "send")];
    let metrics = rig.transship.metrics();
    assert_eq!(
        metrics.sum("transship_deadlines_passed_total", &given_up),
        1
    );
    let head = crate::support::client::Head {
        status: 200,
        fields: vec![("Content-Length".to_owned(), LARGE.to_string())],
    };
    assert!(!hanging.body("GET", &head, |_| ()));
    expect_passed(&rig, 1);
    expect_gone(&rig, &blob);
}

#[test]
fn tls_clients_get_what_the_disk_does_not_take() {
    // Their bytes are read and encrypted, not sent by the kernel from the file.
    let (dir, tls) = (tempfile::TempDir::new().unwrap(), Tls::new());
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let certificate = file("cert.pem", &tls.certificate);
    let key = file("key.pem", &tls.key);
    let config =
        format!("version: 0.1\nhttp: {{tls: {{certificate: {certificate}, key: {key}}}}}\n");
    let rig = Rig::with(cramped().config(config));
    let blob = rig.origin.make(10, SIZE);
    let got = dir.path().join("blob");
    let url = format!("https://{}{}", rig.transship.addr, blob.path());
    run(Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--fail",
            "--insecure",
            "--output",
        ])
        .arg(&got)
        .arg(url));
    assert_same(&std::fs::read(&got).unwrap(), &blob.bytes);
    expect_passed(&rig, 1);
    expect_gone(&rig, &blob);
}

#[test]
fn a_slow_reader_of_a_large_blob_costs_a_window_of_memory_and_no_more() {
    // With the disk full, memory would be next.
    const HUGE: usize = 256 << 20;
    let rig = Rig::with(cramped());
    let blob = rig.origin.make(5, HUGE);
    let resident_before = resident_bytes(&rig);
    let mut client = ask(&rig, &blob);
    // It takes nothing while all of another blob passes by.
    rig.expect_blob(&rig.origin.make(11, 64 << 20));
    expect_passed(&rig, 1);
    let mut most = memory_bytes(&rig);
    for part in blob.bytes.chunks(4 << 20) {
        assert_same(&client.exactly(part.len()), part);
        most = most.max(memory_bytes(&rig));
    }
    assert!(most > 0, "it did not go through memory");
    assert!(most <= 3 << 20, "{most} bytes in memory");
    let grown = resident_bytes(&rig).saturating_sub(resident_before);
    assert!(grown < 64 << 20, "{grown} bytes more resident");
    expect_passed(&rig, 2);
    expect_gone(&rig, &blob);
}

#[test]
fn ranges_pass_through_and_those_that_go_backwards_end_short() {
    // Lazy pullers ask ranges; one that waits for bytes that wait for it would hang for ever.
    let rig = Rig::with(cramped());
    let blob = rig.origin.make(6, SIZE);
    for (range, wanted) in [
        ("bytes=5000000-5999999", 5_000_000..6_000_000),
        ("bytes=1200000-1399999", 1_200_000..1_400_000),
        ("bytes=-100000", SIZE - 100_000..SIZE),
    ] {
        let reply = rig
            .transship
            .client()
            .call("GET", &blob.path(), &[("Range", range)]);
        assert_eq!(reply.status(), 206);
        assert_same(&reply.body, &blob.bytes[wanted]);
    }
    let several = |ranges| {
        let fields = [("Range", ranges)];
        rig.transship.client().call("GET", &blob.path(), &fields)
    };
    let forwards = several("bytes=0-9,3000000-3999999,6000000-6000009");
    assert_eq!(forwards.status(), 206);
    assert!(forwards.whole);
    let backwards = several("bytes=5000000-5999999,0-9");
    assert!(!backwards.whole || backwards.status() == 503);
    // A little backwards is within the window.
    let slightly = several("bytes=1500000-1500009,1400000-1400009");
    assert!(
        slightly.whole && slightly.status() == 206,
        "{:?}",
        slightly.head
    );
    until("no fill runs", || {
        rig.transship.metrics().sum("transship_fills_running", &[]) == 0
    });
    expect_gone(&rig, &blob);
}

#[test]
fn clients_that_need_a_size_get_it_or_are_told_no() {
    // HTTP/1.0 has no chunks: without a size such a client waits for the end, which waits for it.
    let rig = Rig::with(cramped());
    let blob = rig.origin.make(7, SIZE);
    let ask = |fields: &str| {
        let mut client = rig.transship.client();
        client.send(format!("GET {} HTTP/1.0\r\n{fields}\r\n", blob.path()).as_bytes());
        client.reply("GET")
    };
    let known = ask("");
    assert!(known.status() == 200 && known.whole);
    assert_same(&known.body, &blob.bytes);
    rig.origin.plan(&blob, Plan::whole().chunked());
    ask("").expect_error(503, "UNAVAILABLE");
    rig.origin.plan(&blob, Plan::whole().chunked());
    ask("Range: bytes=0-9\r\n").expect_error(503, "UNAVAILABLE");
    // Others wait for the same fill, and not in vain.
    let gate = Gate::new();
    let plan = Plan::whole()
        .chunked()
        .wait_at(FILE_BYTES_MAX - 200_000, &gate);
    rig.origin.plan(&blob, plan);
    std::thread::scope(|scope| {
        let chunked = scope.spawn(|| rig.expect_blob(&blob));
        gate.reached();
        let sized = scope.spawn(|| ask(""));
        until("both wait", || {
            rig.transship.metrics().sum("transship_connections", &[]) >= 2
        });
        gate.open();
        sized.join().unwrap().expect_error(503, "UNAVAILABLE");
        assert_eq!(chunked.join().unwrap().head.length(), None);
    });
    expect_gone(&rig, &blob);
}

#[test]
fn a_blob_without_a_length_that_fits_the_window_passes_through_to_all() {
    // Most layers are small, and some registries send no length.
    let rig = Rig::start();
    std::fs::remove_dir_all(rig.transship.storage.join("partial")).unwrap();
    let blob = rig.origin.make(8, 900_000);
    rig.origin.plan(&blob, Plan::whole().chunked());
    rig.expect_blob(&blob);
    rig.origin.plan(&blob, Plan::whole().chunked());
    let range = [("Range", "bytes=1000-1999")];
    let reply = rig.transship.client().call("GET", &blob.path(), &range);
    assert_eq!(reply.status(), 206);
    assert_same(&reply.body, &blob.bytes[1000..2000]);
    rig.origin.plan(&blob, Plan::whole().chunked().cut(800_000));
    rig.expect_broken_by(&blob, Plan::whole().chunked().cut(0));
    let head = rig.transship.client().call("HEAD", &blob.path(), &[]);
    assert_eq!((head.status(), head.head.length()), (200, Some(900_000)));
}

/// Memory that is mapped and there: what the process has of its own and shares.
fn resident_bytes(rig: &Rig) -> u64 {
    let path = format!("/proc/{}/status", rig.transship.process.id());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let mut words = line.unwrap().split_whitespace();
    words.nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn what_came_ahead_of_its_turn_comes_again_when_the_disk_fails() {
    // It was written, and let go with the file: a fill that still counted on it would end short.
    let rig = Rig::with(cramped());
    let (blob, gate) = (rig.origin.make(20, SIZE), Gate::new());
    rig.origin
        .plan(&blob, Plan::whole().wait_at(100_000, &gate));
    let mut whole = rig.transship.client();
    whole.ask("GET", &blob.path(), &[]);
    gate.reached();
    let part = |from: usize, to: usize| {
        let range = format!("bytes={from}-{}", to - 1);
        let mut client = rig.transship.client();
        client.ask("GET", &blob.path(), &[("Range", &range)]);
        client
    };
    let ahead = part(1_000_000, 1_200_000).reply("GET");
    assert_same(&ahead.body, &blob.bytes[1_000_000..1_200_000]);
    let mut beyond = part(2_000_000, 2_000_100);
    // The file may not grow so far: all that was not in order is asked for once more.
    until("the rest is asked for in order", || {
        rig.origin.count("GET", &blob.path()) >= 4
    });
    gate.open();
    let reply = whole.reply("GET");
    assert!(reply.whole);
    assert_same(&reply.body, &blob.bytes);
    assert_same(&beyond.reply("GET").body, &blob.bytes[2_000_000..2_000_100]);
}

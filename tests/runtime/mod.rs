//! The same small suite on io_uring and on epoll: containers often forbid io_uring.

use crate::support::transship::Options;
use crate::support::{Gate, Plan, Rig, Transship, assert_same};

/// A miss, a hit, a herd and a large blob; returns the runtime that the log names.
fn small_suite(options: Options) -> String {
    let rig = Rig::with(options);
    let blob = rig.origin.make(1, 1_000_000);
    assert_eq!(rig.expect_blob(&blob).cache(), "fwd=uri-miss");
    rig.expect_committed(1);
    assert_eq!(rig.expect_blob(&blob).cache(), "hit");

    let herd = rig.origin.make(2, 8 << 20);
    let gate = Gate::new();
    rig.origin
        .plan(&herd, Plan::whole().wait_at(4 << 20, &gate));
    let mut clients: Vec<_> = (0..8).map(|_| rig.transship.client()).collect();
    for client in &mut clients {
        client.ask("GET", &herd.path(), &[]);
        assert_eq!(client.head().status, 200);
    }
    gate.open();
    for client in &mut clients {
        assert_same(&client.exactly(herd.len()), &herd.bytes);
    }
    assert_eq!(rig.origin.count("GET", &herd.path()), 1);

    let large = rig.origin.make(3, 96 << 20);
    rig.expect_blob(&large);
    rig.expect_committed(3);
    let mut client = rig.transship.client();
    for _ in 0..2 {
        let reply = client.get(&large.path());
        assert_eq!(reply.cache(), "hit");
        assert_same(&reply.body, &large.bytes);
    }
    rig.transship.runtime.clone()
}

#[test]
fn the_runtime_at_hand_serves_and_names_itself() {
    // An operator could not tell why one machine is slower than another.
    let runtime = small_suite(Transship::options());
    assert!(
        runtime.contains("io_uring") || runtime.contains("epoll"),
        "{runtime}"
    );
}

#[test]
fn epoll_serves_when_the_environment_asks_for_it() {
    // The way out for an operator whose kernel has a bad io_uring.
    let runtime = small_suite(Transship::options().env("MONOIO_FORCE_LEGACY_DRIVER", "1"));
    assert!(runtime.contains("epoll"), "{runtime}");
}

#[test]
fn epoll_serves_where_the_kernel_refuses_io_uring() {
    // Docker's default seccomp profile forbids io_uring: transship would not start there.
    let inject = "inject=io_uring_setup:error=ENOSYS";
    let strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null"];
    let trace = ["-e", "trace=io_uring_setup", "-e", inject];
    let wrapper = [&strace[..], &trace[..]].concat();
    let runtime = small_suite(Transship::options().under(&wrapper));
    assert!(runtime.contains("epoll"), "{runtime}");
}

#[test]
fn one_core_serves_all_that_two_do() {
    // A follower and its leader on the same core must not wait for each other.
    small_suite(Transship::options().cores(1));
}

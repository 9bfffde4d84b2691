//! The store on disks that are full, small, slow, dying, shared, or cut off from their power.
//!
//! What holds for all of them: a client gets the right bytes or an end that it can see, and the store is
//! itself again once the disk is. Everything is judged from outside: by what clients get, by what the
//! origin is asked, by files and by metrics.

mod crash;
mod eio;
mod full;
mod limits;
mod power;
mod room;
mod shared;

use std::path::Path;

use crate::support::client;
use crate::support::transship::Options;
use crate::support::{Origin, Shelf, Transship, shelf, until};

/// A transship before this origin, with these keys of `transship.store`. Whoever reaches it may pull:
/// what the origin is asked is about content alone.
fn with_store(origin: &Origin, store: &str) -> Options {
    with_ttl(origin, "0s", store)
}

/// The same, with a `blobttl`; `0s` is none.
fn with_ttl(origin: &Origin, ttl: &str, store: &str) -> Options {
    let ttl = match ttl {
        "0s" => String::new(),
        ttl => format!("blobttl: {ttl}, "),
    };
    let store = match store {
        "" => String::new(),
        keys => format!(", store: {{{keys}}}"),
    };
    let upstream = origin.url();
    Transship::options().config(format!(
        "version: 0.1\n\
         storage: {{delete: {{enabled: true}}, filesystem: {{rootdirectory: /unused}}}}\n\
         http: {{addr: '127.0.0.1:0'}}\n\
         middleware: {{registry: [{{name: downstream, options: {{{ttl}upstreams: ['{upstream}']}}}}]}}\n\
         transship: {{access: {{public: true}}{store}}}\n"
    ))
}

/// This many hours after the test began, as far as the process can tell. Timers and files have true time.
fn hours_later(options: Options, hours: u32) -> Options {
    options
        .env(
            "LD_PRELOAD",
            "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
        )
        .env("FAKETIME", format!("+{hours}h"))
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1")
        .env("FAKETIME_NO_CACHE", "1")
}

fn reading(transship: &Transship, name: &str, labels: &[(&str, &str)]) -> u64 {
    let metrics = transship.metrics();
    assert!(metrics.has(name), "no {name} in\n{}", metrics.text);
    metrics.sum(name, labels)
}

fn until_reading(transship: &Transship, name: &str, labels: &[(&str, &str)], wanted: u64) {
    until(&format!("{name}{labels:?} is {wanted}"), || {
        reading(transship, name, labels) == wanted
    });
}

fn store_bytes(transship: &Transship) -> u64 {
    reading(transship, "transship_store_bytes", &[])
}

fn trouble(transship: &Transship, kind: &str) -> u64 {
    reading(transship, "transship_store_trouble", &[("kind", kind)])
}

fn evictions(transship: &Transship, reason: &str) -> u64 {
    let labels = [("reason", reason)];
    reading(transship, "transship_store_evictions_total", &labels)
}

/// Pulls until the blob is a hit: storing goes on, or has resumed by itself.
#[track_caller]
fn until_kept(transship: &Transship, shelf: &Shelf, number: usize) {
    until(&format!("blob {number} is kept"), || {
        shelf.pull(transship.addr, number).is_hit()
    });
}

/// Pulls every blob at once, each by a client of its own; each must come.
fn pull_all_at_once(transship: &Transship, shelf: &Shelf) {
    std::thread::scope(|scope| {
        for number in 0..shelf.len() {
            let addr = transship.addr;
            scope.spawn(move || shelf.pull(addr, number));
        }
    });
}

/// Checks that the store and its files agree, once nothing is under way.
#[track_caller]
fn assert_settled(transship: &Transship, root: &Path) {
    until("nothing is reserved", || {
        reading(transship, "transship_store_reserved_bytes", &[]) == 0
    });
    until("the store counts what its files hold", || {
        store_bytes(transship) == shelf::stored_bytes(root)
    });
    until("nothing is left of unfinished fills", || {
        shelf::files(root, "partial").is_empty()
    });
    shelf::assert_sound(root);
}

/// What `/readyz` says: the status, and the reasons.
fn readiness(transship: &Transship) -> (u16, String) {
    let reply = client::get(transship.admin, "/readyz");
    (reply.status(), reply.text())
}

/// Checks that no thread has fallen over.
#[track_caller]
fn assert_calm(transship: &Transship) {
    let log = transship.process.log();
    assert!(!log.contains("panicked"), "{log}");
}

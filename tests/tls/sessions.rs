//! Sessions that are taken up again, and bodies over TLS.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, fadvise};
use rustix::process::Signal;
use rustls::{ClientConfig, HandshakeKind};

use super::{Authority, Door, Session};
use crate::support::assert_same;

/// Connects, asks for something, so that the tickets arrive, and returns how hands were shaken.
fn visit(door: &Door, config: &Arc<ClientConfig>) -> HandshakeKind {
    let mut session = Session::connect(door.transship.addr, config).unwrap();
    assert_eq!(session.get("/v2/").unwrap().0, 200);
    session.0.conn.handshake_kind().unwrap()
}

fn reread(door: &Door, times: u64) {
    door.transship.process.signal(Signal::HUP);
    let replaced = [("outcome", "replaced")];
    door.transship
        .until_metric("transship_tls_reloads_total", &replaced, times);
}

#[test]
fn a_session_is_taken_up_again_also_after_a_reload() {
    // A node that pulls sixty layers over new connections would pay sixty handshakes.
    let door = Door::open();
    let client = Arc::new(door.client());
    assert_eq!(visit(&door, &client), HandshakeKind::Full);
    assert_eq!(visit(&door, &client), HandshakeKind::Resumed);
    door.files().show(&door.authority.issue());
    reread(&door, 1);
    assert_eq!(visit(&door, &client), HandshakeKind::Resumed);
    let old = Arc::new(door.client_of(&rustls::version::TLS12));
    assert_eq!(visit(&door, &old), HandshakeKind::Full);
    assert_eq!(visit(&door, &old), HandshakeKind::Resumed);
}

#[test]
fn a_session_ends_with_the_authority_that_vouched_for_its_client() {
    // A ticket stands for a certificate: clients that were thrown out would come in for half a day.
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let door = Door::open_with(", clientcas: [@DIR@/clients.pem]", |files| {
        files.put("clients.pem", &before.pem());
    });
    let client = Arc::new(door.client_with(&before.issue()));
    assert_eq!(visit(&door, &client), HandshakeKind::Full);
    assert_eq!(visit(&door, &client), HandshakeKind::Resumed);
    door.files().put("clients.pem", &after.pem());
    reread(&door, 1);
    let refused =
        Session::connect(door.transship.addr, &client).and_then(|mut session| session.get("/v2/"));
    assert!(refused.is_err());
    let welcome = Arc::new(door.client_with(&after.issue()));
    assert_eq!(visit(&door, &welcome), HandshakeKind::Full);
}

/// Makes the kernel forget what it has of the files below `dir` in memory.
fn forget(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            forget(&path);
        } else if path.metadata().unwrap().size() > 0 {
            let file = File::open(&path).unwrap();
            file.sync_all().unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        }
    }
}

#[test]
fn bodies_are_whole_from_memory_and_from_disk_in_ranges_and_in_a_row() {
    // Batches, records and what is read elsewhere have their seams at other places.
    let door = Door::open();
    for size in [
        8 << 10,
        (8 << 10) + 1,
        65_000,
        65_536,
        65_537,
        300_000,
        5_000_001,
    ] {
        let blob = door.origin.make(size as u64, size);
        let mut session = door.connect(door.client()).unwrap();
        for from_disk in [false, true, false] {
            if from_disk {
                forget(&door.transship.storage);
            }
            let (status, body) = session.get(&blob.path()).unwrap();
            assert_eq!(status, 200);
            assert_same(&body, &blob.bytes);
        }
        let (start, end) = (size / 3, size / 2);
        let range = format!("Range: bytes={start}-{end}\r\n");
        for from_disk in [false, true] {
            if from_disk {
                forget(&door.transship.storage);
            }
            let (status, body) = session.get_with(&blob.path(), &range).unwrap();
            assert_eq!(status, 206);
            assert_same(&body, &blob.bytes[start..=end]);
        }
    }
}

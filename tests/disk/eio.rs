//! A disk that dies, or takes its time.

use std::fs;
use std::path::PathBuf;

use rustix::io::Errno;

use super::{
    assert_calm, assert_settled, pull_all_at_once, reading, trouble, until_kept, with_store,
};
use crate::support::transship::Killed;
use crate::support::{Fault, FaultFs, Gate, LoopDisk, Op, Origin, Shelf, Transship, shelf, until};

const MIB: usize = 1 << 20;

/// A store on a disk that can be made to fail, with these blobs in it, stopped.
struct Stored {
    disk: FaultFs,
    origin: Origin,
    shelf: Shelf,
    stopped: Killed,
}

impl Stored {
    fn with(sizes: &[usize]) -> Self {
        let (disk, origin) = (FaultFs::start(), Origin::start());
        let shelf = Shelf::stock(&origin, 1, sizes.iter().copied());
        let storage = disk.path().join("storage");
        let transship = with_store(&origin, "").storage(&storage).start();
        for number in 0..shelf.len() {
            until_kept(&transship, &shelf, number);
        }
        Self {
            stopped: transship.stop(),
            disk,
            origin,
            shelf,
        }
    }

    /// Starts it again: nothing is open and nothing in memory.
    fn start(&self) -> Transship {
        with_store(&self.origin, "")
            .storage(&self.stopped.storage)
            .start()
    }

    /// The store behind the faults.
    fn real(&self) -> PathBuf {
        self.disk.real().join("storage")
    }

    fn file(&self, number: usize) -> PathBuf {
        shelf::place(&self.real(), &self.shelf.blob(number).digest)
    }

    fn gets(&self, number: usize) -> usize {
        self.origin.count("GET", &self.shelf.blob(number).path())
    }

    #[track_caller]
    fn expect_quarantine(&self, transship: &Transship, number: usize, count: u64) {
        let digest = &self.shelf.blob(number).digest;
        until("the blob is in quarantine", || {
            shelf::is_quarantined(&self.real(), digest)
        });
        until("that is counted", || {
            reading(transship, "transship_store_quarantined_total", &[]) == count
        });
    }
}

#[test]
fn a_blob_that_cannot_be_read_is_fetched_anew_and_put_aside() {
    // A bad sector would make one layer impossible to pull until somebody finds out which file to delete.
    let stored = Stored::with(&[2 * MIB, 5000]);
    let transship = stored.start();
    for number in 0..stored.shelf.len() {
        let unreadable = Fault::fail(&[Op::Read], Errno::IO).in_file(&stored.file(number));
        let struck = stored.disk.fault(unreadable);
        let pulled = stored.shelf.pull(transship.addr, number);
        assert!(struck.count() > 0, "the fault was never met");
        assert!(!pulled.is_hit());
        assert_eq!(stored.gets(number), 2);
        stored.expect_quarantine(&transship, number, number as u64 + 1);
        until_kept(&transship, &stored.shelf, number);
        assert_eq!(
            stored.gets(number),
            2,
            "it is not served from the store again"
        );
    }
    assert_calm(&transship);
}

#[test]
fn a_blob_that_breaks_while_it_is_sent_ends_the_response_visibly() {
    // The head is out: what follows must be the blob's bytes or no end at all.
    let stored = Stored::with(&[8 * MIB]);
    let transship = stored.start();
    let broken = Fault::fail(&[Op::Read], Errno::IO)
        .in_file(&stored.file(0))
        .beyond(5 * MIB as u64);
    let struck = stored.disk.fault(broken);
    let mut came = 0;
    let pulled = stored
        .shelf
        .pull_counting(transship.addr, 0, |count| came += count);
    assert!(struck.count() > 0, "the fault was never met");
    assert!(pulled.is_err(), "{came} bytes came as whole");
    assert!(came < 6 * MIB, "{came} bytes came, beyond what can be read");
    stored.shelf.pull(transship.addr, 0);
    assert_eq!(stored.gets(0), 2);
    stored.expect_quarantine(&transship, 0, 1);
    until_kept(&transship, &stored.shelf, 0);
    assert_calm(&transship);
}

#[test]
fn a_stale_handle_is_a_miss() {
    // On NFS another node deletes, or the server restarts: a registry answers 500 then.
    for op in [Op::Open, Op::Lookup] {
        let stored = Stored::with(&[MIB, 5000]);
        let transship = stored.start();
        for number in 0..stored.shelf.len() {
            let stale = Fault::fail(&[op], Errno::STALE);
            let stale = match op {
                Op::Open => stale.in_file(&stored.file(number)),
                _ => stale.at(format!("/blobs/sha256/{}/", hex(&stored, number, 2))),
            };
            let struck = stored.disk.fault(stale);
            assert!(!stored.shelf.pull(transship.addr, number).is_hit());
            assert!(struck.count() > 0, "the fault was never met");
            stored.disk.heal();
            until_kept(&transship, &stored.shelf, number);
        }
    }
}

fn hex(stored: &Stored, number: usize, count: usize) -> String {
    let digest = &stored.shelf.blob(number).digest;
    digest.split_once(':').unwrap().1[..count].to_owned()
}

#[test]
fn reads_that_end_early_are_never_a_clean_end() {
    // A disk that gives less than it has: what is missing must not be left out, nor be zeros.
    let stored = Stored::with(&[3 * MIB + 123, 5000, 70_000]);
    let struck = stored.disk.fault(Fault::short_reads());
    let transship = stored.start();
    for number in 0..stored.shelf.len() {
        // Right bytes as far as they come, and all of them if the end is clean.
        let _ = stored.shelf.pull_counting(transship.addr, number, |_| {});
    }
    assert!(struck.count() > 0, "the fault was never met");
    stored.disk.heal();
    for number in 0..stored.shelf.len() {
        until_kept(&transship, &stored.shelf, number);
    }
}

#[test]
fn a_file_that_is_cut_short_while_it_is_sent_ends_the_response_visibly() {
    // Somebody truncates, or a repaired file system did: zeros or a clean end would be taken for the blob.
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 2, [24 * MIB]);
    let transship = with_store(&origin, "").start();
    until_kept(&transship, &shelf, 0);
    let blob = shelf.blob(0);
    let mut client = transship.client();
    client.ask("GET", &blob.path(), &[]);
    let head = client.head();
    let path = shelf::place(&transship.storage, &blob.digest);
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(20 * MIB as u64).unwrap();
    let mut at = 0;
    let whole = client.body("GET", &head, |part| {
        assert!(blob.bytes[at..].starts_with(part), "wrong bytes after {at}");
        at += part.len();
    });
    assert!(!whole, "{at} bytes came as whole");
    until_kept(&transship, &shelf, 0);
}

/// Faults in the middle of a fill, each with what it is about.
fn write_faults() -> Vec<(&'static str, &'static str, Fault)> {
    let fail = |op, errno| Fault::fail(&[op], errno);
    vec![
        ("EIO at open", "failing", fail(Op::Create, Errno::IO)),
        ("ENOSPC at open", "full", fail(Op::Create, Errno::NOSPC)),
        ("EDQUOT at open", "full", fail(Op::Create, Errno::DQUOT)),
        ("EROFS at open", "read_only", fail(Op::Create, Errno::ROFS)),
        ("EIO at write", "failing", fail(Op::Write, Errno::IO)),
        ("ENOSPC at write", "full", fail(Op::Write, Errno::NOSPC)),
        ("EDQUOT at write", "full", fail(Op::Write, Errno::DQUOT)),
        (
            "ENOSPC in mid-body",
            "full",
            fail(Op::Write, Errno::NOSPC).after_bytes(2 * MIB as u64),
        ),
        (
            "EIO in mid-body",
            "failing",
            fail(Op::Write, Errno::IO).after_bytes(2 * MIB as u64),
        ),
        ("EIO at link", "failing", fail(Op::Link, Errno::IO)),
        ("ENOSPC at link", "full", fail(Op::Link, Errno::NOSPC)),
        ("EDQUOT at link", "full", fail(Op::Link, Errno::DQUOT)),
        (
            "ENOSPC everywhere",
            "full",
            Fault::fail(&Op::CHANGES, Errno::NOSPC),
        ),
        (
            "EIO everywhere",
            "failing",
            Fault::fail(&Op::CHANGES, Errno::IO),
        ),
        (
            "EROFS everywhere",
            "read_only",
            Fault::fail(&Op::CHANGES, Errno::ROFS),
        ),
    ]
}

#[test]
fn no_error_of_a_write_reaches_a_client_and_storing_resumes() {
    // The client has nothing to do with our disk: its bytes are there, they came from the origin.
    let (disk, origin) = (FaultFs::start(), Origin::start());
    let storage = disk.path().join("storage");
    let transship = with_store(&origin, "").storage(&storage).start();
    for (seed, (what, kind, fault)) in write_faults().into_iter().enumerate() {
        eprintln!("{what}");
        let shelf = Shelf::stock(&origin, 100 + seed as u64, [4 * MIB, 3000, 4 * MIB]);
        let struck = disk.fault(fault);
        pull_all_at_once(&transship, &shelf);
        assert!(struck.count() > 0, "the fault was never met");
        until("the trouble is told", || {
            shelf.pull(transship.addr, 0);
            trouble(&transship, kind) == 1
        });
        disk.heal();
        until_kept(&transship, &shelf, 2);
        until("the trouble is over", || trouble(&transship, kind) == 0);
    }
    assert_settled(&transship, &disk.real().join("storage"));
    assert_calm(&transship);
}

#[test]
fn a_sync_that_fails_reaches_no_client() {
    // With `each`, a commit waits for the medium; whoever pulls must not.
    let (disk, origin) = (FaultFs::start(), Origin::start());
    let storage = disk.path().join("storage");
    let shelf = Shelf::stock(&origin, 3, [MIB, 3000, 100_000]);
    let transship = with_store(&origin, "durability: each")
        .storage(&storage)
        .start();
    disk.fault(Fault::fail(&[Op::Sync], Errno::IO));
    for number in 0..shelf.len() {
        shelf.pull(transship.addr, number);
    }
    disk.heal();
    for number in 0..shelf.len() {
        until_kept(&transship, &shelf, number);
    }
    assert_calm(&transship);
}

#[test]
fn evictions_that_fail_break_no_pull() {
    // A file that cannot be deleted keeps its room; the store must neither spin nor lose count of it.
    let (disk, origin) = (FaultFs::start(), Origin::start());
    let storage = disk.path().join("storage");
    let shelf = Shelf::stock(&origin, 4, [MIB; 24]);
    let transship = with_store(&origin, "bytes_max: 8MiB")
        .storage(&storage)
        .start();
    let struck = disk.fault(Fault::fail(&[Op::Unlink], Errno::IO).at("/blobs/"));
    for number in 0..shelf.len() {
        shelf.pull(transship.addr, number);
    }
    assert!(struck.count() > 0, "the fault was never met");
    disk.heal();
    let real = disk.real().join("storage");
    for number in 0..shelf.len() {
        until_kept(&transship, &shelf, number);
    }
    until("what could not be deleted has gone", || {
        shelf::stored_bytes(&real) <= 8 * MIB as u64
    });
    assert_settled(&transship, &real);
    assert_calm(&transship);
}

#[test]
fn an_index_that_cannot_be_read_costs_a_scan_and_nothing_else() {
    // One bad sector under the index would throw away the whole cache.
    let stored = Stored::with(&[MIB, 5000]);
    let index = stored.real().join("index");
    assert!(index.exists(), "the store has an index on disk");
    stored
        .disk
        .fault(Fault::fail(&[Op::Read], Errno::IO).in_file(&index));
    let transship = stored.start();
    for number in 0..stored.shelf.len() {
        assert!(stored.shelf.pull(transship.addr, number).is_hit());
        assert_eq!(stored.gets(number), 1);
    }
    assert_calm(&transship);
}

#[test]
fn a_disk_that_does_not_answer_stalls_nobody_who_does_not_need_it() {
    // One hanging NFS server, and every core waits for it: the hot images are in memory all the time.
    let stored = Stored::with(&[MIB, 5000, MIB, MIB, MIB, MIB, MIB, MIB]);
    let transship = stored.start();
    let (hot, cold) = (0..2, 2..stored.shelf.len());
    for number in hot.clone().cycle().take(16) {
        assert!(stored.shelf.pull(transship.addr, number).is_hit());
    }
    let fresh = Shelf::stock(&stored.origin, 5, [MIB; 4]);
    let gate = Gate::new();
    let writes = stored.disk.fault(Fault::wait(&Op::CHANGES, &gate));
    let reads = cold.clone().map(|number| {
        let fault = Fault::wait(&[Op::Open, Op::Read], &gate);
        stored.disk.fault(fault.in_file(&stored.file(number)))
    });
    let reads: Vec<_> = reads.collect();
    std::thread::scope(|scope| {
        let waiting = [(&stored.shelf, cold.clone()), (&fresh, 0..fresh.len())];
        for (shelf, numbers) in waiting {
            for number in numbers {
                let addr = transship.addr;
                scope.spawn(move || shelf.pull(addr, number));
            }
        }
        until("they wait for the disk", || {
            writes.count() > 0 && reads.iter().any(|read| read.count() > 0)
        });
        for number in hot.cycle().take(40) {
            assert!(stored.shelf.pull(transship.addr, number).is_hit());
        }
        gate.open();
    });
    for number in cold {
        until_kept(&transship, &stored.shelf, number);
    }
}

#[test]
fn writes_that_the_kernel_took_and_lost_are_never_served() {
    // A thin volume runs out behind the file system: write(2) succeeds, the sync fails, the pages are gone.
    let disk = LoopDisk::ext4_on_too_little(64, 24);
    let origin = Origin::start();
    let shelf = Shelf::stock(&origin, 6, [MIB; 40]);
    let transship = with_store(&origin, "").storage(&disk.storage()).start();
    pull_all_at_once(&transship, &shelf);
    until("the sync has failed", || {
        trouble(&transship, "failing") + trouble(&transship, "read_only") > 0
    });
    disk.forget_pages();
    for _ in 0..2 {
        for number in 0..shelf.len() {
            shelf.pull(transship.addr, number);
        }
    }
    drop(transship.kill());
    disk.forget_pages();
    let again = with_store(&origin, "").storage(&disk.storage());
    // It may find that it cannot start on such a disk, but not serve what is not there.
    if let Ok(again) = again.try_start() {
        for number in 0..shelf.len() {
            shelf.pull(again.addr, number);
        }
    }
}

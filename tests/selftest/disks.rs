//! The disks that fail on cue are disks until then.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::process::Command;

use rustix::io::Errno;

use crate::support::process::run;
use crate::support::{Blob, Cut, Fault, FaultFs, LoopDisk, Op, assert_same, until};

#[test]
fn a_faulty_file_system_without_faults_is_a_file_system() {
    // Tests would find faults of their own tools.
    let disk = FaultFs::start();
    let (first, second) = (disk.path().join("a/first"), disk.path().join("b/second"));
    for folder in ["a", "b"] {
        fs::create_dir(disk.path().join(folder)).unwrap();
    }
    let blob = Blob::seeded(1, 700_000);
    fs::write(&first, &blob.bytes[..]).unwrap();
    fs::hard_link(&first, &second).unwrap();
    assert!(
        fs::hard_link(&first, &second).is_err(),
        "a link replaces nothing"
    );
    assert_eq!(fs::metadata(&second).unwrap().nlink(), 2);
    fs::remove_file(&first).unwrap();
    assert_same(&fs::read(&second).unwrap(), &blob.bytes);
    let third = disk.path().join("third");
    let open = File::open(&second).unwrap();
    fs::rename(&second, &third).unwrap();
    fs::remove_file(&third).unwrap();
    let mut bytes = vec![0; blob.len()];
    open.read_exact_at(&mut bytes, 0).unwrap();
    assert_same(&bytes, &blob.bytes);
    assert_eq!(fs::read_dir(disk.path().join("b")).unwrap().count(), 0);
    let names = fs::read_dir(disk.path()).unwrap().flatten();
    let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);

    let file = File::create(&third).unwrap();
    file.set_len(5).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    file.sync_all().unwrap();
    let metadata = fs::metadata(&third).unwrap();
    assert_eq!((metadata.len(), metadata.mtime()), (5, 0));
}

#[test]
fn a_fault_strikes_where_it_is_told_to_and_no_longer_than_it_is_on() {
    let disk = FaultFs::start();
    let path = disk.path().join("file");
    fs::write(&path, vec![1; 100_000]).unwrap();
    fs::write(disk.path().join("other"), "fine").unwrap();
    let fault = Fault::fail(&[Op::Read], Errno::IO).in_file(&disk.real().join("file"));
    let struck = disk.fault(fault.beyond(90_000));
    let file = File::open(&path).unwrap();
    file.read_exact_at(&mut [0; 100], 0).unwrap();
    let error = file.read_exact_at(&mut [0; 100], 95_000).unwrap_err();
    assert_eq!(Errno::from_io_error(&error), Some(Errno::IO));
    assert!(struck.count() > 0);
    assert_eq!(fs::read(disk.path().join("other")).unwrap(), b"fine");
    disk.heal();
    file.read_exact_at(&mut [0; 100], 95_000).unwrap();

    let full = Fault::fail(&[Op::Write], Errno::NOSPC).after_bytes(10_000);
    disk.fault(full.at("/new"));
    let new = File::create(disk.path().join("new")).unwrap();
    new.write_all_at(&[1; 8000], 0).unwrap();
    let error = new.write_all_at(&[1; 8000], 8000).unwrap_err();
    assert_eq!(Errno::from_io_error(&error), Some(Errno::NOSPC));
}

#[test]
fn a_read_that_is_short_is_short_and_adds_nothing() {
    let disk = FaultFs::start();
    let blob = Blob::seeded(2, 500_000);
    let path = disk.path().join("file");
    fs::write(&path, &blob.bytes[..]).unwrap();
    disk.fault(Fault::short_reads());
    let mut bytes = vec![0; 100_000];
    let count = File::open(&path).unwrap().read(&mut bytes).unwrap();
    assert!(count > 0 && count < 100_000, "{count}");
    assert_same(&bytes[..count], &blob.bytes[..count]);
}

#[test]
fn a_disk_is_cut_off_and_comes_back_without_what_was_not_synced() {
    let disk = LoopDisk::xfs(64);
    let (synced, lost) = (disk.path().join("synced"), disk.path().join("lost"));
    fs::write(&synced, "kept").unwrap();
    run(Command::new("sync").arg("-f").arg(&synced));
    fs::write(&lost, "gone").unwrap();
    disk.cut_power(Cut::Abrupt);
    assert!(fs::write(&synced, "more").is_err());
    disk.power_up();
    assert_eq!(fs::read(&synced).unwrap(), b"kept");
    assert!(!lost.exists());

    fs::write(&lost, "gone").unwrap();
    disk.cut_power(Cut::NamesOnly);
    disk.power_up();
    assert_eq!(fs::read(&lost).unwrap(), b"", "the name without the bytes");
}

#[test]
fn a_disk_is_filled_up_and_made_read_only() {
    for disk in [LoopDisk::ext4(64), LoopDisk::xfs(64)] {
        let ballast = disk.fill_up();
        let path = disk.path().join("file");
        assert!(fs::write(&path, vec![1; 1 << 20]).is_err());
        drop(ballast);
        // Freed blocks come back with the next commit of the file system's journal.
        until("there is space again", || {
            fs::write(&path, vec![1; 1 << 20]).is_ok()
        });
        disk.make_read_only();
        assert!(fs::write(&path, "x").is_err());
        disk.make_writable();
        fs::write(&path, "x").unwrap();
    }
}

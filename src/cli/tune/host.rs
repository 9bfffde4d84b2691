//! The host: its kernel, limits, processors, and the file system that blobs are on.

use std::fs;
use std::path::{Path, PathBuf};

use procfs::process::MountInfo;
use rustix::process::{Resource, getrlimit};

use super::{Finding, State};

/// What transship is told of by the host, and where the rest is read.
pub(super) struct Host {
    /// `/`, or a picture of one in tests.
    pub(super) root: PathBuf,
    /// Where blobs are; resolved as far as it exists.
    pub(super) storage: PathBuf,
    /// The most descriptors that this process may allow itself; `None` is no bound.
    pub(super) descriptors: Option<u64>,
    /// The most memory that it may lock, in bytes; `None` is no bound.
    pub(super) locked_bytes: Option<u64>,
    pub(super) processors: usize,
}

impl Host {
    /// Returns this one.
    pub(super) fn this(storage: PathBuf) -> Self {
        Self {
            root: PathBuf::from("/"),
            storage: existing(storage),
            descriptors: getrlimit(Resource::Nofile).maximum,
            locked_bytes: getrlimit(Resource::Memlock).maximum,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Returns what stands in a file, without white space around it.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// Returns the names in a folder, in order.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(path));
        let entries = entries.into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}

/// Returns the last part of a path's way down that is there: the rest would be made on the same file system.
fn existing(path: PathBuf) -> PathBuf {
    let mut there = path.as_path();
    while !there.exists() {
        match there.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => there = parent,
            _ => return PathBuf::from("/"),
        }
    }
    there.canonicalize().unwrap_or(path)
}

/// Returns what there is to say of the host itself.
pub(super) fn findings(host: &Host) -> Vec<Finding> {
    let mut all = vec![kernel(host), descriptors(host), locked_memory(host)];
    all.extend(file_system(host));
    all.push(governor(host));
    all.push(indifferent(
        host,
        "transparent huge pages",
        "sys/kernel/mm/transparent_hugepage/enabled",
        "blobs are sent from the page cache; memory of transship's own is small",
        "ARCHITECTURE.md",
    ));
    all.push(indifferent(
        host,
        "kernel TLS (module tls)",
        "proc/net/tls_stat",
        "transship encrypts by itself: whether the module is there changes nothing",
        "ARCHITECTURE.md",
    ));
    all
}

fn indifferent(
    host: &Host,
    name: &str,
    path: &str,
    reason: &'static str,
    source: &'static str,
) -> Finding {
    // Some are long: that they are there is enough.
    let here = match host.read(path) {
        Some(text) if text.len() < 40 => text,
        Some(_) => "there".to_owned(),
        None => "not there".to_owned(),
    };
    Finding {
        name: name.to_owned(),
        here,
        wanted: "anything".to_owned(),
        state: State::Indifferent,
        reason,
        source,
        command: None,
    }
}

/// Returns major and minor number of the kernel's version.
fn version(host: &Host) -> Option<(u32, u32)> {
    let text = host.read("proc/sys/kernel/osrelease")?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

const fn state(holds: bool) -> State {
    match holds {
        true => State::Well,
        false => State::Lacking,
    }
}

fn kernel(host: &Host) -> Finding {
    Finding {
        name: "kernel".to_owned(),
        here: host.read("proc/sys/kernel/osrelease").unwrap_or_default(),
        wanted: "6.1 or later".to_owned(),
        state: version(host).map_or(State::Unknown, |version| state(version >= (6, 1))),
        reason: "before it a core's ring cannot have SINGLE_ISSUER and DEFER_TASKRUN, which save 10 % of a request's CPU",
        source: "measured: 4.75 against 5.25 µs of CPU for each small request on one core",
        command: None,
    }
}

fn descriptors(host: &Host) -> Finding {
    const WANTED: u64 = 1_048_576;
    let (here, holds) = match host.descriptors {
        None => ("unlimited".to_owned(), true),
        Some(most) => (most.to_string(), most >= WANTED),
    };
    Finding {
        name: "RLIMIT_NOFILE, hard, of this shell".to_owned(),
        here,
        wanted: format!("{WANTED}: the systemd unit sets it"),
        state: state(holds),
        reason: "a client is a descriptor, an open blob is one: half of the limit may be clients, a quarter blobs. \
                 Matters where transship is started from a shell like this one",
        source: "docs/limits.md",
        command: None,
    }
}

fn locked_memory(host: &Host) -> Finding {
    /// Of more cores than most hosts have.
    const WANTED: u64 = 64 * 1024 * 1024;
    let (here, holds) = match host.locked_bytes {
        None => ("unlimited".to_owned(), true),
        Some(most) => (format!("{} KiB", most / 1024), most >= WANTED),
    };
    Finding {
        name: "RLIMIT_MEMLOCK, hard, of this shell".to_owned(),
        here,
        wanted: "64 MiB: the systemd unit sets infinity".to_owned(),
        state: state(holds),
        reason: "some kernels count a core's ring as locked memory, those before 5.12 and 6.18 among them; where there is \
                 too little, transship runs on epoll and says so. Nothing for root",
        source: "io_uring_setup(2); tried on 6.18",
        command: None,
    }
}

/// Returns the file system that blobs are on: the mount with the longest path, the last one of several there.
fn mount(host: &Host) -> Option<MountInfo> {
    let text = host.read("proc/self/mountinfo")?;
    text.lines()
        .filter_map(|line| MountInfo::from_line(line).ok())
        .filter(|mount| host.storage.starts_with(&mount.mount_point))
        .max_by_key(|mount| mount.mount_point.components().count())
}

fn file_system(host: &Host) -> Vec<Finding> {
    let Some(mount) = mount(host) else {
        return Vec::new();
    };
    let at = format!("{} at {}", mount.fs_type, shown(&mount.mount_point));
    let local = ["ext4", "xfs", "btrfs", "f2fs"].contains(&mount.fs_type.as_str());
    let times = ["noatime", "relatime"];
    let marks = times
        .into_iter()
        .find(|mark| mount.mount_options.contains_key(*mark));
    let clones = match mount.fs_type.as_str() {
        "xfs" => "by its reflink=1 (xfs_info)",
        "btrfs" => "yes",
        _ => "no",
    };
    vec![
        Finding {
            name: "file system of the storage".to_owned(),
            here: at,
            wanted: "ext4 or XFS on a disk of this host".to_owned(),
            state: state(local),
            reason: "O_TMPFILE and linkat: a killed process leaves nothing behind. On network and overlay file systems \
                     files have names from the start and are renamed, and a read may wait for another machine",
            source: "docs/store.md",
            command: None,
        },
        Finding {
            name: "access times of the storage".to_owned(),
            here: marks.unwrap_or("strictatime").to_owned(),
            wanted: "noatime, or relatime".to_owned(),
            state: state(marks.is_some()),
            reason: "else each read of a blob changes its inode, which has to be written; transship does not look at \
                     access times",
            source: "mount(8)",
            command: None,
        },
        Finding {
            name: "clones of files (reflink)".to_owned(),
            here: clones.to_owned(),
            wanted: "anything".to_owned(),
            state: State::Indifferent,
            reason: "only `transship import` from another directory of the same file system gains by it, and only \
                     where it may not link",
            source: "docs/store.md",
            command: None,
        },
    ]
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn governor(host: &Host) -> Finding {
    let folder = "sys/devices/system/cpu";
    let of = |file: &str| {
        let mut values: Vec<String> = host
            .names(folder)
            .iter()
            .filter_map(|cpu| host.read(&format!("{folder}/{cpu}/cpufreq/{file}")))
            .collect();
        values.sort();
        values.dedup();
        values
    };
    let (governors, drivers) = (of("scaling_governor"), of("scaling_driver"));
    // There "powersave" is the name of a governor that follows the load.
    let own = |driver: &String| ["intel_pstate", "amd-pstate-epp"].contains(&driver.as_str());
    let slow = governors.iter().any(|governor| governor == "powersave");
    Finding {
        name: "frequency governor".to_owned(),
        here: match governors.is_empty() {
            true => "none, as in most virtual machines".to_owned(),
            false => governors.join(", "),
        },
        wanted: "anything that follows the load, or performance".to_owned(),
        state: state(!slow || drivers.iter().all(own)),
        reason: "powersave of a driver without a mind of its own keeps processors at their lowest frequency",
        source: "kernel: admin-guide/pm/cpufreq",
        command: None,
    }
}

//! What the kernel says of a process and of its threads.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Returns a size in `/proc/PID/status` in bytes, such as `VmRSS`.
pub fn memory_bytes(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

/// Returns the threads of a process whose names begin so.
pub fn threads(pid: u32, prefix: &str) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let tasks = tasks.filter(|task| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        name.starts_with(prefix)
    });
    let name = |task: fs::DirEntry| task.file_name().to_str().unwrap().parse().unwrap();
    tasks.map(name).collect()
}

/// Seconds that threads ran, and that they could have run and did not.
#[derive(Clone, Copy, Default)]
pub struct Scheduled {
    pub ran: f64,
    pub waited: f64,
}

/// Sums up `/proc/PID/task/TID/schedstat`.
pub fn scheduled(pid: u32, threads: &[u32]) -> Scheduled {
    let mut sum = Scheduled::default();
    for thread in threads {
        let path = format!("/proc/{pid}/task/{thread}/schedstat");
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(|word| word.parse::<f64>());
        let mut seconds = || numbers.next().and_then(Result::ok).unwrap_or(0.0) / 1e9;
        sum.ran += seconds();
        sum.waited += seconds();
    }
    sum
}

/// Returns the one child of a process.
pub fn child(parent: u32) -> u32 {
    let mut parents = HashMap::new();
    for item in fs::read_dir("/proc").unwrap().flatten() {
        let stat = fs::read_to_string(item.path().join("stat")).unwrap_or_default();
        // What follows the name, which alone may hold spaces: state, parent, … (proc(5)).
        let Some((_, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        let Ok(id) = item.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let above = rest.split(' ').nth(1).unwrap().parse::<u32>().unwrap();
        parents.insert(above, id);
    }
    parents[&parent]
}

/// How often, and how long at most, threads waited for a lock.
#[derive(Default)]
pub struct Waits {
    pub count: usize,
    pub longest_ms: f64,
}

/// Reads what `strace -ff -T -o PREFIX` has written of threads.
pub fn futex_waits(prefix: &Path, threads: &[u32]) -> Waits {
    let mut waits = Waits::default();
    for thread in threads {
        let path = format!("{}.{thread}", prefix.display());
        let text = fs::read_to_string(path).unwrap();
        for line in text.lines().filter(|line| line.contains("FUTEX_WAIT")) {
            let Some((_, seconds)) = line.trim_end_matches('>').rsplit_once('<') else {
                continue;
            };
            waits.count += 1;
            let seconds: f64 = seconds.parse().unwrap();
            waits.longest_ms = waits.longest_ms.max(seconds * 1000.0);
        }
    }
    waits
}

/// Returns the load of the last minute: processes that run or want to, all of the machine.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

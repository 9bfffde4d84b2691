//! What the kernel says of this process and of its cores' threads, read from `/proc` when asked: cores pay
//! nothing for it. What cannot be read is left out.

use procfs::process::{LimitValue, Process, Stat};

use crate::metrics::Sample;
use crate::metrics::table::{
    CORE_BUSY, PROCESS_CPU, PROCESS_FDS, PROCESS_MAX_FDS, PROCESS_MEMORY, PROCESS_START,
};

/// What the names of cores' threads begin with; their number follows.
const CORE: &str = "core-";

pub(in crate::admin) fn samples() -> Vec<Sample> {
    let Ok(process) = Process::myself() else {
        return Vec::new();
    };
    let none = [""; 0];
    let mut samples = Vec::new();
    if let Ok(stat) = process.stat() {
        let memory = stat.rss * procfs::page_size();
        samples.push(PROCESS_MEMORY.sample(none, memory));
        samples.push(PROCESS_CPU.sample(none, busy_ms(&stat)));
        if let Ok(booted) = procfs::boot_time_secs() {
            let started = booted + stat.starttime / procfs::ticks_per_second();
            samples.push(PROCESS_START.sample(none, started));
        }
    }
    if let Ok(count) = process.fd_count() {
        samples.push(PROCESS_FDS.sample(none, count as u64));
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        samples.push(PROCESS_MAX_FDS.sample(none, most));
    }
    samples.extend(cores(&process));
    samples
}

fn cores(process: &Process) -> Vec<Sample> {
    let tasks = process.tasks().into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| task.stat().ok());
    let mut cores: Vec<_> = stats
        .filter_map(|stat| Some((core_of(&stat)?, busy_ms(&stat))))
        .collect();
    cores.sort_unstable();
    cores
        .into_iter()
        .map(|(core, busy)| CORE_BUSY.sample([core.to_string()], busy))
        .collect()
}

/// Returns which core a thread is; none is `core-` with more than digits behind it.
fn core_of(stat: &Stat) -> Option<usize> {
    stat.comm.strip_prefix(CORE)?.parse().ok()
}

fn busy_ms(stat: &Stat) -> u64 {
    (stat.utime + stat.stime) * 1000 / procfs::ticks_per_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_works_is_seen_to_and_other_threads_are_no_cores() {
        let before = cores(&Process::myself().unwrap());
        assert!(before.iter().all(|sample| sample.labels[0].1 != "4711"));
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("core-4711".to_owned());
            let work = || loop {
                let found = cores(&Process::myself().unwrap());
                let mut found = found.into_iter();
                // Until the kernel's clock, which ticks seldom, has seen it work.
                if found.any(|sample| sample.labels[0].1 == "4711" && sample.value > 0) {
                    break;
                }
            };
            thread.spawn_scoped(scope, work).unwrap();
        });
        let all = samples();
        for row in [&PROCESS_MEMORY, &PROCESS_FDS, &PROCESS_START] {
            let sample = all.iter().find(|sample| sample.name == row.name);
            assert!(
                sample.is_some_and(|sample| sample.value > 0),
                "{}",
                row.name
            );
        }
    }
}

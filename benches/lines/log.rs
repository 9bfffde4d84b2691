//! The line `log`: what the access log costs a hot blob, with its file on disk, against itself without one.

use std::fs;

use tempfile::TempDir;

use super::support::{Blob, Transship};
use super::{Nginx, Pair, Scale, Www, cpu_seconds, fetch, median, settle, size, start, wrk_on};

/// Requests per CPU second of transship with one core, with and without an access log. The writer's time
/// counts: it runs on the same processor.
pub(super) fn log(scale: &Scale) {
    println!(
        "\nlog: 64 keep-alive connections, server on core 0, wrk on core 1, {} runs",
        scale.runs
    );
    let (dir, www) = (TempDir::new().unwrap(), Www::new());
    let origin = Nginx::origin(&www);
    let path = dir.path().join("access.log");
    let config = format!(
        "version: 0.1\ntransship: {{access_log: {{output: {}, rotate_size: 1GiB}}}}\n",
        path.display()
    );
    let pinned = || Transship::options().cores(1).under(&["taskset", "-c", "0"]);
    let with = start(pinned().config(config), &origin.url());
    let without = start(pinned(), &origin.url());
    let hot = &scale.hot[0];
    let blob = www.add(&Blob::seeded(hot.bytes as u64, hot.bytes));
    let (mut rates, mut micros, mut served) = (Pair::default(), Pair::default(), Pair::default());
    for server in [&with, &without] {
        fetch(server.addr, &blob, hot.bytes);
        settle(server, 1);
    }
    for _ in 0..scale.runs {
        for (server, is_with) in [(&with, true), (&without, false)] {
            let url = format!("http://{}{blob}", server.addr);
            let id = server.process.id();
            let before = (cpu_seconds(id), seconds_of(id, "core-0"));
            let shown = wrk_on(&url, hot, id, &[]);
            let share = (seconds_of(id, "core-0") - before.1) / (cpu_seconds(id) - before.0);
            rates.push(is_with, shown.per_cpu_second);
            micros.push(is_with, 1e6 / shown.per_cpu_second);
            served.push(is_with, share.min(1.0) * 1e6 / shown.per_cpu_second);
        }
    }
    let title = format!("{} requests per CPU second", size(hot.bytes));
    rates.print_ratio(&title, "without a log", 0.0);
    micros.print("  CPU microseconds a request", "without a log");
    let title = "  of these on the thread that serves";
    served.print(title, "without a log");
    let lines = fs::read(&path).unwrap();
    let lines = memchr::memchr_iter(b'\n', &lines).count();
    let metrics = with.metrics();
    let dropped = metrics.sum("transship_access_log_dropped_total", &[]);
    println!("    {lines} lines written, {dropped} dropped");
    let cost = |pair: &Pair| median(&pair.ours) / median(&pair.theirs) - 1.0;
    for (what, cost) in [
        ("all threads", cost(&micros)),
        ("the thread that serves", cost(&served)),
    ] {
        let text = format!(
            "cost at most 5 % of the CPU time of {what}: {:.1} %",
            100.0 * cost
        );
        super::figures::verdict(&text, cost <= 0.05);
    }
}

/// CPU seconds that the threads of this name have had. Linux, Documentation/scheduler/sched-stats.rst.
fn seconds_of(process: u32, name: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let folders = threads.map(|thread| thread.unwrap().path());
    let named =
        folders.filter(|folder| fs::read_to_string(folder.join("comm")).unwrap().trim() == name);
    let nanoseconds = named.map(|folder| {
        let stat = fs::read_to_string(folder.join("schedstat")).unwrap();
        stat.split_whitespace()
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    });
    nanoseconds.sum::<f64>() / 1e9
}

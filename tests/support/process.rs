//! One child process with its log: started, watched and ended by id, never by name.
//!
//! Each child leads a process group of its own, so that ending a wrapper (strace) ends what it
//! wraps. Waits are for a line, an exit or a reading; [`PATIENCE`] only bounds how long a test
//! that has already failed may hang, no outcome depends on it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// When a test stops waiting and fails.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running child; dropping it kills its whole process group.
pub struct Process {
    name: String,
    child: Child,
    exited: Option<ExitStatus>,
    /// Processes that it started and that live on when it has ended.
    heirs: Vec<Pid>,
    log: Arc<Log>,
}

struct Log {
    lines: Mutex<Lines>,
    changed: Condvar,
}

struct Lines {
    text: Vec<String>,
    open_pipes: usize,
}

impl Process {
    /// Starts `command` with no input, its output and errors gathered line by line.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: cannot start {command:?}: {error}"));
        let log = Arc::new(Log {
            lines: Mutex::new(Lines {
                text: Vec::new(),
                open_pipes: 2,
            }),
            changed: Condvar::new(),
        });
        gather(child.stdout.take().unwrap(), Arc::clone(&log));
        gather(child.stderr.take().unwrap(), Arc::clone(&log));
        Self {
            name: name.to_owned(),
            child,
            exited: None,
            heirs: Vec::new(),
            log,
        }
    }

    /// Returns the first line that `wanted` accepts, or the whole log when the child ended first.
    pub fn line(&self, wanted: impl Fn(&str) -> bool) -> Result<String, String> {
        let give_up = Instant::now() + PATIENCE;
        let mut seen = 0;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(found) = lines.text[seen..].iter().find(|line| wanted(line)) {
                return Ok(found.clone());
            }
            seen = lines.text.len();
            let left = give_up.saturating_duration_since(Instant::now());
            if lines.open_pipes == 0 || left.is_zero() {
                return Err(lines.text.join("\n"));
            }
            lines = self.log.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Returns all that the child has said so far.
    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap().text.join("\n")
    }

    #[allow(dead_code, reason = "the benches read /proc by it")]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal` to the child alone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a child that was not waited for has its id");
    }

    /// Sends `signal` to the process that took over last, or to the child if none did.
    pub fn signal_last(&self, signal: Signal) {
        let last = self.heirs.last().copied().unwrap_or_else(|| self.pid());
        kill_process(last, signal).expect("the last process is there");
    }

    /// Takes note of a process that takes over from the last one, to be killed with the child.
    pub fn adopt(&mut self, id: i32) {
        self.heirs.extend(Pid::from_raw(id));
    }

    /// Kills the whole group and reaps the child.
    pub fn kill(&mut self) {
        for heir in self.heirs.drain(..) {
            let _ = kill_process(heir, Signal::KILL);
        }
        if self.exited.is_none() {
            // The group may be gone already; the wait below tells.
            let _ = kill_process_group(self.pid(), Signal::KILL);
            self.exited = self.child.wait().ok();
        }
    }

    /// Waits until the child has exited by itself.
    pub fn exit(&mut self) -> ExitStatus {
        until(&format!("{} exits", self.name), || {
            self.exited = self.child.try_wait().unwrap();
            self.exited.is_some()
        });
        self.exited.unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(8_000);
            let from = (from..=log.len())
                .find(|&at| log.is_char_boundary(at))
                .unwrap_or(0);
            eprintln!("--- log of {} ---\n{}\n---", self.name, &log[from..]);
        }
    }
}

fn gather(pipe: impl Read + Send + 'static, log: Arc<Log>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            log.lines.lock().unwrap().text.push(line);
            log.changed.notify_all();
        }
        log.lines.lock().unwrap().open_pipes -= 1;
        log.changed.notify_all();
    });
}

/// Reads `holds` again and again until it is true: the way to wait for a counter.
///
/// Panics after [`PATIENCE`]. The pause between two readings only spares the machine.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Runs a command to its end; panics with its output unless it succeeds.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command to its end, whatever that is.
pub fn output(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// User and system time of a process and all its descendants.
#[allow(dead_code, reason = "the benches count with it")]
pub fn cpu_seconds(root: u32) -> f64 {
    /// `USER_HZ`, which Linux shows as 100 on every machine.
    const TICKS: f64 = 100.0;
    let mut stats: HashMap<u32, (u32, u64)> = HashMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // What follows the name, which alone may hold spaces: state, parent, … (proc(5)).
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let words: Vec<&str> = rest.split(' ').collect();
        let ticks = words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap();
        stats.insert(pid, (words[1].parse().unwrap(), ticks));
    }
    let belongs = |mut pid: u32| {
        while let Some((parent, _)) = stats.get(&pid) {
            if pid == root {
                return true;
            }
            pid = *parent;
        }
        false
    };
    let ticks: u64 = stats
        .iter()
        .filter(|(pid, _)| belongs(**pid))
        .map(|(_, (_, ticks))| ticks)
        .sum();
    ticks as f64 / TICKS
}

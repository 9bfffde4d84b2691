//! `transship top`, on a stream and on a terminal.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use super::{transship, url};
use crate::support::transship::BINARY;
use crate::support::{Rig, until};

#[test]
fn frames_and_answers_are_printed_where_there_is_no_terminal() {
    let rig = Rig::start();
    let blob = rig.hit(1, 1 << 20);
    let admin = url(&rig.transship);
    let said = transship(&admin, &["top", "--count", "2", "--interval", "0.1"]);
    let listen = rig.transship.addr.to_string();
    let said = said.expect(0, &["ready", &listen, "1.0 MiB of", &rig.origin.url()]);
    assert_eq!(said.out.matches("transship ").count(), 2, "{}", said.out);
    assert!(said.out.contains("… to clients") && said.out.contains("0 B/s to clients"));
    assert!(!said.out.contains('\u{1b}'), "{}", said.out);
    rig.expect_blob(&blob);
    let said = transship(
        &admin,
        &["top", "--json", "--count", "2", "--interval", "0.1"],
    );
    let answers: Vec<serde_json::Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 2);
    let at = |index: usize| answers[index]["uptime_seconds"].as_f64().unwrap();
    assert!(at(1) > at(0));
    transship("http://127.0.0.1:1", &["top"]).expect(3, &["no server answers"]);
    transship(&admin, &["top", "--interval", "0"]).expect(2, &["0.1 to 3600"]);
}

/// A pseudo-terminal with a shell in it, which says how the terminal is before and after.
struct Terminal {
    child: Child,
    dir: TempDir,
}

impl Terminal {
    fn start(admin: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let (at, shown) = (dir.path().display(), File::create(dir.path().join("shown")));
        let inner = format!(
            "trap : INT; stty rows 20 cols 70; stty -g >{at}/before; \
             sh -c 'echo $$ >{at}/pid; exec {BINARY} top --interval 0.1'; \
             echo $? >{at}/code; stty -g >{at}/after"
        );
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &inner, "/dev/null"]);
        let child = command
            .env("TRANSSHIP_ADMIN", admin)
            .stdin(Stdio::piped())
            .stdout(shown.unwrap())
            .process_group(0)
            .spawn()
            .expect("script of bsdutils");
        Self { child, dir }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    fn until_shown(&self, frames: usize) {
        until("frames are drawn", || {
            self.read("shown").matches("WARNINGS").count() >= frames
        });
    }

    /// Waits for the end; the terminal has to be what it was.
    fn expect_restored(mut self) {
        until("it has ended", || self.child.try_wait().unwrap().is_some());
        assert_eq!(self.read("code"), "0\n");
        assert_eq!(self.read("before"), self.read("after"));
        let shown = self.read("shown");
        let (enter, leave) = (shown.find("\u{1b}[?1049h"), shown.rfind("\u{1b}[?1049l"));
        assert!(enter.is_some() && enter < leave, "{shown:?}");
        let cursor = shown.rfind("\u{1b}[?25h");
        assert!(cursor > shown.rfind("\u{1b}[?25l"), "{shown:?}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[test]
fn the_terminal_is_given_back_as_it_was() {
    // Whoever ends it would type blind, on the wrong screen.
    let rig = Rig::start();
    let admin = url(&rig.transship);
    let mut terminal = Terminal::start(&admin);
    terminal.until_shown(3);
    let mut keys = terminal.child.stdin.take().unwrap();
    keys.write_all(b"xq").unwrap();
    terminal.expect_restored();

    let mut terminal = Terminal::start(&admin);
    terminal.until_shown(1);
    // Ctrl-C, as the terminal makes a signal of it.
    let mut keys = terminal.child.stdin.take().unwrap();
    keys.write_all(b"\x03").unwrap();
    terminal.expect_restored();
    drop(keys);

    let mut terminal = Terminal::start(&admin);
    terminal.until_shown(1);
    let keys = terminal.child.stdin.take();
    let pid = terminal.read("pid").trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    terminal.expect_restored();
    drop(keys);
}

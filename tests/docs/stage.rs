//! A small world for the commands of a page: names, ports and files as the page has them.
//!
//! Each stage has namespaces of its own: a network that is only a loopback, so that 127.0.0.1:5000 is free and
//! `registry.example` is somebody; a copy of /etc and empty directories where programs keep their state; and processes,
//! all of which end with it. `stages/common.sh` says what is there in all of them, `stages/NAME.sh` what is there
//! besides in the stage NAME, and `stages/NAME.after.sh` what must be true at its end.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::page::{Mark, Page, root};
use crate::support::image::Image;
use crate::support::process::output;
use crate::support::transship::BINARY;

/// What is done in one stage, as a script of bash.
pub struct Stage {
    /// `PAGE NAME`.
    pub title: String,
    name: String,
    script: String,
    files: Vec<String>,
    /// Lines that it has to say, each with where the page has it.
    says: Vec<(String, String)>,
}

/// Gathers the stages of a page in its order.
pub fn of(page: &Page) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for block in &page.blocks {
        let Ok(Some(mark)) = block.mark() else {
            continue;
        };
        let (Mark::Run { stage: name, .. }
        | Mark::File { stage: name, .. }
        | Mark::Says { stage: name }) = &mark
        else {
            continue;
        };
        let title = format!("{} {name}", page.name);
        if !stages.iter().any(|stage| stage.title == title) {
            stages.push(Stage::new(title, name.clone()));
        }
        let stage = stages.iter_mut().find(|stage| &stage.name == name);
        let stage = stage.expect("it was made above");
        stage.say(&format!("{}:{}", page.name, block.line));
        match mark {
            Mark::Run { until: None, .. } => stage.script += &block.text,
            Mark::Run {
                until: Some(addr), ..
            } => {
                let text = &block.text;
                let _ = write!(stage.script, "(\n{text}wait\n) &\ntaken {addr} $!\n");
            }
            Mark::File { path, .. } => stage.write(&path, &block.text),
            Mark::Says { .. } => {
                let at = format!("{}:{}", page.name, block.line);
                let lines = block.text.lines().filter(|line| !line.trim().is_empty());
                stage
                    .says
                    .extend(lines.map(|line| (at.clone(), line.trim().to_owned())));
            }
            _ => {}
        }
    }
    stages
}

impl Stage {
    pub fn new(title: String, name: String) -> Self {
        Self {
            title,
            name,
            script: String::new(),
            files: Vec::new(),
            says: Vec::new(),
        }
    }

    pub fn into_name(self) -> String {
        self.name
    }

    pub fn say(&mut self, what: &str) {
        let _ = writeln!(self.script, "echo '== {what}' >&2");
    }

    /// Adds commands.
    pub fn push(&mut self, commands: &str) {
        self.script += commands;
    }

    /// Writes a file at this point; names of the page's own lie in the working directory.
    pub fn write(&mut self, path: &str, text: &str) {
        let number = self.files.len();
        self.files.push(text.to_owned());
        let _ = writeln!(
            self.script,
            "mkdir -p \"$(dirname {path})\"\ncp \"$STAGE/files/{number}\" {path}"
        );
    }

    /// Runs it to its end; `Err` is what it said.
    pub fn run(&self) -> Result<(), String> {
        let dir = TempDir::new().unwrap();
        self.lay_out(dir.path());
        let here = root().join("tests/docs/stages");
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", "60", "unshare", "--net", "--mount"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["bash", "-eu"])
            .arg(dir.path().join("script"))
            .env("STAGE", dir.path())
            .env("TRANSSHIP_SOURCE", root())
            .env("TRANSSHIP_STAGES", here)
            .env("PATH", path(dir.path()))
            .env("NO_COLOR", "1")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("LISTEN_FDS");
        let output = output(&mut command);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let unsaid: String = self
            .says
            .iter()
            .filter(|(_, line)| !said.lines().any(|said| is_like(said, line)))
            .fold(String::new(), |all, (at, line)| {
                format!("{all}{at}: was not said: {line}\n")
            });
        if output.status.success() && unsaid.is_empty() {
            return Ok(());
        }
        Err(format!("{}: {}\n{said}{unsaid}", self.title, output.status))
    }

    fn lay_out(&self, dir: &Path) {
        for name in ["files", "bin", "work"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(BINARY, dir.join("bin/transship")).unwrap();
        for (number, text) in self.files.iter().enumerate() {
            fs::write(dir.join("files").join(number.to_string()), text).unwrap();
        }
        let image = Image::make(7, &[300_000, 20_000]);
        let copied = output(
            Command::new("cp")
                .arg("-r")
                .arg(image.path())
                .arg(dir.join("image")),
        );
        assert!(copied.status.success());
        let mut script = fs::read_to_string(stages("common.sh")).unwrap();
        script += &fs::read_to_string(stages(&format!("{}.sh", self.name))).unwrap_or_default();
        script += &self.script;
        script += "\necho '== the end' >&2\n";
        let after = stages(&format!("{}.after.sh", self.name));
        script += &fs::read_to_string(after).unwrap_or_default();
        fs::write(dir.join("script"), script).unwrap();
    }
}

/// Whether a line has all parts of a pattern in their order; `…` stands between parts.
pub fn is_like(line: &str, pattern: &str) -> bool {
    let mut rest = line;
    pattern.split('…').map(str::trim).all(|part| {
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
        true
    })
}

fn stages(name: &str) -> PathBuf {
    root().join("tests/docs/stages").join(name)
}

/// The program under test first, then everything that administrators have.
fn path(dir: &Path) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{}:{path}:/usr/sbin:/sbin", dir.join("bin").display())
}

//! `transship tune`: what of a host's settings matters to transship, what they are here, and what they should be. It
//! only reads.
//!
//! ```text
//!   sysctls ─┐
//!   host    ─┼─▶ Finding (here, wanted, why, who says so) ─▶ lines for people, or JSON
//!   network ─┘
//! ```
//!
//! `tuning/90-transship.conf` is written from the table in `sysctls`, and `tuning/README.md` names each row: a test
//! holds them together. What nobody has measured or written down has no row.

mod host;
mod network;
mod sysctls;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::Tune;
use host::Host;

/// How a setting of this host compares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// To be changed: the reason tells what is lost.
    Lacking,
    Well,
    /// Could not be read, as in a container that hides it.
    Unknown,
    /// Any value will do; said because elsewhere it is recommended.
    Indifferent,
}

impl State {
    const fn label(self) -> &'static str {
        match self {
            Self::Lacking => "lacking",
            Self::Well => "well",
            Self::Unknown => "unknown",
            Self::Indifferent => "any",
        }
    }
}

/// One setting: what it is here, what it should be, and why.
#[derive(Clone, Debug)]
struct Finding {
    name: String,
    here: String,
    wanted: String,
    state: State,
    reason: &'static str,
    /// Who has measured it, or where it is written.
    source: &'static str,
    /// A command that changes it until the next boot.
    command: Option<String>,
}

impl Finding {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "here": self.here,
            "wanted": self.wanted,
            "state": self.state.label(),
            "reason": self.reason,
            "source": self.source,
            "command": self.command,
        })
    }
}

/// Returns all there is to say of a host, with what it lacks first.
fn findings(host: &Host) -> Vec<Finding> {
    let mut all = sysctls::findings(host);
    all.extend(host::findings(host));
    all.extend(network::findings(host));
    // Stable: within a state they stay in the order of the tables.
    all.sort_by_key(|finding| match finding.state {
        State::Lacking => 0,
        State::Unknown => 1,
        State::Well => 2,
        State::Indifferent => 3,
    });
    all
}

/// Says what this host lacks: 0 is nothing, 1 is something.
pub(super) fn run(tune: &Tune, storage: std::path::PathBuf, out: &mut dyn Write) -> ExitCode {
    let findings = findings(&Host::this(storage));
    let written = match tune.json {
        true => write_json(&findings, out),
        false => write_lines(&findings, out),
    };
    let lacks = findings.iter().any(|found| found.state == State::Lacking);
    match written.is_ok() && !lacks {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn write_json(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    let all: Vec<Value> = findings.iter().map(Finding::to_json).collect();
    writeln!(out, "{:#}", Value::from(all))
}

fn write_lines(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for found in findings {
        let (state, name, here) = (found.state.label(), &found.name, &found.here);
        writeln!(out, "{state:<8} {name}: {here} (wanted: {})", found.wanted)?;
        writeln!(out, "         {} [{}]", found.reason, found.source)?;
        let command = found
            .command
            .as_deref()
            .filter(|_| found.state == State::Lacking);
        if let Some(command) = command {
            writeln!(out, "         {command}")?;
        }
    }
    let lacking = findings.iter().filter(|f| f.state == State::Lacking);
    writeln!(out, "{} of {} lacking", lacking.count(), findings.len())
}

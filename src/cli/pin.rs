//! `transship pin`, `unpin` and `pins`: what is never evicted.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::store::{self, Reference};

/// What to do with references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Pin,
    Unpin,
}

/// Pins or releases `references` in the store at `root`, and says on `out` how many that changed.
pub(super) fn change(
    root: &Path,
    change: Change,
    references: &[String],
    is_json: bool,
    out: &mut impl Write,
) -> ExitCode {
    let parsed: Result<Vec<Reference>, _> = references
        .iter()
        .map(|text| text.parse().map_err(|error| format!("{text}: {error}")))
        .collect();
    let references = match parsed {
        Ok(references) => references,
        Err(error) => {
            let _ = writeln!(io::stderr(), "transship: {error}");
            return ExitCode::from(2);
        }
    };
    let (outcome, done) = match change {
        Change::Pin => (store::pin(root, &references), "pinned"),
        Change::Unpin => (store::unpin(root, &references), "released"),
    };
    let said = outcome.map(|count| match is_json {
        true => format!("{:#}\n", json!({ "changed": count })),
        false => format!("{count} {done}\n"),
    });
    say(root, said, out)
}

/// Lists the pins of the store at `root` on `out`.
pub(super) fn list(root: &Path, is_json: bool, out: &mut impl Write) -> ExitCode {
    let pins = store::pins(root);
    let said = pins.map(|pins| {
        let pins: Vec<_> = pins.iter().map(ToString::to_string).collect();
        match is_json {
            true => format!("{:#}\n", json!({ "pins": pins })),
            false => pins.iter().map(|pin| format!("{pin}\n")).collect(),
        }
    });
    say(root, said, out)
}

fn say(root: &Path, said: io::Result<String>, out: &mut impl Write) -> ExitCode {
    match said {
        Ok(text) => {
            // A reader that has gone changes nothing about what was done.
            let _ = out.write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "transship: {}: {error}", root.display());
            ExitCode::FAILURE
        }
    }
}

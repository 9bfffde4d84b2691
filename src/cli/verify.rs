//! `transship verify`: whether what is stored is what its names say.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use super::args;
use super::progress::{Progress, size, threads};
use crate::store::verify::{Event, Options, Tally, verify};
use crate::store::{Checked, Fate, Finding};

/// Checks the store under `root`, or what `asked` names of it; 0 if all is well, 1 if not.
pub(super) fn run(root: &Path, asked: &args::Verify) -> ExitCode {
    let begun = Instant::now();
    let progress = Progress::start_for(asked.json);
    if let Err(error) = std::fs::read_dir(root.join("blobs")) {
        let text = format!("{}: no storage of transship: {error}", root.display());
        progress.conclude(&text, json!({ "error": text }));
        return ExitCode::FAILURE;
    }
    let options = Options {
        root,
        digests: &asked.digests,
        keep: asked.keep,
        threads: threads(),
    };
    let tally = verify(&options, &|event| match event {
        Event::Found { bytes, .. } => progress.of(bytes),
        Event::Read(bytes) => progress.pass(bytes),
        Event::Bad(checked) => progress.say(&describe(checked)),
        Event::Absent(digest) => progress.say(&format!("{digest}: not stored")),
        Event::Unseen(error) => progress.say(&format!("unreadable: {error}")),
    });
    let seconds = begun.elapsed().as_secs_f64();
    progress.conclude(&summary(&tally, seconds), figures(&tally, seconds));
    if tally.is_well() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Returns the line for a file that is not sound.
fn describe(checked: &Checked) -> String {
    let what = format!("{} ({})", checked.digest, checked.kind.noun());
    match &checked.finding {
        Finding::Sound => format!("{what}: sound"),
        Finding::Vanished => format!("{what}: deleted meanwhile"),
        Finding::Unreadable(error) => format!("{what}: unreadable: {error}"),
        Finding::Rotten { error, fate } => {
            let why = match error {
                Some(error) => format!("damaged: {error}"),
                None => "damaged: its bytes have another digest".to_owned(),
            };
            let then = match fate {
                None => "left where it is".to_owned(),
                Some(Ok(Fate::Moved(to))) => format!("moved to {}", to.display()),
                Some(Ok(Fate::Deleted)) => "deleted".to_owned(),
                Some(Ok(Fate::Absent)) => "gone".to_owned(),
                Some(Err(error)) => format!("STILL THERE: {error}"),
            };
            format!("{what}: {why}; {then}")
        }
    }
}

fn figures(tally: &Tally, seconds: f64) -> Value {
    json!({
        "sound": tally.sound, "damaged": tally.rotten, "unreadable": tally.unreadable,
        "not_stored": tally.absent, "deleted_meanwhile": tally.vanished,
        "bytes": tally.bytes, "seconds": seconds,
    })
}

fn summary(tally: &Tally, seconds: f64) -> String {
    let mut text = format!(
        "{} sound, {} damaged, {} unreadable",
        tally.sound, tally.rotten, tally.unreadable
    );
    for (count, word) in [
        (tally.absent, "not stored"),
        (tally.vanished, "deleted meanwhile"),
    ] {
        if count > 0 {
            text += &format!(", {count} {word}");
        }
    }
    format!("{text}; {} read in {seconds:.1} s", size(tally.bytes))
}

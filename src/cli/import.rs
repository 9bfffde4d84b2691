//! `transship import`: what another cache has stored, taken over.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use super::progress::{Progress, size, threads};
use crate::store::import::{Event, Form, Options, Source, Tally, Trouble, import};

/// Imports what lies under `from` into the store under `root`; 0 if all of it is here then, 1 if not.
pub(super) fn run(from: &Path, root: &Path, copy: bool) -> ExitCode {
    let begun = Instant::now();
    let progress = Progress::start();
    let Some(source) = Source::find(from) else {
        progress.end();
        progress.say(&format!(
            "{}: neither the storage of a Docker registry (docker/registry/v2/blobs) nor of transship",
            from.display()
        ));
        return ExitCode::FAILURE;
    };
    progress.say(&format!(
        "importing {} of {} into {}",
        source.base().display(),
        match source.form() {
            Form::Registry => "a Docker registry",
            Form::Transship => "transship",
        },
        root.display()
    ));
    let options = Options {
        source: &source,
        root,
        copy,
        threads: threads(),
    };
    let outcome = import(&options, &|event| match event {
        Event::Found { bytes, .. } => progress.of(bytes),
        Event::Done(bytes) => progress.pass(bytes),
        Event::Trouble(path, trouble) => progress.say(&describe(path, &trouble)),
    });
    progress.end();
    match outcome {
        Ok(tally) => {
            progress.say(&summary(&tally, begun.elapsed().as_secs_f64()));
            match tally.is_well() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            progress.say(&format!("broken off: {error}; run it again to go on"));
            ExitCode::FAILURE
        }
    }
}

fn describe(path: &Path, trouble: &Trouble<'_>) -> String {
    let path = path.display();
    match trouble {
        Trouble::Damaged => format!("{path}: damaged: its bytes have another digest; passed over"),
        Trouble::Unreadable(error) => format!("{path}: unreadable: {error}; passed over"),
        Trouble::NoManifest => {
            format!(
                "{path}: a repository calls it a manifest, and it is none that is known; passed over"
            )
        }
        Trouble::Private => format!(
            "{path}: the owner of the store may not read it, so a link would be of no use; such files are copied"
        ),
        Trouble::DamagedHere => format!("{path}: was here already, damaged; taken away"),
    }
}

fn summary(tally: &Tally, seconds: f64) -> String {
    let mut text = format!(
        "{} linked, {} cloned, {} copied, {} here already, {} damaged, {} unreadable",
        tally.linked, tally.cloned, tally.copied, tally.here, tally.damaged, tally.unreadable
    );
    for (count, word) in [
        (tally.no_manifest, "no manifests"),
        (tally.vanished, "deleted meanwhile"),
    ] {
        if count > 0 {
            text += &format!(", {count} {word}");
        }
    }
    format!("{text}; {} imported in {seconds:.1} s", size(tally.bytes))
}
